package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/finding"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// judgement is what a digest is by itself and by what its successor says.
type judgement struct {
	state  report.State
	proven bool // its content is CloudTrail's: its names may be followed
	found  bool // something was wrong with it
}

// hearing gathers what is said of one digest.
type hearing struct {
	*walk
	listed
	at        trail.Object
	file      fetch.File
	successor *digest.Previous // nil: none is known
	asked     bool             // outside the asked range nothing is reported
	// signatureElsewhere is the signature that the successor repeats, be it
	// proven or not: a signature vouches for itself. "" where there is none.
	signatureElsewhere string
	judgement
}

// repeated returns the signature that the digest just taken gives l.
func (w *walk) repeated(l listed, successor *digest.Previous) string {
	switch {
	case successor != nil:
		return successor.Signature
	case w.unproven != nil && w.unproven.Previous != nil && w.isNamed(l, w.unproven.Previous):
		return w.unproven.Previous.Signature
	}
	return ""
}

// judge checks one digest: container and form, place, key, signature, link.
func (w *walk) judge(ctx context.Context, l listed, got fetched, successor *digest.Previous, asked bool) judgement {
	h := &hearing{walk: w, listed: l, at: got.at, file: got.file, successor: successor, asked: asked}
	h.state = report.Verified
	h.signatureElsewhere = w.repeated(l, successor)
	switch {
	case got.err != nil:
		h.unread(ctx, got.err)
	case h.place():
		h.signature(ctx)
	}
	return h.judgement
}

// wrong reports a finding and makes the digest invalid.
func (h *hearing) wrong(class finding.Class, detail string, e finding.Evidence) {
	h.state, h.found = report.Invalid, true
	if class == finding.DigestMissing {
		h.state = report.Missing
	}
	if h.successor != nil && e.Want == "" {
		e.Want = h.successor.Hash.String()
	}
	if h.asked {
		h.findDigest(class, h.at, h.end, detail, e)
	}
}

// unknown makes the digest unverified.
func (h *hearing) unknown(ctx context.Context, err error) {
	h.state = report.Unverified
	if h.asked {
		h.doubt(ctx, subject(h.name, h.at, h.end), err)
	}
}

// unread deals with a digest that was not there, not readable or not a digest.
func (h *hearing) unread(ctx context.Context, err error) {
	var e finding.Evidence
	if h.newer != nil && h.successor != nil {
		e.Digest = h.newer.Location().String()
	}
	switch {
	case errors.Is(err, fs.ErrNotExist) && h.successor != nil:
		h.wrong(finding.DigestMissing, "named by its successor, and not there", e)
	case errors.Is(err, fs.ErrNotExist):
		h.wrong(finding.DigestMissing, "listed, and not there", e)
	case fetch.IsFact(err):
		h.wrong(finding.DigestCorrupt, err.Error(), e)
	default:
		h.unknown(ctx, err)
	}
}

// place compares the digest with the name it has.
func (h *hearing) place() bool {
	d := h.file.Digest
	err := d.CheckLocation(h.at.Bucket, h.chainKey())
	if err != nil {
		h.wrong(finding.DigestMoved, err.Error(), digestEvidence(d, h.file.Meta[digest.MetaSignature]))
	}
	return err == nil
}

func (h *hearing) chainKey() trail.DigestKey { return h.listed.chain.Digest(h.end) }

// signature verifies the digest's own signature and compares the digest with
// what its successor says. Where its own is absent or wrong, the one that its
// successor repeats can still prove the content.
func (h *hearing) signature(ctx context.Context) {
	d := h.file.Digest
	key, err := h.keys.find(ctx, h.name.Region, d.Fingerprint, h.signedAt())
	switch {
	case errors.Is(err, digest.ErrKeyUnknown), errors.Is(err, digest.ErrKey):
		h.wrong(finding.DigestKeyUnknown, err.Error(), digestEvidence(d, h.file.Meta[digest.MetaSignature]))
		return
	case err != nil:
		h.unknown(ctx, err)
		return
	}
	own, err := digest.Signature(h.file.Meta)
	if err == nil && own != "" {
		err = d.Verify(key, own)
	}
	switch {
	case err != nil:
		h.wrong(finding.DigestSignature, err.Error(), digestEvidence(d, h.file.Meta[digest.MetaSignature]))
		h.proven = h.successorProves(key)
	case own != "":
		h.link(d, own)
	case h.successorProves(key):
		h.proven = true
		if !h.Source.isCopy() {
			h.wrong(finding.DigestSignature, "the object has no signature; its successor's copy of it verifies", digestEvidence(d, h.signatureElsewhere))
		}
	default:
		h.unsigned(ctx, d)
	}
	if h.proven {
		h.keys.use(h.name.Region, key)
	}
}

// successorProves verifies the digest with the signature that its successor
// repeats.
func (h *hearing) successorProves(key digest.Key) bool {
	return h.signatureElsewhere != "" && h.file.Digest.Verify(key, h.signatureElsewhere) == nil
}

// link compares a digest whose own signature is good with its successor's words.
func (h *hearing) link(d *digest.Digest, own string) {
	h.proven = true
	if h.successor == nil {
		return
	}
	if err := d.CheckLink(h.successor, own); err != nil {
		h.proven = false
		h.wrong(finding.ChainMismatch, err.Error(), digestEvidence(d, own))
	}
}

// unsigned deals with a digest for which no signature is to be had.
func (h *hearing) unsigned(ctx context.Context, d *digest.Digest) {
	why := "the object has no signature"
	if h.signatureElsewhere != "" {
		why = "the signature that its successor repeats does not verify"
	}
	if h.signatureElsewhere != "" || !h.Source.isCopy() {
		h.wrong(finding.DigestSignature, why, digestEvidence(d, h.signatureElsewhere))
		return
	}
	h.unknown(ctx, errNoSignature)
}

var errNoSignature = fmt.Errorf("a copy without object metadata, and no newer digest that repeats it: %w", digest.ErrUnsigned)

// signedAt returns when the digest was signed, as far as is known: a backfill
// digest says so in its metadata, which is not signed but only chooses among
// CloudTrail's keys.
func (h *hearing) signedAt() time.Time {
	if !h.listed.chain.Backfill {
		return h.end
	}
	t, err := time.Parse(time.RFC3339, h.file.Meta[digest.MetaBackfillGenerated])
	if err != nil {
		return time.Time{} // any key of the region
	}
	return t.UTC()
}
