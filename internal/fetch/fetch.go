package fetch

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Limits and habits of a Fetcher whose fields are left zero.
const (
	DefaultMaxDigest = 64 << 20 // inflated bytes
	DefaultMaxLog    = 4 << 30
	bodyTries        = 3
	bodyPause        = 200 * time.Millisecond // doubled after each try
)

// Fetcher reads evidence from Objects. Its methods are safe for concurrent use. It runs a
// bounded number of reads at once, beside those that have a Slot.
type Fetcher struct {
	Objects   Objects
	MaxDigest int64 // most inflated bytes of a digest file; they are in memory
	MaxLog    int64 // most inflated bytes of a log file; none are in memory
	Plain     bool  // accept files that are inflated already (a folder)

	reads    chan struct{} // has an element for each read that runs without a Slot
	early    *Slots        // of requests that were sent early
	requests *Workers      // wait for the responses to early requests
	large    chan struct{} // has an element while a large digest is in memory
}

// New returns a Fetcher that runs at most concurrency reads at once, one where
// that is less. It sends at most as many early requests beside them.
func New(o Objects, concurrency int) *Fetcher {
	concurrency = max(concurrency, 1)
	return &Fetcher{
		Objects: o, MaxDigest: DefaultMaxDigest, MaxLog: DefaultMaxLog,
		reads: make(chan struct{}, concurrency), early: NewSlots(concurrency), requests: NewWorkers(16 * concurrency),
		large: make(chan struct{}, 1),
	}
}

// metadata is an object's user metadata, or why it could not be read.
type metadata struct {
	values map[string]string
	err    error
}

// useBody reads the body of an object.
type useBody func(io.Reader, metadata) error

// read opens o and calls use with its body, again when the body breaks off.
func (f *Fetcher) read(ctx context.Context, o trail.Object, use useBody) error {
	return f.readBy(ctx, o, nil, nil, use)
}

// readBy is read that begins with a request that was sent early, unless that is nil.
// With a slot it does not count as one of the fetcher's reads.
func (f *Fetcher) readBy(ctx context.Context, o trail.Object, early *Request, slot *Slot, use useBody) error {
	if settled, err := early.read(ctx, o, slot, use); settled {
		return err
	}
	pause := bodyPause
	for try := 1; ; try++ {
		opened, err := f.readOnce(ctx, o, slot, use)
		if err == nil || !opened || try == bodyTries || !worthRetrying(ctx, err) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
			pause *= 2
		}
	}
}

func (f *Fetcher) readOnce(ctx context.Context, o trail.Object, slot *Slot, use useBody) (opened bool, err error) {
	if slot == nil {
		select {
		case f.reads <- struct{}{}:
			defer func() { <-f.reads }()
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	if err := slot.resume(ctx); err != nil { // an earlier read may have given the slot back
		return false, err
	}
	slot.await()
	body, m, err := f.open(ctx, o)
	slotErr := slot.resume(ctx)
	switch {
	case err != nil:
		return false, err
	case slotErr != nil:
		body.Close()
		return false, slotErr
	}
	defer body.Close()
	return true, use(slot.watch(ctx, body), m)
}

// open gets o. The error is that of the content alone.
func (f *Fetcher) open(ctx context.Context, o trail.Object) (io.ReadCloser, metadata, error) {
	body, values, err := f.Objects.Get(ctx, o)
	if body != nil && errors.Is(err, finding.ErrMetadata) {
		return body, metadata{err: err}, nil
	}
	return body, metadata{values: values}, err
}

// worthRetrying reports whether reading the object again may succeed: its body broke off
// on the way.
func worthRetrying(ctx context.Context, err error) bool {
	if _, isOpen := errors.AsType[openError](err); isOpen {
		return false
	}
	return ctx.Err() == nil && !finding.IsFact(err) && finding.ReasonOf(err) == finding.Network
}

// InflateLog returns how log files are inflated.
func (f *Fetcher) InflateLog() inflate.Options {
	return inflate.Options{Limit: f.MaxLog, Plain: f.Plain}
}
