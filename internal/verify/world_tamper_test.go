package verify_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// effect is what a tampering may change in the report.
type effect struct {
	what    string
	target  string          // the tail of the key that was tampered with
	classes []finding.Class // what may be said of the target; empty: the target need not be named
	isFound bool            // the report must say something
	isExact bool            // it must name the target with one of the classes, and nothing else may change

	// What depends on the target: other keys, and the time of an account and region.
	keys            map[string]bool
	account, region string
	near            span
	digests, logs   int // at most so many are not valid any more
}

// checkTampered compares the report on a tampered world with that on the world
// before.
func (tr *trial) checkTampered(before, r *report.Report, e effect) {
	was, is := entries(before), entries(r)
	added, gone := minus(is, was), minus(was, is)
	bad := func(what string, args ...any) {
		tr.fail("%s %s (%s %s %s to %s): %s\nbefore\n%safter\n%s%s", e.what, e.target, e.account, e.region,
			e.near.from.Format(time.RFC3339), e.near.to.Format(time.RFC3339), fmt.Sprintf(what, args...), details(before), details(r), tr.describe(tr.World.Store.At(tr.q.now)))
	}
	isNamed, isSaid := false, false
	for _, w := range was { // a time that nothing covers is said already
		if (w.kind == "gap" || w.kind == "coverage") && e.what == "plant log" && tr.isNear(w, e) {
			isSaid = true
		}
	}
	for _, a := range added {
		isTarget := a.key == e.target && a.key != ""
		if isTarget && slices.Contains(e.classes, finding.Class(a.kind)) {
			isNamed = true
		}
		if isTarget || tr.isNear(a, e) {
			isSaid = true
			continue
		}
		// Where sidecars are lost, a digest that is gone can have been what proved others.
		isCascade := len(tr.lost) > 0 && strings.HasPrefix(a.kind, unverified) && a.account == e.account && a.region == e.region
		if !e.keys[a.key] && !isCascade {
			bad("says of another: %s", a)
		}
	}
	for _, g := range gone {
		if !tr.isNear(g, e) && !e.keys[g.key] {
			bad("no longer says: %s", g)
		}
	}
	// What is not due is left to the run that the report asks for.
	k, err := trail.ParseLogKey(e.target)
	isLeft := err == nil && r.AskAgain != nil && !r.AskAgain.Start.After(k.Stamp)
	switch {
	case e.isExact && (!isNamed && (len(added) != 1 || added[0].kind != "coverage") || len(added) != 1 || len(gone) > 0):
		bad("want exactly one more, of %v", e.classes)
	case e.isFound && !isNamed && !isSaid && !isLeft && !(r.Verdict != report.Intact && tr.isBelowLostHead(e)):
		bad("not found")
	case e.isFound && !isLeft && r.Verdict == report.Intact:
		bad("the verdict is %s", r.Verdict)
	case !e.isFound && e.near.to.IsZero() && len(added)+len(gone) > 0:
		bad("want no change")
	}
	b, c := before.Counts, r.Counts
	if c.Digests.Valid > b.Digests.Valid || c.Digests.Valid < b.Digests.Valid-e.digests || c.Logs.Valid > b.Logs.Valid || c.Logs.Valid < b.Logs.Valid-e.logs {
		bad("valid before %d digests and %d logs, after %d and %d: want at most %d and %d less",
			b.Digests.Valid, b.Logs.Valid, c.Digests.Valid, c.Logs.Valid, e.digests, e.logs)
	}
}

// isBelowLostHead reports whether only a digest names the target that nothing proves
// in a copy: what an unproven digest names is not missed.
func (tr *trial) isBelowLostHead(e effect) bool {
	s := tr.World.Store.At(tr.q.now)
	heads := tr.heads(s)
	return slices.ContainsFunc(tr.digests(s), func(d issued) bool {
		return d.Doc.PrevObject != nil && trail.Tail(*d.Doc.PrevObject) == e.target && tr.lost[d.Key] && heads[d.Key]
	})
}

