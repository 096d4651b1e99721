package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// lookback looks for digests before one, by the names that digests give each other or by
// listing, and adds them to the frontier of their chain. The goroutine that runs the chain
// uses it.
type lookback struct {
	feed     *feed
	name     trail.Chain
	frontier *follow.Frontier
	config   *Config
	isOver   func() bool // the worker drains
}

// walkBack adds the digests to the frontier that are there between a head and a digest
// whose predecessor is not the head. It goes by the names that digests give each other
// and, where one is gone or bad, by the hour. It holds one digest at a time. It reports
// whether it found any, and returns the head with what was judged anew. It stops where the
// worker drains.
func (l lookback) walkBack(
	ctx context.Context, h follow.Head, step follow.Step,
) (_ follow.Head, found bool, err error) {
	at, signature := step.Previous.Location(), step.Previous.Signature
	key := step.To.DigestKey
	for key.End.After(h.Cursor) && key.Organization == l.name.Organization && !l.isOver() {
		var d *digest.Digest
		var isThere bool
		if h, d, isThere, err = l.lookAt(ctx, h, at, signature); err != nil {
			return h, false, err
		}
		found = found || isThere
		switch {
		case d != nil && d.Previous == nil:
			return h, found, nil // a starting digest
		case d != nil:
			next, err := chain.Previous(d, l.name)
			if err != nil || !next.End.Before(key.End) {
				return h, found, nil // Next reports it when that digest is the oldest
			}
			key, at, signature = next.DigestKey, d.Previous.Location(), d.Previous.Signature
		case h.Link.Key == "":
			return h, found, nil // of a chain not yet followed, a listing says what is before the hole
		default:
			key = key.Chain.Digest(key.End.Add(-window))
			at, signature = trail.Object{Bucket: at.Bucket, Key: key.String()}, ""
		}
	}
	return h, found, ctx.Err()
}

// lookAt looks for a digest where it can lie, and adds it to the frontier if it is there and
// not done. One that was judged false is judged once more, since its successor is there now:
// it may have been planted under a name that was still to come. The digest that it returns
// is trusted: only such a digest says what came before it.
func (l lookback) lookAt(
	ctx context.Context, h follow.Head, o trail.Object, signature string,
) (_ follow.Head, d *digest.Digest, isThere bool, err error) {
	key, err := trail.ParseDigestKey(o.Key)
	if err != nil {
		return h, nil, false, nil
	}
	if l.feed.source.IsCopy() {
		key.Prefix, o.Bucket = "", ""
	}
	wasBad := h.IsQuarantined(key) || l.feed.refuted.has(key)
	if h.Covers(key) && !wasBad {
		return h, nil, false, nil
	}
	known := follow.Known{Ref: chain.Ref{DigestKey: key, Bucket: o.Bucket}, Signature: signature}
	s, release := l.feed.judge.Named(ctx, known)
	defer release()
	v := s.Verdict
	switch {
	case v.Class == finding.DigestMissing:
		return h, nil, false, nil
	case v.Err != nil && !errors.Is(v.Err, digest.ErrUnsigned):
		return h, nil, false, fmt.Errorf("digest %s: %w", s.At, v.Err)
	case wasBad && !v.Trusted:
		if !h.IsFull() { // the head of a chain that is not proven may have lost it
			h = h.Quarantine(key)
		}
		return h, nil, false, nil
	case wasBad:
		h = h.Restore(key)
		l.feed.refuted.remove(key)
	}
	if !v.Trusted {
		known.Signature = ""
	}
	l.frontier.Add(h, known, follow.Named, nil)
	if v.Trusted {
		d = s.Digest
	}
	return h, d, true, nil
}

