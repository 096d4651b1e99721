package validatelogs

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/pkg/trail"
)

// spill is how long after the asked end a digest may end that still lists log
// files of the range.
const spill = time.Hour

// listed is a chain's digest keys in a bucket, oldest first; the walk takes
// them from the end.
type listed []trail.DigestKey

// list reads the keys of both digest chains that ended from start to end+spill.
// It trusts only keys that are wholly those of this chain: whatever else lies
// in the folder, it can neither be taken for a digest nor end the listing. One
// pass from just before the range to the last key that can be in it costs as
// few requests as can be.
func list(ctx context.Context, o fetch.Objects, bucket string, chain trail.Chain, start, end time.Time) (standard, backfill listed, err error) {
	from, to := start.Truncate(time.Second), end.Add(spill).Truncate(time.Second)
	last := chain.Digest(to)
	last.Backfill = true // sorts after the same hour's standard digest
	chain.Backfill = false
	after := chain.Digest(start.Add(-time.Minute)).String()
	for object, err := range o.List(ctx, bucket, chain.Folder(trail.DigestFolder), after) {
		if err != nil {
			return nil, nil, fmt.Errorf("list digests in s3://%s: %w", bucket, err)
		}
		if object.Key > last.String() {
			break
		}
		key, err := trail.ParseDigestKey(object.Key)
		if err != nil {
			continue
		}
		wanted := chain
		wanted.Backfill = key.Backfill
		switch {
		case key.Chain != wanted || key.End.Before(from) || key.End.After(to):
		case key.Backfill:
			backfill = append(backfill, key)
		default:
			standard = append(standard, key)
		}
	}
	return standard, backfill, nil
}

// pop takes the newest key that ended before before, if that is a time, and
// drops the newer ones.
func (l *listed) pop(before time.Time) (trail.DigestKey, bool) {
	for len(*l) > 0 {
		key := (*l)[len(*l)-1]
		*l = (*l)[:len(*l)-1]
		if before.IsZero() || key.End.Before(before) {
			return key, true
		}
	}
	return trail.DigestKey{}, false
}

// newestFirst yields the keys in the order of the walk. It works on its own
// copy: the walk pops from l meanwhile.
func (l listed) newestFirst() iter.Seq[trail.DigestKey] {
	return func(yield func(trail.DigestKey) bool) {
		for i := len(l) - 1; i >= 0; i-- {
			if !yield(l[i]) {
				return
			}
		}
	}
}

// readAhead reads digests before the walk has come to them: the listing is a
// good guess at where the pointers will lead. Its owner calls stop.
type readAhead struct {
	ctx     context.Context
	digests *fetch.Fetcher // for those whose turn has come
	next    func() (trail.DigestKey, candidate, bool)
	stop    func()

	bucket string
	key    trail.DigestKey // read and not yet taken, if held
	file   candidate
	held   bool
}

// readAhead begins to read the bucket's listed digests, newest first.
func (c *chain) readAhead(ctx context.Context, bucket string) *readAhead {
	a := &readAhead{ctx: ctx, digests: c.digests, bucket: bucket}
	a.next, a.stop = iter.Pull2(fetch.Ahead(ctx, min(c.request.Concurrency, maxAheadReads), c.left.newestFirst(),
		func(ctx context.Context, k trail.DigestKey) candidate {
			file, deferred, err := c.ahead.PrefetchDigest(ctx, trail.Object{Bucket: bucket, Key: k.String()})
			if deferred {
				return candidate{deferred: true}
			}
			return newCandidate(file, err)
		}))
	return a
}

// take returns the digest at v: one read ahead if the guess was right and it is
// of ordinary size, else it is read now. The walk goes to older digests only,
// so newer ones are dropped.
func (a *readAhead) take(v visit) candidate {
	for {
		if !a.held {
			a.key, a.file, a.held = a.next()
		}
		if !a.held || !a.key.End.After(v.end) {
			break
		}
		a.held = false
	}
	if !a.held || a.bucket != v.Bucket || a.key.String() != v.Key {
		return newCandidate(a.digests.Digest(a.ctx, v.Object))
	}
	a.held = false
	if !a.file.deferred {
		return a.file
	}
	file, release, err := a.digests.ReadLarge(a.ctx, v.Object)
	defer release()
	return newCandidate(file, err)
}
