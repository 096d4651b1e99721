package ingest

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/internal/ledger"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// maxUnproven is how many chains of a source are known without a trusted digest. Anyone
// who can write to the bucket or the queue can make names of chains.
const maxUnproven = 1000

// errNoRoom says that too many names wait for a proof.
var errNoRoom = fmt.Errorf("%d names of chains wait for a proof: %w", maxUnproven, finding.ErrNotSearched)

// loop returns the loop of a chain, made where needed. A chain without a stored head
// begins as an unproven one, of which a source has a bounded number: beyond it the error
// is errNoRoom. In the state, and for the operator, a chain exists from its first trusted
// digest on.
func (w *Worker) loop(f *feed, name trail.Chain, origin follow.Origin) (*chainLoop, error) {
	name.Prefix = ""
	id := ledger.Name(f.identity, name)
	f.mu.Lock()
	defer f.mu.Unlock()
	c := w.knownLocked(f, id)
	if c != nil {
		return c, nil
	}
	if isFull := len(f.unproven) >= maxUnproven; isFull || origin == follow.Listed && id < f.resume {
		f.dropped[regionOf(name.Place)]++
		w.metrics.dropped.Inc()
		if isFull && id >= f.resume && (f.next == "" || id < f.next) {
			f.next = id
		}
		return nil, errNoRoom
	}
	c = w.newLoop(f, name)
	c.listedAt = f.listings.Last(name.Place)
	f.unproven[id] = c
	return c, nil
}

// known returns a loop by the name of its head, nil where there is none.
func (w *Worker) known(f *feed, id string) *chainLoop {
	f.mu.Lock()
	defer f.mu.Unlock()
	return w.knownLocked(f, id)
}

// knownLocked is known while the feed's mutex is locked. A chain that becomes a proven one
// is among those before it leaves the others, so this order finds it.
func (w *Worker) knownLocked(f *feed, id string) *chainLoop {
	if c := f.unproven[id]; c != nil {
		return c
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.chains[id]
}

func (w *Worker) newLoop(f *feed, name trail.Chain) *chainLoop {
	name.Prefix = ""
	return &chainLoop{
		worker: w, feed: f, name: name, id: ledger.Name(f.identity, name), share: f.logs.Share(),
		prefetch: maxPrefetch, emitted: map[trail.Object]emittedLog{},
	}
}

// beginNames prepares the unproven chains for a poll. Where the last poll left names out,
// those that wait give their room to others.
func (f *feed) beginNames() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next != "" {
		for id, c := range f.unproven {
			// A loop that could still run must not be replaced by another of the same chain.
			if c.snapshot().err != nil && !c.frontier.IsAwaited() && f.schedule.remove(c) {
				delete(f.unproven, id)
			}
		}
	}
	f.resume, f.next = f.next, ""
	clear(f.dropped)
}

// prove makes an unproven chain one that is followed: a digest of it is trusted.
func (c *chainLoop) prove() {
	c.worker.mu.Lock()
	c.worker.addLocked(c)
	c.worker.mu.Unlock()
	c.feed.mu.Lock()
	delete(c.feed.unproven, c.id)
	c.feed.mu.Unlock()
}

// forget drops an unproven chain that has nothing left to judge. Where a name was added
// meanwhile, the chain stays.
func (c *chainLoop) forget() {
	c.feed.mu.Lock()
	defer c.feed.mu.Unlock()
	if c.frontier.Len() == 0 && !c.frontier.HasMore() {
		delete(c.feed.unproven, c.id)
	}
}

// begin returns the head that a chain without a stored one begins with. A chain that was
// absent when its account folder was last listed in full begins at its oldest digest. One
// that was there then, or whose folder was never listed, begins at Config.Since.
func (c *chainLoop) begin(ctx context.Context) (follow.Head, error) {
	wasThere := c.listedAt.IsZero()
	if !wasThere && !c.name.Backfill && !c.feed.source.IsCopy() {
		var err error
		if wasThere, err = c.wasListed(ctx); err != nil {
			return follow.Head{}, fmt.Errorf("list digests of %s: %w", c.name, err)
		}
	}
	if wasThere {
		return follow.Begin(c.feed.since(c.worker.config.Since)), nil
	}
	return follow.Head{Version: follow.HeadVersion}, nil
}

// wasListed reports whether the bucket had a trusted digest of the chain when its account
// folder was last listed in full: S3 says when each object came. All of its digests can
// have been older than Config.Since then.
func (c *chainLoop) wasListed(ctx context.Context) (bool, error) {
	places := c.feed.placesOf(regionOf(c.name.Place))
	for _, k := range c.frontier.Oldest(follow.Head{}, 1) { // a message may know a place that no poll has found
		if !slices.ContainsFunc(places, func(p discover.Place) bool { return p.Place == k.Place }) {
			places = append(slices.Clip(places), c.feed.placeOf(k.Place))
		}
	}
	judged := 0
	for _, p := range places {
		for o, err := range c.feed.objects.List(ctx, c.feed.source.Signed(), p.Folder(trail.DigestFolder), "") {
			if err != nil {
				return false, err
			}
			key, err := trail.ParseDigestKey(o.Key)
			ref := chain.Ref{DigestKey: key, Bucket: c.feed.source.Signed()}
			if err != nil || o.Modified.After(c.listedAt) || !c.isOwn(ref) {
				continue
			}
			if judged++; judged > maxNear {
				return false, nil // all of them may be planted
			}
			g := c.read(ctx, follow.Known{Ref: ref})
			v := c.judgeFiles(ctx, ref, g.files.Found(), nil).Verdict
			switch {
			case v.Trusted:
				return true, nil
			case v.Err != nil:
				return false, v.Err
			}
		}
	}
	return false, nil
}

// since returns where chains begin whose account folder was never listed in full.
func (f *feed) since(asked time.Time) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if first := f.listings.Since; !first.IsZero() && first.Before(asked) {
		return first
	}
	return asked
}

// reasonOf returns why an unproven chain waits.
func reasonOf(err error) finding.Reason {
	if errors.Is(err, context.Canceled) {
		return ""
	}
	return finding.ReasonOf(err)
}

// recent remembers the last strings that were added, at least maxRecent of them. Its
// owner guards it. The zero recent is empty.
type recent struct {
	seed     maphash.Seed
	isSeeded bool
	newer    map[uint64]struct{}
	older    map[uint64]struct{}
}

// maxRecent bounds a recent: it keeps up to twice as many hashes of eight bytes.
const maxRecent = 250_000

func (r *recent) hash(s string) uint64 {
	if !r.isSeeded {
		r.seed, r.isSeeded = maphash.MakeSeed(), true
	}
	return maphash.String(r.seed, s)
}

func (r *recent) has(s string) bool {
	h := r.hash(s)
	_, isNew := r.newer[h]
	_, isOld := r.older[h]
	return isNew || isOld
}

func (r *recent) add(s string) {
	if r.newer == nil || len(r.newer) >= maxRecent {
		r.newer, r.older = map[uint64]struct{}{}, r.newer
	}
	r.newer[r.hash(s)] = struct{}{}
}

func (r *recent) remove(s string) {
	h := r.hash(s)
	delete(r.newer, h)
	delete(r.older, h)
}
