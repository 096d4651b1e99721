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
	"slices"
	"strings"
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

// Unverified is one thing that could not be checked: an object, several objects
// of one folder, or a folder that could not be searched.
type Unverified struct {
	Reason Reason `json:"reason"`
	Subject
	Detail string `json:"detail"`

	// Objects is how many objects the entry stands for; 0 means 1. The entry of
	// a digest stands for the digest and for each log file that could not be
	// checked because of it.
	Objects int `json:"objects,omitzero"`
}

// IsFolder reports whether the entry is about a folder that could not be
// searched, so that the number of its objects is not known.
func (u Unverified) IsFolder() bool {
	return u.Objects == 0 && (u.Reason == NotSearched || strings.HasSuffix(u.Key, "/"))
}

// Count returns how many objects the entry stands for: 0 for a folder that could
// not be searched.
func (u Unverified) Count() int {
	if u.IsFolder() {
		return 0
	}
	return max(1, u.Objects)
}

// ListedTwice is the kind of a note about a log file that two digests list with
// one hash.
const ListedTwice = "listed-twice"

// Note is a fact that is neither wrong nor unverified.
type Note struct {
	Kind string `json:"kind"` // ListedTwice; more may be added
	Subject
	Detail  string   `json:"detail"`
	Digests []string `json:"digests,omitempty"` // the digests that say so: s3://bucket/key
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
	Event        *Event    `json:"event,omitempty"`  // a verified event that explains it
	Chains       []string  `json:"chains,omitempty"` // the chains concerned, where the finding stands for several
}

// Event is a verified event that explains a gap.
type Event struct {
	ID    string    `json:"id"`
	Name  string    `json:"name"`
	Time  time.Time `json:"time"`
	Actor string    `json:"actor"`
	From  string    `json:"from"`
	Log   string    `json:"log"` // the verified log file that holds it: s3://bucket/key

	// Possible says that the event names a trail of this name and home region,
	// and that the owner of one of the two is not known: it may be another trail.
	Possible bool `json:"possible,omitzero"`
}

// Compare is the order of findings in a report. Findings that compare as 0 are
// equal, so that equal input gives equal reports.
func Compare(a, b Finding) int {
	return cmp.Or(a.Subject.compare(b.Subject), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Detail, b.Detail),
		a.Evidence.compare(b.Evidence))
}

// CompareUnverified is the order of what could not be checked.
func CompareUnverified(a, b Unverified) int {
	return cmp.Or(a.Subject.compare(b.Subject), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Detail, b.Detail),
		cmp.Compare(a.Objects, b.Objects))
}

// CompareNotes is the order of notes.
func CompareNotes(a, b Note) int {
	return cmp.Or(a.Subject.compare(b.Subject), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Detail, b.Detail),
		slices.Compare(a.Digests, b.Digests))
}

func (s Subject) compare(o Subject) int {
	return cmp.Or(cmp.Compare(s.Account, o.Account), cmp.Compare(s.Region, o.Region), cmp.Compare(s.Trail, o.Trail),
		s.Time.Compare(o.Time), cmp.Compare(s.Key, o.Key), cmp.Compare(s.Bucket, o.Bucket))
}

func (e Evidence) compare(o Evidence) int {
	return cmp.Or(cmp.Compare(e.Digest, o.Digest), e.From.Compare(o.From), e.To.Compare(o.To),
		cmp.Compare(e.Want, o.Want), cmp.Compare(e.Got, o.Got), cmp.Compare(e.StringToSign, o.StringToSign),
		cmp.Compare(e.Signature, o.Signature), cmp.Compare(e.Fingerprint, o.Fingerprint),
		e.Event.compare(o.Event), slices.Compare(e.Chains, o.Chains))
}

func (e *Event) compare(o *Event) int {
	switch {
	case e == nil && o == nil:
		return 0
	case e == nil:
		return -1
	case o == nil:
		return 1
	}
	if c := cmp.Or(cmp.Compare(e.ID, o.ID), cmp.Compare(e.Name, o.Name), e.Time.Compare(o.Time), cmp.Compare(e.Actor, o.Actor),
		cmp.Compare(e.From, o.From), cmp.Compare(e.Log, o.Log)); c != 0 || e.Possible == o.Possible {
		return c
	}
	if o.Possible {
		return -1
	}
	return 1
}