// isNear reports whether an entry is about time that depends on a tampering: hours
// that are no longer covered, and objects of these hours that are in no digest.
func (tr *trial) isNear(a entry, e effect) bool {
	if e.near.to.IsZero() || a.account != "" && a.account != e.account || a.region != "" && a.region != e.region {
		return false
	}
	switch {
	case a.kind == string(finding.DigestMissing) && len(tr.lost) > 0:
		// Where the digest after a stop is not proven, nothing tells of the stop.
		return e.near.overlaps(span{a.time.Add(-time.Hour), a.time})
	case a.kind == "coverage" && a.trail == "": // log files of a place, in the whole range
		return true
	case a.kind == "gap" || a.kind == "coverage":
		return e.near.overlaps(span{a.from, a.to})
	case a.kind == unverified+"no-signature":
		return e.near.overlaps(span{a.time, a.time.Add(time.Hour)})
	}
	return false
}

// tamper changes something in a store.
func (tr *trial) tamper(s *testtrail.Store) effect {
	switch n := tr.rng.IntN(12); {
	case n < 3:
		return tr.tamperLog(s)
	case n < 6:
		return tr.plant(s)
	case n < 7:
		return tr.plantOdd(s)
	default:
		return tr.tamperDigest(s)
	}
}

// pick returns one of a list.
func pick[T any](tr *trial, list []T) T { return list[tr.rng.IntN(len(list))] }

// tamperLog changes or deletes a listed log file.
func (tr *trial) tamperLog(s *testtrail.Store) effect {
	all := tr.digests(s)
	var logs []testtrail.DocLog
	for _, d := range all {
		for _, l := range d.Doc.Logs {
			if _, ok := s.Stored(l.Bucket, l.Object); ok {
				logs = append(logs, l)
			}
		}
	}
	if len(logs) == 0 {
		return tr.plant(s)
	}
	l := pick(tr, logs)
	e := effect{target: trail.Tail(l.Object), keys: map[string]bool{}}
	edit := func(change func([]byte) []byte) {
		s.Edit(l.Bucket, l.Object, func(o *testtrail.Stored) { o.Body = change(o.Body) })
	}
	switch tr.rng.IntN(5) {
	case 0:
		e.what, e.classes = "edit log", []finding.Class{finding.LogModified}
		s.EditLog(trail.Object{Bucket: l.Bucket, Key: l.Object}, func(b []byte) []byte { return append(b, ' ') })
	case 1:
		e.what, e.classes = "swap log", []finding.Class{finding.LogModified}
		edit(func([]byte) []byte { return testtrail.Gzip([]byte(`{"Records":[]}`)) })
	case 2:
		e.what, e.classes = "cut log", []finding.Class{finding.LogCorrupt}
		edit(func(b []byte) []byte { return b[:tr.rng.IntN(len(b))] })
		if tr.q.medium != inBucket { // a cut file can be taken for an inflated one
			e.classes = append(e.classes, finding.LogModified)
		}
	case 3:
		e.what, e.classes = "append to log", []finding.Class{finding.LogCorrupt}
		edit(func(b []byte) []byte { return append(b, 'x') })
	default:
		e.what, e.classes = "delete log", []finding.Class{finding.LogMissing}
		s.Delete(l.Bucket, l.Object)
	}
	heads := tr.heads(s)
	for _, d := range tr.reachable(all) {
		isProven := !tr.lost[d.Key] || !heads[d.Key]
		isListed := slices.ContainsFunc(d.Doc.Logs, func(o testtrail.DocLog) bool { return o.Object == l.Object })
		if isListed && isProven && tr.q.asks(d.End) && tr.q.wants(d.name) {
			e.isFound, e.isExact, e.logs = true, true, 1
		}
	}
	// What a head lists that is not proven is unverified for each of its files.
	if !e.isExact && len(tr.lost) > 0 {
		e.keys[e.target] = true
		e.account, e.region, e.near = accountOf(l.Object), regionOf(l.Object), span{tr.q.start.Add(-200 * time.Hour), tr.q.now}
	}
	return e
}

