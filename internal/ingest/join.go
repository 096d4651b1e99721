package ingest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

const window = time.Hour

// join joins a proven digest to the head. What lies between is fetched by the
// names that the digests give each other and dealt with first, so a lost
// notification or a listing that hides something heals itself; what is not
// there is a finding.
func (f *follower) join(ctx context.Context, g got, at trail.Object, d *digest.Digest) error {
	h := &f.head
	if d.Previous == nil && !g.Backfill {
		// Not by walkBack: where nothing is found, what was fetched ahead is still good.
		switch found, err := f.findBefore(ctx, g.Digest); {
		case err != nil:
			return err
		case found:
			return &older{than: g.Digest}
		}
	}
	switch {
	case g.Backfill: // in no order
		return nil
	case d.Previous == nil && h.Key == "":
		return nil // the first of its chain
	case d.Previous == nil && !f.Once && f.Now().Sub(d.End) < min(f.Grace, window): // and no longer: a gap is an alarm
		f.walked = trail.DigestKey{}
		return fmt.Errorf("starting digest %s: others between the head and it may still come: %w", at, errNotYet)
	case d.Previous == nil:
		return f.gap(ctx, g.Chain, at, d)
	}
	named, err := chain.Previous(d, f.name)
	switch {
	case err != nil:
		return f.findDigest(ctx, finding.ChainHole, at, g.End, err.Error(), chain.SignatureEvidence(d, ""))
	case named.End.After(h.Cursor) && f.walked != g.DigestKey:
		return &older{than: g.Digest, named: named.DigestKey, previous: d.Previous}
	case named.End.After(h.Cursor) && f.fresh(d.End):
		f.walked = trail.DigestKey{} // looked for again the next time
		return fmt.Errorf("digest %s: its predecessor %s: %w", at, d.Previous.Object, errNotYet)
	case named.End.After(h.Cursor):
		return f.missing(ctx, at, d, named.DigestKey)
	case h.Key == "":
		return nil // where to begin
	case trail.Tail(d.Previous.Object) == trail.Tail(h.Key):
		return f.link(ctx, at, g.End, d)
	}
	e := chain.SignatureEvidence(d, "")
	e.From, e.To = h.End, d.Start
	return f.findDigest(ctx, finding.Rollback, at, g.End,
		fmt.Sprintf("its predecessor is %s, and the remembered head s3://%s/%s is not in the chain", d.Previous.Object, h.Bucket, h.Key), e)
}

// link compares a digest with the head that it names.
func (f *follower) link(ctx context.Context, at trail.Object, end time.Time, d *digest.Digest) error {
	h := &f.head
	switch {
	case d.Previous.Hash.String() != h.Sum:
		e := chain.SignatureEvidence(d, "")
		e.Want, e.Got = d.Previous.Hash.String(), h.Sum
		return f.findDigest(ctx, finding.ChainMismatch, trail.Object{Bucket: h.Bucket, Key: h.Key}, h.End,
			"the remembered head is not the digest that its successor names", e)
	case d.CheckWindow(trail.DigestKey{End: h.End}) != nil:
		e := chain.SignatureEvidence(d, "")
		e.From, e.To = h.End, d.Start
		return f.findDigest(ctx, finding.ChainHole, at, end,
			fmt.Sprintf("begins at %s, its predecessor ends at %s", d.Start.Format(time.RFC3339), h.End.Format(time.RFC3339)), e)
	}
	return nil
}

// gap reports that logging or validation was off before a starting digest.
func (f *follower) gap(ctx context.Context, name trail.Chain, at trail.Object, d *digest.Digest) error {
	h := &f.head
	e := finding.Evidence{From: h.End, To: d.End, Event: f.stops.near(name, f.managementAccount(ctx, name.Organization), h.End), Digest: at.String()}
	detail := "logging or validation was off: nothing was digested"
	switch {
	case e.Event != nil && e.Event.Possible:
		detail += fmt.Sprintf("; possibly %s by %s (the owner of the organization's trail is not known: --management-account)", e.Event.Name, e.Event.Actor)
	case e.Event != nil:
		detail += fmt.Sprintf("; %s by %s", e.Event.Name, e.Event.Actor)
	}
	f.m.chain(f.m.gaps, f.name, prometheus.Gauge.Inc)
	f.mu.Lock()
	f.gaps++
	f.mu.Unlock()
	return f.findDigest(ctx, finding.Gap, trail.Object{Bucket: at.Bucket}, h.End, detail, e)
}

