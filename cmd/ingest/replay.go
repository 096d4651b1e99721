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

// span returns the time that is asked for.
func (r replayCommand) span(now time.Time) (start, end time.Time, err error) {
	if r.StartTime == "" || r.EndTime == "" {
		return start, end, errors.New("start-time, end-time: must both be given")
	}
	if start, err = when.Time(r.StartTime, now); err != nil {
		return start, end, fmt.Errorf("start-time: %w", err)
	}
	if end, err = when.Time(r.EndTime, now); err != nil {
		return start, end, fmt.Errorf("end-time: %w", err)
	}
	text := func(t time.Time) string { return t.Format(time.RFC3339) }
	switch {
	case !start.Before(end):
		return start, end, fmt.Errorf("end-time %s: must be after start-time %s", text(end), text(start))
	case start.After(now):
		return start, end, fmt.Errorf("start-time %s: must not be after now", text(start))
	}
	return start, end, nil
}

// forReplay returns the settings of a run beside the worker: it ends by itself, and touches
// neither the worker's state nor its queues nor its address.
func (c config) forReplay() config {
	c.Once, c.State, c.Queue, c.Listen = true, "memory", nil, ""
	return c
}

// replay emits the events of the proven digests of a time again.
func (a *app) replay(ctx context.Context, c *config, r replayCommand) int {
	start, end, err := r.span(a.now())
	if err != nil {
		return a.fail(exitUsage, err, "ingest -h lists the settings")
	}
	w := &wiring{app: a, config: c}
	defer w.close()
	return a.work(ctx, w, func(ctx context.Context) (ingest.Config, error) {
		settings, err := w.worker(ctx)
		settings.Since, settings.Until = start.Add(1), end // a digest that ends at start is of the hour before
		return settings, err
	})
}

// replayed returns why the asked time was not proven to its end, nil if it was or if the
// run was not a replay.
func replayed(s ingest.Status, c ingest.Config, log *slog.Logger) error {
	if c.Until.IsZero() {
		return nil
	}
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