func accountOf(key string) string { return part(key, 0) }
func regionOf(key string) string  { return part(key, 2) }

func part(key string, i int) string {
	parts := strings.Split(strings.TrimPrefix(trail.Tail(key), "AWSLogs/"), "/")
	if strings.HasPrefix(parts[0], "o-") {
		parts = parts[1:]
	}
	return parts[i]
}

// places returns the places of the source's own bucket where digests lie.
func (tr *trial) places(s *testtrail.Store) (all []trail.Place) {
	for _, d := range tr.digests(s) {
		if !d.isOld && !slices.Contains(all, d.name.Place) {
			all = append(all, d.name.Place)
		}
	}
	return all
}

// plant puts a log file into the bucket that no digest lists.
func (tr *trial) plant(s *testtrail.Store) effect {
	places := tr.places(s)
	if len(places) == 0 {
		return effect{what: "nothing to tamper with"}
	}
	p := pick(tr, places)
	minutes := int(tr.q.end.Sub(tr.q.start) / time.Minute)
	stamp := tr.q.start.Add(time.Duration(tr.rng.IntN(minutes+240)-120) * time.Minute).Truncate(time.Minute)
	day := stamp.Truncate(24*time.Hour).AddDate(0, 0, tr.rng.IntN(4)-1)
	if tr.rng.IntN(2) == 0 {
		day = stamp.Truncate(24 * time.Hour)
	}
	k := trail.LogKey{Place: p, Stamp: stamp, Day: day, Unique: "plantedplantedXX"}
	s.Put(tr.Source, k.String(), testtrail.Stored{Body: testtrail.Gzip([]byte(`{"Records":[]}`)), Modified: stamp})
	e := effect{what: "plant log", target: trail.Tail(k.String()), classes: []finding.Class{finding.LogUnlisted, finding.Coverage}}
	isOther := !day.Equal(stamp.Truncate(24 * time.Hour))
	isAsked := !stamp.Before(tr.q.start) && stamp.Before(tr.q.end) ||
		isOther && day.Before(tr.q.end) && day.Add(24*time.Hour).After(tr.q.start)
	if !isAsked || !stamp.Before(tr.q.due()) || !tr.isListedDay(day) {
		return e
	}
	last := stamp
	if isOther && day.Add(24*time.Hour).After(last) {
		last = day.Add(24 * time.Hour)
	}
	e.account, e.region = p.Account, p.Region
	e.near = span{stamp.Truncate(time.Hour).Add(-time.Hour), last.Add(time.Hour)}
	switch off := tr.isOff(s, p, stamp); {
	case off: // the gap is the finding
	case tr.isProvenAround(s, p, stamp, last):
		e.isFound, e.isExact = true, true
	default:
		e.isFound = true
		if e.near.from.After(tr.q.start) { // a place without a chain is one finding over the whole range
			e.near.from = tr.q.start
		}
	}
	return e
}

// isListedDay reports whether the log folder of a day is among those that are
// listed: those of the range, and the day before and after.
func (tr *trial) isListedDay(day time.Time) bool {
	return !day.Before(tr.q.start.Truncate(24*time.Hour).AddDate(0, 0, -1)) && !day.After(tr.q.end.Truncate(24*time.Hour).AddDate(0, 0, 1))
}

// chainsAt returns the digests of each chain that belongs to a place.
func (tr *trial) chainsAt(s *testtrail.Store, p trail.Place) map[*testtrail.Chain][]issued {
	all := tr.digests(s)
	if tr.q.medium != inBucket {
		p.Prefix = ""
	}
	at := map[*testtrail.Chain]bool{}
	same := func(o trail.Place) bool {
		if tr.q.medium != inBucket {
			o.Prefix = ""
		}
		return o == p
	}
	for _, d := range all {
		at[d.chain] = at[d.chain] || same(d.name.Place)
		for _, l := range d.Doc.Logs {
			if k, err := trail.ParseLogKey(l.Object); err == nil {
				at[d.chain] = at[d.chain] || same(k.Place)
			}
		}
	}
	chains := map[*testtrail.Chain][]issued{}
	for _, d := range all {
		if at[d.chain] && !d.name.Backfill {
			chains[d.chain] = append(chains[d.chain], d)
		}
	}
	return chains
}

