package verify

import (
	"context"
	"slices"
	"time"

	"github.com/trailseal/trailseal/pkg/finding"
)

// lookBack reads names below an extent, newest first, until it is known what came
// before each chain: whether logging was off before a starting digest, or which
// hours are missing before a broken strand. A trail without any chain so far may
// have ended before the range: its newest trusted digest says when.
func (w *walk) lookBack(ctx context.Context, e extent) error {
	return w.lookBackTo(ctx, e, w.r.cfg.Start)
}

// lookBackTo is lookBack for chains whose oldest digest ends after a time.
func (w *walk) lookBackTo(ctx context.Context, e extent, start time.Time) error {
	if !w.needsOlder(start) {
		return nil
	}
	w.ahead.onPassed = w.passed(ctx, extent{isSilent: true})
	w.ahead.begin(ctx, w.pending(time.Time{}, e.lower), aheadLeast)
	defer func() { w.ahead.stop() }()
	for ctx.Err() == nil && w.needsOlder(start) {
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

// maxAbove is how many names above an extent are read at once.
const maxAbove = 64

// lookUp reads names above an extent, the oldest ones first, until some are trusted,
// where the extent itself does not show a chain: the trail may have begun later, as a
// starting digest proves, or all of its digests may be gone from the range. Within a
// part of them the newest come first, since in a copy without sidecars only the next
// digest proves one.
func (w *walk) lookUp(ctx context.Context, e extent) error {
	if len(w.chains) > 0 || w.scope.isWalkedInto(w.names) {
		return nil
	}
	above := w.pending(e.upper, endOfTime())
	for len(w.chains) == 0 && len(above) > 0 {
		part := above[max(0, len(above)-maxAbove):]
		if err := w.passNames(ctx, part, extent{lower: e.lower, upper: part[0].end()}); err != nil {
			return err
		}
		above = above[:len(above)-len(part)]
	}
	if len(w.chains) > 0 { // its names may have led to a bucket that was not listed
		return w.pass(ctx, e)
	}
	return nil
}

// needsOlder reports whether it is not yet known what came before some chain.
func (w *walk) needsOlder(start time.Time) bool {
	if len(w.chains) == 0 {
		// Where another trail's chain leads to the newest name, that is the answer.
		return !w.scope.isWalkedInto(w.names)
	}
	return slices.ContainsFunc(w.chains, func(c *strands) bool {
		switch b := c.bottom; b.kind {
		case starting, broken:
			return c.joined == nil && b.ref.End.After(start)
		case unnamed:
			return c.joined == nil && c.from.After(start)
		}
		return false
	})
}
