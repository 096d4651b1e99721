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

// removals looks at announced deletions, a bounded number at a time. It is safe for
// concurrent use.
type removals struct {
	slots chan struct{}
	wait  sync.WaitGroup

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

func newRemovals() *removals {
	return &removals{slots: make(chan struct{}, removalsAtOnce), undecided: map[placeHour]int{}}
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

// lookAtRemoved looks at the deletions that a delivery announces. A message is not
// believed: a deletion is a finding only if the object is gone and a trusted digest lists
// it. An error says that the delivery must come again.
func (w *Worker) lookAtRemoved(ctx context.Context, d notify.Delivery) error {
	select {
	case w.removals.slots <- struct{}{}:
		defer func() { <-w.removals.slots }()
	case <-ctx.Done():
		return errStopping
	}
	var undecided error // the first
	for _, r := range d.Removed {
		outcome, err := w.removed(ctx, r)
		switch {
		case ctx.Err() != nil:
			return errStopping
		case errors.Is(err, ErrHalt):
			return nil
		case err == nil:
		case !d.Sent.IsZero() && w.config.Now().Sub(d.Sent) > w.config.Grace+window:
			outcome = removalUnverified
			w.undecided(r.Object, err)
		default:
			undecided = cmp.Or(undecided, fmt.Errorf("removal of %s: %w", r.Object, err))
			continue
		}
		w.metrics.removals.WithLabelValues(outcome).Inc()
	}
	return undecided
}

// removed decides about one announced deletion. The error is why it cannot be decided now.
func (w *Worker) removed(ctx context.Context, r notify.Removal) (outcome string, err error) {
	f := w.feedOf(r.Object)
	if r.Cause.Lifecycle() {
		return removalExpired, nil
	}
	o := r.Object
	if o.Bucket == f.source.Bucket {
		o.Bucket = f.source.Signed()
	}
	if key, err := trail.ParseDigestKey(o.Key); err == nil {
		if !w.isSelected(key.Chain) {
			return removalUnselected, nil
		}
		return w.removedObject(ctx, f, o, key.Place, func(c *chainLoop) (string, error) {
			return c.removedDigest(ctx, o, key)
		})
	}
	key, err := trail.ParseLogKey(o.Key)
	if err != nil || !wanted(w.config.Accounts, key.Account) || !wanted(w.config.Regions, key.Region) {
		return removalUnselected, nil
	}
	return w.removedObject(ctx, f, o, key.Place, func(c *chainLoop) (string, error) {
		return c.removedLog(ctx, o, key)
	})
}

// removedObject asks the chains of a place about an object that is gone.
func (w *Worker) removedObject(
	ctx context.Context, f *feed, o trail.Object, p trail.Place, ask func(*chainLoop) (string, error),
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
	for _, c := range w.chainsOf(f, p) {
		if c.name.Organization != p.Organization {
			continue
		}
		answer, why := ask(c)
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

// removedLog says what the chain's digests say of a log file: those around its stamp or, where
// it was published on a later day, those of that day.
func (c *chainLoop) removedLog(ctx context.Context, o trail.Object, key trail.LogKey) (string, error) {
	from, to := key.Stamp.Add(-slotTime), key.Stamp.Add(window) // delivery can take until the next hour
	if key.Late() {
		from, to = key.Day, key.Day.Add(24*time.Hour)
	}
	asked := asked{c: c, from: from, to: to}
	s, err := asked.find(ctx, key.Place, func(d *digest.Digest) bool { return listed(d, o) != nil })
	if s == nil {
		return asked.outcome, err
	}
	return removalListed, c.worker.report(ctx, finding.Finding{
		Class: finding.LogMissing, Detail: "deleted after it was listed",
		Subject: finding.Subject{
			Account: c.name.Account, Region: c.name.Region, Trail: c.name.Trail, Bucket: o.Bucket, Key: o.Key, Time: key.Stamp,
		},
		Evidence: finding.Evidence{Want: listed(s.Digest, o).Hash.String(), Digest: s.At.String()},
	})
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

// removedDigest says what the digest after a digest says of it.
func (c *chainLoop) removedDigest(ctx context.Context, o trail.Object, key trail.DigestKey) (string, error) {
	if !key.Chain.Same(c.name) || key.Backfill {
		return removalUnlisted, nil // a backfill digest is not named by another
	}
	names := func(d *digest.Digest) bool {
		return d.Previous != nil && d.Previous.Location() == o
	}
	asked := asked{c: c, from: key.End, to: key.End.Add(window)}
	s, err := asked.find(ctx, key.Place, names)
	if s == nil {
		return asked.outcome, err
	}
	return removalListed, c.worker.report(ctx, finding.Finding{
		Class: finding.DigestMissing, Detail: chain.DetailNamed,
		Subject: finding.Subject{
			Account: c.name.Account, Region: c.name.Region, Trail: c.name.Trail, Bucket: o.Bucket, Key: o.Key, Time: key.End,
		},
		Evidence: finding.Evidence{Want: s.Digest.Previous.Hash.String(), Digest: s.At.String()},
	})
}

// asked are the digests of a chain that are asked about an object: those that cover the time
// from from to to.
type asked struct {
	c        *chainLoop
	from, to time.Time
	outcome  string // where none of them has the object
}

// find returns the first trusted digest for which has returns true. Where it returns nil, the
// outcome is known, or the error says why it is not: the digests that are trusted do not cover
// the time.
func (a *asked) find(ctx context.Context, p trail.Place, has func(*digest.Digest) bool) (*chain.Step, error) {
	newest := a.c.snapshot().head
	if !newest.IsProven() {
		e, err := a.c.worker.ledger.Open(ctx, a.c.id)
		if newest = e.Head; err == nil && !newest.IsProven() {
			err = fmt.Errorf("%s: no digest is trusted: %w", a.c.name, finding.ErrNotSearched)
		}
		if err != nil {
			return nil, err
		}
	}
	refs, err := a.list(ctx, p)
	if err != nil {
		return nil, err
	}
	covered := a.from
	for _, ref := range refs {
		if !newest.Covers(ref.DigestKey) || newest.IsQuarantined(ref.DigestKey) {
			continue
		}
		g := a.c.read(ctx, follow.Known{Ref: ref})
		found := a.c.feed.digests.Take(ctx, g.files)
		s := a.c.judgeFiles(ctx, ref, found, nil)
		releaseAll(found)
		switch {
		case s.Verdict.Err != nil:
			err = cmp.Or(err, s.Verdict.Err)
		case !s.Verdict.Trusted || s.Digest == nil:
		case has(s.Digest):
			return &s, nil
		case !s.Digest.Start.After(covered) && s.Digest.End.After(covered):
			covered = s.Digest.End
		}
	}
	need := a.to
	if newest.Link.End.Before(need) {
		need = newest.Link.End
	}
	switch {
	case a.c.name.Backfill: // its digests cover what they cover
		a.outcome = removalUnlisted
		return nil, err
	case covered.Before(need):
		return nil, cmp.Or(err, fmt.Errorf("%s: not all digests around %s are trusted: %w",
			a.c.name, a.to.Format(time.RFC3339), finding.ErrNotSearched))
	case need.Before(a.to):
		a.outcome = removalAhead
	default:
		a.outcome = removalUnlisted
	}
	return nil, nil
}

// list returns the listed digests of the chain that can cover the time, oldest first. Too many
// are an error: some of them are planted.
func (a *asked) list(ctx context.Context, p trail.Place) (refs []chain.Ref, err error) {
	place := a.c.feed.placeOf(p)
	last := a.to.Add(window)
	err = a.c.feed.finder.EachDigest(ctx, a.c.feed.source.Signed(), place, a.from, func(d discover.Digest) bool {
		if a.c.isOwn(d) && d.End.After(a.from) && !d.End.After(last) {
			refs = append(refs, d)
		}
		return d.Day(trail.DigestFolder, d.End) <= place.Day(trail.DigestFolder, last) && len(refs) <= maxAsked
	})
	if err == nil && len(refs) > maxAsked {
		err = fmt.Errorf("%s: more than %d digests around %s: %w",
			a.c.name, maxAsked, a.to.Format(time.RFC3339), finding.ErrNotSearched)
	}
	slices.SortFunc(refs, func(x, y chain.Ref) int { return x.End.Compare(y.End) })
	return refs, err
}

// undecided counts a deletion that could not be decided, by the place and hour of the
// object, and logs the first of each.
func (w *Worker) undecided(o trail.Object, why error) {
	at := placeHour{}
	if k, err := trail.ParseLogKey(o.Key); err == nil {
		at = placeHour{k.Place, k.Stamp.Truncate(time.Hour)}
	} else if k, err := trail.ParseDigestKey(o.Key); err == nil {
		at = placeHour{k.Place, k.End.Truncate(time.Hour)}
	}
	r := w.removals
	r.mu.Lock()
	if len(r.undecided) >= maxUndecided {
		clear(r.undecided)
	}
	r.undecided[at]++
	first := r.undecided[at] == 1
	r.mu.Unlock()
	w.metrics.unverifiedBy(finding.ReasonOf(why))
	if first {
		w.config.Log.Warn(
			"announced deletions are not verified",
			"account",
			at.place.Account,
			"region",
			at.place.Region,
			"hour",
			at.hour.Format(time.RFC3339),
			"first",
			o.String(),
			"error",
			why,
		)
	}
}
