package chain

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"time"

	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Fetcher reads digest files for a walk. A walk calls its methods from one goroutine,
// and asks for one digest after the other. The Fetcher may read ahead, for instance
// by the names of a listing.
type Fetcher interface {
	// ReadDigest reads every file that can be the digest that r names: one in a
	// bucket, and in a copy one for each place where the copy may keep the digest.
	// Where no file is there, it returns one Found whose Err is fs.ErrNotExist.
	// Where it returns none, the digest counts as not read.
	ReadDigest(ctx context.Context, r Ref) []Found
	// HashDigest hashes the inflated bytes of a file that is too large to be
	// parsed (finding.ErrTooLarge). A walk calls it only where a trusted digest
	// names the file. The sum may come with an error about what follows the bytes.
	// Where the content was not read to its end, the sum is zero.
	HashDigest(ctx context.Context, at trail.Object) (digest.Sum, error)
}

// Found is a digest file that a Fetcher read, or why it did not.
type Found struct {
	At   trail.Object // where it lies
	File File
	Err  error
	// Release, unless nil, is called once, when the walk has let go of File: after
	// the consumer took the step, also where the consumer stops or panics.
	Release func()
}

// Options say how far a walk goes, and what is known before it. The zero Options
// walk to the beginning.
type Options struct {
	// Now is passed on to Judge.
	Now time.Time
	// Until ends the walk after the first digest that ends at Until or before.
	// The zero Until walks to the beginning.
	Until time.Time
	// Successor is what a trusted digest says of the newest one, nil where the
	// walk begins without that.
	Successor *Successor
	// Repeats collects the signatures that digests of this chain repeat. Walks of
	// one chain share it. It may be nil.
	Repeats *Repeats
	// Repeated are signatures that the caller knows other digests to repeat for
	// the newest digest.
	Repeated []string
}

// Step is one digest of a walk. The consumer may keep it, but not the Digest of a
// file whose Release frees memory that the Digest uses.
type Step struct {
	Ref
	At      trail.Object   // where the file lies that Verdict is on
	Digest  *digest.Digest // nil where the file is not a digest, or was not read
	Verdict Verdict
	// Copies are other files under the same name with another content.
	Copies []Copy
	// Next is the predecessor that a trusted digest names; nil where the walk ends
	// with this step because the digest is a starting one, is not trusted, or
	// names a predecessor that cannot be one (NameErr).
	Next *Ref
	// NameErr says why the named predecessor cannot be followed. It wraps ErrName.
	NameErr error
	// WindowErr says that the hours of this digest and of the one that it names do
	// not meet. It wraps digest.ErrWindow.
	WindowErr error
	// Repeaters are untrusted digests that repeat a signature for this one, where
	// none of these signatures verifies: this digest or those were altered.
	Repeaters []Ref
	// Named is what the successor in this walk says of the digest, nil for the
	// first digest unless Options.Successor is set.
	Named *Successor
}

// Copy is a second file under a digest's name, with another content than the file
// that counts. Verdict is Invalid or Unverified.
type Copy struct {
	At      trail.Object
	Verdict Verdict
}

// Starting reports whether the step is a trusted starting digest.
func (s Step) Starting() bool {
	return s.Verdict.Trusted && s.Digest != nil && s.Digest.Previous == nil
}

// Walk judges a chain from its newest digest to its oldest, by the names that
// trusted digests give their predecessors. It ends at a starting digest, at one
// that is missing or not trusted, or where Options.Until says so. The caller may
// begin a new walk with the next name that it knows. The only error that Walk
// yields is that of ctx, with the zero Step, as the last pair. Memory does not depend
// on the chain's length.
func Walk(ctx context.Context, f Fetcher, k Keys, newest Ref, o Options) iter.Seq2[Step, error] {
	return func(yield func(Step, error) bool) {
		ref, named := newest, o.Successor
		for {
			o.Successor = named
			next, by := step(ctx, f, k, ref, o, yield)
			if next == nil || !ref.End.After(o.Until) {
				return
			}
			ref, named, o.Repeated = *next, by, nil
		}
	}
}

// step judges and yields one digest. It returns the next name and what is said of
// it; nil where the walk ends. The files are released whatever yield does.
func step(ctx context.Context, f Fetcher, k Keys, ref Ref, o Options, yield func(Step, error) bool) (*Ref, *Successor) {
	found := slices.Clone(f.ReadDigest(ctx, ref))
	defer release(found)
	for i := range found {
		if ctx.Err() == nil {
			hashLarge(ctx, f, o.Successor, &found[i])
		}
	}
	s := JudgeFiles(ctx, k, ref, found, o)
	if err := ctx.Err(); err != nil { // what was not read or looked up may be due to that alone
		yield(Step{}, err)
		return nil, nil
	}
	if s.Digest != nil && !s.Verdict.Trusted {
		o.Repeats.add(s.Ref, s.Digest)
	}
	if !yield(s, nil) || s.Next == nil {
		return nil, nil
	}
	return s.Next, &Successor{Previous: *s.Digest.Previous, At: s.At}
}

