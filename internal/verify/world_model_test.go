package verify_test

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// issued is a digest that a store holds.
type issued struct {
	*testtrail.Issued
	chain *testtrail.Chain
	name  trail.Chain // with the place of this digest
	start time.Time
	isOld bool // it lies in a bucket that is not the source
}

// digests returns the digests that a store holds.
func (tr *trial) digests(s *testtrail.Store) (all []issued) {
	for _, c := range tr.Chains {
		for _, d := range c.Issued {
			if _, there := s.Stored(d.Bucket, d.Key); there {
				k, err := trail.ParseDigestKey(d.Key)
				if err != nil {
					panic(err)
				}
				start, _ := time.Parse(time.RFC3339, d.Doc.Start)
				all = append(all, issued{d, c, k.Chain, start, d.Bucket != tr.Source})
			}
		}
	}
	return all
}

func (d issued) isStarting() bool { return d.Doc.PrevObject == nil }

// reachable leaves out what the source does not lead to: digests in another bucket
// that no digest names, or that lie where no digest is named.
func (tr *trial) reachable(all []issued) []issued {
	if tr.q.medium != inBucket {
		return all
	}
	type folder struct {
		chain  *testtrail.Chain
		bucket string
		place  trail.Place
	}
	until := map[folder]time.Time{} // folders that are listed, up to the digest that is named there
	named := map[string]bool{}
	for i := len(all) - 1; i >= 0; i-- { // of each chain, the newest first
		d := all[i]
		in := folder{d.chain, d.Bucket, d.name.Place}
		if named[d.Key] && until[in].IsZero() {
			until[in] = d.End
		}
		if d.Doc.PrevObject != nil && (!d.isOld || !until[in].IsZero()) {
			named[*d.Doc.PrevObject] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(d issued) bool {
		return d.isOld && until[folder{d.chain, d.Bucket, d.name.Place}].IsZero()
	})
}

// span is a stretch of time.
type span struct{ from, to time.Time }

func (s span) overlaps(o span) bool { return s.from.Before(o.to) && o.from.Before(s.to) }

// union returns the sorted spans without overlaps, cut to a range.
func union(spans []span, within span) (out []span) {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Or(a.from.Compare(b.from), a.to.Compare(b.to)) })
	for _, s := range spans {
		if s.from.Before(within.from) {
			s.from = within.from
		}
		if s.to.After(within.to) {
			s.to = within.to
		}
		switch n := len(out); {
		case !s.from.Before(s.to):
		case n > 0 && !s.from.After(out[n-1].to):
			if s.to.After(out[n-1].to) {
				out[n-1].to = s.to
			}
		default:
			out = append(out, span{s.from.UTC(), s.to.UTC()})
		}
	}
	return out
}

// complement returns what the spans leave of a range.
func complement(spans []span, within span) []span {
	var rest []span
	at := within.from
	for _, s := range union(spans, within) {
		rest = append(rest, span{at, s.from})
		at = s.to
	}
	return union(append(rest, span{at, within.to}), within)
}

// uncovered returns the asked and due time of each chain's life in which logging
// was off, by the chain's name without a place.
func (tr *trial) uncovered(all []issued) map[string][]span {
	out := map[string][]span{}
	covered := map[string][]span{}
	begin, newest := map[string]time.Time{}, map[string]time.Time{}
	for _, d := range all {
		id := d.name.Identity().String()
		if d.name.Backfill || !tr.q.wants(d.name) {
			continue
		}
		if begin[id].IsZero() {
			begin[id] = d.End
		}
		if d.End.After(newest[id]) {
			newest[id] = d.End
		}
		if !d.isStarting() {
			covered[id] = append(covered[id], span{d.start, d.End})
		}
	}
	for id, from := range begin {
		if from.Before(tr.q.start) {
			from = tr.q.start
		}
		holes := complement(covered[id], span{from, tr.q.due()})
		// The grace of the next digest counts from the end of its hour.
		if n := len(holes); n > 0 && !holes[n-1].from.Before(newest[id]) && newest[id].Add(time.Hour).After(tr.q.now.Add(-tr.q.grace)) {
			holes = holes[:n-1]
		}
		if len(holes) > 0 {
			out[id] = holes
		}
	}
	return out
}

// off returns the time that the report's gap and coverage findings name, by chain.
func (tr *trial) off(r *report.Report) map[string][]span {
	named := map[string][]span{}
	for _, f := range r.Findings {
		if f.Key != "" || f.Trail == "" {
			continue
		}
		ids := f.Evidence.Chains
		for _, c := range r.Chains {
			if len(f.Evidence.Chains) == 0 && c.Account == f.Account && c.Region == f.Region && c.Trail == f.Trail && !c.Backfill {
				ids = append(ids, nameOf(c))
			}
		}
		slices.Sort(ids)
		for _, id := range slices.Compact(ids) {
			named[id] = append(named[id], span{f.Evidence.From, f.Evidence.To})
		}
	}
	for id, spans := range named {
		if named[id] = union(spans, span{tr.q.start, tr.q.due()}); len(named[id]) == 0 {
			delete(named, id)
		}
	}
	return named
}

func nameOf(c report.Chain) string {
	n := trail.Chain{Place: trail.Place{Account: c.Account, Region: c.Region}, Trail: c.Trail, HomeRegion: c.HomeRegion, Backfill: c.Backfill}
	return n.String()
}

