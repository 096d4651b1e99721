package chain

import (
	"cmp"
	"slices"
	"time"

	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Repeats collects the signatures that untrusted digests repeat for their
// predecessors: a signature counts from any digest that was read. It is not safe
// for concurrent use.
//
// It is bounded, so that planted digests cannot fill the memory. It keeps the names
// that a walk from newest to oldest needs first, and for each name the signatures
// of the digests that end nearest to an hour after it. Planted digests push out a
// genuine signature in two cases only. Sixteen of them end as near to an hour after
// the name as the genuine digest does, below other prefixes or organizations. Or
// they name more than 2,047 predecessors that end between the name and the genuine
// digest. The digest that loses the signature is not trusted then.
type Repeats struct {
	byName map[trail.DigestKey][]repeated
}

type repeated struct {
	signature string // hex
	by        Ref
}

// Bounds of Repeats. The signature of an RSA-2048 key has 512 hex digits.
const (
	maxNames      = 4096
	maxSignatures = 16 // for each name
)

// NewRepeats returns an empty collection.
func NewRepeats() *Repeats { return &Repeats{byName: map[trail.DigestKey][]repeated{}} }

// add notes what an untrusted digest says of its predecessor.
func (r *Repeats) add(of Ref, d *digest.Digest) {
	if r == nil || d.Previous == nil {
		return
	}
	k, err := trail.ParseDigestKey(d.Previous.Object)
	if err != nil || !k.Chain.Same(of.Chain) || !k.End.Before(of.End) {
		return
	}
	k.Prefix = ""
	signatures := r.byName[k]
	if len(signatures) == 0 && len(r.byName) >= maxNames {
		r.forget(of.End)
	}
	far := func(s repeated) time.Duration { return s.by.End.Sub(k.End.Add(Window)).Abs() }
	s := repeated{d.Previous.Signature, of}
	if len(signatures) < maxSignatures {
		r.byName[k] = append(signatures, s)
		return
	}
	worst := slices.MaxFunc(signatures, func(a, b repeated) int { return int(far(a) - far(b)) })
	if far(s) < far(worst) {
		signatures[slices.Index(signatures, worst)] = s
	}
}

// forget drops the names that a walk from newest to oldest has passed. Where more
// than half remain, it drops the oldest of them, too: those are needed last.
func (r *Repeats) forget(passed time.Time) {
	var left []trail.DigestKey
	for k := range r.byName {
		if k.End.After(passed) {
			delete(r.byName, k)
			continue
		}
		left = append(left, k)
	}
	slices.SortFunc(left, func(a, b trail.DigestKey) int {
		return cmp.Or(b.End.Compare(a.End), cmp.Compare(a.Organization, b.Organization))
	})
	for _, k := range left[min(len(left), maxNames/2):] {
		delete(r.byName, k)
	}
}

func (r *Repeats) of(ref Ref) (signatures []string) {
	for _, s := range r.all(ref) {
		signatures = append(signatures, s.signature)
	}
	return signatures
}

func (r *Repeats) repeaters(ref Ref) (by []Ref) {
	for _, s := range r.all(ref) {
		by = append(by, s.by)
	}
	return by
}

func (r *Repeats) all(ref Ref) []repeated {
	if r == nil {
		return nil
	}
	k := ref.DigestKey
	k.Prefix = ""
	return r.byName[k]
}
