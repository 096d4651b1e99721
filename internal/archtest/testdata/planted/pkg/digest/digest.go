package digest

// want: has no package comment
// want: func init: nothing happens before main
// want: variable count has no value
// want: count is set
// want: table is set
// want: names is set
// want: imports github.com/aws/aws-sdk-go-v2: pkg is the standard library and strict JSON
// want: imports github.com/aws/aws-sdk-go-v2: only internal/awsapi speaks to AWS
import _ "github.com/aws/aws-sdk-go-v2"

var count int

var table = map[string]int{}

var names = []string{"a"}

func init() { count++ }

func Add(name string) *[]string {
	delete(table, name)
	return &names
}
