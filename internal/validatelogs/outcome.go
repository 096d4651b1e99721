package validatelogs

import (
	"time"

	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Outcome is one thing that the walk came upon.
type Outcome struct {
	Kind     Kind
	Verdict  Verdict
	Backfill bool // in the backfill chain
	Object   trail.Object
	Fault    string // of an INVALID file: the reference's words for it
	Unread   error  // of an UNVERIFIED file: why

	From, To time.Time // a valid digest's window, or the ends of a gap
}

// Kind says what an outcome is about.
type Kind int

// The kinds of outcomes.
const (
	DigestFile Kind = iota
	LogFile
	Gap // From the end of the older digest To the start of the one that begins anew
)

// Verdict on a file. A gap has none.
type Verdict int

// The verdicts.
const (
	Valid Verdict = iota
	Invalid
	Unverified
)

// The reference's words for what is wrong with a file.
const (
	faultMissing   = "not found"
	faultFormat    = "invalid format"
	faultSignature = "signature verification failed"
	faultMoved     = "has been moved from its original location"
	faultHash      = "hash value doesn't match"
	faultTrailing  = "unexpected data after end of compressed stream"
	// What Python says of a signature that is no hex, which the reference
	// prints as it is.
	faultHexLength = "Odd-length string"
	faultHexDigit  = "Non-hexadecimal digit found"
)

func (o Outcome) invalid(fault string) Outcome {
	o.Verdict, o.Fault = Invalid, fault
	return o
}

func (o Outcome) unverified(err error) Outcome {
	o.Verdict, o.Unread = Unverified, err
	return o
}

// reason names why a file is UNVERIFIED.
func (o Outcome) reason() string { return string(finding.ReasonOf(o.Unread)) }
