package verify

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/ended"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// cover gives every asked hour of every chain a state, and reports the hours that
// no digest covers. Backfill chains do not have hours of their own.
//
// The end of a chain has one rule: an end in the range, or in the hour before it,
// is a coverage finding; an earlier one, too, until it is acknowledged.
func (r *run) cover() {
	due := r.due()
	r.notDue = r.notDue || len(r.chains) == 0 && due.Before(r.cfg.End)
	ends := map[trailEnd][]*strands{}
	for _, c := range r.chains {
		if c.name.Backfill || c.isSilent {
			continue
		}
		begin := r.cfg.Start
		if !c.began.IsZero() && c.began.After(r.cfg.Start) {
			begin = c.began
			if c.isPartial {
				c.filled.add(r.cfg.Start, earlier(begin, r.cfg.End), report.Unverified)
			} else {
				c.filled.add(r.cfg.Start, earlier(begin, r.cfg.End), report.NotBegun)
				r.began = append(r.began, r.chainEnd(c, c.began))
			}
		}
		for _, hole := range c.holes(begin, due) {
			if c.isPartial { // told with the folder
				c.filled.add(hole.Start, hole.End, report.Unverified)
				continue
			}
			if !hole.Start.Before(c.newest.UTC()) { // names that are not proven do not divide the time after the end
				if r.mayGoOn(c) {
					c.filled.add(hole.Start, due, report.NotDue)
				} else {
					r.end(c, report.Range{Start: hole.Start, End: due.UTC()}, ends)
				}
				break
			}
			c.filled.add(hole.Start, hole.End, report.Uncovered)
			detail := "no digest"
			if hole.Start.Equal(r.cfg.Start.UTC()) {
				detail = fmt.Sprintf(
					"no digest before the one that ends at %s: deleted, or validation was not yet on",
					c.oldest.Format(time.RFC3339),
				)
			}
			r.find(finding.Finding{
				Class: finding.Coverage, Detail: detail, Subject: r.chainSubject(c, hole.Start),
				Evidence: finding.Evidence{From: hole.Start, To: hole.End},
			})
		}
	}
	r.reportEnds(ends)
}

// mayGoOn reports whether the next digest of a chain is not late yet: the grace
// counts from the end of its hour.
func (r *run) mayGoOn(c *strands) bool {
	return c.newest.Add(window).After(r.cfg.Now.Add(-r.cfg.Grace))
}

// holes returns the parts of a time for which the chain does not have a segment.
func (c *strands) holes(from, to time.Time) []report.Range {
	all := timeline{segments: slices.Concat(c.time.segments, c.filled.segments)}
	return all.uncovered(from, to)
}

// covered returns what is known of the asked time, without holes. What trusted
// digests say outweighs names that are not proven.
func (r *run) covered(c *strands) []report.Segment {
	if c.name.Backfill {
		return []report.Segment{}
	}
	known := c.time.within(r.cfg.Start, r.cfg.End)
	rest := timeline{}
	for _, hole := range c.time.uncovered(r.cfg.Start, r.cfg.End) {
		at := hole.Start
		for _, s := range c.filled.within(hole.Start, hole.End) {
			rest.addHole(at, s.Start, r.due())
			rest.add(s.Start, s.End, s.State)
			at = s.End
		}
		rest.addHole(at, hole.End, r.due())
	}
	known = append(known, rest.segments...)
	slices.SortFunc(known, func(a, b report.Segment) int { return a.Start.Compare(b.Start) })
	var out []report.Segment
	for _, s := range known {
		out = appendSegment(out, s)
	}
	return out
}

// addHole adds time that is not known: the part that is due is uncovered.
func (t *timeline) addHole(from, to, due time.Time) {
	if due.After(from) {
		t.add(from, earlier(to, due), report.Uncovered)
	}
	t.add(later(from, due), to, report.NotDue)
}

// trailEnd tells the ends of one trail in one hour from others. Trails of several
// accounts that have one name count as one: a landing zone sets one up in each
// account, and takes all down at once.
type trailEnd struct {
	trail, home string
	hour        int64
}

