// Command ingest follows CloudTrail's digest chains and emits only proven
// events. This package wires, configures and chooses exit codes; it decides
// nothing about evidence.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}
