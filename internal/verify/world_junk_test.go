package verify_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// checkJunk puts junk under names of digests into a store: it changes nothing but
// its own report.
func (tr *trial) checkJunk(s *testtrail.Store, before *report.Report) {
	s = s.Clone()
	junk := tr.plantJunk(s)
	r := tr.verify(s, tr.q)
	if r == nil || len(junk) == 0 {
		return
	}
	isAbout := func(e entry) bool { return junk[e.key] }
	was, is := entries(before), entries(r)
	own := slices.DeleteFunc(slices.Clone(is), func(e entry) bool { return !isAbout(e) })
	rest := slices.DeleteFunc(slices.Clone(is), isAbout)
	bad := func(what string, args ...any) {
		tr.fail("junk %v: %s\nbefore\n%safter\n%s%s", slices.Sorted(maps.Keys(junk)), fmt.Sprintf(what, args...), details(before), details(r), tr.describe(s))
	}
	doubtful := func(e entry) bool { // in a copy nothing tells whether a digest without a sidecar is junk
		return tr.q.medium != inBucket && (e.kind == unverified+"no-signature" || e.kind == "coverage" && e.trail == "")
	}
	// A name that ends where the next digest of a chain would is the report of its
	// hour: it cannot be told from a genuine digest that was altered.
	isOwnHour := func(e entry) bool {
		for key := range junk {
			k, err := trail.ParseDigestKey(key)
			if err == nil && e.kind == "coverage" && k.Account == e.account && k.Region == e.region && k.Trail == e.trail &&
				(span{k.End.Add(-time.Hour), k.End}).overlaps(span{e.from, e.to}) {
				return true
			}
		}
		return false
	}
	added := slices.DeleteFunc(minus(rest, was), doubtful)
	gone := slices.DeleteFunc(minus(was, rest), func(e entry) bool { return doubtful(e) || isOwnHour(e) })
	if len(added)+len(gone) > 0 {
		bad("says more:\n%sno longer says:\n%s", lines(added), lines(gone))
	}
	if before.Counts.Digests.Valid != r.Counts.Digests.Valid ||
		before.Counts.Logs.Valid != r.Counts.Logs.Valid || before.Counts.Logs.Invalid != r.Counts.Logs.Invalid {
		bad("digests %+v, logs %+v, were %+v, %+v", r.Counts.Digests, r.Counts.Logs, before.Counts.Digests, before.Counts.Logs)
	}
	if got, want := tr.verified(r), tr.verified(before); !maps.EqualFunc(got, want, slices.Equal) {
		bad("verified time\n%v, was\n%v", got, want)
	}
	for key := range junk {
		k, err := trail.ParseDigestKey(key)
		isAsked := err == nil && tr.q.asks(k.End) && tr.q.wants(k.Chain)
		if isNamed := slices.ContainsFunc(own, func(e entry) bool { return e.key == key }); isNamed != isAsked {
			bad("reported: %t, want %t: %s", isNamed, isAsked, key)
		}
	}
}

// verified returns the time of each chain that the report calls verified.
func (tr *trial) verified(r *report.Report) map[string][]span {
	all := map[string][]span{}
	for _, c := range r.Chains {
		for _, s := range c.Covered {
			if s.State == report.Verified {
				all[nameOf(c)] = append(all[nameOf(c)], span{s.Start.UTC(), s.End.UTC()})
			}
		}
	}
	for id := range all {
		all[id] = union(all[id], span{tr.q.start, tr.q.end})
	}
	return all
}

