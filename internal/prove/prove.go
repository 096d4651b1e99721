// Package prove judges one digest at a time: what was read of it, the name it
// was found under, CloudTrail's keys, and what its successor says of it. Both
// programs judge through it. It knows nothing of ranges, hours or the order in
// which digests are looked at, fetches nothing but keys, and reports nothing
// itself.
package prove

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Question is a digest to judge.
type Question struct {
	Key  trail.DigestKey // the name it was found under
	At   trail.Object    // where it was found; without a bucket in a copy
	File fetch.File      // what was read
	Err  error           // why nothing could be, or what is wrong with the file

	// Successor is what the proven digest after it says of it, if there is one.
	Successor *digest.Previous
	// SuccessorAt is where that digest lies: evidence.
	SuccessorAt trail.Object
	// Repeated is the signature that the digest after it repeats, be that one
	// proven or not: a signature vouches for itself. "" where none is known.
	Repeated string
}

// Answer is what a digest is. The zero Answer is a valid one without proof,
// which no question gets.
type Answer struct {
	// Proven: its content is CloudTrail's, and its names may be followed. That
	// can be so where something else is wrong, such as the object's metadata.
	Proven bool
	// Wrong is the finding's class; "" where nothing is wrong.
	Wrong    finding.Class
	Detail   string
	Evidence finding.Evidence
	// Unknown is why the digest could not be judged (finding.ReasonOf), nil where
	// it could.
	Unknown error
}

// Valid reports whether the digest is proven and nothing is wrong with it.
func (a Answer) Valid() bool { return a.Proven && a.Wrong == "" && a.Unknown == nil }

// Digest judges a digest: container and form, place, key, signature, link. A
// digest without a signature is wrong in a bucket, and unknown in a copy.
func Digest(ctx context.Context, keys *Keyring, q Question) Answer {
	h := hearing{Question: q, keys: keys, d: q.File.Digest}
	switch {
	case q.Err != nil:
		h.unread()
	case h.place():
		h.signature(ctx)
	}
	if h.Wrong != "" && q.Successor != nil && h.Evidence.Want == "" {
		h.Evidence.Want = q.Successor.Hash.String()
	}
	return h.Answer
}

// hearing is a question and the answer so far.
type hearing struct {
	Question
	Answer
	keys *Keyring
	d    *digest.Digest
}

func (h *hearing) wrong(class finding.Class, detail string, e finding.Evidence) {
	h.Wrong, h.Detail, h.Evidence = class, detail, e
}

// unread deals with a digest that was not there, not readable or not a digest.
func (h *hearing) unread() {
	var e finding.Evidence
	if h.Successor != nil {
		e.Digest = h.SuccessorAt.String()
	}
	switch {
	case errors.Is(h.Err, fs.ErrNotExist) && h.Successor != nil:
		h.wrong(finding.DigestMissing, "named by its successor, and not there", e)
	case errors.Is(h.Err, fs.ErrNotExist):
		h.wrong(finding.DigestMissing, "listed, and not there", e)
	case finding.IsFact(h.Err):
		h.wrong(finding.DigestCorrupt, h.Err.Error(), e)
	default:
		h.Unknown = h.Err
	}
}

// place compares the digest with the name it has.
func (h *hearing) place() bool {
	err := h.d.CheckLocation(h.At.Bucket, h.Key)
	if err != nil {
		h.wrong(finding.DigestMoved, err.Error(), h.evidence(h.File.Meta[digest.MetaSignature]))
	}
	return err == nil
}

// signature verifies the digest's own signature and compares the digest with
// what its successor says. Where its own is absent or wrong, the one that its
// successor repeats can still prove the content.
func (h *hearing) signature(ctx context.Context) {
	key, err := h.keys.Find(ctx, h.Key.Region, h.d.Fingerprint, h.signedAt())
	switch {
	case errors.Is(err, digest.ErrKeyUnknown), errors.Is(err, digest.ErrKey):
		h.wrong(finding.DigestKeyUnknown, err.Error(), h.evidence(h.File.Meta[digest.MetaSignature]))
		return
	case err != nil:
		h.Unknown = err
		return
	}
	own, err := digest.Signature(h.File.Meta)
	if err == nil && own != "" {
		err = h.d.Verify(key, own)
	}
	repeated := h.Repeated != "" && h.d.Verify(key, h.Repeated) == nil
	switch {
	case err != nil:
		h.Proven = repeated
		h.wrong(finding.DigestSignature, err.Error(), h.evidence(h.File.Meta[digest.MetaSignature]))
	case own != "":
		h.link(own)
	case repeated && h.At.Bucket == "":
		h.Proven = true
	case repeated:
		h.Proven = true
		h.wrong(finding.DigestSignature, "the object has no signature; its successor's copy of it verifies", h.evidence(h.Repeated))
	default:
		h.unsigned()
	}
	if h.Proven {
		h.keys.use(h.Key.Region, key)
	}
}

// link compares a digest whose own signature is good with its successor's words.
func (h *hearing) link(own string) {
	h.Proven = true
	if h.Successor == nil {
		return
	}
	if err := h.d.CheckLink(h.Successor, own); err != nil {
		h.Proven = false // one of two was put in the other's place
		h.wrong(finding.ChainMismatch, err.Error(), h.evidence(own))
	}
}

var errUnsigned = fmt.Errorf("a copy without object metadata, and no newer digest that repeats it: %w", digest.ErrUnsigned)

// unsigned deals with a digest that no signature at hand proves.
func (h *hearing) unsigned() {
	switch {
	case h.Repeated != "":
		h.wrong(finding.DigestSignature, "the signature that its successor repeats does not verify", h.evidence(h.Repeated))
	case h.At.Bucket != "":
		h.wrong(finding.DigestSignature, "the object has no signature", h.evidence(""))
	default:
		h.Unknown = errUnsigned
	}
}

func (h *hearing) evidence(signature string) finding.Evidence { return Evidence(h.d, signature) }

// Evidence is what anyone needs to check a digest's signature again.
func Evidence(d *digest.Digest, signature string) finding.Evidence {
	return finding.Evidence{Got: d.Sum.String(), StringToSign: d.StringToSign(), Signature: signature, Fingerprint: d.Fingerprint}
}

// signedAt returns when the digest was signed, as far as is known: a backfill
// digest says so in its metadata, which is not signed but only chooses among
// CloudTrail's keys.
func (h *hearing) signedAt() time.Time {
	if !h.Key.Backfill {
		return h.Key.End
	}
	t, err := time.Parse(time.RFC3339, h.File.Meta[digest.MetaBackfillGenerated])
	if err != nil {
		return time.Time{} // any key of the region
	}
	return t.UTC()
}
