package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/internal/notify"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// removals looks at announced deletions, a bounded number at a time. A message is not
// believed: a deletion is a finding only if the object is gone and a trusted digest lists it.
// It is safe for concurrent use.
type removals struct {
	worker *Worker
	slots  chan struct{}
	wait   sync.WaitGroup

	mu        sync.Mutex // guards undecided
	undecided map[placeHour]int
}

// placeHour is a place and an hour of it.
type placeHour struct {
	place trail.Place
	hour  time.Time
}

// Bounds of the work on announced deletions.
const (
	removalsAtOnce = 8
	maxUndecided   = 10_000
)

func newRemovals(w *Worker) *removals {
	return &removals{worker: w, slots: make(chan struct{}, removalsAtOnce), undecided: map[placeHour]int{}}
}

// Outcomes of looking at an announced deletion, as labels of a metric.
const (
	removalPresent    = "present"    // the object is there: a noncurrent version was deleted, or none
	removalExpired    = "expired"    // by a lifecycle rule
	removalUnselected = "unselected" // of another account, region or trail
	removalUnlisted   = "unlisted"   // the trusted digests around its time do not list it
	removalAhead      = "ahead"      // the chain has not come to its hour: its digest will tell
	removalListed     = "listed"     // gone, and a trusted digest lists it: a finding
	removalUnverified = "unverified" // not decided within the grace
)

// look looks at the deletions that a delivery announces. An error says that the delivery must
// come again.
func (r *removals) look(ctx context.Context, d notify.Delivery) error {
	w := r.worker
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return errStopping
	}
	var undecided error // the first
	for _, removed := range d.Removed {
		outcome, err := r.decide(ctx, removed)
		switch {
		case ctx.Err() != nil:
			return errStopping
		case errors.Is(err, ErrHalt):
			return nil
		case err == nil:
		case !d.Sent.IsZero() && w.config.Now().Sub(d.Sent) > w.config.Grace+window:
			outcome = removalUnverified
			r.leaveUndecided(removed.Object, err)
		default:
			undecided = cmp.Or(undecided, fmt.Errorf("removal of %s: %w", removed.Object, err))
			continue
		}
		w.metrics.removals.WithLabelValues(outcome).Inc()
	}
	return undecided
}

// decide decides about one announced deletion. The error is why it cannot be decided now.
func (r *removals) decide(ctx context.Context, removed notify.Removal) (outcome string, err error) {
	c := &r.worker.config
	f := feedOf(r.worker.feeds, removed.Object)
	if removed.Cause.Lifecycle() {
		return removalExpired, nil
	}
	o := removed.Object
	if o.Bucket == f.source.Bucket {
		o.Bucket = f.source.Signed()
	}
	if key, err := trail.ParseDigestKey(o.Key); err == nil {
		if !c.isSelected(key.Chain) {
			return removalUnselected, nil
		}
		return r.ask(ctx, f, o, key.Place, func(w witness) (string, error) { return w.ofDigest(ctx, o, key) })
	}
	key, err := trail.ParseLogKey(o.Key)
	if err != nil || !wanted(c.Accounts, key.Account) || !wanted(c.Regions, key.Region) {
		return removalUnselected, nil
	}
	return r.ask(ctx, f, o, key.Place, func(w witness) (string, error) { return w.ofLog(ctx, o, key) })
}

