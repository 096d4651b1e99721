package ingest

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/trailseal/trailseal/internal/failure"
	"github.com/trailseal/trailseal/internal/ledger"
)

// recall recalls the chains of earlier runs. Without them the worker would begin anew, so it
// tries until it can read the state, or intake ends. The chains run until ctx ends.
func recall(intake, ctx context.Context, w *Worker) error {
	for try := 0; ; try++ {
		err := recallOnce(intake, ctx, w)
		decision := failure.Decide(failure.Failure{Operation: failure.Head, Err: err})
		if decision.Do != failure.Retry || w.policy.Tries > 0 && try+1 >= w.policy.Tries {
			return err
		}
		w.config.Log.Warn("the state cannot be read, trying again", "try", try+1, "error", err)
		if err := failure.Sleep(intake, failure.Pause(try)); err != nil {
			return err
		}
	}
}

// recallOnce makes the loops of the chains that earlier runs followed, and lets each run once:
// a chain whose folders were emptied meanwhile must not be forgotten with them. It reads
// when folders were last listed, too.
func recallOnce(intake, ctx context.Context, w *Worker) error {
	names, err := w.ledger.Names(intake)
	if err != nil {
		w.metrics.stateFailed(intake, err)
		return err
	}
	for _, f := range w.feeds {
		listings, err := w.ledger.Listings(intake, f.identity)
		if err == nil && listings.Since.IsZero() {
			listings.Since = w.config.Since
			listings, err = w.ledger.SetListings(intake, f.identity, listings)
		}
		if err != nil {
			w.metrics.stateFailed(intake, err)
			return err
		}
		f.setListings(listings)
	}
	var unmatched []string
	for _, name := range names {
		source, c, err := ledger.Parse(name)
		i := slices.IndexFunc(w.feeds, func(f *feed) bool { return f.identity == source })
		switch {
		case err != nil || i < 0:
			unmatched = append(unmatched, name)
		case w.config.isSelected(c):
			w.chains.follow(newLoop(w, w.feeds[i], c))
		}
	}
	w.unmatched.Store(&unmatched)
	openAll(ctx, w.chains.list())
	for _, c := range w.chains.list() {
		c.feed.schedule.Add(ctx, c)
	}
	if n := len(unmatched); n > 0 {
		w.metrics.unmatched.Set(float64(n))
		w.config.Log.Warn("the state has heads that belong to no source: their chains are not followed",
			"heads", n, "first", unmatched[0])
	}
	return nil
}

// openAll reads the stored heads: they say where polls begin. The loop of a head that cannot be
// read tries again by itself.
func openAll(ctx context.Context, all []*chainLoop) {
	group := new(errgroup.Group)
	group.SetLimit(opensAtOnce)
	for _, c := range all {
		group.Go(func() error {
			_ = c.open(ctx)
			return nil
		})
	}
	_ = group.Wait()
}

// opensAtOnce is how many heads are read at once.
const opensAtOnce = 16