// isOff reports whether some chain of a place was off near a time.
func (tr *trial) isOff(s *testtrail.Store, p trail.Place, t time.Time) bool {
	near := span{t.Add(-10 * time.Minute), t.Add(10 * time.Minute)}
	for _, digests := range tr.chainsAt(s, p) {
		for i, d := range digests {
			from := d.End.Add(-time.Hour) // a starting digest does not list files, its hour is like one before it
			if i > 0 {
				from = digests[i-1].End
				if tr.lost[digests[i-1].Key] { // nothing proves the last digest before the stop
					from = digests[i-1].start
				}
			}
			if d.isStarting() && (span{from, d.End}).overlaps(near) {
				return true
			}
		}
		name := digests[0].name
		for _, hole := range tr.uncovered(tr.reachable(tr.digests(s)))[name.Identity().String()] {
			if hole.overlaps(near) { // the end of a chain is the finding
				return true
			}
		}
	}
	return false
}

// isProvenAround reports whether all chains of a place vouch for a time and the
// hours around it.
func (tr *trial) isProvenAround(s *testtrail.Store, p trail.Place, from, to time.Time) bool {
	around := span{from.Add(-time.Hour), to.Add(time.Hour)}
	chains := tr.chainsAt(s, p)
	heads := tr.heads(s)
	for _, digests := range chains {
		var covered []span
		if digests[0].isOld && tr.q.medium == inBucket && len(tr.reachable(digests)) == 0 {
			return false
		}
		for _, d := range digests {
			if !d.isStarting() && (!tr.lost[d.Key] || !heads[d.Key]) {
				covered = append(covered, span{d.start, d.End})
			}
		}
		if len(complement(covered, around)) > 0 {
			return false
		}
	}
	for _, d := range tr.digests(s) { // of a backfill digest that is not proven nothing is known
		if d.name.Backfill && tr.lost[d.Key] && heads[d.Key] {
			return false
		}
	}
	return len(chains) > 0
}

// plantOdd puts an object beside the folders of the days, or one with another name
// into such a folder.
func (tr *trial) plantOdd(s *testtrail.Store) effect {
	places := tr.places(s)
	if len(places) == 0 {
		return effect{what: "nothing to tamper with"}
	}
	p := pick(tr, places)
	minutes := int(tr.q.end.Sub(tr.q.start) / time.Minute)
	stamp := tr.q.start.Add(time.Duration(tr.rng.IntN(minutes)) * time.Minute).Truncate(time.Minute)
	if stamp.Before(tr.q.start) {
		stamp = stamp.Add(time.Minute)
	}
	k := trail.LogKey{Place: p, Stamp: stamp, Day: stamp.Truncate(24 * time.Hour), Unique: "plantedplantedXX"}
	name := k.String()[strings.LastIndex(k.String(), "/")+1:]
	region := p.Folder(trail.LogFolder)
	key := pick(tr, []string{
		region + stamp.Format("2006/1/2/x/") + name,
		region + "restored/" + name,
		region + name,
		region + stamp.Format("2006/") + name,
		region + stamp.Format("2006/01/") + name,
		p.Regions(trail.LogFolder) + name,
		p.Day(trail.LogFolder, stamp) + "note.txt",
		p.Day(trail.LogFolder, stamp) + "x/" + name,
		p.Day(trail.LogFolder, stamp) + name + ".metadata.json",
		p.Day(trail.LogFolder, stamp.AddDate(0, 0, -3)) + name,
	})
	s.Put(tr.Source, key, testtrail.Stored{Body: []byte(`{"Records":[]}`), Modified: stamp})
	e := effect{what: "plant " + key, target: trail.Tail(key), classes: []finding.Class{finding.ForeignObject}, isFound: true, isExact: true}
	if strings.Contains(key, stamp.AddDate(0, 0, -3).Format("/2006/01/02/")) { // found only where the range reaches that day
		e.isFound, e.isExact, e.keys = false, false, map[string]bool{e.target: true}
		e.account, e.region, e.near = p.Account, p.Region, span{stamp, stamp.Add(1)}
	}
	return e
}