// checkUntouched compares the report on an untouched world with what the world
// itself has.
func (tr *trial) checkUntouched(s *testtrail.Store, r *report.Report) bool {
	asked, lost := 0, 0
	logs := map[string]bool{}
	heads := tr.heads(s)
	all := tr.reachable(tr.digests(s))
	for _, d := range all {
		if !tr.q.asks(d.End) || !tr.q.wants(d.name) {
			continue
		}
		asked++
		if tr.lost[d.Key] && heads[d.Key] {
			lost++
		}
		for _, l := range d.Doc.Logs {
			logs[trail.Tail(l.Object)] = true
		}
	}
	isGood := true
	bad := func(what string, args ...any) {
		isGood = false
		tr.fail("untouched: "+what+"\n%s%s", append(args, details(r), tr.describe(s))...)
	}
	got := entries(r)
	if lost > 0 { // nothing proves a head without a sidecar
		if r.Verdict == report.Intact || r.Counts.Digests.Unverified < 1 {
			bad("%s, though %d digests have no signature", r.Verdict, lost)
		}
	}
	pending := tr.pending(s)
	for _, e := range got {
		if e.kind == unverified+"no-signature" && pending[e.key] {
			continue
		}
		if e.kind == "coverage" && e.account == "" && len(tr.q.trails) > 0 && asked == 0 {
			continue // the trail does not have a digest in the range
		}
		if e.kind == "coverage" && e.trail == "" && tr.hasUndigested(s, e) {
			continue // the trail that wrote them has ended, and was not asked for
		}
		isOff := e.kind == "gap" || e.kind == "coverage" && e.trail != ""
		if !isOff && (len(tr.lost) == 0 || !strings.HasPrefix(e.kind, unverified)) {
			bad("%s", e)
		}
	}
	c := r.Counts
	if c.Digests.Invalid+c.Logs.Invalid > 0 || c.Digests.Valid+c.Digests.Unverified != asked {
		bad("digests %+v, logs %+v, want %d digests\n%s", c.Digests, c.Logs, asked, lines(got))
	}
	if len(tr.lost) > 0 {
		if c.Digests.Unverified != lost || c.Logs.Valid+c.Logs.Unverified > 2*len(logs) || c.Logs.Valid > len(logs) {
			bad("digests %+v, logs %+v, want %d unverified digests and %d logs", c.Digests, c.Logs, lost, len(logs))
		}
		return isGood
	}
	if c.Logs.Valid != len(logs) || c.Logs.Unverified > 0 {
		bad("logs %+v, want %d", c.Logs, len(logs))
	}
	want, named := tr.uncovered(all), tr.off(r)
	for _, id := range slices.Sorted(func(yield func(string) bool) {
		for id := range want {
			if !yield(id) {
				return
			}
		}
		for id := range named {
			if want[id] == nil && !yield(id) {
				return
			}
		}
	}) {
		if !slices.Equal(want[id], named[id]) {
			bad("off: %s\ngot  %v\nwant %v\n%s", id, named[id], want[id], lines(got))
		}
	}
	return isGood
}

// pending returns the log files that came before the digest that lists them. While
// the stamp of one that came late is due already, it cannot be judged.
func (tr *trial) pending(s *testtrail.Store) map[string]bool {
	logs := map[string]bool{}
	for _, c := range tr.Chains {
		for _, d := range c.Issued {
			_, isThere := s.Stored(d.Bucket, d.Key)
			for _, l := range d.Doc.Logs {
				if _, ok := s.Stored(l.Bucket, l.Object); ok && !isThere {
					logs[trail.Tail(l.Object)] = true
				}
			}
		}
	}
	for _, c := range tr.Chains { // delivered while validation was off: a trail that has ended vouches for nothing
		for _, o := range c.Undigested {
			logs[trail.Tail(o.Key)] = true
		}
	}
	// Those that a digest lists which is there are not pending.
	for _, d := range tr.digests(s) {
		for _, l := range d.Doc.Logs {
			delete(logs, trail.Tail(l.Object))
		}
	}
	return logs
}

// describe lists the digests that a store holds and their log files.
func (tr *trial) describe(s *testtrail.Store) string {
	if os.Getenv("TRAILSEAL_DESCRIBE") == "" {
		return ""
	}
	var b strings.Builder
	for _, d := range tr.digests(s) {
		lost := ""
		if tr.lost[d.Key] {
			lost = " lost"
		}
		fmt.Fprintf(&b, "  s3://%s/%s starting %t%s\n", d.Bucket, d.Key, d.isStarting(), lost)
		for _, l := range d.Doc.Logs {
			fmt.Fprintf(&b, "      s3://%s/%s\n", l.Bucket, l.Object)
		}
	}
	return b.String()
}

// heads returns the digests whose signature no digest in a store repeats.
func (tr *trial) heads(s *testtrail.Store) map[string]bool {
	heads := map[string]bool{}
	for _, d := range tr.digests(s) {
		heads[d.Key] = true
	}
	for _, d := range tr.digests(s) {
		if d.Doc.PrevObject != nil {
			delete(heads, *d.Doc.PrevObject)
		}
	}
	return heads
}

// hasDigests reports whether the source's own bucket holds a digest.
func (tr *trial) hasDigests(s *testtrail.Store) bool {
	return slices.ContainsFunc(tr.digests(s), func(d issued) bool { return !d.isOld || tr.q.medium != inBucket })
}

// hasUndigested reports whether a place of the entry's account and region holds log
// files of a trail that was not asked for and whose validation was off.
func (tr *trial) hasUndigested(s *testtrail.Store, e entry) bool {
	return slices.ContainsFunc(tr.Chains, func(c *testtrail.Chain) bool {
		return !tr.q.wants(c.Name()) && c.Name().Account == e.account && c.Name().Region == e.region &&
			slices.ContainsFunc(c.Undigested, func(o trail.Object) bool { _, ok := s.Stored(o.Bucket, o.Key); return ok })
	})
}
