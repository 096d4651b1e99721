// Package validatelogs is the drop-in for `aws cloudtrail validate-logs`: the
// same walk over a trail's digests, printed in the same words and in the same
// order, with the reading done in parallel beneath.
//
// It has two halves. The walk turns buckets and keys into a sequence of
// outcomes (walk.go, judge.go, logs.go) and knows nothing of text; the text
// turns outcomes into the reference's lines (text.go) and knows nothing of
// buckets.
//
// Where the reference would certify tampered data, or give up, it says more on
// purpose: bytes after a gzip stream and a cut-off trailer are INVALID, only
// keys of the exact grammar count as digests, and what could not be read is
// UNVERIFIED and ends nothing. It never looks for what the reference has no
// words for (links between digests, coverage, unlisted files): that is
// internal/verify's.
package validatelogs

import (
	"context"
	"fmt"
	"io"
	"time"

	proof "github.com/trailseal/trailseal/pkg/chain"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Request says what to validate.
type Request struct {
	ARN        string // as the user wrote it; printed only
	Bucket     string // where the newest digests are
	Chain      trail.Chain
	Start, End time.Time // UTC

	Verbose     bool
	Concurrency int // log files that are read at once; at least 1
}

// Result is what was found.
type Result struct {
	Digests, Backfill, Logs Tally
	// Unread is why the first of the unverified objects could not be checked.
	Unread error
}

// Tally counts files by verdict.
type Tally struct{ Valid, Invalid, Unverified int }

func (t Tally) total() int { return t.Valid + t.Invalid + t.Unverified }

// Invalid returns how many files were INVALID.
func (r Result) Invalid() int { return r.Digests.Invalid + r.Backfill.Invalid + r.Logs.Invalid }

// Unverified returns how many files could not be checked.
func (r Result) Unverified() int {
	return r.Digests.Unverified + r.Backfill.Unverified + r.Logs.Unverified
}

// Run validates and prints. It returns an error when it was stopped: no
// listing, no keys, a cancelled ctx, a failing writer. No summary was printed
// then. Objects that could not be read are in the result and stop nothing.
func Run(ctx context.Context, objects fetch.Objects, keys proof.KeySource, r Request, stdout, stderr io.Writer) (Result, error) {
	t := &text{out: stdout, err: stderr, request: r}
	t.begin()
	w := newWalk(objects, keys, r)
	for o, err := range w.outcomes(ctx) {
		if err != nil {
			return t.result, err
		}
		t.write(o)
		if t.failed != nil {
			break
		}
	}
	t.summary()
	if t.failed != nil {
		return t.result, fmt.Errorf("write: %w", t.failed)
	}
	return t.result, nil
}