func release(found []Found) {
	for _, f := range found {
		if f.Release != nil {
			f.Release()
		}
	}
}

// hashLarge hashes a file that is too large to be parsed, where a trusted digest
// has signed its hash.
func hashLarge(ctx context.Context, f Fetcher, named *Successor, found *Found) {
	if named == nil || found.File.Hashed || !errors.Is(found.Err, finding.ErrTooLarge) {
		return
	}
	sum, err := f.HashDigest(ctx, found.At)
	if sum != (digest.Sum{}) {
		found.File.Sum, found.File.Hashed = sum, true
	}
	if err != nil {
		found.Err = err
	}
}

// JudgeFiles judges the files that were found under one name, at least one, and
// chooses the one that counts: a trusted one before one that was not judged, that
// before an altered one, and each of these before one that is not there. Of the
// options it uses Now, Successor, Repeats and Repeated, and it adds nothing to
// Repeats. It neither reads nor releases files.
func JudgeFiles(ctx context.Context, k Keys, ref Ref, found []Found, o Options) Step {
	if len(found) == 0 {
		found = []Found{{At: ref.Object(), Err: errNotRead}}
	}
	best, named := -1, o.Successor
	verdicts := make([]Verdict, len(found))
	repeated := append(o.Repeats.of(ref), o.Repeated...)
	for i, g := range found {
		verdicts[i] = Judge(ctx, k, Evidence{
			Key: ref.DigestKey, At: g.At, File: g.File, Err: g.Err, Successor: named, Repeated: repeated, Now: o.Now,
		})
		if best < 0 || rank(found[i], verdicts[i]) > rank(found[best], verdicts[best]) {
			best = i
		}
	}
	s := Step{Ref: ref, At: found[best].At, Digest: found[best].File.Digest, Verdict: verdicts[best], Named: named}
	for i, g := range found {
		if i != best && !errors.Is(g.Err, fs.ErrNotExist) && !sameContent(g.File, found[best].File) {
			s.Copies = append(s.Copies, Copy{g.At, otherCopy(verdicts[i], g, found[best])})
		}
	}
	if s.Verdict.Contradicted && !s.Verdict.Trusted {
		s.Repeaters = o.Repeats.repeaters(ref)
	}
	if s.Verdict.Trusted && s.Digest != nil {
		next, err := Previous(s.Digest, ref.Chain)
		switch {
		case err != nil:
			s.NameErr = err
		case s.Digest.Previous != nil:
			if found[best].At.Bucket == "" { // a copy has neither buckets nor prefixes
				next.Bucket, next.Prefix = "", ""
			}
			s.Next = &next
			if !ref.Backfill {
				s.WindowErr = s.Digest.CheckWindow(next.DigestKey)
			}
		}
	}
	return s
}

// rank orders the files under one name.
func rank(f Found, v Verdict) int {
	switch {
	case v.Trusted && v.Status == Valid:
		return 4
	case v.Trusted:
		return 3
	case v.Status == Unverified:
		return 2
	case !errors.Is(f.Err, fs.ErrNotExist):
		return 1
	}
	return 0
}

func sameContent(a, b File) bool {
	x, isHashed := a.sum()
	y, isOther := b.sum()
	return isHashed && isOther && x == y
}

// sum returns the hash of the content, and whether it is known.
func (f File) sum() (digest.Sum, bool) {
	if f.Digest != nil {
		return f.Digest.Sum, true
	}
	return f.Sum, f.Hashed
}

// otherCopy is the verdict on a second file with another content. Where its own
// verdict finds nothing wrong, two signed contents claim one name.
func otherCopy(v Verdict, g, best Found) Verdict {
	if v.Status != Valid {
		return v
	}
	want, _ := best.File.sum()
	got, _ := g.File.sum()
	e := finding.Evidence{Want: want.String(), Got: got.String(), Digest: best.At.String()}
	return invalid(finding.ChainMismatch, fmt.Sprintf("a second copy with another content than %s", best.At), e)
}

// Logs returns the log files that the step's digest lists, none where the digest is
// not trusted.
func (s Step) Logs() []digest.Log {
	if !s.Verdict.Trusted || s.Digest == nil {
		return nil
	}
	return s.Digest.Logs
}
