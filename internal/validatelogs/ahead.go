package validatelogs

import (
	"context"
	"iter"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/pkg/trail"
)

// readAhead reads digests before the walk has come to them: the listing is a
// good guess at where the pointers will lead. Its owner calls stop.
type readAhead struct {
	read func(trail.Object) candidate
	next func() (trail.DigestKey, candidate, bool)
	stop func()

	bucket string
	key    trail.DigestKey // read and not yet taken, if held
	file   candidate
	held   bool
}

// readAhead begins to read the bucket's listed digests, newest first.
func (c *chain) readAhead(ctx context.Context, bucket string) *readAhead {
	a := &readAhead{bucket: bucket, read: func(o trail.Object) candidate { return readDigest(ctx, c.digests, o) }}
	a.next, a.stop = iter.Pull2(fetch.Ahead(ctx, c.request.Concurrency, c.left.newestFirst(),
		func(ctx context.Context, k trail.DigestKey) candidate {
			return readDigest(ctx, c.digests, trail.Object{Bucket: bucket, Key: k.String()})
		}))
	return a
}

// take returns the digest at v: one read ahead if the guess was right, else it
// is read now. The walk goes to older digests only, so newer ones are dropped.
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
	if a.held && a.bucket == v.Bucket && a.key.String() == v.Key {
		a.held = false
		return a.file
	}
	return a.read(v.Object)
}