// older is why a digest cannot be dealt with yet: there may be others between
// the head and it, the one that it names first of all.
type older struct {
	than     discover.Digest
	named    trail.DigestKey
	previous *digest.Previous // nil: a starting digest, which names none
}

func (o *older) Error() string { return "the digests before " + o.than.String() + " come first" }

// walkBack announces the digests that are there between the head and the one
// that o is about, by the names that they give each other and, where one is
// gone or bad, by the hour. However many there are, it holds one at a time.
func (f *follower) walkBack(ctx context.Context, o *older) error {
	if o.previous == nil {
		return nil // they are listed
	}
	found := false
	key, at, signature := o.named, o.previous.Location(), o.previous.Signature
	for key.End.After(f.head.Cursor) {
		d, there, err := f.lookBack(ctx, at, signature)
		if err != nil {
			return err
		}
		found = found || there
		switch {
		case d != nil && d.Previous == nil:
			return nil // a starting digest; it is found
		case d != nil:
			next, err := chain.Previous(d, f.name)
			if err != nil || !next.End.Before(key.End) {
				return nil // join says so when it comes to it
			}
			key, at, signature = next.DigestKey, d.Previous.Location(), d.Previous.Signature
		case f.head.Key == "":
			_, err := f.listBefore(ctx, o.than) // of a chain never seen nothing else names what lies before the hole
			return err
		default:
			key = key.Chain.Digest(key.End.Add(-window))
			at, signature = trail.Object{Bucket: at.Bucket, Key: key.String()}, ""
		}
	}
	if !found {
		f.walked = o.than.DigestKey
	}
	return nil
}

// findBefore reports whether digests between the head and a starting digest are
// known that come first: announced since the list was made that is gone along,
// or listed. One that is only announced is looked for here, once: with ever more
// that are not there whoever may announce could hold the chain.
func (f *follower) findBefore(ctx context.Context, d discover.Digest) (bool, error) {
	for _, other := range f.pending() {
		if !other.End.Before(d.End) {
			break
		}
		if !f.onlyAnnounced(other.DigestKey) {
			return true, nil
		}
		g := f.get(ctx, other)
		if g.Digest = other; ctx.Err() != nil {
			return false, ctx.Err()
		}
		if !f.notThere(g) {
			return true, nil
		}
	}
	if f.walked == d.DigestKey {
		return false, nil
	}
	return f.listBefore(ctx, d)
}

// listBefore announces what is listed between the head and a digest that no
// name leads back from, a starting one or one after a hole: it may have been
// announced before the rest was listed. It reports whether it found any.
func (f *follower) listBefore(ctx context.Context, d discover.Digest) (found bool, err error) {
	places := []trail.Object{{Bucket: d.Bucket, Key: d.DigestKey.String()}}
	if f.head.Key != "" && !f.source.IsCopy() {
		places = append(places, trail.Object{Bucket: f.head.Bucket, Key: f.head.Key})
	}
	for _, at := range places {
		near, err := trail.ParseDigestKey(at.Key)
		if err != nil {
			continue
		}
		chains, err := f.source.finder.Digests(ctx, at.Bucket, f.source.placeOf(near.Place), f.head.Cursor, d.End)
		switch {
		case err != nil && at.Bucket != d.Bucket && ctx.Err() == nil:
			f.Log.Warn("a chain's former bucket cannot be listed", "chain", f.name.String(), "bucket", at.Bucket, "error", err)
		case err != nil:
			return false, fmt.Errorf("list digests before %s: %w", d.String(), err)
		}
		for _, older := range chains[near.Chain] {
			if older.End.Before(d.End) && !f.isPast(older.DigestKey) {
				f.announce(older, nil)
				found = true
			}
		}
	}
	if !found {
		f.walked = d.DigestKey
	}
	return found, nil
}

