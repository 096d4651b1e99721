package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// judge returns the candidate that a digest is, with the verdict on it and what else Next
// needs to know. The caller calls release when it no longer uses the candidate: at most
// one large digest is held at a time.
func (c *chainLoop) judge(ctx context.Context, g, newer *read) (follow.Candidate, func(), error) {
	release := func() {}
	var found []chain.Found
	var repeated []string
	if g.known.Signature != "" {
		repeated = append(repeated, g.known.Signature)
	}
	if newer != nil && g.step == nil {
		repeated = append(repeated, c.repeats(ctx, g, newer)...)
	}
	s := chain.Step{}
	if g.step != nil {
		s = *g.step
	} else {
		found = c.feed.digests.Take(ctx, g.files)
		release = func() { releaseAll(found) }
		s = c.judgeFiles(ctx, g.known.Ref, found, repeated)
		if errors.Is(s.Verdict.Err, digest.ErrUnsigned) {
			if more := c.successors(ctx, g.known.Ref, !g.files.IsLarge()); len(more) > 0 {
				s = c.judgeFiles(ctx, g.known.Ref, found, append(repeated, more...))
			}
		}
	}
	if ctx.Err() != nil {
		return follow.Candidate{}, release, ctx.Err()
	}
	candidate := follow.Candidate{
		Known: g.known, At: s.At, Digest: s.Digest, Verdict: s.Verdict, Copies: s.Copies,
		Skip: c.entry.Head.Skipped(g.known.DigestKey),
	}
	for _, f := range found {
		if f.At == s.At && f.File.Hashed {
			candidate.Sum = f.File.Sum
		}
	}
	candidate.Origin, _ = c.frontier.Origin(g.known.DigestKey)
	if c.looked.before == g.known.DigestKey {
		candidate.WalkedBack, candidate.IsListed = c.looked.byName, c.looked.list
	}
	if candidate.WalkedBack && s.Verdict.Trusted && s.Digest != nil {
		var err error
		if candidate, err = c.askStart(ctx, candidate); err != nil {
			return candidate, release, err
		}
	}
	switch {
	case errors.Is(s.Verdict.Err, digest.ErrUnsigned):
		candidate.Unprovable = startsAnew(newer) || c.isPassedBy(ctx, g)
	case s.Digest != nil && s.Digest.Previous == nil:
		candidate.SwitchedOff = c.switchedOff(ctx, g.known.Chain)
	}
	return candidate, release, ctx.Err()
}

// askStart finds out whether the digest that a trusted one names was a starting one, unless
// the candidate waits for that one all the same. An error says that the keys are not known.
func (c *chainLoop) askStart(ctx context.Context, candidate follow.Candidate) (follow.Candidate, error) {
	if c.worker.config.Now().Sub(candidate.End) < c.worker.policy.Grace {
		return candidate, nil
	}
	previous, err := chain.Previous(candidate.Digest, candidate.Chain)
	if err != nil || previous.End.IsZero() {
		return candidate, nil // Next reports such a name
	}
	candidate.AfterStart, err = chain.Starting(ctx, c.worker.keys, previous.DigestKey, *candidate.Digest.Previous)
	if err != nil {
		return candidate, fmt.Errorf("digest %s: its predecessor: %w", candidate.At, err)
	}
	if candidate.AfterStart {
		candidate.SwitchedOff = c.switchedOff(ctx, candidate.Chain)
	}
	return candidate, nil
}

// switchedOff returns the event that switched the trail off after the head, or nil.
func (c *chainLoop) switchedOff(ctx context.Context, name trail.Chain) *finding.Event {
	management := c.worker.managementAccount(ctx, name.Organization)
	return c.worker.offs.near(name, management, c.entry.Head.Link)
}

func (c *chainLoop) judgeFiles(ctx context.Context, ref chain.Ref, found []chain.Found, repeated []string) chain.Step {
	return chain.JudgeFiles(
		ctx,
		c.worker.keys,
		ref,
		found,
		chain.Options{Now: c.worker.config.Now(), Repeated: repeated},
	)
}

func releaseAll(found []chain.Found) {
	for _, f := range found {
		if f.Release != nil {
			f.Release()
		}
	}
}

// repeats returns the signatures that the next digest repeats for g. A large one is read
// only if g has no signature of its own, and before g, since one large digest is held at
// a time.
func (c *chainLoop) repeats(ctx context.Context, g, newer *read) (signatures []string) {
	isSigned := slices.ContainsFunc(g.files.Found(), func(f chain.Found) bool {
		return f.File.Meta[digest.MetaSignature] != ""
	})
	for _, p := range c.previousOf(ctx, newer, newer.files.IsLarge() && !isSigned) {
		if trail.Tail(p.Object) == trail.Tail(g.known.DigestKey.String()) {
			signatures = append(signatures, p.Signature)
		}
	}
	return signatures
}