// ask asks the chains of a place about an object that is gone.
func (r *removals) ask(
	ctx context.Context, f *feed, o trail.Object, p trail.Place, ask func(witness) (string, error),
) (string, error) {
	body, _, err := f.objects.Get(ctx, o)
	if body != nil {
		body.Close()
	}
	switch {
	case body != nil:
		return removalPresent, nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	outcome, undecided := "", error(nil)
	for _, c := range r.worker.chains.of(f, p) {
		if c.name.Organization != p.Organization {
			continue
		}
		answer, why := ask(witness{worker: r.worker, chain: c})
		switch {
		case answer == removalListed:
			return answer, why
		case why != nil:
			undecided = cmp.Or(undecided, why)
		case outcome == "" || answer == removalAhead:
			outcome = answer
		}
	}
	switch {
	case undecided != nil:
		return "", undecided
	case outcome == "":
		return "", fmt.Errorf("no chain of %s/%s is proven: %w", p.Account, p.Region, finding.ErrNotSearched)
	}
	return outcome, nil
}

// Bounds of the digests that are asked about a deleted object.
const (
	slotTime = 5 * time.Minute // a log file's stamp may lie so long after its delivery
	maxAsked = 64
)

// witness is a chain whose digests are asked about an object.
type witness struct {
	worker *Worker
	chain  *chainLoop
}

// ofLog says what the chain's digests say of a log file: those around its stamp or, where it
// was published on a later day, those of that day.
func (w witness) ofLog(ctx context.Context, o trail.Object, key trail.LogKey) (outcome string, err error) {
	from, to := key.Stamp.Add(-slotTime), key.Stamp.Add(window) // delivery can take until the next hour
	if key.Late() {
		from, to = key.Day, key.Day.Add(24*time.Hour)
	}
	s, outcome, err := w.find(ctx, key.Place, from, to, func(d *digest.Digest) bool { return listed(d, o) != nil })
	if s == nil {
		return outcome, err
	}
	e := finding.Evidence{Want: listed(s.Digest, o).Hash.String(), Digest: s.At.String()}
	return removalListed, w.report(ctx, finding.LogMissing, "deleted after it was listed", o, key.Stamp, e)
}

// listed returns the entry of a log file in a digest, nil where it has none.
func listed(d *digest.Digest, o trail.Object) *digest.Log {
	for i := range d.Logs {
		if d.Logs[i].Location() == o {
			return &d.Logs[i]
		}
	}
	return nil
}

// ofDigest says what the digest after a digest says of it.
func (w witness) ofDigest(ctx context.Context, o trail.Object, key trail.DigestKey) (outcome string, err error) {
	if !key.Chain.Same(w.chain.name) || key.Backfill {
		return removalUnlisted, nil // a backfill digest is not named by another
	}
	names := func(d *digest.Digest) bool {
		return d.Previous != nil && d.Previous.Location() == o
	}
	s, outcome, err := w.find(ctx, key.Place, key.End, key.End.Add(window), names)
	if s == nil {
		return outcome, err
	}
	return removalListed, w.report(ctx, finding.DigestMissing, chain.DetailNamed, o, key.End, finding.Evidence{
		Want: s.Digest.Previous.Hash.String(), Digest: s.At.String(),
	})
}

// report reports an object that is gone and that a trusted digest has.
func (w witness) report(
	ctx context.Context, class finding.Class, detail string, o trail.Object, at time.Time, e finding.Evidence,
) error {
	c := w.chain.name
	return w.worker.report(ctx, finding.Finding{Class: class, Detail: detail, Evidence: e, Subject: finding.Subject{
		Account: c.Account, Region: c.Region, Trail: c.Trail, Bucket: o.Bucket, Key: o.Key, Time: at,
	}})
}

// find returns the first trusted digest that covers some of the time and for which has returns
// true. Where it returns nil, the outcome is known, or the error says why it is not: the
// digests that are trusted do not cover the time.
func (w witness) find(
	ctx context.Context, p trail.Place, from, to time.Time, has func(*digest.Digest) bool,
) (s *chain.Step, outcome string, err error) {
	c := w.chain
	newest := c.progress.now().head
	if !newest.IsProven() {
		e, err := w.worker.ledger.Open(ctx, c.id)
		if newest = e.Head; err == nil && !newest.IsProven() {
			err = fmt.Errorf("%s: no digest is trusted: %w", c.name, finding.ErrNotSearched)
		}
		if err != nil {
			return nil, "", err
		}
	}
	refs, err := w.list(ctx, p, from, to)
	if err != nil {
		return nil, "", err
	}
	covered := from
	for _, ref := range refs {
		if !newest.Covers(ref.DigestKey) || newest.IsQuarantined(ref.DigestKey) {
			continue
		}
		s, release := c.feed.judge.Named(ctx, follow.Known{Ref: ref})
		isTrusted := s.Verdict.Trusted && s.Digest != nil
		hasIt := isTrusted && has(s.Digest)
		release()
		switch {
		case s.Verdict.Err != nil:
			err = cmp.Or(err, s.Verdict.Err)
		case hasIt:
			return &s, "", nil
		case !isTrusted:
		case !s.Digest.Start.After(covered) && s.Digest.End.After(covered):
			covered = s.Digest.End
		}
	}
	need := to
	if newest.Link.End.Before(need) {
		need = newest.Link.End
	}
	switch {
	case c.name.Backfill: // its digests cover what they cover
		return nil, removalUnlisted, err
	case covered.Before(need):
		return nil, "", cmp.Or(err, fmt.Errorf("%s: not all digests around %s are trusted: %w",
			c.name, to.Format(time.RFC3339), finding.ErrNotSearched))
	case need.Before(to):
		return nil, removalAhead, nil
	}
	return nil, removalUnlisted, nil
}

// list returns the listed digests of the chain that can cover the time, oldest first. Too many
// are an error: some of them are planted.
func (w witness) list(ctx context.Context, p trail.Place, from, to time.Time) (refs []chain.Ref, err error) {
	c := w.chain
	place, last := c.feed.judge.Place(p), to.Add(window)
	err = c.feed.judge.Finder.EachDigest(ctx, c.feed.source.Signed(), place, from, func(d discover.Digest) bool {
		if isOf(d, c.name) && d.End.After(from) && !d.End.After(last) {
			refs = append(refs, d)
		}
		return d.Day(trail.DigestFolder, d.End) <= place.Day(trail.DigestFolder, last) && len(refs) <= maxAsked
	})
	if err == nil && len(refs) > maxAsked {
		err = fmt.Errorf("%s: more than %d digests around %s: %w",
			c.name, maxAsked, to.Format(time.RFC3339), finding.ErrNotSearched)
	}
	slices.SortFunc(refs, func(x, y chain.Ref) int { return x.End.Compare(y.End) })
	return refs, err
}

// leaveUndecided counts a deletion that could not be decided, by the place and hour of the
// object, and logs the first of each.
func (r *removals) leaveUndecided(o trail.Object, why error) {
	at := placeHour{}
	if k, err := trail.ParseLogKey(o.Key); err == nil {
		at = placeHour{k.Place, k.Stamp.Truncate(time.Hour)}
	} else if k, err := trail.ParseDigestKey(o.Key); err == nil {
		at = placeHour{k.Place, k.End.Truncate(time.Hour)}
	}
	r.mu.Lock()
	if len(r.undecided) >= maxUndecided {
		clear(r.undecided)
	}
	r.undecided[at]++
	first := r.undecided[at] == 1
	r.mu.Unlock()
	r.worker.metrics.unverifiedBy(finding.ReasonOf(why), 1)
	if first {
		r.worker.config.Log.Warn("announced deletions are not verified", "account", at.place.Account,
			"region", at.place.Region, "hour", at.hour.Format(time.RFC3339), "first", o.String(), "error", why)
	}
}
