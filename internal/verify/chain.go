package verify

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// chain is a digest chain and what is known of it.
type chain struct {
	*run
	name   trail.Chain       // with the place of its newest digest
	items  []discover.Digest // oldest first; nil once the walk has begun
	newest time.Time         // the end of the last of them
	oldest time.Time         // the end of the first that is selected; zero where none is
	silent bool              // nothing is reported: walked for what it lists
	time   timeline          // owned by the walk
	starts timeline          // hours of starting digests, whose logs were not yet listed; owned by the walk
	listed *listedSet        // the scope's; owned by its walks

	mu      sync.Mutex // guards the counts, to which log checks add
	digests report.Count
	logsOf  report.Count
}

func newChain(r *run, items []discover.Digest) *chain {
	slices.SortStableFunc(items, func(a, b discover.Digest) int { return a.End.Compare(b.End) })
	c := &chain{run: r, name: items[len(items)-1].Chain, items: items, newest: items[len(items)-1].End}
	if first, last := c.bounds(); first < last {
		c.oldest = items[first].End
	}
	return c
}

// asked reports whether something is to be said of a digest.
func (c *chain) asked(end time.Time) bool { return !c.silent && c.inRange(end) }

// inRange reports whether a digest's hour touches the asked range.
func (c *chain) inRange(end time.Time) bool {
	return end.After(c.Start) && end.Add(-window).Before(c.End)
}

// selected turns the items into the digests to read, newest first: those of the
// asked range and one neighbour at each end. The neighbours are read for what
// they say (the newer one repeats the signature of the last in the range, both
// may list log files of the range's edges, the older one shows where a gap
// began), and nothing is reported of them.
func (c *chain) selected() []discover.Digest {
	first, last := c.bounds()
	out := c.items[first:last:last]
	c.items = nil // a month of each chain of an organization, or ten years of one: very many
	slices.Reverse(out)
	return out
}

// bounds returns where among the items the selected ones begin and end.
func (c *chain) bounds() (first, last int) {
	asked := func(l discover.Digest) bool { return c.inRange(l.End) }
	first = slices.IndexFunc(c.items, asked)
	if first < 0 {
		return 0, 0
	}
	for last = len(c.items); !asked(c.items[last-1]); last-- {
	}
	return max(first-1, 0), min(last+1, len(c.items))
}

// fetched is what reading a digest gave.
type fetched struct {
	at    trail.Object
	file  fetch.File
	later bool // too large to be read ahead of its turn
	err   error
}

func (c *chain) get(ctx context.Context, l discover.Digest) fetched {
	o := l.Object()
	file, later, err := c.Fetcher.DigestAhead(ctx, o)
	return fetched{at: o, file: file, later: later, err: err}
}

// state counts a digest and marks its time.
func (c *chain) state(start, end time.Time, s report.State) {
	c.time.add(start, end, s)
	c.count(s)
}

// count counts a digest.
func (c *chain) count(s report.State) {
	c.Progress.Digests.Add(1)
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

func (c *chain) countLog(valid, invalid, unverified int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.logsOf.Add(report.Count{Valid: valid, Invalid: invalid, Unverified: unverified})
}

func (c *chain) findDigest(class finding.Class, o trail.Object, end time.Time, detail string, e finding.Evidence) {
	c.find(finding.Finding{Class: class, Subject: subject(c.name, o, end), Detail: detail, Evidence: e})
}

// cover marks what is not due yet and reports the asked time that nothing
// covers. Backfill chains have no hours of their own.
func (c *chain) cover() {
	if c.name.Backfill || c.silent {
		return
	}
	due := c.Now.Add(-c.Grace)
	if due.After(c.End) {
		due = c.End
	}
	c.time.add(later(due, c.Start), c.End, report.NotDue)
	known := c.time.within(c.Start, c.End)
	for _, hole := range c.time.uncovered(c.Start, due) {
		c.find(finding.Finding{
			Class: finding.Coverage, Detail: c.holeDetail(hole, known),
			Subject:  finding.Subject{Account: c.name.Account, Region: c.name.Region, Trail: c.name.Trail, Bucket: c.Source.Bucket, Time: hole.Start},
			Evidence: finding.Evidence{From: hole.Start, To: hole.End},
		})
	}
}

func (c *chain) holeDetail(hole report.Range, known []report.Segment) string {
	stamp := func(t time.Time) string { return t.Format(time.RFC3339) }
	switch {
	case c.oldest.IsZero():
		return "no digest in the asked time; the nearest found ends at " + stamp(c.newest)
	case len(known) > 0 && !hole.Start.Before(known[len(known)-1].Start):
		return "no digest after the one that ends at " + stamp(c.newest) + ": deleted, late, or logging stopped"
	case hole.Start.Equal(c.Start.UTC()):
		return "no digest before the one that ends at " + stamp(c.oldest) + ": deleted, or validation was not yet on"
	}
	return "no digest"
}

func (c *chain) result() report.Chain {
	c.mu.Lock()
	defer c.mu.Unlock()
	covered := []report.Segment{}
	if !c.name.Backfill {
		covered = append(covered, c.time.within(c.Start, c.End)...)
	}
	n := c.name
	return report.Chain{
		Account: n.Account, Region: n.Region, Trail: n.Trail, HomeRegion: n.HomeRegion, Organization: n.Organization,
		Prefix: n.Prefix, Backfill: n.Backfill, Digests: c.digests, Logs: c.logsOf, Covered: covered,
	}
}

// doubtful reports whether some of the chain's time in the asked range is
// neither verified nor a gap.
func (c *chain) doubtful() bool {
	return slices.ContainsFunc(c.time.within(c.Start, c.End), func(s report.Segment) bool {
		return s.State != report.Verified && s.State != report.Gap
	})
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// previousKey parses the name that a digest gives its predecessor; false where
// that is no digest of the same chain.
func (c *chain) previousKey(p *digest.Previous) (trail.DigestKey, bool) {
	k, err := trail.ParseDigestKey(p.Object)
	return k, err == nil && sameChain(k.Chain, c.name)
}

// sameChain compares all but the place's prefix and organization, which a
// trail may change.
func sameChain(a, b trail.Chain) bool {
	a, b = bare(a), bare(b)
	return a == b
}
