package digest

import (
	"fmt"
	"strings"

	"github.com/trailseal/trailseal/pkg/trail"
)

// Metadata names of a digest object, without S3's x-amz-meta- in front.
const (
	MetaSignature          = "signature"
	MetaSignatureAlgorithm = "signature-algorithm"
	MetaBackfillGenerated  = "backfill-generation-timestamp"
)

// Signature returns the signature that a digest object's user metadata holds,
// in hex; "" where the object has neither member, as in a plain copy. Errors
// wrap ErrSignature or ErrAlgorithm.
func Signature(meta map[string]string) (string, error) {
	sig, algorithm := meta[MetaSignature], meta[MetaSignatureAlgorithm]
	switch {
	case sig == "" && algorithm == "":
		return "", nil
	case sig == "" || algorithm == "":
		return "", fmt.Errorf("metadata is incomplete: %w", ErrSignature)
	case algorithm != SignatureAlgorithm:
		return "", fmt.Errorf("metadata names the algorithm %q: %w", algorithm, ErrAlgorithm)
	}
	return sig, nil
}

// Verify checks a signature, in hex, over the digest. Errors wrap ErrKey or
// ErrSignature.
func (d *Digest) Verify(k Key, signature string) error { return k.Verify(d.StringToSign(), signature) }

// CheckLocation compares what the digest says of itself with the place it was
// found in: the key it was found under must be the one it names, and that
// key's account and time must be those of its body. In a copy the bucket and
// the prefix may have changed, so there the bucket is "" and only the part
// from AWSLogs on is compared. Errors wrap ErrMoved.
func (d *Digest) CheckLocation(bucket string, key trail.DigestKey) error {
	named, err := trail.ParseDigestKey(d.Object)
	if err != nil {
		return fmt.Errorf("names itself %v: %w", err, ErrMoved)
	}
	if bucket == "" {
		named.Prefix = key.Prefix
	} else if d.Bucket != bucket {
		return fmt.Errorf("names itself s3://%s/%s: %w", d.Bucket, d.Object, ErrMoved)
	}
	switch {
	case named != key:
		return fmt.Errorf("names itself %s: %w", d.Object, ErrMoved)
	case d.Account != key.Account:
		return fmt.Errorf("is for account %s: %w", d.Account, ErrMoved)
	case !d.End.Equal(key.End):
		return fmt.Errorf("ends at %s: %w", d.EndText, ErrMoved)
	}
	return nil
}

// CheckLink compares a digest with what its successor says of it: hash, and
// signature where that is known (in hex, "" if not). Errors wrap ErrLink.
func (d *Digest) CheckLink(successor *Previous, signature string) error {
	switch {
	case successor.Hash != d.Sum:
		return fmt.Errorf("successor has hash %s, this digest %s: %w", successor.Hash, d.Sum, ErrLink)
	case signature != "" && !strings.EqualFold(successor.Signature, signature): // metadata may be upper-case hex
		return fmt.Errorf("successor has another signature than this digest: %w", ErrLink)
	}
	return nil
}

// CheckWindow demands that the digest begins where the predecessor that it names
// ends: the key of a digest holds its end. Errors wrap ErrWindow.
func (d *Digest) CheckWindow(older trail.DigestKey) error {
	if !d.Start.Equal(older.End) {
		return fmt.Errorf(
			"begins at %s, its predecessor ends at %s: %w",
			d.Start.Format(timeLayout),
			older.End.Format(timeLayout),
			ErrWindow,
		)
	}
	return nil
}

// CheckLog compares a listed log file's place with the digest's. A log may lie
// in the digest's bucket or, in the hour a trail changed buckets, in that of
// the digest before. Names outside the grammar of log files are taken as they
// are: which other files digests list is not documented. Errors wrap
// ErrMisplaced.
func (d *Digest) CheckLog(l Log, at trail.Place) error {
	if l.Bucket != d.Bucket && (d.Previous == nil || l.Bucket != d.Previous.Bucket) {
		return fmt.Errorf("bucket %s: %w", l.Bucket, ErrMisplaced)
	}
	k, err := trail.ParseLogKey(l.Object)
	if err == nil && (k.Account != at.Account || k.Region != at.Region) {
		return fmt.Errorf("account %s, region %s: %w", k.Account, k.Region, ErrMisplaced)
	}
	return nil
}

// Check compares the sum of a log file's inflated bytes with the signed one.
// Errors wrap ErrModified.
func (l Log) Check(got Sum) error {
	if got != l.Hash {
		return fmt.Errorf("want %s, got %s: %w", l.Hash, got, ErrModified)
	}
	return nil
}
