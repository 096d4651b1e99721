package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// strands are a chain: strands of trusted digests that follow each other in time.
// Where a later strand turns out to lead into an earlier one, the two are joined:
// root is then the chain that both are part of.
type strands struct {
	name     trail.Chain // with the place of its newest trusted digest
	isSilent bool        // the report leaves it out
	// isPartial says that a digest folder of the account and region was not listed:
	// the chain may go on there.
	isPartial bool

	// Owned by the scope's walks until they have ended.
	joined *strands             // the chain that this one became part of
	parts  []*strands           // the chains that became part of this one
	places map[trail.Place]bool // where trusted digests lie or list logs
	time   timeline             // what trusted digests say of the time
	starts timeline             // hours of starting digests, whose logs were not yet listed
	filled timeline             // names that are not proven, in time that time does not cover
	newest time.Time            // the end of the newest trusted digest
	oldest time.Time            // the end of the oldest one
	from   time.Time            // the beginning of its hour
	bottom bottom               // how the oldest strand ended
	unread *chain.Step          // a name after the newest trusted digest that was not judged
	began  time.Time            // the end of the starting digest, if it is the oldest trusted digest

	mu      sync.Mutex // guards the counts, to which log checks add
	digests report.Count
	logs    report.Count
}

// bottom is how the oldest strand of a chain ended.
type bottom struct {
	kind  bottomKind
	at    trail.Object // the starting digest, or the one that broke the chain off
	ref   chain.Ref    // of it; for atRange the next one by its signed name
	named *chain.Successor
	// unread is the digest that broke the chain off, where it was not judged: the
	// chain may go on where only that digest knows.
	unread *chain.Step
}

type bottomKind int

const (
	atRange  bottomKind = iota // the walk stopped because it had left the range
	starting                   // a starting digest
	broken                     // the named digest is gone, altered or was not read
	unnamed                    // the named predecessor cannot be one
	joins                      // it leads into a chain that was walked before
)

func (c *strands) root() *strands {
	for c.joined != nil {
		c = c.joined
	}
	return c
}

// join makes c and all its parts a part of the chain o.
func (c *strands) join(o *strands) {
	c, o = c.root(), o.root()
	if c == o {
		return
	}
	c.joined = o
	o.parts = append(o.parts, c)
	o.parts = append(o.parts, c.parts...)
	for p := range c.places {
		o.places[p] = true
	}
	o.time.segments = append(o.time.segments, c.time.segments...)
	o.starts.segments = append(o.starts.segments, c.starts.segments...)
	if c.newest.After(o.newest) {
		o.newest, o.name = c.newest, c.name
	}
	if c.oldest.Before(o.oldest) {
		o.oldest, o.from, o.bottom = c.oldest, c.from, c.bottom
	}
}

// save returns what makes the chain again what it is now, but for the places and
// counts.
func (c *strands) save() (restore func()) {
	name, joined, parts := c.name, c.joined, slices.Clone(c.parts)
	known, starts := slices.Clone(c.time.segments), slices.Clone(c.starts.segments)
	filled := slices.Clone(c.filled.segments)
	newest, oldest, from, bottom, began := c.newest, c.oldest, c.from, c.bottom, c.began
	return func() {
		c.name, c.joined, c.parts = name, joined, parts
		c.time.segments, c.starts.segments, c.filled.segments = known, starts, filled
		c.newest, c.oldest, c.from, c.bottom, c.began = newest, oldest, from, bottom, began
	}
}

// startsWithin reports whether the chain begins with a starting digest less than an
// hour before a time. The last digest of a trail that was made anew can end after the
// first one of the new trail.
func (c *strands) startsWithin(end time.Time) bool {
	return c.bottom.kind == starting && end.Before(c.bottom.ref.End.Add(window))
}

// overlaps reports whether trusted digests cover more than half an hour of the
// given time. A strand that follows another can begin in its last hour.
func (c *strands) overlaps(from, to time.Time) bool {
	var sum time.Duration
	for _, s := range c.time.within(from, to) {
		if s.State == report.Verified {
			sum += s.End.Sub(s.Start)
		}
	}
	return sum > window/2
}

// count counts a digest.
func (c *strands) count(s report.State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch s {
	case report.Verified:
		c.digests.Valid++
	case report.Unverified:
		c.digests.Unverified++
	default:
		c.digests.Invalid++
	}
}

func (c *strands) countLogs(n report.Count) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.logs.Add(n)
}

// counts returns the sums of the chain and its parts.
func (c *strands) counts() (digests, logs report.Count) {
	for _, p := range append([]*strands{c}, c.parts...) {
		p.mu.Lock()
		digests.Add(p.digests)
		logs.Add(p.logs)
		p.mu.Unlock()
	}
	return digests, logs
}

