// Package judge reads the digests of one source and judges them, each with what other digests
// of its chain say of it. It takes names from anyone and returns verdicts. It keeps nothing
// between calls.
package judge

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Judge judges the digests of one source. It is safe for concurrent use.
type Judge struct {
	Source  source.Source
	Finder  *discover.Finder
	Digests *fetch.Fetcher
	Keys    *chain.Keyring
	Now     func() time.Time
	Log     *slog.Logger
}

// MaxNear is how many digests around a time are read at most. Anyone can plant digests.
const MaxNear = 32

// Read is a digest with what was read of it. One goroutine uses it.
type Read struct {
	Known follow.Known

	files fetch.Candidates // that can be it; large ones are read when they are judged
	step  *chain.Step      // the verdict, where its own signature proves it before its successor is known
}

// Read reads the files that can be a digest. Large ones it reads later, when they are judged.
func (j *Judge) Read(ctx context.Context, k follow.Known) *Read {
	return &Read{Known: k, files: j.Digests.ReadAhead(ctx, j.Source.Locate(k.Object()))}
}

// ProvenAlone returns the digest where its own signature proves it, and nil where that is not
// so, or is not known before a large file is read.
func (j *Judge) ProvenAlone(ctx context.Context, r *Read) *digest.Digest {
	if r.step == nil && !r.files.IsLarge() {
		s := j.files(ctx, r.Known.Ref, r.files.Found(), nil)
		if s.Verdict.Trusted && s.Digest != nil {
			r.step = &s
		}
	}
	if r.step == nil {
		return nil
	}
	return r.step.Digest
}

// Judge returns the verdict on a digest, and the hash of the file that counts, zero where it
// could not be hashed. newer is the next known digest of the chain, or nil: in a copy it
// repeats the signature. The caller calls release when it no longer uses the digest: at most
// one large digest is held at a time.
func (j *Judge) Judge(ctx context.Context, r, newer *Read) (s chain.Step, sum digest.Sum, release func()) {
	if r.step != nil {
		return *r.step, digest.Sum{}, func() {}
	}
	var repeated []string
	if r.Known.Signature != "" {
		repeated = append(repeated, r.Known.Signature)
	}
	if newer != nil {
		repeated = append(repeated, j.repeats(ctx, r, newer)...)
	}
	found := j.Digests.Take(ctx, r.files)
	s = j.files(ctx, r.Known.Ref, found, repeated)
	if errors.Is(s.Verdict.Err, digest.ErrUnsigned) {
		if more := j.successors(ctx, r.Known.Ref, !r.files.IsLarge()); len(more) > 0 {
			s = j.files(ctx, r.Known.Ref, found, append(repeated, more...))
		}
	}
	for _, f := range found {
		if f.At == s.At && f.File.Hashed {
			sum = f.File.Sum
		}
	}
	return s, sum, func() { releaseAll(found) }
}

// Named judges a digest by its own signature and by the one that its name came with. The
// caller calls release.
func (j *Judge) Named(ctx context.Context, k follow.Known) (s chain.Step, release func()) {
	r := j.Read(ctx, k)
	found := j.Digests.Take(ctx, r.files)
	var repeated []string
	if k.Signature != "" {
		repeated = append(repeated, k.Signature)
	}
	return j.files(ctx, k.Ref, found, repeated), func() { releaseAll(found) }
}

// Small judges a digest by its own signature alone. Of a large file it says that it was not
// read.
func (j *Judge) Small(ctx context.Context, ref chain.Ref) chain.Verdict {
	return j.files(ctx, ref, j.Read(ctx, follow.Known{Ref: ref}).files.Found(), nil).Verdict
}

func (j *Judge) files(ctx context.Context, ref chain.Ref, found []chain.Found, repeated []string) chain.Step {
	return chain.JudgeFiles(ctx, j.Keys, ref, found, chain.Options{Now: j.Now(), Repeated: repeated})
}

func releaseAll(found []chain.Found) {
	for _, f := range found {
		if f.Release != nil {
			f.Release()
		}
	}
}

// repeats returns the signatures that the next digest repeats for r. A large one is read
// only if r has no signature of its own, and before r, since one large digest is held at
// a time.
func (j *Judge) repeats(ctx context.Context, r, newer *Read) (signatures []string) {
	isSigned := slices.ContainsFunc(r.files.Found(), func(f chain.Found) bool {
		return f.File.Meta[digest.MetaSignature] != ""
	})
	for _, p := range j.previousOf(ctx, newer, newer.files.IsLarge() && !isSigned) {
		if trail.Tail(p.Object) == trail.Tail(r.Known.DigestKey.String()) {
			signatures = append(signatures, p.Signature)
		}
	}
	return signatures
}

