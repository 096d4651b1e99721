package discover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
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
func (f *Finder) Newest(
	ctx context.Context,
	bucket string,
	p Place,
	until time.Time,
) (newest Digest, ok bool, err error) {
	all, err := f.newest(ctx, bucket, p, until, 1)
	if err != nil || len(all) == 0 {
		return Digest{}, false, err
	}
	return all[0], true, nil
}

// newest returns the names of a place's newest digests, at most most, newest first.
func (f *Finder) newest(
	ctx context.Context,
	bucket string,
	p Place,
	until time.Time,
	most int,
) (newest []Digest, err error) {
	for _, from := range []time.Time{until.AddDate(0, 0, -3), {}} {
		err = f.EachDigest(ctx, bucket, p, from, func(d Digest) bool {
			if d.End.After(until) {
				return true
			}
			i, _ := slices.BinarySearchFunc(newest, d, func(a, b Digest) int { return b.End.Compare(a.End) })
			if newest = slices.Insert(newest, i, d); len(newest) > most {
				newest = newest[:most]
			}
			return true
		})
		if err != nil || len(newest) > 0 {
			return newest, err
		}
	}
	return nil, nil
}

// Bounds of LearnBucket. Anyone who may write to the bucket can plant names that
// are newer than the genuine ones.
const (
	placesTried = 50
	namesTried  = 20 // of a place
)

// LearnBucket returns the bucket that an access point leads to, as the first proven
// digest behind it names it. A place that cannot be listed and a digest that cannot
// be read are passed by. Errors that say that no digest names it wrap ErrNoBucket.
func LearnBucket(
	ctx context.Context,
	s source.Source,
	objects fetch.Objects,
	keys chain.Keys,
	now time.Time,
) (string, error) {
	s.Original = s.Bucket // names are those of the access point, as long as nothing else is known
	f := Finder{Objects: objects, Source: s, Concurrency: 16}
	found, err := f.Places(ctx)
	if err != nil {
		return "", err
	}
	places := slices.DeleteFunc(found.Places, func(p Place) bool { return !p.Digests })
	fetcher := fetch.New(objects, 1)
	var unread error // the first reason for not judging something
	for _, p := range places[:min(len(places), placesTried)] {
		names, err := f.newest(ctx, s.Bucket, p, now, namesTried)
		unread = cmp.Or(unread, err)
		for _, d := range names {
			bucket, err := namedBucket(ctx, fetcher, keys, d)
			if bucket != "" {
				return bucket, nil
			}
			unread = cmp.Or(unread, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	err = ErrNoBucket
	if unread != nil {
		err = fmt.Errorf("%w (%w)", ErrNoBucket, unread)
	}
	return "", fmt.Errorf("look into %s: %w", s.Name, err)
}

// namedBucket returns the bucket that a digest names, "" where it is not proven. The
// error is the reason for not having judged it.
func namedBucket(ctx context.Context, f *fetch.Fetcher, keys chain.Keys, d Digest) (string, error) {
	file, err := f.Digest(ctx, d.Object())
	if err != nil && !finding.IsFact(err) {
		return "", err
	}
	if file.Digest == nil {
		return "", nil
	}
	at := trail.Object{Bucket: file.Digest.Bucket, Key: d.DigestKey.String()}
	v := chain.Judge(ctx, keys, chain.Evidence{Key: d.DigestKey, At: at, File: file.Evidence(), Err: err})
	if !v.Trusted {
		return "", v.Err
	}
	return at.Bucket, nil
}
