package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/internal/ledger"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// walkBack adds the digests to the frontier that are there between the head and a digest
// whose predecessor is not the head. It goes by the names that digests give each other
// and, where one is gone or bad, by the hour. It holds one digest at a time. It reports
// whether it found any. It stops where the worker drains.
func (c *chainLoop) walkBack(ctx context.Context, from follow.Candidate, step follow.Step) (found bool, err error) {
	at, signature := step.Previous.Location(), step.Previous.Signature
	key := step.To.DigestKey
	for key.End.After(c.entry.Head.Cursor) && key.Organization == c.name.Organization && !c.worker.isDraining() {
		d, isThere, err := c.lookAt(ctx, at, signature)
		if err != nil {
			return false, err
		}
		found = found || isThere
		switch {
		case d != nil && d.Previous == nil:
			return found, nil // a starting digest
		case d != nil:
			next, err := chain.Previous(d, c.name)
			if err != nil || !next.End.Before(key.End) {
				return found, nil // Next reports it when that digest is the oldest
			}
			key, at, signature = next.DigestKey, d.Previous.Location(), d.Previous.Signature
		case c.entry.Head.Link.Key == "":
			return found, nil // of a chain not yet followed, a listing says what is before the hole
		default:
			key = key.Chain.Digest(key.End.Add(-window))
			at, signature = trail.Object{Bucket: at.Bucket, Key: key.String()}, ""
		}
	}
	return found, ctx.Err()
}

// lookAt looks for a digest where it can lie, and adds it to the frontier if it is there and
// not done. One that was judged false is judged once more, since its successor is there now:
// it may have been planted under a name that was still to come. The digest that it returns
// is trusted: only such a digest says what came before it.
func (c *chainLoop) lookAt(
	ctx context.Context,
	o trail.Object,
	signature string,
) (d *digest.Digest, isThere bool, err error) {
	key, err := trail.ParseDigestKey(o.Key)
	if err != nil {
		return nil, false, nil
	}
	if c.feed.source.IsCopy() {
		key.Prefix, o.Bucket = "", ""
	}
	wasBad := c.entry.Head.IsQuarantined(key) || c.feed.isRefuted(key)
	if c.entry.Head.Covers(key) && !wasBad {
		return nil, false, nil
	}
	known := follow.Known{Ref: chain.Ref{DigestKey: key, Bucket: o.Bucket}, Signature: signature}
	g := c.read(ctx, known)
	found := c.feed.digests.Take(ctx, g.files)
	defer releaseAll(found)
	var repeated []string
	if signature != "" {
		repeated = []string{signature}
	}
	s := chain.JudgeFiles(ctx, c.worker.keys, known.Ref, found, chain.Options{Repeated: repeated})
	v := s.Verdict
	switch {
	case v.Class == finding.DigestMissing:
		return nil, false, nil
	case v.Err != nil && !errors.Is(v.Err, digest.ErrUnsigned):
		return nil, false, fmt.Errorf("digest %s: %w", s.At, v.Err)
	case wasBad && !v.Trusted:
		if !c.entry.Head.IsFull() { // the head of a chain that is not proven may have lost it
			c.entry.Head = c.entry.Head.Quarantine(key)
		}
		return nil, false, nil
	case wasBad:
		c.entry.Head = c.entry.Head.Restore(key)
		c.feed.refute(key, false)
	}
	if !v.Trusted {
		known.Signature = ""
	}
	c.frontier.Add(c.entry.Head, known, follow.Named, nil)
	if v.Trusted && s.Digest != nil {
		return s.Digest, true, nil
	}
	return nil, true, nil
}

// listBefore adds the digests to the frontier that are listed between the head and one that
// no name leads back from: a starting digest, or one after a hole. It may have been
// announced before the others were listed. For a digest that the operator skips it lists the
// others of its hour, too. It reports whether it found any.
func (c *chainLoop) listBefore(ctx context.Context, from follow.Candidate) (found bool, err error) {
	head, until := c.entry.Head, from.End
	if from.Skip != nil {
		until = until.Add(1)
	}
	places := []chain.Ref{from.Ref}
	if key, err := trail.ParseDigestKey(head.Link.Key); err == nil && !c.feed.source.IsCopy() {
		places = append(places, chain.Ref{DigestKey: key, Bucket: head.Link.Bucket})
	}
	for _, p := range places {
		n, err := c.list(ctx, c.bucketOf(p), c.feed.placeOf(p.Place), head.Cursor, until)
		switch {
		case err != nil && c.bucketOf(p) != c.bucketOf(from.Ref) && ctx.Err() == nil:
			c.worker.config.Log.Warn("a chain's former bucket cannot be listed",
				"chain", c.name.String(), "bucket", p.Bucket, "error", err)
		case err != nil:
			return false, fmt.Errorf("list digests before %s: %w", from.Object(), err)
		}
		found = found || n > 0 && (from.Skip == nil || c.frontier.Before(head, from.DigestKey))
	}
	return found, nil
}

