// Package sink says what a sink is, and what all sinks have in common: the
// batches that they take, the ids of events, the encodings of an event, and a
// set of sinks that take each batch together. Each package below it is one sink.
package sink

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// ErrClosed is wrapped by the errors of Emit and Flush after Close.
var ErrClosed = errors.New("closed")

// Sink takes events and makes them durable. Emit and Flush are safe for
// concurrent use. Both return soon after ctx ends, with an error that wraps its
// cause, unless they are done.
type Sink interface {
	// Emit takes a batch whole, or returns an error. After an error some events
	// can have arrived, so the caller emits the batch again. A repeat is
	// harmless. Emit may keep events in memory until Flush, within a bound of its
	// own. The events and their bytes are the caller's again when Emit returns.
	Emit(ctx context.Context, b Batch) error
	// Flush makes all events durable that Emit took before Flush was called. A
	// sink keeps what it took until it is durable: after an error the caller
	// calls Flush again, and does not emit again.
	Flush(ctx context.Context) error
	// Close ends the use of the sink. It loses what was not flushed.
	Close() error
}

// Resumer is a Sink that can go on with a batch where an attempt failed.
type Resumer interface {
	Sink
	// Begin returns the delivery of a batch. The events and their bytes are the
	// delivery's until the caller makes no more attempts.
	Begin(b Batch) Delivery
}

// Delivery is one batch on its way. One goroutine uses it.
type Delivery interface {
	// Try makes one attempt, such as one request, to deliver some of what is left.
	// It returns true when the sink has the whole batch. The caller calls Try until
	// then, also after an error: what arrived is not sent again.
	Try(ctx context.Context) (isDone bool, err error)
}

// BusyError is wrapped by the error of an attempt whose sink asks for a pause.
type BusyError struct {
	After time.Duration // how long to wait at least
	Err   error
}

func (e *BusyError) Error() string { return e.Err.Error() }

func (e *BusyError) Unwrap() error { return e.Err }

// Proof is what proves a log file.
type Proof struct {
	Digest      trail.Object // the digest that lists it
	Fingerprint string       // of the key that signed the digest
}

// Batch is the events of one proven log file, or of a part of a large one. Cuts
// into parts depend on the log file alone, so a repeat has the same parts.
type Batch struct {
	Log    trail.Object
	Sum    digest.Sum // of the inflated log file
	Part   int        // 0 for the first
	Proof  Proof
	Events []Event
}

// Event is one record of a log file. An Event must not be copied after Parsed
// was called.
type Event struct {
	// Record is a JSON object, as it is in the log file. A line feed or carriage
	// return in it is white space between tokens. Sinks must not change it.
	Record []byte
	ID     string // equal in every repeat
	Index  int    // of the record in the log file, from 0

	parsed atomic.Pointer[trail.Event]
}

// Parsed returns the parsed record. It parses at the first call and keeps the
// result. The error wraps trail.ErrRecords. Safe for concurrent use.
func (e *Event) Parsed() (trail.Event, error) {
	if p := e.parsed.Load(); p != nil {
		return *p, nil
	}
	p, err := trail.ParseEvent(e.Record)
	if err != nil {
		return trail.Event{}, fmt.Errorf("event %s: %w", e.ID, err)
	}
	e.parsed.Store(&p)
	return p, nil
}

// idHash is how many bytes of a hash an id begins with.
const idHash = 12

// idSize is the most bytes of an id: the hash, a hyphen and a number.
const idSize = 2*idHash + 1 + 19

// Identify sets the ids of events of a log file. An id is made of the log
// file's bucket and key and of the record's number. All ids share one
// allocation.
func Identify(log trail.Object, events []Event) {
	name := make([]byte, 0, 256)
	sum := sha256.Sum256(append(append(append(name, log.Bucket...), '/'), log.Key...))
	var hash [2*idHash + 1]byte
	hash[hex.Encode(hash[:], sum[:idHash])] = '-'
	size := 0
	for i := range events {
		size += len(hash) + digits(events[i].Index)
	}
	var slab strings.Builder
	slab.Grow(size)
	for i := range events {
		slab.Write(hash[:])
		var number [20]byte
		slab.Write(strconv.AppendInt(number[:0], int64(events[i].Index), 10))
	}
	ids := slab.String()
	for i := range events {
		n := len(hash) + digits(events[i].Index)
		events[i].ID, ids = ids[:n], ids[n:]
	}
}

// digits returns the length of a number that is not negative.
func digits(n int) int {
	d := 1
	for ; n >= 10; n /= 10 {
		d++
	}
	return d
}
