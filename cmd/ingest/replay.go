package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/trailseal/trailseal/internal/ended"
	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/when"
	"github.com/trailseal/trailseal/pkg/trail"
)

// replayCommand is "replay" of the command line. Its flags are not settings.
type replayCommand struct {
	StartTime string `env:"-"`
	EndTime   string `env:"-"`
}

// span returns the span of time that is asked for.
func (r replayCommand) span(now time.Time) (s span, err error) {
	if r.StartTime == "" || r.EndTime == "" {
		return s, errors.New("start-time, end-time: must both be given")
	}
	if s.start, err = when.Time(r.StartTime, now); err != nil {
		return s, fmt.Errorf("start-time: %w", err)
	}
	if s.end, err = when.Time(r.EndTime, now); err != nil {
		return s, fmt.Errorf("end-time: %w", err)
	}
	text := func(t time.Time) string { return t.Format(time.RFC3339) }
	switch {
	case !s.start.Before(s.end):
		return s, fmt.Errorf("end-time %s: must be after start-time %s", text(s.end), text(s.start))
	case s.start.After(now):
		return s, fmt.Errorf("start-time %s: must not be after now", text(s.start))
	}
	return s, nil
}

// span is a span of time. That of a run that is not a replay is zero.
type span struct{ start, end time.Time }

func (s span) isZero() bool { return s == span{} }

// worker returns Since and Until of the worker. A digest that ends at start is of the hour
// before.
func (s span) worker() (since, until time.Time) { return s.start.Add(1), s.end }

// forReplay returns the settings of a run beside the worker: it ends by itself, and touches
// neither the worker's state nor its queues nor its address.
func forReplay(c config) config {
	c.Once, c.State, c.Queue, c.Listen = true, "memory", nil, ""
	return c
}

// runReplay emits the events of the proven digests of a span of time again.
func runReplay(ctx context.Context, a app, c *config, r replayCommand) int {
	asked, err := r.span(a.now())
	if err != nil {
		return a.fail(exitUsage, err, hintSettings)
	}
	return runWorker(ctx, a, c, asked)
}

// replayed returns why the time that a replay asked for was not proven to its end, nil if it
// was.
func replayed(s ingest.Status, c ingest.Config, log *slog.Logger) error {
	due := c.Until
	if latest := c.Now().Add(-c.Grace - time.Hour); latest.Before(due) {
		due = latest
	}
	proven, short := 0, 0
	for _, row := range s.Chains {
		if row.VerifiedUntil.IsZero() {
			continue
		}
		proven++
		name := trail.Chain{
			Place: trail.Place{Organization: row.Organization, Account: row.Account, Region: row.Region},
			Trail: row.Trail, HomeRegion: row.HomeRegion, Backfill: row.Backfill,
		}
		standing, _ := c.Ended.Judge(name, row.VerifiedUntil)
		if row.Backfill || !row.VerifiedUntil.Before(due) || standing == ended.Acknowledged {
			continue
		}
		short++
		log.Warn("no digest proves the rest of the asked time",
			"chain", name.String(), "from", row.VerifiedUntil, "to", due)
	}
	switch {
	case proven == 0:
		return fmt.Errorf("no digest from %s to %s is proven: nothing was emitted",
			c.Since.Add(-1).Format(time.RFC3339), c.Until.Format(time.RFC3339))
	case short > 0:
		return fmt.Errorf("%d chains are not proven to the end of the asked time", short)
	}
	return nil
}
