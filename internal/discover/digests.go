package discover

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/trailseal/trailseal/pkg/trail"
)

// Digest is a digest that a listing shows.
type Digest struct {
	trail.DigestKey
	Bucket string
}

// Object returns the digest's object.
func (d Digest) Object() trail.Object {
	return trail.Object{Bucket: d.Bucket, Key: d.DigestKey.String()}
}

// Digests lists a place's digests that end from the day of from on and not
// after until, by chain, oldest first. Whatever else lies in those folders
// steers nothing; Foreign is told of it.
func (f *Finder) Digests(ctx context.Context, bucket string, p trail.Place, from, until time.Time) (map[trail.Chain][]Digest, error) {
	found := map[trail.Chain][]Digest{}
	var names trail.Chain // whose strings all its digests share, so that each may let go of its key
	past := p.Day(trail.DigestFolder, until.AddDate(0, 0, 1))
	for o, err := range f.Objects.List(ctx, bucket, p.Folder(trail.DigestFolder), p.Day(trail.DigestFolder, from)) {
		if err != nil {
			return nil, err
		}
		if IsMarker(o) {
			continue
		}
		if o.Key >= past {
			break
		}
		k, err := trail.ParseDigestKey(o.Key)
		switch {
		case err != nil || k.Place != p:
			f.Foreign(p, o, "in a digest folder, and named like no digest of it")
		case !k.End.After(until):
			if k.Chain == names {
				k.Chain = names
			}
			names = k.Chain
			found[k.Chain] = append(found[k.Chain], Digest{DigestKey: k, Bucket: bucket})
		}
	}
	for _, digests := range found {
		slices.SortFunc(digests, func(a, b Digest) int { return a.End.Compare(b.End) })
	}
	return found, nil
}

// Last finds the chains of the last day not after until that has any digest,
// each with its last one, so that a chain that ended, or was deleted, can be
// named.
func (f *Finder) Last(ctx context.Context, p trail.Place, until time.Time) (map[trail.Chain][]Digest, error) {
	folder := p.Folder(trail.DigestFolder)
	for range 3 { // year, month, day
		newest := ""
		for sub, err := range f.folders(ctx, folder) {
			if err != nil {
				return nil, err
			}
			if sub <= p.Day(trail.DigestFolder, until) {
				newest = sub
			}
		}
		if newest == "" {
			return nil, nil
		}
		folder = newest
	}
	day, err := time.Parse("2006/01/02/", strings.TrimPrefix(folder, p.Folder(trail.DigestFolder)))
	if err != nil {
		return nil, nil // no date: such a folder is no digest's
	}
	found, err := f.Digests(ctx, f.Source.Bucket, p, day, until)
	for name, digests := range found {
		found[name] = digests[len(digests)-1:]
	}
	return found, err
}