// end takes the time after a chain's newest trusted digest.
func (r *run) end(c *strands, hole report.Range, ends map[trailEnd][]*strands) {
	standing, last := r.cfg.Ended.Judge(c.name, c.newest)
	r.ends = append(r.ends, r.chainEnd(c, c.newest))
	switch {
	case standing == ended.Earlier && c.unread != nil: // which can be the acknowledged one
		c.filled.add(hole.Start, hole.End, report.Unverified)
		if u := c.unread; !r.inRange(u.End) {
			r.doubt(r.logCtx, subject(u.Chain, u.At, u.End), u.Verdict.Err, 1)
		}
	case standing == ended.Earlier:
		c.filled.add(hole.Start, hole.End, report.Uncovered)
		r.find(finding.Finding{
			Class: finding.Coverage, Subject: r.chainSubject(c, c.newest),
			Detail: fmt.Sprintf(
				"ends at %s, earlier than its acknowledged end %s: digests are gone",
				c.newest.Format(time.RFC3339),
				last.Format(time.RFC3339),
			),
			Evidence: finding.Evidence{From: c.newest, To: last},
		})
	case r.isAcknowledged(c):
		c.filled.add(hole.Start, r.cfg.End, report.Ended)
		r.ended = append(r.ended, r.chainEnd(c, c.newest))
	default:
		c.filled.add(hole.Start, hole.End, report.Uncovered)
		at := trailEnd{c.name.Trail, c.name.HomeRegion, c.newest.Truncate(time.Hour).Unix()}
		ends[at] = append(ends[at], c)
	}
}

// isAcknowledged reports whether a chain ended before the range, and the user
// knows.
func (r *run) isAcknowledged(c *strands) bool {
	standing, _ := r.cfg.Ended.Judge(c.name, c.newest)
	return standing == ended.Acknowledged && c.newest.Before(r.cfg.Start.Add(-window))
}

// reportEnds reports the ends of one trail in one hour as one finding.
func (r *run) reportEnds(ends map[trailEnd][]*strands) {
	for _, chains := range ends {
		slices.SortFunc(chains, func(a, b *strands) int { return compareChains(a.name, b.name) })
		first := chains[0]
		from, newest := first.newest, first.newest
		s := r.chainSubject(first, later(first.newest, r.cfg.Start))
		var names []string
		for _, c := range chains {
			from, newest = earlier(from, c.newest), later(newest, c.newest)
			names = append(names, c.name.String())
			if c.name.Account != s.Account {
				s.Account = ""
			}
			if c.name.Region != s.Region {
				s.Region = ""
			}
		}
		s.Time = later(from, r.cfg.Start).UTC()
		detail := fmt.Sprintf("no digest after the one that ends at %s: deleted, late, or logging stopped",
			newest.Format(time.RFC3339))
		e := finding.Evidence{From: s.Time, To: r.due().UTC()}
		if len(chains) > 1 {
			detail = fmt.Sprintf(
				"%d chains of the trail have no digest after the hour of %s: deleted, late, or logging stopped",
				len(chains),
				newest.Format(time.RFC3339),
			)
			e.Chains = names
		}
		r.find(finding.Finding{Class: finding.Coverage, Subject: s, Detail: detail, Evidence: e})
	}
}

func (r *run) chainSubject(c *strands, t time.Time) finding.Subject {
	return finding.Subject{
		Account: c.name.Account,
		Region:  c.name.Region,
		Trail:   c.name.Trail,
		Bucket:  r.cfg.Source.Signed(),
		Time:    t.UTC(),
	}
}

func (r *run) chainEnd(c *strands, at time.Time) report.ChainEnd {
	n := c.name
	return report.ChainEnd{
		Account: n.Account, Region: n.Region, Trail: n.Trail, HomeRegion: n.HomeRegion,
		Organization: n.Organization, Prefix: n.Prefix, At: at.UTC(),
	}
}

func compareChains(a, b trail.Chain) int {
	return cmp.Or(
		strings.Compare(a.Organization, b.Organization),
		strings.Compare(a.Account, b.Account),
		strings.Compare(a.Region, b.Region),
		strings.Compare(a.Trail, b.Trail),
		strings.Compare(a.HomeRegion, b.HomeRegion),
		strings.Compare(a.Prefix, b.Prefix),
		compareBool(a.Backfill, b.Backfill),
	)
}
