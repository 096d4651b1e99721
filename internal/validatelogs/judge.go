package validatelogs

import (
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

const backfillSuffix = "_backfill.json.gz"

// candidate is a digest file as it was read. Its bytes are gone, so that those
// read ahead cost little.
type candidate struct {
	digest   *digest.Digest // nil unless the strict parser took it
	says     *statement     // nil unless it is gzip of JSON
	meta     map[string]string
	err      error
	deferred bool // too large to be prefetched
}

// newCandidate keeps what is needed of a digest that was read.
func newCandidate(file fetch.File, err error) candidate {
	c := candidate{digest: file.Digest, meta: file.Meta, err: err}
	switch {
	case errors.Is(err, finding.ErrContainer): // the reference does not look into a broken container
		c.digest = nil
	case file.Digest != nil:
		c.says = stated(file.Digest)
	case file.Body != nil:
		c.says = readLeniently(file.Body)
	}
	return c
}

// judge makes the reference's checks in the reference's order: of several
// things that are wrong with a digest, the first names it. A digest that passes
// them all and that the strict parser refused is of an invalid format.
func (k *keyring) judge(ctx context.Context, c candidate, at trail.Object, backfill bool, home string) Outcome {
	o := Outcome{Kind: DigestFile, Backfill: backfill, Object: at}
	if c.err != nil && !finding.IsFact(c.err) {
		return o.unverified(c.err)
	}
	signature, signed := c.meta[digest.MetaSignature]
	_, named := c.meta[digest.MetaSignatureAlgorithm] // unsigned itself; the reference asks only whether it is there
	_, generated := c.meta[digest.MetaBackfillGenerated]
	switch {
	case errors.Is(c.err, fs.ErrNotExist):
		return o.invalid(faultMissing)
	case c.says == nil:
		return o.invalid(faultFormat)
	case !signed || !named:
		return o.invalid(faultSignature)
	case (backfill || strings.HasSuffix(at.Key, backfillSuffix)) && !generated:
		return o.invalid(faultFormat)
	case c.says.incomplete:
		return o.invalid(faultFormat)
	case c.says.bucket != at.Bucket || c.says.object != at.Key:
		return o.invalid(faultMoved)
	}
	fingerprint := c.says.fingerprint
	if _, known := k.keys[fingerprint]; !known && backfill {
		if o := k.loadAround(ctx, c.meta[digest.MetaBackfillGenerated], o); o.Verdict != Valid {
			return o
		}
	}
	key, known := k.keys[fingerprint]
	if !known {
		return o.invalid("public key not found in region " + home + " for fingerprint " + fingerprint)
	}
	if fault := signatureFault(key, c.says.toSign, signature); fault != "" {
		return o.invalid(fault)
	}
	if c.digest == nil {
		return o.invalid(faultFormat)
	}
	o.From, o.To = c.digest.Start, c.digest.End
	return o
}

// loadAround adds the keys of the time at which a backfill digest was made,
// which may be long after the hour it is for. It returns o, or what is wrong.
func (k *keyring) loadAround(ctx context.Context, generated string, o Outcome) Outcome {
	at, err := parseGenerated(generated)
	if err != nil {
		return o.invalid("Unable to parse date value: " + generated)
	}
	err = k.load(ctx, at.Add(-backfillMargin), at.Add(backfillMargin))
	var none NoKeysError
	switch {
	case errors.As(err, &none):
		return o.invalid(none.Error())
	case err != nil:
		return o.unverified(err)
	}
	return o
}

// parseGenerated reads a backfill-generation-timestamp. AWS does not document
// its form.
func parseGenerated(s string) (at time.Time, err error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateTime, "20060102T150405Z", time.RFC1123, time.UnixDate} {
		if at, err = time.Parse(layout, s); err == nil {
			return at.UTC(), nil
		}
	}
	return time.Time{}, err
}

// signatureFault verifies a signature and returns the line for what is wrong.
func signatureFault(key digest.Key, toSign, signature string) string {
	if _, err := key.RSA(); err != nil {
		return "Unable to load PKCS #1 key with fingerprint " + key.Fingerprint
	}
	if len(signature)%2 != 0 {
		return faultHexLength
	}
	if _, err := hex.DecodeString(signature); err != nil {
		return faultHexDigit
	}
	if key.Verify(toSign, signature) != nil {
		return faultSignature
	}
	return ""
}