// listMore adds the oldest digests to the frontier that come after the head, where a
// listing showed more than the frontier keeps.
func (c *chainLoop) listMore(ctx context.Context) error {
	from := c.entry.Head.Cursor
	if from.IsZero() && !c.listedAt.IsZero() {
		from = c.listedAt.Add(-reach)
	}
	if sweep := c.snapshot().sweep; sweep.After(from) {
		from = sweep
	}
	until := c.worker.config.Now().Add(window)
	c.frontier.SetMore(false)
	for _, p := range c.feed.placesOf(regionOf(c.name.Place)) {
		if _, err := c.list(ctx, c.feed.source.Signed(), p, from, until); err != nil {
			c.frontier.SetMore(true)
			return fmt.Errorf("list digests of %s: %w", c.name, err)
		}
	}
	return nil
}

// list adds the digests of the chain to the frontier that a place's folders show, that end
// after from and before until, and that are not done. It returns how many there are, as
// far as the frontier keeps them.
func (c *chainLoop) list(
	ctx context.Context,
	bucket string,
	p discover.Place,
	from, until time.Time,
) (n int, err error) {
	past := p.Day(trail.DigestFolder, until.AddDate(0, 0, 1))
	err = c.feed.finder.EachDigest(ctx, bucket, p, day(from), func(d discover.Digest) bool {
		switch {
		case d.Day(trail.DigestFolder, d.End) >= past:
			return false
		case !d.End.Before(until),
			!c.isOwn(d),
			d.Backfill && d.End.Before(from),
			c.entry.Head.Covers(d.DigestKey),
			c.feed.isRefuted(d.DigestKey):
			return true
		case c.frontier.Full(d.End.Add(-24 * time.Hour)): // folders are by the day
			c.frontier.SetMore(true)
			return false
		}
		c.frontier.Add(c.entry.Head, follow.Known{Ref: d}, follow.Listed, nil)
		n++
		return true
	})
	return n, err
}

// isOwn reports whether a listed digest is one of the chain.
func (c *chainLoop) isOwn(d discover.Digest) bool {
	name := d.Chain
	name.Prefix = ""
	return name == c.name
}

// day returns when the day of t begins. A zero time stays zero.
func day(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(24 * time.Hour)
}

// continued makes the loop go on from the head of the chain that it continues: a trail of
// one account that became an organization's, or the other way round, has its digests below
// another account folder from then on, and they name the former ones. That chain must have
// come to its end first, and the state must know that it has ended. The error wraps
// follow.ErrElsewhere while that is not so.
func (c *chainLoop) continued(ctx context.Context, candidate follow.Candidate) error {
	if c.entry.IsStored() || c.entry.Head.IsProven() || candidate.Backfill ||
		!candidate.Verdict.Trusted || candidate.Digest == nil || candidate.Digest.Previous == nil {
		return nil
	}
	named, err := chain.Previous(candidate.Digest, c.name)
	if err != nil || named.Organization == c.name.Organization {
		return nil
	}
	former, err := c.formerOf(candidate, named)
	if former == nil || err != nil {
		return err
	}
	h := former.snapshot().head
	switch isAtEnd := former.frontier.Len() == 0 && !former.frontier.HasMore(); {
	case isAtEnd && h.Link.Key == "" && c.feed.isRefuted(named.DigestKey):
		c.entry.Head = c.entry.Head.Quarantine(named.DigestKey)
		return nil
	case isAtEnd && h.Link.Key == "" && h.Covers(named.DigestKey): // it ended before the time to begin
		c.setEntry(ledger.Entry{Name: c.id, Head: follow.Head{Version: follow.HeadVersion, Cursor: named.End}})
		return nil
	case isAtEnd && h.Link.Key == "":
		return nil
	case isAtEnd && h.Ended:
		h = follow.Head{Version: follow.HeadVersion, Cursor: h.Cursor, Link: h.Link, Bad: h.Bad}
		c.setEntry(ledger.Entry{Name: c.id, Head: h})
		return nil
	}
	former.update(func(p *progress) {
		p.isEnded = true
		p.waiters = append(p.waiters, c)
	})
	if former.snapshot().err == nil { // else it runs again by itself
		former.feed.schedule.add(ctx, former)
	}
	return fmt.Errorf("%s continues %s: %w", c.name, former.name, follow.ErrElsewhere)
}

// formerOf returns the loop of the chain that a candidate names a digest of, nil where
// that digest is before the time to begin. It makes the digest known to that chain, once:
// no listing may have shown it.
func (c *chainLoop) formerOf(candidate follow.Candidate, named chain.Ref) (*chainLoop, error) {
	if c.former != nil {
		return c.former, nil
	}
	id := ledger.Name(c.feed.identity, named.Chain)
	if c.worker.known(c.feed, id) == nil && !named.End.After(c.entry.Head.Cursor) {
		return nil, nil
	}
	former, err := c.worker.loop(c.feed, named.Chain, follow.Named)
	if err != nil {
		return nil, fmt.Errorf("%s continues %s: %w", c.name, named.Chain, err)
	}
	if c.feed.source.IsCopy() {
		named.Prefix, named.Bucket = "", ""
	}
	known := follow.Known{Ref: named, Signature: candidate.Digest.Previous.Signature}
	former.frontier.Add(former.snapshot().head, known, follow.Named, nil)
	c.former = former
	return former, nil
}

// wake lets the loops run that wait for the end of this chain.
func (c *chainLoop) wake(ctx context.Context) {
	var waiters []*chainLoop
	c.update(func(p *progress) { waiters, p.waiters = p.waiters, nil })
	for _, w := range waiters {
		w.feed.schedule.add(ctx, w)
	}
}
