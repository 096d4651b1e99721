package verify

import (
	"context"
	"slices"
	"time"

	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
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
	// Where another trail's chain leads to the names, that is the answer.
	if !w.needsOlder(start) || len(w.chains) == 0 && w.scope.isWalkedInto(w.names) {
		return nil
	}
	w.ahead.onPassed = w.passed(ctx, extent{isSilent: true})
	w.ahead.begin(ctx, w.pending(time.Time{}, e.lower), aheadLeast)
	defer func() { w.ahead.stop() }()
	tried := 0
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
		// Where names of the range were not read, others tell that there is a chain.
		tried++
		if tried >= maxUnread || !w.isLastKnown() && !w.lastUnread.End.After(w.r.cfg.Start) {
			break
		}
	}
	return ctx.Err()
}

// maxUnread is how many names are tried where the last one was not read.
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
	return len(w.chains) == 0 || slices.ContainsFunc(w.chains, func(c *strands) bool {
		switch b := c.bottom; b.kind {
		case starting, broken:
			return c.joined == nil && b.ref.End.After(start)
		case unnamed:
			return c.joined == nil && c.from.After(start)
		}
		return false
	})
}

// extend reads more digests of the chains than those of an extent, for what they
// list. It does not report them.
func (w *walk) extend(ctx context.Context, from, to extent) error {
	to.isSilent, w.more = true, true
	for _, c := range w.chains {
		if b := c.bottom; c.joined == nil && b.kind == atRange && b.named != nil && c.oldest.After(to.lower) {
			w.ahead.onPassed = w.passed(ctx, to)
			w.ahead.begin(ctx, w.pending(to.lower, b.ref.End), aheadMost)
			w.strand(ctx, c, b.ref, b.named, to)
			w.ahead.stop()
		}
	}
	for _, names := range [][]name{w.pending(to.lower, from.upper), w.pending(from.upper, to.upper)} {
		if err := w.passNames(ctx, names, to); err != nil {
			return err
		}
	}
	if err := w.lookBackTo(ctx, to, to.lower); err != nil {
		return err
	}
	for _, c := range w.chains {
		if b := c.bottom; c.joined == nil && b.kind == starting && c.began.IsZero() &&
			(w.unread == nil || !w.unread.End.Before(b.ref.End)) {
			c.began = b.ref.End
		}
	}
	return nil
}

// finish says, when all walks of the scope have ended, what came before each
// chain and where the names that are not proven belong.
func (w *walk) finish(ctx context.Context) {
	for _, c := range w.chains {
		if c.joined != nil {
			continue
		}
		if u := w.lastUnread; u != nil && u.End.After(c.newest) {
			c.unread = u
		}
		switch b := c.bottom; {
		case c.name.Backfill:
		case b.kind == starting && w.unread != nil && w.unread.End.Before(b.ref.End):
			c.filled.add(w.r.cfg.Start, b.ref.End, report.Unverified)
			if b.ref.End.After(w.r.cfg.Start) {
				w.tell(ctx, w.unread)
			}
		case b.kind == starting && w.ahead.listed[site{b.ref.Bucket, b.ref.Place}] != nil:
			c.filled.add(w.r.cfg.Start, b.ref.End, report.Unverified)
			if b.ref.End.After(w.r.cfg.Start) && !w.names.isSilent {
				folder := trail.Object{Bucket: b.ref.Bucket, Key: b.ref.Folder(trail.DigestFolder)}
				w.r.doubt(
					ctx,
					subject(b.ref.Chain, folder, w.r.cfg.Start),
					w.ahead.listed[site{b.ref.Bucket, b.ref.Place}],
					0,
				)
			}
		case b.kind == starting:
			c.began = b.ref.End
		case b.kind == broken && b.unread != nil:
			c.filled.add(w.r.cfg.Start, b.ref.End, report.Unverified)
			if b.ref.End.After(w.r.cfg.Start) {
				w.tell(ctx, b.unread)
			}
		case b.kind == broken:
			if isStart, err := chain.Starting(ctx, w.r.keys, b.ref.DigestKey, b.named.Previous); err == nil && isStart {
				c.began = b.ref.End
			}
		}
	}
	w.unreadEnd(ctx)
	var to *strands
	for _, c := range w.chains {
		if c.joined == nil && !c.name.Backfill {
			to = c
			break
		}
	}
	w.place(to)
}

// unreadEnd reports a trail without a proven digest, if its newest digest before the
// range was not read: the trail can have ended at an unknown time. An end that the
// user acknowledged is listed without proof.
func (w *walk) unreadEnd(ctx context.Context) {
	u := w.unread
	isSaid := slices.ContainsFunc(w.strays, func(s stray) bool { return s.state == report.Unverified })
	if len(w.chains) > 0 || isSaid || u == nil || w.names.isSilent || u.Backfill || w.asked(u.End, extent{}) ||
		w.scope.isWalkedInto(w.names) {
		return
	}
	if w.isLastKnown() {
		w.r.mu.Lock()
		defer w.r.mu.Unlock()
		last := &strands{name: w.lastUnread.Chain, newest: w.lastUnread.End}
		w.r.ended = append(w.r.ended, w.r.chainEnd(last, last.newest))
		return
	}
	if finding.ReasonOf(u.Verdict.Err) != finding.NoSignature {
		w.judged(ctx, *u, u.Verdict, u.At, 1)
	}
}

// place gives the names that are not proven to the chain that they are named for,
// where there is one. A name fills an hour that trusted digests do not cover only if
// it ends where a digest of the chain would.
func (w *walk) place(c *strands) {
	for _, s := range w.strays {
		switch {
		case c == nil:
			w.stray.filled.add(s.end.Add(-window), s.end, s.state)
		case s.end.Sub(c.newest)%window == 0 || s.end.Sub(c.oldest)%window == 0:
			c.filled.add(s.end.Add(-window), s.end, s.state)
		}
	}
	if c != nil && !w.names.isSilent {
		w.stray.joined = c.root()
		c.root().parts = append(c.root().parts, w.stray)
	}
}
