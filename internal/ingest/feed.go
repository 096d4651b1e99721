package ingest

import (
	"context"
	"fmt"
	"hash/maphash"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/judge"
	"github.com/trailseal/trailseal/internal/ledger"
	"github.com/trailseal/trailseal/internal/pipeline"
	"github.com/trailseal/trailseal/internal/schedule"
	"github.com/trailseal/trailseal/pkg/trail"
)

// feed is a source with what belongs to it. Sources of one identity are one feed, since they
// share their heads: a chain whose trail moves from one to the other has one loop.
type feed struct {
	source   Source   // the first of them
	prefixes []string // of each of them
	identity string   // of the source, for names in the state
	objects  fetch.Objects
	judge    *judge.Judge
	logs     *pipeline.Source
	schedule *schedule.Schedule[*chainLoop]
	// deep are the chains that may read many digests ahead. Each of the others reads few:
	// with many chains, more would only open connections that are not used again.
	deep    *semaphore.Weighted
	refuted recent // names of digests that were judged false
	// searched is closed when a poll has searched for places, by setSearch.
	searched chan struct{}

	mu       sync.Mutex // guards what follows
	listings ledger.Listings
	record   *listing                    // the last full poll, until the state has it
	places   map[region][]discover.Place // that the last poll found
	search   *coverage                   // of the last poll that has searched for places; nil before the first
	err      error                       // of the last poll; ErrNotListed before the first
}

// region is an account and region of a source, wherever its folders lie.
type region struct{ organization, account, region string }

func regionOf(p trail.Place) region { return region{p.Organization, p.Account, p.Region} }

// Bounds of the chains of a source that run at once and of the digests that they read
// ahead. Each chain that runs holds the digests that it has read ahead.
const (
	chainsAtOnce = 64
	deepAtOnce   = 8
	aheadFew     = 4
	aheadMany    = 16
)

func newFeed(w *Worker, s Source) *feed {
	c := &w.config
	objects := counting{s.View(s.Objects), w.metrics.fetched}
	digests := fetch.New(objects, (chainsAtOnce-deepAtOnce)*aheadFew+deepAtOnce*aheadMany)
	logs := fetch.New(objects, c.Concurrency)
	digests.Plain, logs.Plain = s.IsCopy(), s.IsCopy()
	return &feed{
		source: s, prefixes: []string{s.Prefix}, identity: s.Identity(), objects: objects,
		logs: w.pipeline.Source(logs),
		judge: &judge.Judge{
			Source: s.Source, Digests: digests, Keys: w.keys, Now: c.Now, Log: c.Log,
			Finder: &discover.Finder{
				Objects: objects, Source: s.Source, Concurrency: listingsAtOnce,
				Keep: func(p trail.Place) bool {
					return wanted(c.Accounts, p.Account) && (p.Region == "" || wanted(c.Regions, p.Region))
				},
			},
		},
		schedule: schedule.New(chainsAtOnce, func(ctx context.Context, c *chainLoop) (pause time.Duration) {
			return c.run(ctx)
		}),
		deep:     semaphore.NewWeighted(deepAtOnce),
		searched: make(chan struct{}), places: map[region][]discover.Place{}, err: ErrNotListed,
	}
}

// isOf reports whether a source is read by this feed.
func (f *feed) isOf(s Source) bool {
	return f.identity == s.Identity() && f.source.Signed() == s.Signed()
}

// contains reports whether an object lies in the feed's sources.
func (f *feed) contains(o trail.Object) bool {
	isBehind := f.source.IsAccessPoint() && f.source.Original == o.Bucket // messages name the bucket
	if f.source.IsCopy() || !isBehind && f.source.Bucket != o.Bucket {
		return false
	}
	return slices.ContainsFunc(f.prefixes, func(p string) bool { return strings.HasPrefix(o.Key, p) })
}

// readAhead returns how many digests of a chain are read ahead. The caller calls done.
func (f *feed) readAhead() (n int, done func()) {
	if f.deep.TryAcquire(1) {
		return aheadMany, func() { f.deep.Release(1) }
	}
	return aheadFew, func() {}
}

