// Command signtrail makes trails to try the programs on, signed with the test
// keys of internal/testtrail: of real events that someone has, or the built-in
// sample. It is no part of a release, and what it signs proves nothing.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

//go:generate go run . sample ../sample

const usage = `usage: signtrail [flags] FILE|FOLDER...   sign events into a trail, written below -out
       signtrail sample FOLDER            write the built-in sample

Files: *.json, *.ndjson, *.jsonl, plain or .gz: {"Records":[...]}, an array of
events, or an event a line. Written: AWSLogs/... as "aws s3 sync" leaves it, and
keys.json. The keys are test keys: the trail proves nothing.

`

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	if len(args) == 2 && args[0] == "sample" {
		return report(stderr, testtrail.Sample().WriteFolder(args[1]))
	}
	c, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		report(stderr, err)
		return 2
	}
	return report(stderr, c.run(stdout))
}

func report(stderr io.Writer, err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "error:", err)
	return 1
}

// parse reads and checks the command line.
func parse(args []string, stderr io.Writer) (*config, error) {
	c := &config{}
	f := flag.NewFlagSet("signtrail", flag.ContinueOnError)
	f.SetOutput(io.Discard) // errors are told once, by run
	f.StringVar(&c.out, "out", "", "folder to write; it must be new or empty")
	f.StringVar(&c.account, "account", "111122223333", "account whose chain it is")
	f.StringVar(&c.region, "region", "us-east-1", "region whose chain it is")
	f.StringVar(&c.trail.Name, "trail", "main", "name of the trail")
	f.StringVar(&c.trail.HomeRegion, "home-region", "us-east-1", "region in which the trail was made")
	f.StringVar(&c.trail.Bucket, "bucket", testtrail.SampleBucket, "bucket that the trail says it is in")
	f.StringVar(&c.trail.Prefix, "prefix", "", "key prefix of the trail")
	f.StringVar(&c.trail.Organization, "organization", "", "organization id of the trail")
	start := f.String("start", "2026-03-01T00:00:00Z", "when validation was switched on")
	f.IntVar(&c.hours, "hours", 6, "hours over which the log files are spread")
	f.IntVar(&c.perLog, "per-log", 0, "events in a log file; 0: a log file for each file, as it is")
	f.StringVar(&c.metadata, "metadata", "none", "digests that get a sidecar with their metadata: none, newest or all")
	f.Func("tamper", "edit-log=N, delete-log=N, delete-digest=N (counted from 1), or\nstop=H,N: switch logging off after hour H, for N hours; repeatable", c.addTampering)
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stderr, usage)
		f.SetOutput(stderr)
		f.PrintDefaults()
		return nil, err
	case err != nil:
		return nil, err
	}
	c.in = f.Args()
	var err error
	if c.start, err = time.Parse(time.RFC3339, *start); err != nil {
		return nil, fmt.Errorf("-start %q: not a time such as 2026-03-01T00:00:00Z", *start)
	}
	return c, c.check()
}

func (c *config) check() error {
	bad := func(flag, value string) error { return fmt.Errorf("-%s %q: not valid", flag, value) }
	switch {
	case len(c.in) == 0:
		return errors.New("no FILE or FOLDER to sign: see -h")
	case c.out == "":
		return errors.New("no -out: see -h")
	case !trail.ValidAccount(c.account):
		return bad("account", c.account)
	case !trail.ValidRegion(c.region):
		return bad("region", c.region)
	case !trail.ValidName(c.trail.Name):
		return bad("trail", c.trail.Name)
	case !trail.ValidRegion(c.trail.HomeRegion):
		return bad("home-region", c.trail.HomeRegion)
	case c.trail.Organization != "" && !trail.ValidOrganization(c.trail.Organization):
		return bad("organization", c.trail.Organization)
	case strings.HasPrefix(c.trail.Prefix, "/") || strings.HasSuffix(c.trail.Prefix, "/"):
		return bad("prefix", c.trail.Prefix)
	case c.metadata != "none" && c.metadata != "newest" && c.metadata != "all":
		return bad("metadata", c.metadata)
	case c.hours < 1:
		return errors.New("-hours must be at least 1")
	case c.stopAfter > c.hours:
		return fmt.Errorf("-tamper stop=%d,%d: there are %d hours", c.stopAfter, c.stopFor, c.hours)
	case c.perLog < 0:
		return errors.New("-per-log must not be negative")
	}
	return nil
}
