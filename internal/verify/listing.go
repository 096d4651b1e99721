package verify

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// lookBack is how far before the asked range the listing begins: far enough to
// see that a chain existed, and how it ended.
const lookBack = 24 * time.Hour

// listed is a digest that the listing shows.
type listed struct {
	end    time.Time
	bucket string
	chain  trail.Chain // where it lies: a chain that moved has several places
	size   int64
}

func (l listed) object() trail.Object {
	return trail.Object{Bucket: l.bucket, Key: l.chain.Digest(l.end).String(), Size: l.size}
}

// list finds the chains of a scope and the digests each has in and around the
// asked range. It returns false where a place could not be listed; its chains
// are then not walked, since a part of a listing proves nothing. all is false
// where chains were left out on request: the scope's log files may be theirs.
func (r *run) list(ctx context.Context, s scope) (chains []*chain, all, ok bool) {
	merged := map[trail.Chain][]listed{} // by name alone: the Place is that of the scope
	for _, p := range s.places {
		found, err := r.listDigests(ctx, p.Place, r.Source.Bucket, r.Start.Add(-lookBack), r.foreign)
		if err == nil && len(found) == 0 && p.digests {
			found, err = r.lastSeen(ctx, p.Place)
		}
		if err != nil {
			folder := trail.Object{Bucket: r.Source.Bucket, Key: p.Folder(trail.DigestFolder)}
			r.doubt(ctx, subject(trail.Chain{Place: p.Place}, folder, r.Start), err)
			return nil, false, false
		}
		for name, items := range found {
			merged[bare(name)] = append(merged[bare(name)], items...)
		}
		if len(found) == 0 && p.digests && len(r.Trails) == 0 {
			r.absent(p.Account, p.Region, "the digest folder holds no digest")
		}
	}
	for name, items := range merged {
		if wanted(r.Trails, name.Trail) {
			chains = append(chains, newChain(r, items))
		}
	}
	slices.SortFunc(chains, func(a, b *chain) int { return strings.Compare(a.name.String(), b.name.String()) })
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shared = r.shared || len(chains) < len(merged)
	r.chains = append(r.chains, chains...)
	return chains, len(chains) == len(merged), true
}

// bare returns a chain's name without the prefix and organization that its
// files happen to lie below: a trail is known by its name and home region.
func bare(c trail.Chain) trail.Chain {
	c.Prefix, c.Organization = "", ""
	return c
}

// listDigests lists a place's digests from a day on to a little after the
// asked range, by chain, oldest first. Anything else in those folders is
// handed to foreign, which may be nil, and steers nothing.
func (r *run) listDigests(ctx context.Context, p trail.Place, bucket string, from time.Time, foreign func(trail.Place, trail.Object, string)) (map[trail.Chain][]listed, error) {
	found := map[trail.Chain][]listed{}
	folder := p.Folder(trail.DigestFolder)
	last := r.End.Add(2 * window)
	for o, err := range r.objects.List(ctx, bucket, folder, p.Day(trail.DigestFolder, from)) {
		if err != nil {
			return nil, err
		}
		if isMarker(o) {
			continue
		}
		if o.Key >= p.Day(trail.DigestFolder, last.AddDate(0, 0, 1)) {
			break
		}
		k, err := trail.ParseDigestKey(o.Key)
		switch {
		case err != nil || k.Place != p:
			if foreign != nil {
				foreign(p, o, "in a digest folder, and named like no digest of it")
			}
		case !k.End.After(last):
			found[k.Chain] = append(found[k.Chain], listed{end: k.End, bucket: bucket, chain: k.Chain, size: o.Size})
		}
	}
	for _, items := range found {
		slices.SortFunc(items, func(a, b listed) int { return a.end.Compare(b.end) })
	}
	return found, nil
}

// lastSeen finds the chains of the last day before the range that has any
// digest, so that a chain that ended, or was deleted, can be named.
func (r *run) lastSeen(ctx context.Context, p trail.Place) (map[trail.Chain][]listed, error) {
	folder := p.Folder(trail.DigestFolder)
	for range 3 { // year, month, day
		newest := ""
		for sub, err := range r.objects.Folders(ctx, r.Source.Bucket, folder) {
			if err != nil {
				return nil, err
			}
			if sub < p.Day(trail.DigestFolder, r.End) {
				newest = sub
			}
		}
		if newest == "" {
			return nil, nil
		}
		folder = newest
	}
	day, err := time.Parse("2006/01/02", strings.TrimSuffix(strings.TrimPrefix(folder, p.Folder(trail.DigestFolder)), "/"))
	if err != nil {
		return nil, nil // no date: such a folder is no digest's
	}
	found, err := r.listDigests(ctx, p, r.Source.Bucket, day, nil)
	for name, items := range found {
		found[name] = items[len(items)-1:]
	}
	return found, err
}

// isMarker reports whether o is a zero-byte object that stands for a folder.
func isMarker(o trail.Object) bool { return o.Size == 0 && strings.HasSuffix(o.Key, "/") }

var errStay = errors.New("in another bucket, and not to be followed (--stay-in-source)")

// locate returns where an object that a digest names is looked for. In a copy,
// that is the same path below the AWSLogs folder at hand, or below a folder
// named like its bucket.
func (r *run) locate(at trail.Place, o trail.Object) []trail.Object {
	if !r.Source.isCopy() {
		return []trail.Object{o}
	}
	own := trail.Tail(o.Key)
	if own == "" {
		own = o.Key
	}
	if at.Prefix != "" {
		own = at.Prefix + "/" + own
	}
	return []trail.Object{{Key: own}, {Key: r.Source.Prefix + o.Bucket + "/" + o.Key}}
}

func (r *run) mayFollow(bucket string) bool {
	return r.Source.isCopy() || !r.StayInside || bucket == r.Source.Bucket
}

// stayed records an object that was left unread on request.
func (r *run) stayed(s finding.Subject) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unverified = append(r.unverified, finding.Unverified{Reason: finding.AccessDenied, Subject: s, Detail: errStay.Error()})
}
