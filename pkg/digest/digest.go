package digest

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/trailseal/trailseal/pkg/trail"
)

// Names that AWS gives the only algorithms in use.
const (
	SignatureAlgorithm = "SHA256withRSA"
	HashAlgorithm      = "SHA-256"
)

// Sum is a SHA-256 of inflated bytes.
type Sum [sha256.Size]byte

// String returns the sum in lower-case hex, as digests write it.
func (s Sum) String() string { return hex.EncodeToString(s[:]) }

// Digest is a parsed digest file. Strings are the decoded JSON values, which
// are what was signed; times are UTC.
type Digest struct {
	Account            string // awsAccountId
	Start              time.Time
	End                time.Time
	EndText            string // digestEndTime as written: the signature covers its text
	Bucket             string // digestS3Bucket
	Object             string // digestS3Object
	Fingerprint        string // digestPublicKeyFingerprint
	SignatureAlgorithm string
	Newest, Oldest     time.Time // event times; zero when null
	Previous           *Previous // nil in a starting digest
	Logs               []Log     // logFiles, in the file's order

	// Sum is the hash of the bytes that were parsed.
	Sum Sum
}

// Previous is what a digest says of the one before it.
type Previous struct {
	Bucket        string
	Object        string
	Hash          Sum
	HashAlgorithm string
	Signature     string // hex
}

// Log is one entry of logFiles.
type Log struct {
	Bucket         string
	Object         string
	Hash           Sum
	Newest, Oldest time.Time // event times; zero when null
}

// Location returns the object that the digest says it is.
func (d *Digest) Location() trail.Object { return trail.Object{Bucket: d.Bucket, Key: d.Object} }

// Location returns the object before the digest.
func (p *Previous) Location() trail.Object { return trail.Object{Bucket: p.Bucket, Key: p.Object} }

// Location returns the log file's object.
func (l Log) Location() trail.Object { return trail.Object{Bucket: l.Bucket, Key: l.Object} }

// StringToSign returns the text that CloudTrail signed.
func (d *Digest) StringToSign() string {
	previous := "null"
	if d.Previous != nil {
		previous = d.Previous.Signature
	}
	return StringToSign(d.EndText, d.Bucket, d.Object, d.Sum, previous)
}

// StringToSign joins the parts of a digest that are signed. previous is the
// signature of the digest before, or "null".
func StringToSign(end, bucket, object string, sum Sum, previous string) string {
	return end + "\n" + bucket + "/" + object + "\n" + sum.String() + "\n" + previous
}
