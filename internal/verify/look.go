package verify

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/trailseal/trailseal/pkg/finding"
)

// lookBack reads names below an extent, newest first, until it is known what came
// before each chain: whether logging was off before a starting digest, or which
// hours are missing before a broken strand. A trail without any chain so far may
// have ended before the range: its newest trusted digest says when.
func (w *walk) lookBack(ctx context.Context, e extent) error {
	if !w.needsOlder() {
		return nil
	}
	w.ahead.onPassed = w.passed(ctx, extent{isSilent: true})
	w.ahead.begin(ctx, w.pending(time.Time{}, e.lower), aheadLeast)
	defer func() { w.ahead.stop() }()
	for ctx.Err() == nil && w.needsOlder() {
		ref, ok := w.take(ctx)
		if !ok {
			break
		}
		w.strand(ctx, nil, ref, nil, extent{lower: ref.End, upper: ref.End, isSilent: true})
		u := w.unread
		if len(w.chains) > 0 || u == nil || u.Ref != ref || finding.ReasonOf(u.Verdict.Err) == finding.NoSignature {
			continue
		}
		// Older ones, if they can be read, do not say what this one says. But one that
		// the user knows as the last may be planted: then a few of the others are asked.
		if !w.isLastKnown() || len(w.unreadEnds) >= maxUnread {
			break
		}
	}
	return ctx.Err()
}

// maxUnread is how many names are tried where the last one was not read, and the user
// knows of the end.
const maxUnread = 64

// isLastKnown reports whether the user knows that a chain ended with the newest name
// that was not judged.
func (w *walk) isLastKnown() bool {
	u := w.lastUnread
	return u != nil && w.r.isAcknowledged(&strands{name: u.Chain, newest: u.End})
}

// maxAbove is how many names beyond an extent are read of a trail without older ones.
const maxAbove = 64

// lookAbove reads the oldest names above an extent, where a trail has no name in or
// below it: either the trail began later, as a starting digest proves, or what came
// before is gone.
func (w *walk) lookAbove(ctx context.Context, e extent) error {
	above := w.pending(e.upper, endOfTime())
	if len(above) == 0 || w.names.isSilent || w.names.trail.Backfill {
		return nil
	}
	oldest := w.names.ref(above[len(above)-1])
	isCut := len(above) > maxAbove
	if isCut {
		above = above[len(above)-maxAbove:]
	}
	if err := w.pass(ctx, extent{lower: e.upper, upper: above[0].end(), isSilent: true}); err != nil {
		return err
	}
	if isCut && len(w.chains) == 0 {
		w.r.doubt(ctx, subject(oldest.Chain, oldest.Object(), oldest.End), fmt.Errorf("none of the first %d digests after the range is proven, so when the trail began is not known: %w", maxAbove, finding.ErrNotSearched), 1)
	}
	return nil
}

// lookBeyondEnds looks at what is above an extent where the user says that a chain has
// ended: a later digest that is not a starting one proves that it went on.
func (w *walk) lookBeyondEnds(ctx context.Context, e extent) error {
	for _, c := range w.chains {
		if c.joined != nil || c.name.Backfill || !w.r.isAcknowledged(c) {
			continue
		}
		beyond := w.r.newWalk(w.scope, w.names)
		if err := beyond.lookAbove(ctx, e); err != nil {
			return err
		}
		for _, later := range beyond.chains {
			c.wentOn = c.wentOn || later.joined == nil && later.bottom.kind != starting
		}
	}
	return nil
}

// needsOlder reports whether it is not yet known what came before some chain.
func (w *walk) needsOlder() bool {
	if len(w.chains) == 0 {
		// Where another trail's chain leads to the newest name, that is the answer.
		return !w.scope.isWalkedInto(w.names)
	}
	return slices.ContainsFunc(w.chains, func(c *strands) bool {
		switch b := c.bottom; b.kind {
		case starting, broken:
			return c.joined == nil && b.ref.End.After(w.r.cfg.Start)
		case unnamed:
			return c.joined == nil && c.from.After(w.r.cfg.Start)
		}
		return false
	})
}
