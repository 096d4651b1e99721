package discover

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// ErrNoBucket says that it is not known which bucket an access point leads to.
var ErrNoBucket = errors.New("no proven digest names the bucket behind the access point: give --original-bucket")

// Newest returns the name of a place's newest digest that ends not after until,
// and whether there is one.
func (f *Finder) Newest(ctx context.Context, bucket string, p Place, until time.Time) (newest Digest, ok bool, err error) {
	for _, from := range []time.Time{until.AddDate(0, 0, -3), {}} {
		err = f.EachDigest(ctx, bucket, p, from, func(d Digest) bool {
			if !d.End.After(until) && d.End.After(newest.End) {
				newest, ok = d, true
			}
			return true
		})
		if err != nil || ok {
			return newest, ok, err
		}
	}
	return newest, false, nil
}

// placesTried bounds how many digests LearnBucket reads.
const placesTried = 50

// LearnBucket returns the bucket that an access point leads to, as the first proven
// digest behind it names it. Errors that say that none does wrap ErrNoBucket.
func LearnBucket(ctx context.Context, s source.Source, objects fetch.Objects, keys chain.Keys, now time.Time) (string, error) {
	s.Original = s.Bucket // names are those of the access point, as long as nothing else is known
	f := Finder{Objects: objects, Source: s, Concurrency: 16}
	found, err := f.Places(ctx)
	if err != nil {
		return "", err
	}
	fetcher := fetch.New(objects, 1)
	var unread error // why the first digest that was not judged was not
	for i, p := range found.Places {
		if !p.Digests || i >= placesTried {
			continue
		}
		newest, ok, err := f.Newest(ctx, s.Bucket, p, now)
		if err != nil {
			return "", err
		}
		if !ok {
			continue
		}
		file, err := fetcher.Digest(ctx, newest.Object())
		if err != nil && unread == nil && !finding.IsFact(err) {
			unread = err
		}
		if err != nil || file.Digest == nil {
			continue
		}
		at := trail.Object{Bucket: file.Digest.Bucket, Key: newest.DigestKey.String()}
		v := chain.Judge(ctx, keys, chain.Evidence{Key: newest.DigestKey, At: at, File: file.Evidence()})
		switch {
		case v.Trusted:
			return file.Digest.Bucket, nil
		case v.Err != nil && unread == nil:
			unread = v.Err
		}
	}
	err = ErrNoBucket
	if unread != nil {
		err = fmt.Errorf("%w (%w)", ErrNoBucket, unread)
	}
	return "", fmt.Errorf("look into %s: %w", s.Name, err)
}
