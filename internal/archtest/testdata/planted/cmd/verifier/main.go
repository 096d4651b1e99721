// Command verifier is too long and links too much.
package main

// want: links example.com/planted/internal/testtrail
// want: imports example.com/planted/internal/testtrail: test support in a program
// want: links github.com/prometheus/client_golang/prometheus
// want: func main has 16 lines
import (
	"example.com/planted/internal/report"
	"example.com/planted/internal/testtrail"
)

func main() {
	report.Run()
	testtrail.Run()
	//
	//
	//
	//
	//
	//
	//
	//
	//
	//
	//
	//
}