// placesOf returns the places of a region that the last poll found.
func (f *feed) placesOf(r region) []discover.Place {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.places[r]
}

// setPlaces remembers the places that a poll found.
func (f *feed) setPlaces(found map[region][]discover.Place) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.places = found
}

// setSearch remembers what a poll lists, once it has searched for places.
func (f *feed) setSearch(c *coverage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.search == nil {
		close(f.searched)
	}
	f.search = c
}

// firstSearch is how long a chain waits for the first poll to search for places.
const firstSearch = 10 * time.Second

// hasAll is coverage.hasAll of the last poll. It waits a while for the first one, unless stopped
// or ctx ends.
func (f *feed) hasAll(ctx context.Context, stopped <-chan struct{}, p trail.Place) bool {
	late := time.NewTimer(firstSearch)
	defer late.Stop()
	select {
	case <-f.searched:
	case <-late.C:
		return false
	case <-stopped:
		return false
	case <-ctx.Done():
		return false
	}
	f.mu.Lock()
	last := f.search
	f.mu.Unlock()
	return last.hasAll(p)
}

// polled remembers how the last poll went.
func (f *feed) polled(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err = err; err != nil {
		f.err = fmt.Errorf("source %s: %w", f.source.Name, err)
	}
}

// pollError returns why the last poll did not list all, ErrNotListed before the first.
func (f *feed) pollError() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// setListings remembers what the state says of the listings.
func (f *feed) setListings(l ledger.Listings) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listings = l
}

// lastListed returns when the account folder of a place was last listed in full, zero for
// never. The listings of this run count, whether the state has them yet or not.
func (f *feed) lastListed(p trail.Place) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	last := f.listings.Last(p)
	if l := f.record; l != nil && (l.isWhole || l.accounts[ledger.Account(p)]) && l.began.After(last) {
		return l.began
	}
	return last
}

// lastStored returns when the state says that the account folder of a place was last listed in
// full, zero for never.
func (f *feed) lastStored(p trail.Place) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.listings.Last(p)
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

// counting counts the bytes that are read.
type counting struct {
	fetch.Objects
	bytes prometheus.Counter
}

// Get implements fetch.Objects.
func (c counting) Get(ctx context.Context, o trail.Object) (io.ReadCloser, map[string]string, error) {
	body, meta, err := c.Objects.Get(ctx, o)
	if body != nil {
		body = countedBody{body, c.bytes}
	}
	return body, meta, err
}

type countedBody struct {
	body  io.ReadCloser
	bytes prometheus.Counter
}

func (b countedBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	b.bytes.Add(float64(n))
	return n, err
}

func (b countedBody) Close() error { return b.body.Close() }

// recent remembers the last names of digests that were added, at least maxRecent of them. It
// is safe for concurrent use. The zero recent is empty.
type recent struct {
	mu       sync.Mutex // guards what follows
	seed     maphash.Seed
	isSeeded bool
	newer    map[uint64]struct{}
	older    map[uint64]struct{}
}

// maxRecent bounds a recent: it keeps up to twice as many hashes of eight bytes.
const maxRecent = 250_000

// hash needs mu.
func (r *recent) hash(k trail.DigestKey) uint64 {
	if !r.isSeeded {
		r.seed, r.isSeeded = maphash.MakeSeed(), true
	}
	return maphash.String(r.seed, k.String())
}

func (r *recent) has(k trail.DigestKey) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.newer)+len(r.older) == 0 {
		return false
	}
	h := r.hash(k)
	_, isNew := r.newer[h]
	_, isOld := r.older[h]
	return isNew || isOld
}

func (r *recent) add(k trail.DigestKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.newer == nil || len(r.newer) >= maxRecent {
		r.newer, r.older = map[uint64]struct{}{}, r.newer
	}
	r.newer[r.hash(k)] = struct{}{}
}

func (r *recent) remove(k trail.DigestKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.hash(k)
	delete(r.newer, h)
	delete(r.older, h)
}

func (r *recent) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.newer, r.older = nil, nil
}
