// Command book makes docs/benchmarks.md of what `make bench` printed. It owns
// that page's text and tables, and measures nothing: a figure that is not in
// its input is an error, never a blank.
//
//	make bench | tee bench.txt
//	go run ./test/bench/book < bench.txt > docs/benchmarks.md
package main

import (
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "book:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	b, err := parse(in)
	if err != nil {
		return err
	}
	return b.write(out)
}