// tamperDigest changes or deletes digests.
func (tr *trial) tamperDigest(s *testtrail.Store) effect {
	all := tr.digests(s)
	if len(all) == 0 {
		return effect{what: "nothing to tamper with"}
	}
	d := pick(tr, all)
	var asked []issued
	for _, o := range all {
		if tr.q.asks(o.End) && tr.q.wants(o.name) {
			asked = append(asked, o)
		}
	}
	if len(asked) > 0 && tr.rng.IntN(8) > 0 {
		d = pick(tr, asked)
	}
	heads := tr.heads(s)
	e := effect{target: trail.Tail(d.Key)}
	set := func(body []byte) {
		s.Edit(d.Bucket, d.Key, func(o *testtrail.Stored) { o.Body = body })
	}
	stored, _ := s.Stored(d.Bucket, d.Key)
	wrong := []finding.Class{finding.ChainMismatch, finding.DigestCorrupt, finding.DigestSignature, finding.DigestMoved, finding.DigestKeyUnknown}
	spoilt := []issued{d}
	e.classes = wrong
	switch tr.rng.IntN(9) {
	case 0:
		e.what = "edit digest"
		set(testtrail.Gzip(bytes.Replace(d.Body, []byte(`"awsAccountId"`), []byte(` "awsAccountId"`), 1)))
	case 1:
		e.what = "swap digest"
		other := pick(tr, all)
		if other.Key == d.Key {
			set([]byte("x"))
			break
		}
		o, _ := s.Stored(other.Bucket, other.Key)
		o.Modified = stored.Modified
		s.Put(d.Bucket, d.Key, o)
	case 2:
		e.what = "cut digest"
		set(stored.Body[:tr.rng.IntN(len(stored.Body))])
	case 3:
		e.what = "append to digest"
		set(append(slices.Clone(stored.Body), 'x'))
	case 4, 5:
		e.what, e.classes = "strip or spoil metadata", []finding.Class{finding.DigestSignature}
		if tr.q.medium != inBucket { // in a copy that is no defect
			return tr.plant(s)
		}
		s.Edit(d.Bucket, d.Key, func(o *testtrail.Stored) {
			if o.Meta = nil; tr.rng.IntN(2) == 0 {
				o.Meta = map[string]string{"signature": strings.Repeat("ab", 256), "signature-algorithm": "SHA256withRSA"}
			}
		})
	case 6:
		e.what, e.classes = "delete digest", []finding.Class{finding.DigestMissing}
		s.Delete(d.Bucket, d.Key)
	case 7:
		e.what, e.classes, spoilt = "delete the newest digests", nil, nil
		for i := len(d.chain.Issued) - 1; i >= 0; i-- {
			o := d.chain.Issued[i]
			if _, there := s.Stored(o.Bucket, o.Key); there {
				s.Delete(o.Bucket, o.Key)
				spoilt = append(spoilt, all[slices.IndexFunc(all, func(x issued) bool { return x.Key == o.Key })])
			}
			if o.Key == d.Key {
				break
			}
		}
	default:
		e.what, e.classes, spoilt = "delete all digests of a chain", nil, nil
		for _, o := range all {
			if o.chain == d.chain {
				s.Delete(o.Bucket, o.Key)
				spoilt = append(spoilt, o)
			}
		}
	}
	tr.spoils(&e, d, spoilt, all, heads)
	return e
}

