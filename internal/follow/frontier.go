package follow

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Known is a digest that is known by name.
type Known struct {
	chain.Ref
	Signature string // hex, as a trusted successor repeats it; "" where it is not known
}

// Origin is who named a digest.
type Origin int

// The origins.
const (
	Listed    Origin = iota // a listing shows it
	Named                   // a digest names it, and a file is there
	Announced               // a message names it; perhaps nothing is there
)

// MaxListed is how many listed digests a Frontier keeps: four days of a chain.
// It keeps the oldest, and of names that compete for the last places those that end
// at the chain's minute of the hour.
const MaxListed = 96

// maxNamed is how many digests it keeps that other digests name.
const maxNamed = 1024

// Frontier holds the digests of one chain that are known and not done. It keeps a
// bounded number of them, and knows whether there are more. It is safe for concurrent
// use. The zero Frontier is empty and ready.
type Frontier struct {
	mu      sync.Mutex // guards what follows
	entries []entry    // in order of their ends
	counts  [Announced + 1]int
	more    bool
}

type entry struct {
	known  Known
	origin Origin
	done   []func(error)
}

// Add makes a digest known that the head does not cover. done is called once: with
// nil when the digest is done, or with an error when the chain waits or the worker
// ends before. It may be nil. It is called under a lock, so it must not block.
func (f *Frontier) Add(h Head, k Known, from Origin, done func(error)) {
	if h.Covers(k.DigestKey) {
		if done != nil {
			done(nil)
		}
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	i, there := f.find(k.DigestKey)
	if !there {
		f.entries = slices.Insert(f.entries, i, entry{known: k, origin: from})
		f.counts[from]++
	}
	e := &f.entries[i]
	if done != nil {
		e.done = append(e.done, done)
	}
	if from < e.origin {
		f.counts[e.origin]--
		f.counts[from]++
		e.origin = from
		if e.known.Signature == "" { // else a trusted digest has named the bucket
			e.known.Bucket = k.Bucket
		}
	}
	if k.Signature != "" {
		e.known.Signature, e.known.Bucket = k.Signature, k.Bucket
	}
	if f.counts[Listed] > MaxListed {
		f.drop(h, Listed)
	}
	if f.counts[Named] > maxNamed {
		f.drop(h, Named)
	}
}

// drop forgets one digest of an origin: the newest that does not end at the minute
// of the chain's hour or, where all do, the newest.
func (f *Frontier) drop(h Head, of Origin) {
	newest := -1
	for i, e := range slices.Backward(f.entries) {
		if e.origin != of || len(e.done) > 0 {
			continue
		}
		if newest < 0 {
			newest = i
		}
		if !h.Link.End.IsZero() && e.known.End.Sub(h.Link.End)%window != 0 {
			newest = i
			break
		}
	}
	if newest >= 0 {
		f.remove(newest)
		f.more = true
	}
}

func (f *Frontier) remove(i int) {
	f.counts[f.entries[i].origin]--
	f.entries = slices.Delete(f.entries, i, i+1)
}

// find returns where a digest is or belongs.
func (f *Frontier) find(k trail.DigestKey) (int, bool) {
	return slices.BinarySearchFunc(f.entries, k, func(e entry, k trail.DigestKey) int {
		return compare(e.known.DigestKey, k)
	})
}

func compare(a, b trail.DigestKey) int {
	if c := a.End.Compare(b.End); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(a.Prefix, b.Prefix), cmp.Compare(a.Organization, b.Organization),
		cmp.Compare(a.Account, b.Account), cmp.Compare(a.Region, b.Region), cmp.Compare(a.Trail, b.Trail),
		cmp.Compare(a.HomeRegion, b.HomeRegion), order(a.Backfill, b.Backfill))
}

func order(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// Oldest returns the oldest digests that the head does not cover, oldest first: at most n,
// and beside them those that only messages name, so that forged messages do not crowd out
// the others. Those that the head covers are done.
func (f *Frontier) Oldest(h Head, n int) []Known {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []Known
	for i := 0; i < len(f.entries) && n > 0; {
		e := f.entries[i]
		if h.Covers(e.known.DigestKey) {
			f.end(i, nil)
			continue
		}
		if e.origin != Announced {
			n--
		}
		list = append(list, e.known)
		i++
	}
	return list
}

// Before reports whether a digest is known that ends before k and that the head
// does not cover. It does not count digests that only a message names.
func (f *Frontier) Before(h Head, k trail.DigestKey) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.entries {
		if !e.known.End.Before(k.End) {
			return false
		}
		if e.origin != Announced && !h.Covers(e.known.DigestKey) {
			return true
		}
	}
	return false
}

// Origin returns who named a digest, and whether it is known.
func (f *Frontier) Origin(k trail.DigestKey) (Origin, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i, there := f.find(k); there {
		return f.entries[i].origin, true
	}
	return 0, false
}

// Done forgets a digest and tells those who wait for it. An error says why it is
// not done.
func (f *Frontier) Done(k trail.DigestKey, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i, there := f.find(k); there {
		f.end(i, err)
	}
}

func (f *Frontier) end(i int, err error) {
	for _, done := range f.entries[i].done {
		done(err)
	}
	f.remove(i)
}

// GiveBack tells all who wait that the chain does: their messages come again. It
// forgets the digests that only a message names, since a forged one would hold the
// chain.
func (f *Frontier) GiveBack(why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := 0; i < len(f.entries); {
		e := &f.entries[i]
		if e.origin == Announced {
			f.end(i, why)
			continue
		}
		for _, done := range e.done {
			done(why)
		}
		e.done = nil
		i++
	}
}

// Len returns how many digests are known and not done, at most the bounds.
func (f *Frontier) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.entries)
}

// IsAwaited reports whether a caller of Add waits for a digest.
func (f *Frontier) IsAwaited() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.entries, func(e entry) bool { return len(e.done) > 0 })
}

// HasMore reports whether a listing showed digests that were not kept.
func (f *Frontier) HasMore() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.more
}

// SetMore says whether a listing shows digests that are not kept. A caller that is
// about to list all of them says no first.
func (f *Frontier) SetMore(more bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.more = more
}

// Full reports whether a listing has nothing to add that ends at t or later: the
// Frontier keeps as many listed digests as it can, and all of them are older.
func (f *Frontier) Full(t time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range slices.Backward(f.entries) {
		if e.origin == Listed {
			return f.counts[Listed] >= MaxListed && t.After(e.known.End)
		}
	}
	return false
}