// listBefore adds the digests to the frontier that are listed between a head and one that
// no name leads back from: a starting digest, or one after a hole. It may have been
// announced before the others were listed. For a digest that the operator skips it lists the
// others of its hour, too. It reports whether it found any.
func (l lookback) listBefore(ctx context.Context, h follow.Head, from follow.Candidate) (found bool, err error) {
	j, until := l.feed.judge, from.End
	if from.Skip != nil {
		until = until.Add(1)
	}
	places := []chain.Ref{from.Ref}
	for _, p := range l.feed.placesOf(regionOf(l.name.Place)) { // a trail that moved has older digests elsewhere
		if p.Place != from.Place {
			key := trail.DigestKey{Chain: trail.Chain{Place: p.Place}}
			places = append(places, chain.Ref{DigestKey: key, Bucket: from.Bucket})
		}
	}
	if key, err := trail.ParseDigestKey(h.Link.Key); err == nil && !l.feed.source.IsCopy() {
		places = append(places, chain.Ref{DigestKey: key, Bucket: h.Link.Bucket})
	}
	for _, p := range places {
		n, err := l.list(ctx, h, j.Bucket(p), j.Place(p.Place), h.Cursor, until)
		isOther := j.Bucket(p) != j.Bucket(from.Ref) || p.Place != from.Place && isForGood(err)
		switch {
		case err != nil && isOther && ctx.Err() == nil:
			l.config.Log.Warn("a folder that may hold older digests of a chain cannot be listed",
				"chain", l.name.String(), "bucket", p.Bucket, "folder", p.Folder(trail.DigestFolder), "error", err)
		case err != nil:
			return false, fmt.Errorf("list digests before %s: %w", from.Object(), err)
		}
		found = found || n > 0 && (from.Skip == nil || l.frontier.Before(h, from.DigestKey))
	}
	return found, nil
}

// listMore adds the oldest digests to the frontier that end at from or later and that the
// head does not cover, where a listing showed more than the frontier keeps.
func (l lookback) listMore(ctx context.Context, h follow.Head, from time.Time) error {
	until := l.config.Now().Add(window)
	l.frontier.SetMore(false)
	places := l.feed.placesOf(regionOf(l.name.Place))
	for _, p := range places {
		_, err := l.list(ctx, h, l.feed.source.Signed(), p, from, until)
		if err != nil && isForGood(err) && len(places) > 1 {
			continue // the poll says so
		}
		if err != nil {
			l.frontier.SetMore(true)
			return fmt.Errorf("list digests of %s: %w", l.name, err)
		}
	}
	return nil
}

// listAfter adds the digests to the frontier that are listed after a head, below the prefix of
// the head. A poll that was held up or that did not find the folder may have missed them. It
// reports whether it found any that were not known.
func (l lookback) listAfter(ctx context.Context, h follow.Head) (found bool, err error) {
	key, err := trail.ParseDigestKey(h.Link.Key)
	if err != nil {
		return false, nil // the chain was reset, and has no digest since
	}
	known, place, until := l.frontier.Len(), l.feed.judge.Place(key.Place), l.config.Now().Add(window)
	if _, err := l.list(ctx, h, l.feed.source.Signed(), place, h.Cursor, until); err != nil {
		return false, fmt.Errorf("list digests after %s: %w", h.Link.Key, err)
	}
	return l.frontier.Len() > known, nil
}

// list adds the digests of the chain to the frontier that a place's folders show, that end
// between from and until, and that are not done. It returns how many there are, as far as
// the frontier keeps them.
func (l lookback) list(
	ctx context.Context, h follow.Head, bucket string, p discover.Place, from, until time.Time,
) (n int, err error) {
	past := p.Day(trail.DigestFolder, until.AddDate(0, 0, 1))
	err = l.feed.judge.Finder.EachDigest(ctx, bucket, p, day(from), func(d discover.Digest) bool {
		switch {
		case d.Day(trail.DigestFolder, d.End) >= past:
			return false
		case !d.End.Before(until), !isOf(d, l.name), d.Backfill && d.End.Before(from),
			h.Covers(d.DigestKey), l.feed.refuted.has(d.DigestKey):
			return true
		case l.frontier.Full(d.End.Add(-24 * time.Hour)): // folders are by the day
			l.frontier.SetMore(true)
			return false
		}
		l.frontier.Add(h, follow.Known{Ref: d}, follow.Listed, nil)
		n++
		return true
	})
	return n, err
}

// isOf reports whether a digest is one of a chain, whatever its prefix.
func isOf(d chain.Ref, c trail.Chain) bool {
	name := d.Chain
	name.Prefix = ""
	return name == c
}

// day returns when the day of t begins. A zero time stays zero.
func day(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(24 * time.Hour)
}
