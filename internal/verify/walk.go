package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"time"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/prove"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// walk goes along one chain, newest digest first. Two things say what comes
// next: the name that the last proven digest gives its predecessor, and the
// listing. A proven name is followed; the listing fetches ahead, and shows
// what no name leads to.
type walk struct {
	*chain
	todo   []discover.Digest // by the listing, newest first, not yet taken
	next   func() (discover.Digest, fetched, bool)
	stop   func()
	places map[trail.Object]bool // listed so far: a bucket and a digest folder

	newer     *digest.Digest // the digest just taken, when it is proven
	unproven  *digest.Digest // the digest just taken, when it is not
	top       time.Time      // the end of the digest just taken, proven or not
	restarted bool           // it was a proven starting digest
	blind     bool           // it could not be read: what it names is not known
	gap       *gap           // waiting for the logs that may explain it
	anyProven bool           // some digest of the chain was
}

func (c *chain) walk(ctx context.Context) error {
	w := &walk{chain: c, places: map[trail.Object]bool{}}
	for _, l := range c.items {
		w.places[folderOf(l.Bucket, l.Chain.Place)] = true
	}
	w.todo = c.selected()
	c.Progress.DigestsListed.Add(int64(len(w.todo)))
	w.fetchAhead(ctx)
	defer func() { w.stop() }()
	for ctx.Err() == nil && w.step(ctx) {
	}
	if w.blind { // the chain may go on where only that digest knows
		w.time.add(w.Start, w.top, report.Unverified)
	}
	return ctx.Err()
}

// aheadMost and aheadLeast bound the digests that are fetched ahead in one
// chain; aheadTotal is shared by the chains under way.
const (
	aheadTotal = 256
	aheadMost  = 64
	aheadLeast = 4
)

func (w *walk) fetchAhead(ctx context.Context) {
	n := min(max(aheadTotal/w.underWay, aheadLeast), aheadMost)
	w.next, w.stop = iter.Pull2(fetch.Ahead(ctx, n, slices.Values(w.todo), w.get))
}

// take returns the next digest of the listing. A large one is read only now;
// done lets go of it.
func (w *walk) take(ctx context.Context) (l discover.Digest, got fetched, done func()) {
	l, got, _ = w.next()
	w.todo = w.todo[1:]
	done = func() {}
	if got.later {
		got.file, done, got.err = w.Fetcher.Turn(ctx, got.at)
	}
	return l, got, done
}

// step takes one digest and reports whether there may be another.
func (w *walk) step(ctx context.Context) bool {
	key, named := w.named()
	switch {
	case !named && len(w.todo) == 0:
		return false
	case !named:
		l, got, done := w.take(ctx)
		defer done()
		w.unlinked(ctx, l, got)
	case len(w.todo) > 0 && w.isNamed(w.todo[0], w.newer.Previous):
		l, got, done := w.take(ctx)
		defer done()
		w.digest(ctx, l, got, w.newer.Previous)
	case len(w.todo) > 0 && !w.todo[0].End.Before(key.End):
		l, got, done := w.take(ctx)
		defer done()
		w.stray(ctx, l, got)
	case !key.End.After(w.Start):
		w.forget(w.top) // the asked range ends here
	default:
		w.follow(ctx, key)
	}
	return true
}

// forget ends the link to the digest just taken.
func (w *walk) forget(top time.Time) {
	w.newer, w.unproven, w.restarted, w.blind, w.top = nil, nil, false, false, top
}

// named returns the key that the last proven digest gives its predecessor.
func (w *walk) named() (trail.DigestKey, bool) {
	if w.newer == nil || w.newer.Previous == nil {
		return trail.DigestKey{}, false
	}
	k, ok := w.previousKey(w.newer.Previous)
	why := ""
	switch {
	case !ok:
		why = "names a digest of another chain as its predecessor: "
	case !k.End.Before(w.newer.End):
		why = "names a digest as its predecessor that is not older: the chain is a loop: "
	default:
		return k, true
	}
	w.findDigest(finding.ChainHole, w.newer.Location(), w.newer.End, why+w.newer.Previous.Object, prove.Evidence(w.newer, ""))
	w.forget(w.top)
	return trail.DigestKey{}, false
}

