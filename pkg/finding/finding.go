// Package finding is the vocabulary of outcomes: what can be wrong (Class), what
// could not be checked and why (Reason), and the evidence for both. It also owns
// the two kinds of errors: facts about evidence, and reasons for not having read
// it (IsFact, ReasonOf).
//
// The texts of classes and reasons are part of the report's format
// (docs/formats.md). New ones may be added.
package finding

import (
	"cmp"
	"time"
)

// Class says what is wrong. Its text is the class in reports and the label in
// metrics.
type Class string

// The classes of findings.
const (
	LogModified      Class = "log-modified"       // content hash differs from the digest's
	LogMissing       Class = "log-missing"        // listed, not there
	LogCorrupt       Class = "log-corrupt"        // container broken, or bytes after its end
	LogUnlisted      Class = "log-unlisted"       // in a verified hour, and in no digest
	LogMisplaced     Class = "log-misplaced"      // listed for another place, or twice
	DigestMissing    Class = "digest-missing"     // named by its successor or due, not there
	DigestCorrupt    Class = "digest-corrupt"     // container, JSON, member or algorithm
	DigestSignature  Class = "digest-signature"   // absent, malformed or wrong
	DigestKeyUnknown Class = "digest-key-unknown" // no such key for that region and time
	DigestMoved      Class = "digest-moved"       // its body names another place
	ChainMismatch    Class = "chain-mismatch"     // not the digest its successor names
	ChainHole        Class = "chain-hole"         // linked windows overlap or leave a hole; fork; loop
	Gap              Class = "gap"                // logging or validation was off
	Coverage         Class = "coverage"           // asked hours that no valid digest covers
	Rollback         Class = "rollback"           // a remembered head is gone
	ForeignObject    Class = "foreign-object"     // outside the key grammar
)

// Classes returns all classes.
func Classes() []Class {
	return []Class{
		LogModified, LogMissing, LogCorrupt, LogUnlisted, LogMisplaced,
		DigestMissing, DigestCorrupt, DigestSignature, DigestKeyUnknown, DigestMoved,
		ChainMismatch, ChainHole, Gap, Coverage, Rollback, ForeignObject,
	}
}

// Reason says why something is neither valid nor invalid.
type Reason string

// The reasons for UNVERIFIED.
const (
	NoSignature  Reason = "no-signature"
	AccessDenied Reason = "access-denied"
	KMSDenied    Reason = "kms-denied"
	Archived     Reason = "archived"
	Throttled    Reason = "throttled"
	Network      Reason = "network"
	NoKeys       Reason = "no-keys"
	TooLarge     Reason = "too-large"
	OddRecord    Reason = "odd-record"   // a record of a proven log file that cannot be taken as an event
	Clock        Reason = "clock"        // a proven digest that ends later than this machine's clock
	NotSearched  Reason = "not-searched" // a folder that the search did not look into
)

// Reasons returns all reasons.
func Reasons() []Reason {
	return []Reason{NoSignature, AccessDenied, KMSDenied, Archived, Throttled, Network, NoKeys, TooLarge, OddRecord, Clock, NotSearched}
}

// Finding is one thing that is wrong.
type Finding struct {
	Class Class `json:"class"`
	Subject
	Detail   string   `json:"detail"`
	Evidence Evidence `json:"evidence"`
}

// Unverified is one thing that could not be checked.
type Unverified struct {
	Reason Reason `json:"reason"`
	Subject
	Detail string `json:"detail"`
}

// Subject is what a finding is about. Time is the hour concerned: a digest's
// end, a log's stamp, the beginning of a range.
type Subject struct {
	Account string    `json:"account,omitempty"`
	Region  string    `json:"region,omitempty"`
	Trail   string    `json:"trail,omitempty"`
	Bucket  string    `json:"bucket,omitempty"`
	Key     string    `json:"key,omitempty"`
	Time    time.Time `json:"time,omitzero"`
}

// Evidence is what a third party needs to re-check a finding without this
// program. Hashes and fingerprints are lower-case hex.
type Evidence struct {
	Want         string    `json:"want_sha256,omitempty"`    // hash that was signed for
	Got          string    `json:"got_sha256,omitempty"`     // hash of the inflated bytes that are there
	StringToSign string    `json:"string_to_sign,omitempty"` // of the digest concerned
	Signature    string    `json:"signature,omitempty"`      // that was checked, hex
	Fingerprint  string    `json:"fingerprint,omitempty"`    // of the key that the digest names
	Digest       string    `json:"digest,omitempty"`         // the digest that says so: s3://bucket/key
	From         time.Time `json:"from,omitzero"`            // a range of time concerned
	To           time.Time `json:"to,omitzero"`
	Event        *Event    `json:"event,omitempty"` // a verified event that explains it
}

// Event is a verified event that explains a gap.
type Event struct {
	ID    string    `json:"id"`
	Name  string    `json:"name"`
	Time  time.Time `json:"time"`
	Actor string    `json:"actor"`
	From  string    `json:"from"`
	Log   string    `json:"log"` // the verified log file that holds it: s3://bucket/key
}

// Compare orders findings so that equal input gives equal reports.
func Compare(a, b Finding) int {
	return cmp.Or(a.Subject.compare(b.Subject), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Detail, b.Detail),
		cmp.Compare(a.Evidence.Digest, b.Evidence.Digest), a.Evidence.From.Compare(b.Evidence.From), a.Evidence.To.Compare(b.Evidence.To))
}

// CompareUnverified orders what could not be checked.
func CompareUnverified(a, b Unverified) int {
	return cmp.Or(a.Subject.compare(b.Subject), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Detail, b.Detail))
}

func (s Subject) compare(o Subject) int {
	return cmp.Or(cmp.Compare(s.Account, o.Account), cmp.Compare(s.Region, o.Region), cmp.Compare(s.Trail, o.Trail),
		s.Time.Compare(o.Time), cmp.Compare(s.Key, o.Key), cmp.Compare(s.Bucket, o.Bucket))
}
