package ingest

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/ledger"
	"github.com/trailseal/trailseal/internal/pipeline"
	"github.com/trailseal/trailseal/pkg/trail"
)

// feed is a source with what belongs to it. Sources of one identity are one feed, since they
// share their heads: a chain whose trail moves from one to the other has one loop.
type feed struct {
	source   Source   // the first of them
	prefixes []string // of each of them
	identity string   // of the source, for names in the state
	objects  fetch.Objects
	digests  *fetch.Fetcher
	logs     *pipeline.Source
	finder   *discover.Finder
	schedule *schedule
	// deep are the chains that may read many digests ahead. Each of the others reads few:
	// with many chains, more would only open connections that are not used again.
	deep *semaphore.Weighted

	polls pollState // owned by the poller of the source

	mu       sync.Mutex // guards what follows
	listings ledger.Listings
	record   *listing                    // the last full poll, until the state has it
	places   map[region][]discover.Place // that the last poll found
	refuted  recent                      // digest names that were judged false
	unproven map[string]*chainLoop       // chains without a trusted digest, by their heads' names
	dropped  map[region]int              // names that unproven had no room for, since the last poll began
	// resume is the first name that the last poll left out. This poll begins there with new
	// names, so that those that cannot be judged do not keep the others out. next is the
	// first name that this poll has left out.
	resume, next string
	err          error // of the last poll; ErrNotListed before the first
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

func (w *Worker) newFeed(s Source) *feed {
	objects := counting{s.View(s.Objects), w.metrics.fetched}
	f := &feed{
		source: s, prefixes: []string{s.Prefix}, identity: s.Identity(), objects: objects,
		digests: fetch.New(objects, (chainsAtOnce-deepAtOnce)*aheadFew+deepAtOnce*aheadMany),
		deep:    semaphore.NewWeighted(deepAtOnce),
		places:  map[region][]discover.Place{}, unproven: map[string]*chainLoop{}, dropped: map[region]int{},
		err: ErrNotListed,
	}
	logs := fetch.New(objects, w.config.Concurrency)
	f.digests.Plain, logs.Plain = s.IsCopy(), s.IsCopy()
	f.logs = w.pipeline.Source(logs)
	f.finder = &discover.Finder{
		Objects: objects, Source: s.Source, Concurrency: listingsAtOnce,
		Keep: func(p trail.Place) bool {
			return wanted(w.config.Accounts, p.Account) && (p.Region == "" || wanted(w.config.Regions, p.Region))
		},
	}
	f.schedule = newSchedule(chainsAtOnce, w.runChain)
	return f
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

// places finds the accounts and regions below each prefix of the source. Where one cannot be
// searched, or holds none, that is an error of the poll beside what the others hold. An error
// says that there are none at all.
func (p *poll) places(ctx context.Context) (found discover.Found, err error) {
	at := map[trail.Place]int{}
	var errs []error
	for _, prefix := range p.f.prefixes {
		finder := p.finder(ctx)
		finder.Source.Prefix = prefix
		here, err := finder.Places(ctx)
		if err == nil && len(here.Places) == 0 && p.err() == nil {
			err = here.Absent()
		}
		if err != nil {
			errs = append(errs, err)
		}
		found.Accounts, found.Regions = append(found.Accounts, here.Accounts...), append(found.Regions, here.Regions...)
		for _, place := range here.Places {
			i, there := at[place.Place]
			if !there {
				at[place.Place] = len(found.Places)
				found.Places = append(found.Places, place)
				continue
			}
			same := &found.Places[i]
			same.Digests, same.Logs = same.Digests || place.Digests, same.Logs || place.Logs
			same.Roots = slices.Concat(same.Roots, place.Roots)
			slices.Sort(same.Roots)
			same.Roots = slices.Compact(same.Roots)
		}
	}
	if len(found.Accounts) > 0 {
		p.tellSelected(found)
	}
	if len(errs) == len(p.f.prefixes) {
		return found, errors.Join(errs...)
	}
	for _, err := range errs {
		p.fail(err)
	}
	return found, nil
}

// readAhead returns how many digests of a chain are read ahead. The caller calls done.
func (f *feed) readAhead() (n int, done func()) {
	if f.deep.TryAcquire(1) {
		return aheadMany, func() { f.deep.Release(1) }
	}
	return aheadFew, func() {}
}

// placeOf returns a place of the source with the roots of a copy. In a copy a place has
// no prefix.
func (f *feed) placeOf(p trail.Place) discover.Place {
	if f.source.IsCopy() {
		p.Prefix = ""
	}
	return discover.Place{Place: p, Roots: f.source.Roots(p)}
}

// placesOf returns the places of a region that the last poll found.
func (f *feed) placesOf(r region) []discover.Place {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.places[r]
}

// isRefuted reports whether the digest of a name was judged false.
func (f *feed) isRefuted(k trail.DigestKey) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refuted.has(k.String())
}

func (f *feed) refute(k trail.DigestKey, isFalse bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if isFalse {
		f.refuted.add(k.String())
	} else {
		f.refuted.remove(k.String())
	}
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
