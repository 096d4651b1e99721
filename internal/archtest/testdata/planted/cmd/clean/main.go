// Command clean breaks no rule.
package main

import (
	"flag"
	"os"
)

func main() {
	flag.Parse()
	os.Exit(len(os.Getenv("X")))
}
