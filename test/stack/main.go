// Command stack runs the demonstration of deploy/compose without containers: a
// fake AWS in this process, the feeder that keeps delivering a signed trail,
// the real worker, and beside them Prometheus with our rules, Alertmanager and
// Grafana with our dashboards, each where it is installed. It is no part of a
// release.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const usage = `usage: stack [flags]     run the whole stack until Ctrl-C

`

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "error:", err)
		return 2
	}
	if err := up(ctx, o, stdout); err != nil && ctx.Err() == nil {
		fmt.Fprintln(stderr, "error:", err)
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("stack", flag.ContinueOnError)
	f.SetOutput(io.Discard) // errors are told once, by run
	f.StringVar(&o.dir, "dir", "", "folder for what the programs write; without it a temporary one, removed in the end")
	f.StringVar(&o.plants, "plant", "", "what to plant at the start: see test/feeder -h")
	f.DurationVar(&o.pace, "pace", time.Minute, "pause between two signed hours")
	f.DurationVar(&o.history, "history", 24*time.Hour, "how far back the trail begins")
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stderr, usage)
		f.SetOutput(stderr)
		f.PrintDefaults()
		return o, err
	case err != nil:
		return o, err
	case f.NArg() > 0:
		return o, fmt.Errorf("%q: no argument is expected", f.Arg(0))
	}
	return o, nil
}

// up starts the stack, says where everything is, and waits for ctx or for one
// of the programs to end.
func up(ctx context.Context, o options, stdout io.Writer) (err error) {
	temporary := o.dir == ""
	if temporary {
		if o.dir, err = os.MkdirTemp("", "trailseal-stack-"); err != nil {
			return err
		}
	}
	fmt.Fprintln(stdout, "building and starting; Ctrl-C ends everything")
	s, err := start(ctx, o)
	defer func() {
		s.stop()
		if temporary && (err == nil || ctx.Err() != nil) {
			_ = os.RemoveAll(o.dir) // what is left is in the system's temporary folder
		}
	}()
	if err != nil {
		return err
	}
	s.describe(stdout)
	return s.wait(ctx)
}

// describe says what runs where, what does not, and what to try.
func (s *stack) describe(w io.Writer) {
	row := func(name, where string) { fmt.Fprintf(w, "%-13s %s\n", name, where) }
	fmt.Fprintln(w)
	row("S3 and SQS", s.aws.URL)
	for _, p := range s.parts {
		row(p.name, p.url)
	}
	for _, name := range s.absent {
		row(name, "not installed: it does not run")
	}
	row("events", s.path("events.ndjson"))
	row("findings", s.path("findings.ndjson"))
	row("logs", s.path("*.log"))
	fmt.Fprintf(w, `
Plant something and watch it being found:
  curl -X POST %splant/log-modified
Verify the whole bucket:
  %s go run ./cmd/verifier verify s3://%s --keys %s --start-time 10h
`, s.feeder.url, strings.Join(s.credentials(), " "), bucket, s.path("keys.json"))
}