func (w *walk) isNamed(l discover.Digest, p *digest.Previous) bool {
	o := l.Object()
	if w.Source.IsCopy() {
		return trail.Tail(o.Key) == trail.Tail(p.Object)
	}
	return o.Bucket == p.Bucket && o.Key == p.Object
}

// follow goes to a named digest that the listing does not show: in another
// bucket or folder, or gone.
func (w *walk) follow(ctx context.Context, key trail.DigestKey) {
	o := w.newer.Previous.Location()
	if !w.mayFollow(o.Bucket) {
		w.stayed(subject(w.name, o, key.End))
		w.state(key.End.Add(-window), key.End, report.Unverified)
		w.forget(key.End)
		w.blind = true
		return
	}
	if w.relist(ctx, o.Bucket, key) {
		return
	}
	l := discover.Digest{DigestKey: key, Bucket: o.Bucket}
	got, done := w.getNamed(ctx, o)
	defer done()
	if w.Source.IsCopy() {
		l = localListed(got.at, l)
	}
	w.digest(ctx, l, got, w.newer.Previous)
}

// relist adds the listing of a place that the chain moved from, so that the
// digests there are fetched ahead, too. It returns false if that brings the
// named digest no nearer.
func (w *walk) relist(ctx context.Context, bucket string, key trail.DigestKey) bool {
	folder := folderOf(bucket, key.Place)
	if w.Source.IsCopy() || w.places[folder] {
		return false
	}
	w.places[folder] = true
	found, err := w.quiet.Digests(ctx, bucket, key.Place, w.Start.Add(-window), key.End)
	if err != nil {
		return false // not told as such: the digests there will say so
	}
	added := slices.DeleteFunc(found[key.Chain], func(l discover.Digest) bool {
		return l.End.Before(w.Start.Add(-window))
	})
	if len(added) == 0 {
		return false
	}
	w.stop()
	w.Progress.DigestsListed.Add(int64(len(added)))
	w.todo = append(w.todo, added...)
	slices.SortStableFunc(w.todo, func(a, b discover.Digest) int { return b.End.Compare(a.End) })
	w.fetchAhead(ctx)
	return true
}

// getNamed reads a digest at the places where it can lie; done lets go of it.
func (w *walk) getNamed(ctx context.Context, o trail.Object) (got fetched, done func()) {
	done = func() {}
	for i, at := range w.Source.Locate(w.name.Place, o) {
		file, later, err := w.Fetcher.DigestAhead(ctx, at)
		if later {
			done()
			file, done, err = w.Fetcher.Turn(ctx, at)
		}
		if i == 0 || !errors.Is(err, fs.ErrNotExist) {
			got = fetched{at: at, file: file, err: err}
		}
		if !errors.Is(got.err, fs.ErrNotExist) {
			break
		}
	}
	return got, done
}

// localListed gives a digest of a copy the place where it was found.
func localListed(at trail.Object, l discover.Digest) discover.Digest {
	if k, err := trail.ParseDigestKey(at.Key); err == nil {
		l = discover.Digest{DigestKey: k}
	}
	return l
}