// plantJunk puts objects under names of digests that no trail wrote, and returns
// the tails of their keys.
func (tr *trial) plantJunk(s *testtrail.Store) map[string]bool {
	planted := map[string]bool{}
	genuine := tr.digests(s)
	if len(genuine) == 0 {
		return planted
	}
	for range 1 + tr.rng.IntN(3) {
		d := pick(tr, genuine)
		name := d.name
		if d.isOld && tr.q.medium == inBucket {
			continue // a bucket whose names are not listed
		}
		if name.Backfill = tr.rng.IntN(6) == 0; tr.rng.IntN(4) == 0 {
			name.Trail = "junk-trail"
		}
		key := name.Digest(tr.junkEnd(d)).String()
		if _, there := s.Stored(tr.Source, key); there || tr.isNamed(key) {
			continue
		}
		o, _ := s.Stored(d.Bucket, d.Key)
		kind := tr.rng.IntN(6)
		if name.Backfill { // one that cannot be judged casts doubt on its time, by rule
			kind %= 4
		}
		if kind > 3 && !bytes.Equal(o.Body, testtrail.Gzip(d.Doc.Bytes())) {
			continue // the genuine content, which is gone, would prove more than there was
		}
		switch kind {
		case 0:
			o = testtrail.Stored{Body: []byte("junk")}
		case 1:
			o = testtrail.Stored{Body: testtrail.Gzip([]byte("{}"))}
		case 2: // the digest of another hour
		case 3:
			other := pick(tr, genuine)
			o, _ = s.Stored(other.Bucket, other.Key)
		case 4: // edited so that it names itself
			o.Body = testtrail.Gzip(tr.renamed(d, key))
		default: // the same, and it names a key that does not exist
			o.Body = testtrail.Gzip(bytes.Replace(tr.renamed(d, key), []byte(d.Doc.Fingerprint), []byte(strings.Repeat("ab", 16)), 1))
		}
		o.Modified = tr.q.now
		s.Put(tr.Source, key, o)
		planted[trail.Tail(key)] = true
	}
	return planted
}

// junkEnd returns an end for a planted name: before, in or after the range, and
// often where a digest of the chain would end.
func (tr *trial) junkEnd(d issued) time.Time {
	switch tr.rng.IntN(6) {
	case 0:
		return d.End.AddDate(30, 0, 0)
	case 1:
		return d.End.AddDate(-30, 0, 0)
	case 2, 3:
		return d.End.Add(time.Duration(tr.rng.IntN(60)-30) * time.Hour)
	case 4:
		return tr.q.end.Add(time.Duration(tr.rng.IntN(180)) * time.Minute)
	}
	return tr.q.start.Add(time.Duration(tr.rng.IntN(int(tr.q.end.Sub(tr.q.start)/time.Second))) * time.Second)
}

// isNamed reports whether a digest has that key: a deleted one, or one that is not
// there yet. What is put there is not junk.
func (tr *trial) isNamed(key string) bool {
	return slices.ContainsFunc(tr.Chains, func(c *testtrail.Chain) bool {
		return slices.ContainsFunc(c.Issued, func(d *testtrail.Issued) bool { return trail.Tail(d.Key) == trail.Tail(key) })
	})
}

// renamed returns a digest's content with another name for itself.
func (tr *trial) renamed(d issued, key string) []byte {
	doc := d.Doc
	k, err := trail.ParseDigestKey(key)
	if err != nil {
		panic(err)
	}
	doc.Bucket, doc.Object = tr.Source, key
	doc.End, doc.Start = k.End.Format(time.RFC3339), k.End.Add(-time.Hour).Format(time.RFC3339)
	return doc.Bytes()
}

