package chain

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Window is the length of time that one digest covers: one hour (AWS CloudTrail
// User Guide, "CloudTrail digest file structure").
const Window = time.Hour

// ErrName says that a trusted digest names a predecessor that cannot be one.
var ErrName = errors.New("the chain cannot be followed")

// Ref is the name of a digest file: its key and its bucket. In a copy the bucket
// is "" and the key has no prefix.
type Ref struct {
	trail.DigestKey
	Bucket string
}

// Object returns the object that is named.
func (r Ref) Object() trail.Object { return trail.Object{Bucket: r.Bucket, Key: r.DigestKey.String()} }

// Previous returns the name that a trusted digest gives its predecessor. It must
// be a digest of the same chain and older. A trail may change its bucket, its
// prefix and its organization. Errors wrap ErrName. A starting digest names none:
// then Previous returns the zero Ref and no error.
func Previous(d *digest.Digest, of trail.Chain) (Ref, error) {
	if d.Previous == nil {
		return Ref{}, nil
	}
	k, err := trail.ParseDigestKey(d.Previous.Object)
	switch {
	case err != nil || !k.Chain.Same(of):
		return Ref{}, fmt.Errorf(
			"names a digest of another chain as its predecessor: %s: %w",
			d.Previous.Object,
			ErrName,
		)
	case !k.End.Before(d.End):
		return Ref{}, fmt.Errorf(
			"names a digest as its predecessor that is not older: %s: %w",
			d.Previous.Object,
			ErrName,
		)
	}
	return Ref{DigestKey: k, Bucket: d.Previous.Bucket}, nil
}

// Starting reports whether the digest that a trusted digest names was a starting
// one: the signature that the trusted digest repeats verifies over a string to
// sign without a predecessor. So the caller can tell a starting digest even where
// its file is gone or altered. p is what the trusted digest says of the digest of.
// Errors are those of k: then the answer is not known.
func Starting(ctx context.Context, k Keys, of trail.DigestKey, p digest.Previous) (bool, error) {
	return signedOver(ctx, k, of, p, "null")
}

// Follows reports whether the digest that a trusted digest names came directly
// after the digest with the signature older (hex). Then no digest is missing between
// the two, even where the file of the named one is gone or altered. The answer for an
// older of "" is false. Errors are those of k: then the answer is not known.
func Follows(ctx context.Context, k Keys, of trail.DigestKey, p digest.Previous, older string) (bool, error) {
	if older == "" {
		return false, nil
	}
	return signedOver(ctx, k, of, p, older)
}

// signedOver reports whether p's signature was made over p's hash and place, the
// end in its key, and the given signature of its predecessor. Its fingerprint is
// not known, so every key that can have signed it is tried.
func signedOver(ctx context.Context, k Keys, of trail.DigestKey, p digest.Previous, older string) (bool, error) {
	at := of.End
	if of.Backfill {
		at = time.Time{}
	}
	keys, err := k.At(ctx, of.Region, at)
	if err != nil {
		return false, err
	}
	text := digest.StringToSign(of.End.UTC().Format("2006-01-02T15:04:05Z"), p.Bucket, p.Object, p.Hash, older)
	for _, key := range keys {
		if key.Verify(text, p.Signature) == nil {
			return true, nil
		}
	}
	return false, nil
}

// Due yields the ends of the digests that are due between a digest that ends at
// older and one whose hour begins at newer, newest first. A trail's digests end
// at the same minute and second of each hour; the last one before a stop may end
// early, so an hour of which more than half is covered is not due. Neither time may be
// zero.
func Due(older, newer time.Time) iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		for t := newer; t.Sub(older) > Window/2; t = t.Add(-Window) {
			if !yield(t) {
				return
			}
		}
	}
}
