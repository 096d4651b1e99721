// Package finding is the vocabulary of outcomes: what can be wrong ([Class]), why
// something could not be checked ([Reason]), and what proves it ([Evidence]).
//
// It also tells the two kinds of errors apart. A fact says something about the
// evidence ([IsFact]) and makes a [Finding]. A reason says only that the evidence
// was not read ([ReasonOf]) and makes an [Unverified].
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
// metrics. The zero Class is not a class.
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

// Classes returns all classes. The caller may change the list.
func Classes() []Class {
	return []Class{
		LogModified, LogMissing, LogCorrupt, LogUnlisted, LogMisplaced,
		DigestMissing, DigestCorrupt, DigestSignature, DigestKeyUnknown, DigestMoved,
		ChainMismatch, ChainHole, Gap, Coverage, Rollback, ForeignObject,
	}
}

// Reason says why something is neither valid nor invalid. Its text is the reason in
// reports. The zero Reason is not a reason.
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

// Reasons returns all reasons. The caller may change the list.
func Reasons() []Reason {
	return []Reason{
		NoSignature,
		AccessDenied,
		KMSDenied,
		Archived,
		Throttled,
		Network,
		NoKeys,
		TooLarge,
		OddRecord,
		Clock,
		NotSearched,
	}
}

// Finding is one thing that is wrong. Reports list findings in the order of
// [Compare].
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
// end, a log's stamp, the beginning of a range. Fields that do not apply are zero.
type Subject struct {
	Account string    `json:"account,omitempty"`
	Region  string    `json:"region,omitempty"`
	Trail   string    `json:"trail,omitempty"`
	Bucket  string    `json:"bucket,omitempty"`
	Key     string    `json:"key,omitempty"`
	Time    time.Time `json:"time,omitzero"`
}

// Evidence is what a third party needs to re-check a finding without this
// program. Hashes and fingerprints are lower-case hex. Fields that do not apply are
// zero.
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

// Event is an event of a proven log file that explains a gap.
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

// Compare is the order of findings in a report: negative where a comes first, 0
// where both are equal. It looks at each field, so equal input gives equal reports.
func Compare(a, b Finding) int {
	return cmp.Or(a.Subject.compare(b.Subject), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Detail, b.Detail),
		a.Evidence.compare(b.Evidence))
}

// CompareUnverified is the order of what could not be checked, by the rules of
// [Compare].
func CompareUnverified(a, b Unverified) int {
	return cmp.Or(a.Subject.compare(b.Subject), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Detail, b.Detail),
		cmp.Compare(a.Objects, b.Objects))
}

// CompareNotes is the order of notes, by the rules of [Compare].
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
		cmp.Compare(e.From, o.From), cmp.Compare(e.Log, o.Log)); c != 0 ||
		e.Possible == o.Possible {
		return c
	}
	if o.Possible {
		return -1
	}
	return 1
}
