// Command bad is an example that a reader cannot copy.
package main

// want: imports example.com/planted/internal/report: an example shows pkg alone
import "example.com/planted/internal/report"

func main() { report.Run() }
