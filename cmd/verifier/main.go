// Command verifier proves that CloudTrail's logs are complete and unaltered.
// This package wires, prints and chooses exit codes; it decides nothing about
// evidence.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
)

// ballast is memory that is never touched, and so never there. The collector
// counts it and runs when as much has been allocated again: without it, it
// would run over the few megabytes in use after every few hundred small
// requests, and take a tenth of the time (docs/benchmarks.md, "The collector").
const ballast = 16 << 20

// memoryLimit is where the collector begins to run more often: with hundred
// thousands of planted objects the program stays below 150 MiB.
const memoryLimit = 112 << 20

func main() {
	idle := make([]byte, ballast)
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	runtime.KeepAlive(idle)
	os.Exit(code)
}
