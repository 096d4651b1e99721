// Command feeder plays CloudTrail for the demonstration stack: it makes a trail
// of many accounts and regions, signs it with the test keys of
// internal/testtrail, delivers the last day and then each hour when it is due,
// and plants what someone would do who has something to hide. It is no part of
// a release, and what it signs proves nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/digest"
)

const usage = `usage: feeder [flags]           deliver a trail, until a signal ends it
       feeder health [-listen A]   exit 0 once the history is delivered

The S3 server and the queue are those of the environment: AWS_ENDPOINT_URL,
AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL_SQS, AWS_REGION and credentials.

`

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "error:", err)
		return 2
	case s.health:
		err = healthy(ctx, s.listen)
	default:
		err = feed(ctx, s, stdout)
	}
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(stderr, "error:", err)
		return 1
	}
	return 0
}

// settings are those of the command line.
type settings struct {
	health     bool
	listen     string
	bucket     string
	sinkBucket string
	queue      string
	keys       string
	plants     string
	rhythm     rhythm
}

func parse(args []string, stderr io.Writer) (settings, error) {
	var s settings
	f := flag.NewFlagSet("feeder", flag.ContinueOnError)
	f.SetOutput(io.Discard) // errors are told once, by run
	f.StringVar(&s.listen, "listen", ":8099", "address where plants are asked for")
	f.StringVar(&s.bucket, "bucket", testtrail.SampleBucket, "bucket of the trail, made where it is not there; it must be empty")
	f.StringVar(&s.sinkBucket, "sink-bucket", "", "another bucket to make, for a sink")
	f.StringVar(&s.queue, "queue", "", "queue that is told of each object, made where it is not there")
	f.StringVar(&s.keys, "keys", "", "file that the public keys are written to")
	f.StringVar(&s.plants, "plant", "", "what to plant after the history, as a list with commas: "+strings.Join(plantNames(), ", "))
	f.DurationVar(&s.rhythm.history, "history", 24*time.Hour, "how far back the trail begins")
	f.DurationVar(&s.rhythm.pace, "pace", time.Minute, "pause between two signed hours; there are as many chains as go into an hour")
	f.DurationVar(&s.rhythm.delay, "delay", 27*time.Minute, "from the end of a digest's hour to its delivery")
	if len(args) > 0 && args[0] == "health" {
		s.health, args = true, args[1:]
	}
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stderr, usage)
		f.SetOutput(stderr)
		f.PrintDefaults()
		return s, err
	case err != nil:
		return s, err
	case f.NArg() > 0:
		return s, fmt.Errorf("%q: no argument is expected", f.Arg(0))
	}
	return s, s.check()
}

func (s settings) check() error {
	for _, name := range s.planted() {
		if _, ok := plantNamed(name); !ok {
			return fmt.Errorf("-plant %q: not one of %s", name, strings.Join(plantNames(), ", "))
		}
	}
	return s.rhythm.check()
}

// planted are the names in -plant.
func (s settings) planted() (names []string) {
	for name := range strings.SplitSeq(s.plants, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// feed delivers until ctx ends.
func feed(ctx context.Context, s settings, stdout io.Writer) error {
	log := slog.New(slog.NewTextHandler(stdout, nil))
	l, err := net.Listen("tcp", s.listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.listen, err)
	}
	f := newFeeder(s.bucket, s.rhythm, time.Now, log)
	server := &http.Server{Handler: f, ReadHeaderTimeout: 5 * time.Second}
	defer server.Close()
	go func() { _ = server.Serve(l) }() // it ends with the program
	log.Info("listening", "address", l.Addr().String())

	to, err := open(ctx, s, log)
	if err != nil {
		return err
	}
	f.to = to
	if err := f.begin(ctx); err != nil {
		return err
	}
	if s.keys != "" {
		if err := writeKeys(s.keys, f.keys()); err != nil {
			return err
		}
	}
	for _, name := range s.planted() {
		p, _ := plantNamed(name)
		if _, err := f.plant(ctx, p); err != nil {
			return err
		}
	}
	f.ready.Store(true)
	log.Info("ready", "chains", len(f.chains), "bucket", s.bucket)
	return f.goOn(ctx)
}

// writeKeys writes the keys as `aws cloudtrail list-public-keys` prints them,
// whole or not at all.
func writeKeys(name string, set digest.KeySet) error {
	b, err := set.JSON()
	if err != nil {
		return err
	}
	if err := os.WriteFile(name+".part", b, 0o644); err != nil {
		return err
	}
	return os.Rename(name+".part", name)
}

// healthy asks a feeder on this machine whether its history is delivered.
func healthy(ctx context.Context, listen string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+port+"/healthz", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	return nil
}
