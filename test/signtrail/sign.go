package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// config is the command line.
type config struct {
	in       []string
	out      string
	trail    testtrail.Options
	account  string
	region   string
	start    time.Time
	hours    int
	perLog   int
	metadata string // none, newest, all

	stopAfter, stopFor int         // hours
	tamper             []tampering // in the order given
}

func (c *config) run(stdout io.Writer) error {
	if old, err := os.ReadDir(c.out); err == nil && len(old) > 0 {
		return fmt.Errorf("write %s: the folder is not empty", c.out)
	}
	var files []testtrail.EventFile
	for _, path := range c.in {
		f, err := testtrail.ReadEventFiles(path)
		if err != nil {
			return err
		}
		files = append(files, f...)
	}
	w := testtrail.New()
	chain := c.sign(w, files)
	logs := logsOf(chain)
	for _, t := range c.tamper {
		if err := t.do(w, chain, logs); err != nil {
			return fmt.Errorf("-tamper %s: %w", t.text, err)
		}
	}
	if err := c.write(w, chain); err != nil {
		return err
	}
	events := 0
	for _, f := range files {
		events += len(f.Records)
	}
	_, err := fmt.Fprintf(stdout, "%d events of %d files in %d log files and %d digests: %s\n", events, len(files), len(logs), len(chain.Issued), c.out)
	return err
}

// sign delivers the events and their digests.
func (c *config) sign(w *testtrail.World, files []testtrail.EventFile) *testtrail.Chain {
	t := w.Trail(c.trail)
	chain := t.Chain(c.account, c.region, c.start)
	bodies := testtrail.LogBodies(files, c.perLog)
	for h, hour := range testtrail.Spread(bodies, c.hours) {
		if h+1 != c.stopAfter {
			chain.Hour(hour...)
			continue
		}
		stop := w.StopLogging(chain.Now().Add(50*time.Minute), t.ARN(c.account).String())
		chain.Hour(append(slices.Clone(hour), testtrail.LogOf(json.RawMessage(stop)))...)
		chain.Skip(time.Duration(c.stopFor) * time.Hour)
		chain.Restart(chain.Now())
	}
	return chain
}

// logsOf returns the chain's log files in the order of delivery.
func logsOf(chain *testtrail.Chain) (logs []trail.Object) {
	for _, d := range chain.Issued {
		logs = append(logs, d.Logs...)
	}
	return logs
}

func (c *config) write(w *testtrail.World, chain *testtrail.Chain) error {
	digests := chain.Issued
	if c.metadata == "newest" {
		digests = chain.Heads()
	}
	sidecar := func(key string) bool {
		return c.metadata != "none" && slices.ContainsFunc(digests, func(d *testtrail.Issued) bool { return d.Key == key })
	}
	if err := w.WriteFolder(c.trail.Bucket, c.out, sidecar); err != nil {
		return err
	}
	keys, err := w.KeySet(c.start.Add(-time.Hour), chain.Now().Add(24*time.Hour)).JSON()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(c.out, "keys.json"), keys, 0o644)
}
