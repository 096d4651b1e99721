// Command verifier is too long and links too much.
package main

// want: links example.com/planted/internal/testtrail
// want: imports example.com/planted/internal/testtrail: test support in a program
// want: links github.com/prometheus/client_golang/prometheus
// want: links modernc.org/sqlite
// want: func main has 16 lines
import (
	"example.com/planted/internal/report"
	"example.com/planted/internal/testtrail"
	_ "modernc.org/sqlite"
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
