// Package failure decides what to do when an operation fails. [Decide] is one
// function, and the table in docs/ingest.md is its test. Every retry loop of the
// worker asks it. The package does not act on its decisions.
package failure

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"time"

	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
)

// Operation is what was tried.
type Operation string

// The operations that can fail.
const (
	Digest  Operation = "digest"  // read and judge a digest file
	Log     Operation = "log"     // read and check a log file that a proven digest lists
	Record  Operation = "record"  // take a record of a proven log file as an event
	Batch   Operation = "batch"   // give events to a sink
	Flush   Operation = "flush"   // make a sink's events durable
	Head    Operation = "head"    // load or store the head of a chain
	Finding Operation = "finding" // report a finding
	Listing Operation = "listing" // list a source
	Queue   Operation = "queue"   // receive from a queue
)

// Action is what to do.
type Action string

// The actions.
const (
	Proceed    Action = "proceed"    // the operation did its work
	Quarantine Action = "quarantine" // report it, do not emit it, and go on after it
	SetAside   Action = "set aside"  // count and log it as unverified, do not emit it, and go on after it
	Retry      Action = "retry"      // try again after a pause; what comes after it in its chain waits
	Release    Action = "release"    // the worker ends: leave it to the next run
)

// Failure is the outcome of an operation. The zero Err and Class are a success.
type Failure struct {
	Operation Operation
	Err       error
	// Class is the class of the finding, where the judge of a digest has decided it.
	// Trusted says that the digest's content is CloudTrail's all the same.
	Class   finding.Class
	Trusted bool
	// Fresh says that an object that is absent may still arrive.
	Fresh bool
}

// Decision is what to do about a failure.
type Decision struct {
	Do     Action
	Class  finding.Class  // of the finding to report, "" for none
	Reason finding.Reason // why evidence was not checked, "" where that is not the failure
}

// Decide returns what to do about the outcome of an operation.
func Decide(f Failure) Decision {
	absent := f.Class == finding.DigestMissing || f.Operation == Log && errors.Is(f.Err, fs.ErrNotExist)
	switch {
	case absent && f.Fresh:
		return Decision{Do: Retry}
	case f.Class != "" && f.Trusted:
		return Decision{Do: Proceed, Class: f.Class}
	case f.Class != "":
		return Decision{Do: Quarantine, Class: f.Class}
	case f.Err == nil:
		return Decision{Do: Proceed}
	case errors.Is(f.Err, context.Canceled):
		return Decision{Do: Release}
	}
	switch f.Operation {
	case Record:
		return Decision{Do: SetAside, Reason: finding.OddRecord}
	case Log:
		return ofLog(f.Err)
	case Digest:
		// A digest of CloudTrail is never so large. To wait for it would let one planted
		// object hold up a chain.
		if errors.Is(f.Err, inflate.ErrTooLarge) {
			return Decision{Do: Quarantine, Class: finding.DigestCorrupt}
		}
		return Decision{Do: Retry, Reason: finding.ReasonOf(f.Err)}
	case Listing:
		return Decision{Do: Retry, Reason: finding.ReasonOf(f.Err)}
	}
	return Decision{Do: Retry}
}

func ofLog(err error) Decision {
	switch {
	case errors.Is(err, digest.ErrModified):
		return Decision{Do: Quarantine, Class: finding.LogModified}
	case errors.Is(err, fs.ErrNotExist):
		return Decision{Do: Quarantine, Class: finding.LogMissing}
	case errors.Is(err, digest.ErrMisplaced):
		return Decision{Do: Quarantine, Class: finding.LogMisplaced}
	case errors.Is(err, finding.ErrContainer), errors.Is(err, inflate.ErrTooLarge):
		return Decision{Do: Quarantine, Class: finding.LogCorrupt}
	}
	return Decision{Do: Retry, Reason: finding.ReasonOf(err)}
}

// The longest pause after the first try, and after any try.
const (
	firstPause   = 200 * time.Millisecond
	longestPause = 30 * time.Second
)

// Pause returns how long to wait after a try. The first try is 0. The pause doubles with
// each try, up to half a minute, and an eighth to all of it is waited: so chains that wait
// for one thing do not ask together.
func Pause(try int) time.Duration {
	most := min(firstPause<<min(try, 20), longestPause)
	return most/8 + rand.N(most-most/8)
}

// Sleep waits for d. It returns the context's error where the context ends first, or has
// ended before.
func Sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