// spoils says what depends on spoilt digests.
func (tr *trial) spoils(e *effect, d issued, spoilt, all []issued, heads map[string]bool) {
	e.keys = map[string]bool{}
	e.account, e.region = d.name.Account, d.name.Region
	e.near = span{tr.q.now.Add(1000 * time.Hour), tr.q.start.Add(-1000 * time.Hour)}
	grow := func(from, to time.Time) {
		if from.Before(e.near.from) {
			e.near.from = from
		}
		if to.After(e.near.to) {
			e.near.to = to
		}
	}
	// Without the first digest in the new bucket nothing leads to the old one.
	if first := slices.IndexFunc(all, func(o issued) bool { return o.chain == d.chain && !o.isOld }); tr.q.medium == inBucket &&
		(first < 0 || slices.ContainsFunc(spoilt, func(o issued) bool { return o.Key == all[first].Key })) {
		for _, o := range all {
			if o.chain == d.chain && o.isOld && !slices.ContainsFunc(spoilt, func(x issued) bool { return x.Key == o.Key }) {
				spoilt = append(spoilt, o)
			}
		}
	}
	// In a copy nothing proves a digest without a sidecar whose successor is spoilt.
	for _, o := range slices.Clone(spoilt) {
		for _, x := range all {
			if o.Doc.PrevObject != nil && x.Key == *o.Doc.PrevObject && tr.lost[x.Key] {
				spoilt = append(spoilt, x)
			}
		}
	}
	for _, o := range spoilt {
		e.digests++
		e.logs += len(o.Doc.Logs)
		e.keys[trail.Tail(o.Key)] = true
		grow(o.End.Add(-2*time.Hour), o.End.Add(time.Hour))
		if o.isStarting() {
			for _, x := range all {
				if x.chain == o.chain && x.End.Before(o.End) {
					grow(x.End, x.End.Add(1))
				}
			}
		}
		for _, l := range o.Doc.Logs {
			e.keys[trail.Tail(l.Object)] = true
			if k, err := trail.ParseLogKey(l.Object); err == nil {
				grow(k.Stamp.Add(-2*time.Hour), k.Stamp.Add(2*time.Hour))
			}
		}
	}
	for _, o := range all { // a digest that is not proven and repeats a signature for it
		if tr.lost[o.Key] && o.Doc.PrevObject != nil && e.keys[trail.Tail(*o.Doc.PrevObject)] {
			e.keys[trail.Tail(o.Key)] = true
		}
	}
	for key := range tr.pending(tr.World.Store.At(tr.q.now)) {
		e.keys[key] = true
	}
	last := spoilt[0].End
	for _, o := range spoilt {
		if o.End.After(last) {
			last = o.End
		}
	}
	isNewest, isKnown := true, false
	for _, o := range all {
		if o.chain == d.chain && o.End.After(last) {
			isNewest = false
		}
		if o.chain == d.chain {
			isKnown = isKnown || o.Key == d.Key
		}
	}
	if isNewest {
		grow(last, tr.q.now)
	}
	left := slices.DeleteFunc(slices.Clone(all), func(o issued) bool { return e.keys[trail.Tail(o.Key)] })
	isReached := slices.ContainsFunc(tr.reachable(left), func(o issued) bool { return o.chain == d.chain }) && slices.ContainsFunc(tr.reachable(all), func(o issued) bool { return o.Key == d.Key })
	isProven := !tr.lost[d.Key] || !heads[d.Key]
	if tr.q.asks(d.End) && tr.q.wants(d.name) && isKnown && isReached && isProven && !d.name.Backfill && d.End.Add(-time.Hour).Before(tr.q.due()) && tr.q.start.Before(tr.q.due()) {
		e.isFound = e.classes != nil || e.what == "delete the newest digests" && !d.isStarting()
	}
	isNewestProven := !slices.ContainsFunc(all, func(o issued) bool {
		return o.chain == d.chain && o.End.After(last) && !(tr.lost[o.Key] && heads[o.Key])
	})
	if strings.HasPrefix(e.what, "delete") && isNewestProven && spoilt[0].End.Add(time.Hour).After(tr.q.now.Add(-tr.q.grace)) {
		e.isFound = false // the grace of the next digest counts from the end of its hour
	}
	if e.what == "delete digest" && d.isStarting() && isNewest {
		e.isFound = false // nothing tells of a chain whose only digest is gone, or of a restart
	}
}
