package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/internal/judge"
	"github.com/trailseal/trailseal/internal/ledger"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/trail"
)

// beginning returns the head that a chain without a stored one begins with. A chain that was
// absent when its account folder was last listed in full begins at its oldest digest. One
// that was there then, or whose folder was never listed, begins at Config.Since.
func beginning(ctx context.Context, c *chainLoop) (follow.Head, error) {
	wasThere := c.listedAt.IsZero()
	if !wasThere && !c.name.Backfill && !c.feed.source.IsCopy() {
		var err error
		if wasThere, err = wasListed(ctx, c); err != nil {
			return follow.Head{}, fmt.Errorf("list digests of %s: %w", c.name, err)
		}
	}
	if wasThere {
		return follow.Begin(c.feed.since(c.worker.config.Since)), nil
	}
	return follow.Head{Version: follow.HeadVersion}, nil
}

// wasListed reports whether the bucket had a trusted digest of a chain when its account
// folder was last listed in full: S3 says when each object came. All of its digests can
// have been older than Config.Since then.
func wasListed(ctx context.Context, c *chainLoop) (bool, error) {
	f := c.feed
	places := f.placesOf(regionOf(c.name.Place))
	for _, k := range c.frontier.Oldest(follow.Head{}, 1) { // a message may know a place that no poll has found
		if !slices.ContainsFunc(places, func(p discover.Place) bool { return p.Place == k.Place }) {
			places = append(slices.Clip(places), f.judge.Place(k.Place))
		}
	}
	judged := 0
	for _, p := range places {
		for o, err := range f.objects.List(ctx, f.source.Signed(), p.Folder(trail.DigestFolder), "") {
			if err != nil && isForGood(err) && len(places) > 1 {
				break // the poll says so
			}
			if err != nil {
				return false, err
			}
			key, err := trail.ParseDigestKey(o.Key)
			ref := chain.Ref{DigestKey: key, Bucket: f.source.Signed()}
			if err != nil || o.Modified.After(c.listedAt) || !isOf(ref, c.name) {
				continue
			}
			if judged++; judged > judge.MaxNear {
				return false, nil // all of them may be planted
			}
			switch v := f.judge.Small(ctx, ref); {
			case v.Trusted:
				return true, nil
			case v.Err != nil:
				return false, v.Err
			}
		}
	}
	return false, nil
}

// tellBeginning tells where a chain begins that was not followed before. listedAt is when its
// account folder was last listed in full and the chain was absent, zero for never.
func tellBeginning(w *Worker, c trail.Chain, first follow.Candidate, listedAt time.Time) {
	d, log := first.Digest, w.config.Log
	if first.Backfill || d.Previous == nil {
		w.metrics.began.WithLabelValues(beganAtStart).Inc()
		log.Info("chain begins", "chain", c.String(), "digest", first.At.String())
		return
	}
	w.metrics.began.WithLabelValues(beganLater).Inc()
	if listedAt.IsZero() && !d.Start.After(w.config.Since) {
		log.Info("chain begins as asked", "chain", c.String(), "digest", first.At.String(), "since", w.config.Since)
		return
	}
	log.Warn("chain is followed from a later digest than its first: older events are not emitted",
		"chain", c.String(), "digest", first.At.String(), "from", d.Start, "previous", d.Previous.Object)
}

// continued returns the head from which a chain goes on after the chain that a candidate of it
// continues: a trail of one account that became an organization's, or the other way round,
// has its digests below another account folder from then on, and they name the former ones.
// The former chain must have done the digest that the candidate names, and the state must know
// that it has ended, unless the trail came back to it. The error wraps follow.ErrElsewhere while
// that is not so: then the caller lets the former chain run.
func continued(c *chainLoop, candidate follow.Candidate) (follow.Head, error) {
	h := c.entry.Head
	d := candidate.Digest
	if candidate.Backfill || !candidate.Verdict.Trusted || d == nil || d.Previous == nil {
		return h, nil
	}
	named, err := chain.Previous(d, c.name)
	isDone := h.Link.Key != "" && !named.End.After(h.Cursor)
	if err != nil || named.Organization == c.name.Organization || isDone {
		return h, nil
	}
	if c.former == nil || c.continues != named.DigestKey {
		if c.former, err = formerOf(c, candidate, named); c.former == nil {
			return h, err
		}
		c.continues = named.DigestKey
	}
	former := c.former.progress.now()
	isAtEnd := c.former.frontier.Len() == 0 && !c.former.frontier.HasMore()
	switch f := former.head; {
	case f.Link.Key != "" && f.Cursor.After(named.End): // the trail came back to it
		p := d.Previous
		return headAfter(h, follow.Link{
			End: named.End, Bucket: p.Bucket, Key: p.Object, Sum: p.Hash.String(), Signature: p.Signature,
		}, nil), nil
	case isAtEnd && f.Link.Key == "" && c.feed.refuted.has(named.DigestKey):
		return h.Quarantine(named.DigestKey), nil
	case isAtEnd && f.Link.Key == "" && f.Covers(named.DigestKey): // it ended before the time to begin
		return headAfter(h, follow.Link{End: named.End}, nil), nil
	case isAtEnd && f.Link.Key == "":
		return h, nil
	case f.Link.Key != "" && (isAtEnd && f.Ended || waitsBeyond(c.former, f, named.DigestKey)):
		return headAfter(h, f.Link, f.Bad), nil
	}
	c.former.progress.change(func(s *standing) {
		s.isEnded = true
		if !slices.Contains(s.waiters, c) {
			s.waiters = append(s.waiters, c)
		}
	})
	return h, fmt.Errorf("%s continues %s: %w", c.name, c.former.name, follow.ErrElsewhere)
}

// waitsBeyond reports whether a chain itself waits for a chain that it continues, and has done
// all up to a digest.
func waitsBeyond(c *chainLoop, h follow.Head, k trail.DigestKey) bool {
	k.End = k.End.Add(1)
	return errors.Is(c.progress.now().err, follow.ErrElsewhere) && !c.frontier.Before(h, k)
}

// headAfter returns the head of a chain that goes on after a digest of another chain, with what
// that chain remembers as bad.
func headAfter(h follow.Head, l follow.Link, bad []string) follow.Head {
	h.Version, h.Cursor, h.Bad = follow.HeadVersion, l.End, slices.Concat(h.Bad, bad)
	if l.Key != "" {
		h.Link = l
	}
	return h
}

// formerOf returns the loop of the chain that a candidate names a digest of, nil where
// that digest is before the time to begin. It makes the digest known to that chain: no
// listing may have shown it.
func formerOf(c *chainLoop, candidate follow.Candidate, named chain.Ref) (*chainLoop, error) {
	w, f := c.worker, c.feed
	id := ledger.Name(f.identity, named.Chain)
	if !w.chains.isKnown(f, id) && !named.End.After(c.entry.Head.Cursor) {
		return nil, nil
	}
	if f.source.IsCopy() {
		named.Prefix, named.Bucket = "", ""
	}
	known := follow.Known{Ref: named, Signature: candidate.Digest.Previous.Signature}
	former, err := w.chains.add(w, f, known, follow.Named, nil)
	if err != nil {
		err = fmt.Errorf("%s continues %s: %w", c.name, named.Chain, err)
	}
	return former, err
}
