package verify

import (
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
	isSilent bool        // nothing is reported
	// isPartial says that a digest folder of the account and region was not listed:
	// the chain may go on there.
	isPartial bool

	// Owned by the scope's walks until they have ended.
	joined *strands             // the chain that this one became part of
	parts  []*strands           // the chains that became part of this one
	places map[trail.Place]bool // where trusted digests lie or list logs
	time   timeline             // what trusted digests say of the time
	starts timeline             // hours of starting digests, whose logs were not yet listed
	filled timeline             // names that are not proven, where nothing else is known
	newest time.Time            // the end of the newest trusted digest
	oldest time.Time            // the end of the oldest one
	from   time.Time            // the beginning of its hour
	bottom bottom               // how the oldest strand ended
	unread *chain.Step          // a name after the newest trusted digest that was not judged
	began  time.Time            // the end of the starting digest that nothing trusted comes before

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
	// isUnread says that the digest which broke the chain off was not judged: the
	// chain may go on where only that digest knows.
	isUnread bool
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
	known, starts, filled := slices.Clone(c.time.segments), slices.Clone(c.starts.segments), slices.Clone(c.filled.segments)
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
