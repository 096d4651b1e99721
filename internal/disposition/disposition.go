// Package disposition decides what becomes of things when something goes
// wrong: one function, whose table is docs/ingest.md. It acts on nothing.
package disposition

import (
	"context"
	"errors"
	"io/fs"

	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
)

// What is the thing in trouble.
type What string

// The things that can be in trouble.
const (
	Digest  What = "digest"
	Log     What = "log"
	Record  What = "record"  // of a proven log
	Batch   What = "batch"   // of events, on its way to a sink
	Head    What = "head"    // of a chain, on its way to the store
	Finding What = "finding" // on its way to its sink
)

// Fate is what becomes of it.
type Fate string

// The fates.
const (
	Emit       Fate = "emitted"     // goes on as if nothing were
	Quarantine Fate = "quarantined" // reported, not emitted, passed by
	Wait       Fate = "waits"       // tried again; what is behind it in its chain waits, too
	Release    Fate = "released"    // the worker ends; it comes again
)

// Acknowledged reports whether a message that announced the thing may be
// deleted once its digest is dealt with.
func (f Fate) Acknowledged() bool { return f == Emit || f == Quarantine }

// Trouble is what went wrong.
type Trouble struct {
	What What
	Err  error
	// Class is the finding's, where a judge has named it already; Proven says
	// that the content is CloudTrail's all the same.
	Class  finding.Class
	Proven bool
	// Fresh: it is so young that what is absent may still arrive.
	Fresh bool
}

// Disposition is the decision.
type Disposition struct {
	Fate   Fate
	Class  finding.Class  // of the finding to report; "" for none
	Reason finding.Reason // why it waits, for evidence that could not be looked at
}

// Of decides.
func Of(t Trouble) Disposition {
	absent := t.Class == finding.DigestMissing || t.What == Log && errors.Is(t.Err, fs.ErrNotExist)
	switch {
	case absent && t.Fresh:
		return Disposition{Fate: Wait}
	case t.Class != "" && t.Proven:
		return Disposition{Fate: Emit, Class: t.Class}
	case t.Class != "":
		return Disposition{Fate: Quarantine, Class: t.Class}
	case t.Err == nil:
		return Disposition{Fate: Emit}
	case errors.Is(t.Err, context.Canceled):
		return Disposition{Fate: Release}
	case t.What == Record:
		return Disposition{Fate: Quarantine, Class: finding.LogCorrupt}
	case t.What == Batch, t.What == Head, t.What == Finding:
		return Disposition{Fate: Wait}
	case t.What == Log:
		return ofLog(t.Err)
	}
	if errors.Is(t.Err, inflate.ErrTooLarge) { // no digest is; to wait would let one planted object hold a chain
		return Disposition{Fate: Quarantine, Class: finding.DigestCorrupt}
	}
	return Disposition{Fate: Wait, Reason: finding.ReasonOf(t.Err)}
}

func ofLog(err error) Disposition {
	for class, is := range map[finding.Class]bool{
		finding.LogModified:  errors.Is(err, digest.ErrModified),
		finding.LogMissing:   errors.Is(err, fs.ErrNotExist),
		finding.LogMisplaced: errors.Is(err, digest.ErrMisplaced),
		finding.LogCorrupt:   errors.Is(err, finding.ErrContainer) || errors.Is(err, inflate.ErrTooLarge),
	} {
		if is {
			return Disposition{Fate: Quarantine, Class: class}
		}
	}
	return Disposition{Fate: Wait, Reason: finding.ReasonOf(err)}
}
