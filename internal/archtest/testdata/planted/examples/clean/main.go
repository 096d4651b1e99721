// Command clean is an example that breaks no rule.
package main

import (
	"compress/gzip"
	"os"

	"example.com/planted/pkg/good"
)

func main() {
	_, _ = gzip.NewReader(os.Stdin)
	os.Exit(good.Sum())
}
