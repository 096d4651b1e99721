// Package main is the peer of our benchmarks: a general-purpose stream
// pipeline, Benthos, that reads the log files of a bucket and writes their
// events to standard output, one a line, without verifying anything. What it
// needs for an event is what a worker costs that has no proof to give.
//
// It owns the input, for the core of Benthos has none for S3, and the
// configuration of the pipeline; everything after the body of an object is
// Benthos's own. Its modules stay out of ours: it has a go.mod of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stderr))
}

// run returns the exit code: 0 when every event has been written, else 1.
// The events go to the standard output of the process: Benthos's output knows
// no other.
func run(ctx context.Context, args []string, stderr io.Writer) int {
	err := errors.New("usage: peer s3://bucket[/prefix]")
	if len(args) == 1 {
		err = copyEvents(ctx, args[0])
	}
	if err != nil {
		fmt.Fprintf(stderr, "error: %v\n", err)
		return 1
	}
	return 0
}

func copyEvents(ctx context.Context, source string) error {
	location, ok := strings.CutPrefix(source, "s3://")
	bucket, prefix, _ := strings.Cut(location, "/")
	if !ok || bucket == "" {
		return fmt.Errorf("source %q: want s3://bucket[/prefix]", source)
	}
	in, err := open(ctx, bucket, prefix)
	if err != nil {
		return err
	}
	stream, err := build(in)
	if err != nil {
		return fmt.Errorf("build the pipeline: %w", err)
	}
	return errors.Join(stream.Run(ctx), in.failure())
}
