package verify

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"time"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// ahead reads digests for the walks of one trail. It implements chain.Fetcher.
// Names of listings are read ahead, newest first; a walk asks for the names that
// trusted digests give. onPassed gets the names that a walk passes by: a trusted
// digest did not lead to them.
type ahead struct {
	r        *run
	names    *names
	onPassed func(ref chain.Ref, found []chain.Found)
	isDone   func(ref chain.Ref) bool // the digest was walked before

	todo   []name // not yet taken, newest first
	most   int    // read ahead at once
	next   func() (name, fetch.Candidates, bool)
	stop   func()
	first  chain.Ref // the name that begins a walk, with its files
	files  []chain.Found
	listed map[site]error // other buckets and places that a walk led to, and how their listing ended
}

// Bounds of the digests that are read ahead: in one chain, and in all chains
// under way together.
const (
	aheadTotal = 256
	aheadMost  = 64
	aheadLeast = 4
)

// begin reads the names in todo ahead, up to most at once. stop must be called in
// the end.
func (a *ahead) begin(ctx context.Context, todo []name, most int) {
	a.todo, a.most = todo, most
	n := min(max(aheadTotal/a.r.underWay, aheadLeast), most)
	a.next, a.stop = iter.Pull2(
		fetch.Ahead(ctx, n, slices.Values(todo), func(ctx context.Context, n name) fetch.Candidates {
			return a.read(ctx, a.names.ref(n))
		}),
	)
}

// maxFew is the most names of a trail that are read together with those of others.
const maxFew = 8

// beginShared takes the names in todo from a sequence that holds those of other
// trails too, in which they come next.
func (a *ahead) beginShared(todo []name, next nextFew) {
	a.todo, a.most = todo, aheadMost
	a.next = func() (name, fetch.Candidates, bool) {
		n, candidates, ok := next()
		return n.at, candidates, ok
	}
	a.stop = func() {
		for range a.todo { // what comes next is another trail's
			next()
		}
		a.stop = func() {}
	}
}

// named is a name and the names that it belongs to.
type named struct {
	names *names
	at    name
}

// nextFew returns the next name of a trail that has few, with its files.
type nextFew func() (named, fetch.Candidates, bool)

// readFew reads ahead the names of all trails that have few of them in an extent:
// anyone can plant a hundred thousand trails of one name.
func (r *run) readFew(ctx context.Context, all []*names, e extent) (next nextFew, stop func()) {
	few := func(yield func(named) bool) {
		for _, n := range all {
			if n == nil {
				continue // walked already
			}
			list := n.between(e.lower, n.upper(e))
			for _, at := range list {
				if len(list) <= maxFew && !yield(named{n, at}) {
					return
				}
			}
		}
	}
	most := min(max(aheadTotal/r.underWay, aheadLeast), aheadMost)
	return iter.Pull2(fetch.Ahead(ctx, most, few, func(ctx context.Context, n named) fetch.Candidates {
		return r.readNames(ctx, n.names.ref(n.at))
	}))
}

func (r *run) readNames(ctx context.Context, ref chain.Ref) fetch.Candidates {
	if !r.mayFollow(ref.Bucket) {
		return fetch.Refused(ref.Object(), errStay)
	}
	return r.cfg.Fetcher.ReadAhead(ctx, r.cfg.Source.Locate(ref.Object()))
}

func (a *ahead) read(ctx context.Context, ref chain.Ref) fetch.Candidates {
	return a.r.readNames(ctx, ref)
}

// take returns the next name of the listing with its files, which the next walk
// begins with.
func (a *ahead) take(ctx context.Context) (chain.Ref, bool) {
	for len(a.todo) > 0 && ctx.Err() == nil {
		n, candidates, _ := a.next()
		a.todo = a.todo[1:]
		ref := a.names.ref(n)
		if a.isDone(ref) {
			continue
		}
		a.first, a.files = ref, a.r.cfg.Fetcher.Take(ctx, candidates)
		return ref, true
	}
	return chain.Ref{}, false
}

// ReadDigest implements chain.Fetcher.
func (a *ahead) ReadDigest(ctx context.Context, ref chain.Ref) []chain.Found {
	if a.files != nil && ref == a.first {
		files := a.files
		a.files = nil
		return files
	}
	a.list(ctx, ref)
	for len(a.todo) > 0 {
		at := a.names.ref(a.todo[0])
		if at != ref && at.End.Before(ref.End) {
			break
		}
		_, candidates, _ := a.next()
		a.todo = a.todo[1:]
		if at == ref {
			return a.r.cfg.Fetcher.Take(ctx, candidates)
		}
		if !a.isDone(at) && ctx.Err() == nil {
			a.onPassed(at, a.r.cfg.Fetcher.Take(ctx, candidates))
		}
	}
	return a.r.cfg.Fetcher.Take(ctx, a.read(ctx, ref))
}

// HashDigest implements chain.Fetcher.
func (a *ahead) HashDigest(ctx context.Context, at trail.Object) (digest.Sum, error) {
	return a.r.cfg.Fetcher.HashDigest(ctx, at)
}

// list lists the bucket and place of a name, where a chain leads there for the
// first time. The digests of the range are then read ahead, and what lies there
// below the range tells whether a starting digest was the first. A listing that
// fails is kept: only the beginning of a chain depends on it, since each digest is
// read by its signed name.
func (a *ahead) list(ctx context.Context, ref chain.Ref) {
	at := site{ref.Bucket, ref.Place}
	if _, done := a.listed[at]; done || a.r.cfg.Source.IsCopy() || !a.r.mayFollow(ref.Bucket) || a.names.isListed(at) {
		return
	}
	a.stop()
	number := a.names.sites.number(at)
	var all, more []name
	place := discover.Place{Place: ref.Place, Roots: []string{""}}
	quiet := discover.Finder{Objects: a.r.finder.Objects, Source: a.r.cfg.Source, Except: a.r.cfg.Except}
	err := quiet.EachDigest(ctx, ref.Bucket, place, time.Time{}, func(d discover.Digest) bool {
		if d.Chain.Same(ref.Chain) && d.Organization == ref.Organization && d.End.Unix() > 0 && !d.End.After(ref.End) {
			n := newName(d.End, number)
			if all = append(all, n); !d.End.Before(a.r.cfg.Start.Add(-window)) {
				more = append(more, n)
			}
		}
		return d.Day(trail.DigestFolder, d.End) <= ref.Day(trail.DigestFolder, ref.End)
	})
	if a.listed[at] = err; err != nil {
		all, more = nil, nil
	}
	a.names.add(all)
	a.r.cfg.Progress.DigestsListed.Add(int64(len(more)))
	todo := append(slices.Clone(a.todo), more...)
	slices.SortFunc(todo, func(x, y name) int { return cmp.Compare(y, x) })
	a.begin(ctx, slices.Compact(todo), a.most)
}

// errStay says that an object lies where the user does not want to go.
var errStay = fmt.Errorf("in another bucket, and not followed (--stay-in-source): %w", fs.ErrPermission)

func (r *run) mayFollow(bucket string) bool {
	return r.cfg.Source.IsCopy() || !r.cfg.StayInside || bucket == r.cfg.Source.Signed()
}