// successors returns the signatures that later digests repeat for d, each once.
// Anything can be planted between d and its successor, and a planted digest can
// repeat a signature that is not that of d. So several digests are read: first
// those that end about an hour after d, as its successor does. For large see
// previousOf.
func (f *follower) successors(ctx context.Context, d discover.Digest, large bool) (repeated []string) {
	for _, later := range f.after(d, d.End.Add(window)) {
		for _, p := range f.previousOf(ctx, later, large) {
			if trail.Tail(p.Object) == trail.Tail(d.DigestKey.String()) && !slices.Contains(repeated, p.Signature) {
				repeated = append(repeated, p.Signature)
			}
		}
	}
	return repeated
}

// after returns known digests that end after d, at most successorsTried. Those
// whose end is near due come first.
func (f *follower) after(d discover.Digest, due time.Time) []discover.Digest {
	list := slices.DeleteFunc(f.pending(), func(o discover.Digest) bool { return !o.End.After(d.End) })
	slices.SortStableFunc(list, func(a, b discover.Digest) int {
		return cmp.Compare(a.End.Sub(due).Abs(), b.End.Sub(due).Abs())
	})
	return list[:min(len(list), successorsTried)]
}

// isPassedBy reports whether a later digest is proven that begins the chain anew
// or whose predecessor ends before g. Then no digest will repeat the signature
// of g.
func (f *follower) isPassedBy(ctx context.Context, g got) bool {
	passes := func(d *digest.Digest) bool {
		if d == nil || d.Previous == nil {
			return d != nil
		}
		key, err := trail.ParseDigestKey(d.Previous.Object)
		return err == nil && key.End.Before(g.End)
	}
	for _, later := range f.after(g.Digest, f.head.End.Add(window)) {
		found := f.get(ctx, later).ahead.Found()
		if !slices.ContainsFunc(found, func(file chain.Found) bool { return passes(file.File.Digest) }) {
			continue
		}
		o := chain.Options{Now: f.Now(), Repeated: f.successors(ctx, later, !g.ahead.IsLarge())}
		if s := chain.JudgeFiles(ctx, f.keys, later, found, o); s.Verdict.Trusted && passes(s.Digest) {
			return true
		}
	}
	return false
}

// previousOf returns what the files that can be a digest say of the digest before
// it. It reads a large file only with large. A caller that holds a large digest
// must not ask for another.
func (f *follower) previousOf(ctx context.Context, d discover.Digest, large bool) (said []*digest.Previous) {
	files := f.get(ctx, d).ahead
	found := files.Found()
	if large && files.IsLarge() {
		found = f.source.digests.Take(ctx, files)
	}
	for _, file := range found {
		if file.File.Digest != nil && file.File.Digest.Previous != nil {
			said = append(said, file.File.Digest.Previous)
		}
		if file.Release != nil {
			file.Release()
		}
	}
	return said
}

// successorsTried bounds what a chain that waits reads again each time.
const successorsTried = 32

// lookBack looks for a digest where it may lie and announces it, unless it was
// dealt with. One that was quarantined is looked at once more, since its
// successor is there now: it may have been planted under a name that was still
// to come. What is returned is proven: only that says what came before.
func (f *follower) lookBack(ctx context.Context, o trail.Object, signature string) (d *digest.Digest, there bool, err error) {
	key, err := trail.ParseDigestKey(o.Key)
	if err != nil {
		return nil, false, nil
	}
	if f.source.IsCopy() {
		key.Prefix = ""
		o.Bucket = ""
	}
	wasBad := f.bad[key.String()]
	if f.isPast(key) && !wasBad {
		return nil, false, nil
	}
	name := discover.Digest{DigestKey: key, Bucket: o.Bucket}
	found := f.source.digests.Take(ctx, f.source.digests.ReadAhead(ctx, f.source.Locate(name.Object())))
	for _, file := range found {
		if file.Release != nil {
			defer file.Release()
		}
	}
	s := chain.JudgeFiles(ctx, f.keys, name, found, chain.Options{Repeated: signatures(signature)})
	v := s.Verdict
	switch {
	case v.Class == finding.DigestMissing:
		return nil, false, nil
	case v.Err != nil && !errors.Is(v.Err, digest.ErrUnsigned):
		return nil, false, fmt.Errorf("digest %s: %w", s.At, v.Err)
	case wasBad && !v.Trusted:
		return nil, false, nil
	}
	f.mu.Lock()
	delete(f.bad, key.String())
	f.mu.Unlock()
	if v.Trusted {
		f.repeated[key.String()] = signature
	}
	f.announce(name, nil)
	if v.Trusted && s.Digest != nil {
		return s.Digest, true, nil
	}
	return nil, true, nil
}