// previousOf returns what the files that can be a digest say of the digest before it. It
// reads a large file only with large. A caller that holds a large digest must not ask for
// another.
func (j *Judge) previousOf(ctx context.Context, r *Read, large bool) (said []*digest.Previous) {
	found := r.files.Found()
	if large && r.files.IsLarge() {
		found = j.Digests.Take(ctx, r.files)
		defer releaseAll(found)
	}
	for _, file := range found {
		if file.File.Digest != nil && file.File.Digest.Previous != nil {
			said = append(said, file.File.Digest.Previous)
		}
	}
	return said
}

// successors returns the signatures that later digests repeat for d, each once. Anyone can
// plant digests between d and its successor that repeat other signatures, so several are
// read: those first that end nearest to an hour after d, as its successor does.
func (j *Judge) successors(ctx context.Context, d chain.Ref, large bool) (signatures []string) {
	for _, later := range j.near(ctx, d, d.End.Add(chain.Window)) {
		for _, p := range j.previousOf(ctx, j.Read(ctx, follow.Known{Ref: later}), large) {
			if trail.Tail(p.Object) == trail.Tail(d.DigestKey.String()) && !slices.Contains(signatures, p.Signature) {
				signatures = append(signatures, p.Signature)
			}
		}
	}
	return signatures
}

// IsUnprovable reports whether no digest will ever repeat the signature of r, which has none
// itself: the next one is a starting digest, or a later one is trusted that begins the chain
// anew or whose predecessor ends before r. head is the end of the chain's head.
func (j *Judge) IsUnprovable(ctx context.Context, r, newer *Read, head time.Time) bool {
	startsAnew := newer != nil && slices.ContainsFunc(newer.files.Found(), func(f chain.Found) bool {
		return f.File.Digest != nil && f.File.Digest.Previous == nil
	})
	if startsAnew {
		return true
	}
	passes := func(d *digest.Digest) bool {
		if d == nil || d.Previous == nil {
			return d != nil
		}
		key, err := trail.ParseDigestKey(d.Previous.Object)
		return err == nil && key.End.Before(r.Known.End)
	}
	for _, later := range j.near(ctx, r.Known.Ref, head.Add(chain.Window)) {
		found := j.Read(ctx, follow.Known{Ref: later}).files.Found()
		if !slices.ContainsFunc(found, func(file chain.Found) bool { return passes(file.File.Digest) }) {
			continue
		}
		s := j.files(ctx, later, found, j.successors(ctx, later, !r.files.IsLarge()))
		if s.Verdict.Trusted && passes(s.Digest) {
			return true
		}
	}
	return false
}

// near lists the digests of the chain that end after d, and returns those whose ends are
// nearest to due, at most MaxNear. Where the folders cannot be listed it returns those that
// it found: the digest waits then.
func (j *Judge) near(ctx context.Context, d chain.Ref, due time.Time) (all []chain.Ref) {
	distance := func(r chain.Ref) time.Duration { return r.End.Sub(due).Abs() }
	add := func(r chain.Ref) {
		i, _ := slices.BinarySearchFunc(all, distance(r), func(a chain.Ref, t time.Duration) int {
			return cmp.Compare(distance(a), t)
		})
		for i < len(all) && distance(all[i]) == distance(r) && all[i] != r {
			i++
		}
		if i < len(all) && all[i] == r {
			return
		}
		if all = slices.Insert(all, i, r); len(all) > MaxNear {
			all = all[:MaxNear]
		}
	}
	until := j.Now().Add(chain.Window)
	err := j.Finder.EachDigest(ctx, j.Bucket(d), j.Place(d.Place), d.End, func(o discover.Digest) bool {
		isFar := len(all) >= MaxNear && o.End.After(due) && o.End.Sub(due) > distance(all[MaxNear-1])+24*time.Hour
		if o.Chain == d.Chain && o.End.After(d.End) && !o.End.After(until) {
			add(o)
		}
		return !isFar
	})
	if err != nil && ctx.Err() == nil {
		j.Log.Warn("successors of a digest cannot be listed", "digest", d.Object().String(), "error", err)
	}
	return all
}

// Bucket returns the bucket that listings of a digest's place go to.
func (j *Judge) Bucket(d chain.Ref) string {
	if j.Source.IsCopy() {
		return ""
	}
	return cmp.Or(d.Bucket, j.Source.Signed())
}

// Place returns a place of the source with the roots of a copy. In a copy a place has no
// prefix.
func (j *Judge) Place(p trail.Place) discover.Place {
	if j.Source.IsCopy() {
		p.Prefix = ""
	}
	return discover.Place{Place: p, Roots: j.Source.Roots(p)}
}

// StartedBefore finds out whether the digest that a trusted one names was a starting one.
// An error says that the keys are not known.
func (j *Judge) StartedBefore(ctx context.Context, d *digest.Digest, name trail.Chain) (bool, error) {
	previous, err := chain.Previous(d, name)
	if err != nil || previous.End.IsZero() {
		return false, nil // follow.Next reports such a name
	}
	return chain.Starting(ctx, j.Keys, previous.DigestKey, *d.Previous)
}
