package ingest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/finding"
	"github.com/trailseal/trailseal/internal/prove"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

const window = time.Hour

// join joins a proven digest to the head. What lies between is fetched by the
// names that the digests give each other and dealt with first, so a lost
// notification or a listing that hides something heals itself; what is not
// there is a finding.
func (f *follower) join(ctx context.Context, g got, d *digest.Digest) error {
	h := &f.head
	if g.Backfill || h.Key == "" {
		return nil // in no order, or the first of its chain
	}
	if d.Previous == nil {
		return f.gap(ctx, g, d)
	}
	named, err := trail.ParseDigestKey(d.Previous.Object)
	switch {
	case err != nil || !sameChain(named.Chain, f.name) || !named.End.Before(d.End):
		return f.findDigest(ctx, finding.ChainHole, g.at, g.End,
			"names a digest of another chain, or one that is not older, as its predecessor: "+d.Previous.Object, prove.Evidence(d, ""))
	case named.End.After(h.Cursor):
		return f.between(ctx, g, d, named)
	case trail.Tail(d.Previous.Object) == trail.Tail(h.Key):
		return f.link(ctx, g, d)
	case slices.Contains(h.Bad, named.String()) || slices.ContainsFunc(h.Bad, func(k string) bool { return trail.Tail(k) == trail.Tail(d.Previous.Object) }):
		return nil // told when it was quarantined
	}
	e := prove.Evidence(d, "")
	e.From, e.To = h.End, d.Start
	return f.findDigest(ctx, finding.Rollback, g.at, g.End,
		fmt.Sprintf("its predecessor is %s, and the remembered head s3://%s/%s is not in the chain", d.Previous.Object, h.Bucket, h.Key), e)
}

// link compares a digest with the head that it names.
func (f *follower) link(ctx context.Context, g got, d *digest.Digest) error {
	h := &f.head
	switch {
	case d.Previous.Hash.String() != h.Sum:
		e := prove.Evidence(d, "")
		e.Want, e.Got = d.Previous.Hash.String(), h.Sum
		return f.findDigest(ctx, finding.ChainMismatch, trail.Object{Bucket: h.Bucket, Key: h.Key}, h.End,
			"the remembered head is not the digest that its successor names", e)
	case !d.Start.Equal(h.End):
		e := prove.Evidence(d, "")
		e.From, e.To = h.End, d.Start
		return f.findDigest(ctx, finding.ChainHole, g.at, g.End,
			fmt.Sprintf("begins at %s, its predecessor ends at %s", d.Start.Format(time.RFC3339), h.End.Format(time.RFC3339)), e)
	}
	return nil
}

// gap reports that logging or validation was off before a starting digest.
func (f *follower) gap(ctx context.Context, g got, d *digest.Digest) error {
	h := &f.head
	e := finding.Evidence{From: h.End, To: d.End, Event: f.stops.near(f.name.Trail, h.End)}
	detail := "logging or validation was off: nothing was digested"
	if e.Event != nil {
		detail += fmt.Sprintf("; %s by %s", e.Event.Name, e.Event.Actor)
	}
	f.m.gaps.WithLabelValues(labels(f.name)...).Inc()
	return f.findDigest(ctx, finding.Gap, trail.Object{Bucket: g.at.Bucket}, h.End, detail, e)
}

// between deals with the digest that g names, and so with all between it and
// the head; then g's own link is that to the new head.
func (f *follower) between(ctx context.Context, g got, d *digest.Digest, named trail.DigestKey) error {
	missing := d.Previous.Location()
	for _, at := range f.source.Locate(g.Place, missing) {
		file, err := f.fetcher.Digest(ctx, at)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if k, bad := trail.ParseDigestKey(at.Key); bad == nil {
			named = k
		}
		older := got{Digest: discover.Digest{DigestKey: named, Bucket: at.Bucket}, at: at, file: file, err: err}
		if err := f.take(ctx, older, &g); err != nil {
			return err
		}
		return f.join(ctx, g, d)
	}
	e := finding.Evidence{Digest: g.at.String(), Want: d.Previous.Hash.String()}
	if err := f.findDigest(ctx, finding.DigestMissing, missing, named.End, "named by its successor, and not there", e); err != nil {
		return err
	}
	for t := named.End.Add(-window); t.Sub(f.head.Cursor) > window/2; t = t.Add(-window) {
		key := f.name.Digest(t)
		if err := f.findDigest(ctx, finding.DigestMissing, trail.Object{Bucket: missing.Bucket, Key: key.String()}, t,
			"due between the digests that are there, and not there", finding.Evidence{}); err != nil {
			return err
		}
	}
	return nil
}

// sameChain compares all but the prefix and organization, which a trail may
// change.
func sameChain(a, b trail.Chain) bool {
	a.Prefix, a.Organization, b.Prefix, b.Organization = "", "", "", ""
	return a == b
}