// checkSeam compares the findings of runs that follow each other with those of one
// run over the whole time. Each relative range reaches back to what was not due in
// the run before.
func (tr *trial) checkSeam() {
	store := tr.World.Store.Clone()
	whole := tr.q
	period := time.Duration(4+tr.rng.IntN(21)) * time.Hour
	whole.start = tr.Start.Add(-time.Hour)
	whole.now = whole.start.Add(period)
	for whole.now.Before(tr.End.Add(3 * time.Hour)) {
		whole.now = whole.now.Add(period)
	}
	whole.end = whole.now
	if whole.medium > perBucket {
		whole.medium = inBucket
	}
	if slices.ContainsFunc(tr.digests(store), func(d issued) bool { return d.isOld }) {
		whole.medium = perBucket // before a trail moves into a bucket, nothing there tells of it
	}
	tr.lost = map[string]bool{}
	q := tr.q
	tr.q = whole
	e := pick(tr, []func(*testtrail.Store) effect{tr.tamperLog, tr.plant, tr.tamperDigest})(store)
	all, doubts := map[string]bool{}, map[string]bool{}
	allOff := map[string][]span{}
	var said strings.Builder
	for now := whole.start.Add(period); !now.After(whole.now); now = now.Add(period) {
		tr.q = whole
		tr.q.start, tr.q.end, tr.q.now = now.Add(-period-whole.grace-time.Hour), now, now
		r := tr.verify(store.At(now), tr.q)
		if r == nil {
			return
		}
		fmt.Fprintf(&said, "run at %s\n%s", now.Format(time.RFC3339), details(r))
		tr.collect(r, all, allOff)
		maps.Copy(doubts, doubtsOf(r))
	}
	tr.q = whole
	r := tr.verify(store.At(whole.now), whole)
	one, oneOff := map[string]bool{}, map[string][]span{}
	if r == nil {
		return
	}
	tr.collect(r, one, oneOff)
	for id, spans := range allOff {
		allOff[id] = union(spans, span{whole.start, whole.due()})
	}
	// One run over a longer time can know of more chains of a place, where prefixes
	// change: a chain belongs to the places of its digests that were proven.
	oneDoubts := doubtsOf(r)
	for key := range all {
		if k, err := trail.ParseLogKey(key); err == nil && !one[key] && (oneDoubts[k.Account+k.Region] || tr.hasPrefixes(k.Account, k.Region)) {
			delete(all, key)
		}
		// A log in the last minutes before a stop may have been written after it, once
		// it is known that the trail which stopped is one of the place.
		if k, err := trail.ParseLogKey(key); err == nil && !one[key] && tr.isBeforeStop(k, oneOff) {
			delete(all, key)
		}
	}
	for key := range one {
		if k, err := trail.ParseLogKey(key); err == nil && doubts[k.Account+k.Region] {
			all[key] = true
		}
	}
	if !maps.Equal(all, one) || !maps.EqualFunc(allOff, oneOff, slices.Equal) {
		tr.fail("seam, period %s, after %s %s:\nruns %v %v\none  %v %v\n%sone run\n%s%s", period, e.what, e.target,
			slices.Sorted(maps.Keys(all)), allOff, slices.Sorted(maps.Keys(one)), oneOff, said.String(), details(r), tr.describe(store))
	}
	tr.q = q
}

// collect adds the keys that a report's findings name, and the time that its gap
// and coverage findings name with the hours of missing and spoilt digests.
func (tr *trial) collect(r *report.Report, keys map[string]bool, off map[string][]span) {
	for _, f := range r.Findings {
		if f.Key != "" {
			keys[trail.Tail(f.Key)] = true
		}
		if k, err := trail.ParseDigestKey(trail.Tail(f.Key)); err == nil && !k.Backfill {
			off[k.Chain.Identity().String()] = append(off[k.Chain.Identity().String()], span{k.End.Add(-time.Hour), k.End})
		}
	}
	for id, spans := range tr.off(r) {
		off[id] = append(off[id], spans...)
	}
	for id, spans := range off {
		off[id] = union(spans, span{tr.q.start.Add(-1000 * time.Hour), tr.q.due()})
		if len(off[id]) == 0 {
			delete(off, id)
		}
	}
}

// isBeforeStop reports whether a log's stamp lies shortly before a time in which a
// chain of its account and region was off.
func (tr *trial) isBeforeStop(k trail.LogKey, off map[string][]span) bool {
	for id, spans := range off {
		if strings.HasPrefix(id, k.Account+" "+k.Region+" ") && slices.ContainsFunc(spans, func(s span) bool {
			return s.from.After(k.Stamp) && s.from.Sub(k.Stamp) < 10*time.Minute
		}) {
			return true
		}
	}
	return false
}

// doubtsOf returns the accounts and regions of which a report does not say everything.
func doubtsOf(r *report.Report) map[string]bool {
	doubts := map[string]bool{}
	for _, e := range entries(r) {
		if strings.HasPrefix(e.kind, unverified) || e.kind == "coverage" && e.trail == "" {
			doubts[e.account+e.region] = true
		}
	}
	return doubts
}