// digest takes a digest that is next by name (successor is what its successor
// says of it) or by the listing alone (nil).
func (w *walk) digest(ctx context.Context, l discover.Digest, got fetched, successor *digest.Previous) {
	asked := w.asked(l.End)
	a := w.judge(ctx, l, got, successor, asked)
	d := got.file.Digest
	start, end := l.End.Add(-window), l.End
	if a.Proven {
		start = d.Start
	}
	if a.Proven && successor != nil && !w.name.Backfill && asked {
		w.checkWindows(w.newer, d)
	}
	w.time.add(start, end, stateOf(a)) // outside the asked range: only for unlisted logs
	if a.Proven && d.Previous == nil && !w.name.Backfill {
		w.starts.add(start, end, report.Gap)
	}
	if asked {
		w.count(stateOf(a))
	}
	w.anyProven = w.anyProven || a.Proven
	w.forget(l.End)
	if !a.Proven {
		w.unproven, w.blind = d, d == nil && a.Unknown != nil
		if d != nil && a.Unknown != nil && asked && !w.NoLogs {
			w.countLog(0, 0, len(d.Logs))
		}
		return
	}
	w.offerExplanation(l, d)
	if w.listed.add(l.Object()) { // else a chain of the same name led here already
		w.checkLogs(ctx, l, d, asked)
	}
	kept := *d
	kept.Logs = nil // there may be very many
	w.newer, w.restarted = &kept, d.Previous == nil
}

// unlinked takes the next digest of the listing, which no proven name joins to
// the one just taken, and looks at the time between the two.
func (w *walk) unlinked(ctx context.Context, l discover.Digest, got fetched) {
	top, restarted := w.top, w.restarted
	within := !w.name.Backfill && !top.IsZero()
	if within && restarted {
		w.openGap(l.End, top)
	}
	w.digest(ctx, l, got, nil)
	// Names alone, planted years apart, prove no hour between them to be due:
	// that time is a hole in the coverage, and one finding.
	if !within || restarted || !w.anyProven {
		return
	}
	// Ends of the hours that must lie between; a last digest may end early.
	for t := top.Add(-window); t.Sub(l.End) > window/2; t = t.Add(-window) {
		w.missing(w.name.Digest(t), trail.Object{Bucket: w.Source.Bucket, Key: w.name.Digest(t).String()},
			"due between the digests that are there, and not there", finding.Evidence{})
	}
}

// missing reports a digest that should be there.
func (w *walk) missing(k trail.DigestKey, o trail.Object, why string, e finding.Evidence) {
	if !w.asked(k.End) {
		return
	}
	w.findDigest(finding.DigestMissing, o, k.End, why, e)
	w.state(k.End.Add(-window), k.End, report.Missing)
}

// stray looks at a digest of the listing that the chain passes by: planted, or
// one branch of a fork. It steers nothing.
func (w *walk) stray(ctx context.Context, l discover.Digest, got fetched) {
	if !w.asked(l.End) || (got.err == nil && got.file.Digest.Sum == w.newer.Sum) {
		return // out of range, or a second copy of the digest just taken
	}
	a := w.judge(ctx, l, got, nil, true)
	w.countStray(a)
	if a.Wrong != "" || a.Unknown != nil && !errors.Is(a.Unknown, digest.ErrUnsigned) {
		return // told
	}
	e := finding.Evidence{Digest: w.newer.Location().String()}
	if d := got.file.Digest; d != nil {
		e = prove.Evidence(d, got.file.Meta[digest.MetaSignature])
		e.Digest = w.newer.Location().String()
	}
	w.findDigest(finding.ChainHole, got.at, l.End, "no link of the chain leads here: a fork, or planted", e)
}

func (w *walk) countStray(a prove.Answer) {
	w.Progress.Digests.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if a.Wrong == "" && a.Unknown != nil {
		w.digests.Unverified++
	} else {
		w.digests.Invalid++
	}
}

// checkWindows compares the windows of two linked digests; the time that they
// leave open is marked.
func (w *walk) checkWindows(newer, d *digest.Digest) {
	if err := newer.CheckWindows(d); err != nil {
		e := prove.Evidence(newer, "")
		e.From, e.To = d.End, newer.Start
		w.findDigest(finding.ChainHole, newer.Location(), newer.End, fmt.Sprint(err), e)
		w.time.add(d.End, newer.Start, report.Invalid)
	}
}

// folderOf names a digest folder, as a key of a map.
func folderOf(bucket string, p trail.Place) trail.Object {
	return trail.Object{Bucket: bucket, Key: p.Folder(trail.DigestFolder)}
}