func signatures(signature string) []string {
	if signature == "" {
		return nil
	}
	return []string{signature}
}

// missing reports the digests between the head and g that are not there. A
// chain never seen begins after them.
func (f *follower) missing(ctx context.Context, at trail.Object, d *digest.Digest, named trail.DigestKey) error {
	if f.head.Key == "" {
		return nil
	}
	bad := map[string]bool{} // told when they were quarantined
	for name := range f.bad {
		bad[trail.Tail(name)] = true
	}
	bucket := d.Previous.Bucket
	for t := named.End; t.Sub(f.head.Cursor) > window/2; t = t.Add(-window) {
		key, e, detail := named, finding.Evidence{Digest: at.String(), Want: d.Previous.Hash.String()}, chain.DetailNamed
		if !t.Equal(named.End) {
			key, e, detail = named.Chain.Digest(t), finding.Evidence{}, chain.DetailDue
		}
		if bad[trail.Tail(key.String())] {
			continue
		}
		if err := f.findDigest(ctx, finding.DigestMissing, trail.Object{Bucket: bucket, Key: key.String()}, t, detail, e); err != nil {
			return err
		}
	}
	return nil
}

// stops remembers the verified events that switched trails off, by the name of the
// trail.
type stops struct {
	mu     sync.Mutex
	byName map[string][]stop
}

type stop struct {
	off   chain.Off
	event finding.Event
}

const stopsKept = 100 // of each name

func (s *stops) add(off chain.Off, e finding.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byName == nil {
		s.byName = map[string][]stop{}
	}
	list := append(s.byName[off.Trail.Name], stop{off, e})
	s.byName[off.Trail.Name] = list[max(0, len(list)-stopsKept):]
}

// near returns the last event that switched the trail of a chain off around a
// time. One that is known to concern the trail outweighs one that possibly does.
func (s *stops) near(c trail.Chain, management string, at time.Time) (last *finding.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.byName[c.Trail] {
		match := st.off.Of(c, management)
		e := st.event
		if d := at.Sub(e.Time); match == chain.No || d <= -window || d >= 2*window {
			continue
		}
		e.Possible = match == chain.Possible
		if last == nil || last.Possible && !e.Possible || last.Possible == e.Possible && e.Time.After(last.Time) {
			last = &e
		}
	}
	return last
}

// What the names of the calls that switch a trail off hold.
var (
	stopLogging = []byte(`StopLogging"`)
	endsInTrail = []byte(`Trail"`)
)

// watch looks for the events that switch trails off, and reports those of the
// chain's own.
func (l *logFile) watch(ctx context.Context, record []byte) error {
	if !bytes.Contains(record, stopLogging) && !bytes.Contains(record, endsInTrail) {
		return nil // every record comes here: two searches for rare letters cost least
	}
	e, err := trail.ParseEvent(record)
	if err != nil {
		return nil // no object, and told as such
	}
	off, ok := chain.SwitchOff(e)
	if !ok {
		return nil
	}
	event := finding.Event{
		ID: e.ID(), Name: e.Name(), Time: e.Time(), Actor: e.Actor(), From: e.SourceIPAddress(), Log: l.Location().String(),
	}
	l.stops.add(off, event)
	switch off.Of(l.found.Chain, l.managementAccount(ctx, l.found.Organization)) {
	case chain.No:
		return nil // another trail: if it is followed, its own logs tell
	case chain.Possible:
		l.Worker.Log.Warn("a trail of this name was switched off; the owner of the organization's trail is not known: set --management-account",
			"chain", l.name.String(), "event", event.ID, "name", event.Name, "actor", event.Actor)
		return nil
	}
	s := l.subject()
	s.Time = event.Time
	return l.find(ctx, finding.Finding{
		Class: finding.Gap, Subject: s, Detail: fmt.Sprintf("%s by %s: logging or validation is switched off from now on", event.Name, event.Actor),
		Evidence: finding.Evidence{From: event.Time, Event: &event},
	})
}