// previousOf returns what the files that can be a digest say of the digest before it. It
// reads a large file only with large. A caller that holds a large digest must not ask for
// another.
func (c *chainLoop) previousOf(ctx context.Context, g *read, large bool) (said []*digest.Previous) {
	found := g.files.Found()
	if large && g.files.IsLarge() {
		found = c.feed.digests.Take(ctx, g.files)
		defer releaseAll(found)
	}
	for _, file := range found {
		if file.File.Digest != nil && file.File.Digest.Previous != nil {
			said = append(said, file.File.Digest.Previous)
		}
	}
	return said
}

// startsAnew reports whether a digest is a starting one: then no digest will repeat the
// signature of the digest before it.
func startsAnew(newer *read) bool {
	return newer != nil && slices.ContainsFunc(newer.files.Found(), func(f chain.Found) bool {
		return f.File.Digest != nil && f.File.Digest.Previous == nil
	})
}

// successors returns the signatures that later digests repeat for d, each once. Anyone can
// plant digests between d and its successor that repeat other signatures, so several are
// read: those first that end nearest to an hour after d, as its successor does.
func (c *chainLoop) successors(ctx context.Context, d chain.Ref, large bool) (signatures []string) {
	for _, later := range c.near(ctx, d, d.End.Add(window)) {
		for _, p := range c.previousOf(ctx, c.read(ctx, follow.Known{Ref: later}), large) {
			if trail.Tail(p.Object) == trail.Tail(d.DigestKey.String()) && !slices.Contains(signatures, p.Signature) {
				signatures = append(signatures, p.Signature)
			}
		}
	}
	return signatures
}

// isPassedBy reports whether a later digest is trusted that begins the chain anew or whose
// predecessor ends before g. Then no digest will repeat the signature of g.
func (c *chainLoop) isPassedBy(ctx context.Context, g *read) bool {
	passes := func(d *digest.Digest) bool {
		if d == nil || d.Previous == nil {
			return d != nil
		}
		key, err := trail.ParseDigestKey(d.Previous.Object)
		return err == nil && key.End.Before(g.known.End)
	}
	due := c.entry.Head.Link.End.Add(window)
	for _, later := range c.near(ctx, g.known.Ref, due) {
		found := c.read(ctx, follow.Known{Ref: later}).files.Found()
		if !slices.ContainsFunc(found, func(file chain.Found) bool { return passes(file.File.Digest) }) {
			continue
		}
		s := c.judgeFiles(ctx, later, found, c.successors(ctx, later, !g.files.IsLarge()))
		if s.Verdict.Trusted && passes(s.Digest) {
			return true
		}
	}
	return false
}

// maxNear bounds what is read again each time a chain waits.
const maxNear = 32

// near lists the digests of the chain that end after d, and returns those whose ends are
// nearest to due, at most 32. Where the folders cannot be listed it returns those that it
// found: the digest waits then.
func (c *chainLoop) near(ctx context.Context, d chain.Ref, due time.Time) (all []chain.Ref) {
	distance := func(r chain.Ref) time.Duration { return r.End.Sub(due).Abs() }
	add := func(r chain.Ref) {
		i, _ := slices.BinarySearchFunc(
			all,
			distance(r),
			func(a chain.Ref, t time.Duration) int { return cmp.Compare(distance(a), t) },
		)
		for i < len(all) && distance(all[i]) == distance(r) && all[i] != r {
			i++
		}
		if i < len(all) && all[i] == r {
			return
		}
		if all = slices.Insert(all, i, r); len(all) > maxNear {
			all = all[:maxNear]
		}
	}
	place := c.feed.placeOf(d.Place)
	until := c.worker.config.Now().Add(window)
	err := c.feed.finder.EachDigest(ctx, c.bucketOf(d), place, d.End, func(o discover.Digest) bool {
		isFar := len(all) >= maxNear && o.End.After(due) && o.End.Sub(due) > distance(all[maxNear-1])+24*time.Hour
		if o.Chain == d.Chain && o.End.After(d.End) && !o.End.After(until) {
			add(o)
		}
		return !isFar
	})
	if err != nil && ctx.Err() == nil {
		c.worker.config.Log.Warn("successors of a digest cannot be listed", "digest", d.Object().String(), "error", err)
	}
	return all
}

// bucketOf returns the bucket that listings of a digest's place go to.
func (c *chainLoop) bucketOf(d chain.Ref) string {
	if c.feed.source.IsCopy() {
		return ""
	}
	return cmp.Or(d.Bucket, c.feed.source.Signed())
}