// stateOf returns the state of the time that a digest covers. A trusted digest
// vouches for its hour even where something is wrong with its file.
func stateOf(v chain.Verdict) report.State {
	switch {
	case v.Status == chain.Unverified:
		return report.Unverified
	case v.Trusted:
		return report.Verified
	case v.Class == finding.DigestMissing:
		return report.Missing
	}
	return report.Invalid
}

// countedAs returns how a digest is counted: a trusted one with a fault of its
// file is not valid.
func countedAs(v chain.Verdict) report.State {
	if v.Status == chain.Invalid {
		return report.Invalid
	}
	return stateOf(v)
}

// keepBottom returns what sets the bottom of a chain back to what it is now, where a
// strand that begins above the oldest digest did not lead below it. Before a starting
// digest there, logging was off.
func (w *walk) keepBottom(c *strands, end time.Time) func() {
	bottom, oldest, newest := c.bottom, c.oldest, c.newest
	return func() {
		if oldest.IsZero() || !end.After(oldest) || c.joined != nil || !c.oldest.Equal(oldest) {
			return
		}
		above := c.bottom
		if c.bottom = bottom; above.kind == starting && above.ref.End.After(newest) {
			w.openGap(c, newest, above.ref.End, above.at, "")
		}
	}
}

// bridge looks at the time between the bottom of a chain and the trusted digest s
// that comes before it.
func (w *walk) bridge(ctx context.Context, c *strands, s chain.Step) {
	if c.oldest.IsZero() || !s.End.Before(c.oldest) || s.Backfill {
		return
	}
	b := c.bottom
	c.bottom = bottom{kind: atRange}
	switch b.kind {
	case starting:
		w.openGap(c, s.End, b.ref.End, b.at, w.mayBeLater(s.End, b.ref.End))
	case broken:
		isStart, err := chain.Starting(ctx, w.r.keys, b.ref.DigestKey, b.named.Previous)
		follows, followsErr := chain.Follows(ctx, w.r.keys, b.ref.DigestKey, b.named.Previous, s.Verdict.Signature)
		switch {
		case isStart:
			w.openGap(
				c,
				s.End,
				b.ref.End,
				b.at,
				"; the starting digest itself is gone, altered or was not read"+w.mayBeLater(s.End, b.ref.End),
			)
		case follows:
		case err != nil, followsErr != nil, b.unread != nil, !w.scope.isComplete:
			// Only what was not read says where those between lie. A folder that was not
			// listed is told as such.
			c.time.add(s.End, b.ref.End.Add(-window), report.Unverified)
			if !s.End.Before(w.r.cfg.End) || !b.ref.End.Add(-window).After(w.r.cfg.Start) {
				break
			}
			w.tell(ctx, b.unread)
			if err = errors.Join(err, followsErr); err != nil && !w.more && !w.names.isSilent {
				w.r.doubt(ctx, subject(b.ref.Chain, b.at, b.ref.End), err, 1)
			}
		default:
			w.missing(c, s.End, b.ref.End.Add(-window))
		}
	case unnamed:
		w.missing(c, s.End, c.from)
	}
}

// mayBeLater says where a digest in a gap was not read, that can be the last one
// before it.
func (w *walk) mayBeLater(from, to time.Time) string {
	var last time.Time
	for _, end := range w.unreadEnds {
		if end.After(from) && end.Before(to) && end.After(last) {
			last = end
		}
	}
	switch {
	case !w.scope.isComplete:
		return "; a digest folder of the account and region was not listed, and can hold later ones than the last before the gap"
	case last.IsZero():
		return ""
	}
	return fmt.Sprintf(
		"; the digest that ends at %s was not proven, and can be the last one before the gap",
		last.Format(time.RFC3339),
	)
}

// tell says why a digest was not judged, where that leaves asked time open and the
// digest itself was not asked for. The digest may be nil.
func (w *walk) tell(ctx context.Context, s *chain.Step) {
	if s != nil && !w.more && !w.names.isSilent && !w.asked(s.End, extent{}) {
		w.judged(ctx, *s, s.Verdict, s.At, 1)
	}
}

// missing reports the digests that are due between two trusted ones. An hour
// whose own name is there was looked at as that.
func (w *walk) missing(c *strands, older, newer time.Time) {
	for t := range chain.Due(older, newer) {
		if w.names.has(t) {
			continue
		}
		c.time.add(t.Add(-window), t, report.Missing)
		if !w.asked(t, extent{isSilent: w.more}) {
			continue
		}
		o := trail.Object{Bucket: w.r.cfg.Source.Signed(), Key: c.name.Digest(t).String()}
		w.r.find(finding.Finding{Class: finding.DigestMissing, Subject: subject(c.name, o, t), Detail: chain.DetailDue})
		w.counted(c, report.Missing)
	}
}
