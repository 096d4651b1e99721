// Package queue consumes one SQS queue of notifications. It receives what it has
// room for, keeps messages invisible to others while a worker processes them,
// deletes only what the worker has processed, and returns the rest.
//
//	receive ── parse ──┬─ objects, removals ─> Next ─> worker ─> Done ─┬─ nil ───> delete
//	                   ├─ tests ─> delete                              └─ error ─> return
//	                   └─ unknown ─> left until its visibility runs out
//
// A message is in work from its receipt until it is deleted, returned or left.
// Heartbeats renew its visibility until then, or until Close. They go on after the
// context of Next has ended.
//
// SQS delivers at least once, in any order, and a deletion that seems to fail
// may have taken effect. So a message is only a hint that objects exist or are
// gone. To process it twice is harmless.
//
// The package never deletes a message that failed or that it does not
// understand: these belong to the redrive policy of the queue. It never visits a
// URL of a body. It decides nothing about objects: the caller of Next knows
// which buckets are foreign and what a removal means.
package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Client is the queue as an adapter offers it. Its methods are safe for
// concurrent use, return soon after their context ends, and retry transient
// errors.
type Client interface {
	// Receive waits up to wait for a first message. It returns the messages that
	// are there, at most limit, or none. They stay invisible to others for
	// visibility.
	Receive(ctx context.Context, limit int, wait, visibility time.Duration) ([]Message, error)
	// Delete removes messages for good. It takes any number of receipts and
	// returns an error or nil for each. A deletion that returns an error may have
	// taken effect. The error wraps ErrReceipt if another try is useless.
	Delete(ctx context.Context, receipts []string) []error
	// Extend makes messages visible to others in visibility from now, at once if
	// that is 0. Receipts and errors are those of Delete.
	Extend(ctx context.Context, receipts []string, visibility time.Duration) []error
}

// Message is one receipt of a message.
type Message struct {
	ID       string // the same each time the message is received
	Receipt  string // of this time
	Body     []byte
	Sent     time.Time // zero when unknown
	Receives int       // how often the message was received, about; at least 1
}

// ErrReceipt says that a receipt is not valid any more. The message is deleted,
// or others can receive it.
var ErrReceipt = errors.New("the receipt is not valid any more")

// Defaults of Options.
const (
	DefaultVisibility = 2 * time.Minute
	DefaultWait       = 20 * time.Second
	DefaultInFlight   = 1000
)

// Options of a Queue.
type Options struct {
	Name       string        // for people: the URL
	Visibility time.Duration // how long a message stays invisible after each heartbeat
	Wait       time.Duration // how long Receive waits for a message
	InFlight   int           // at most so many messages are in work
	Drain      bool          // Next returns io.EOF when the queue is empty and no message is in work

	// Depth returns how many messages the queue has. It may be nil.
	Depth func(context.Context) (Depth, error)

	Log     *slog.Logger // required
	Metrics *Metrics     // required
}

// Queue returns what the messages of one SQS queue announce.
type Queue struct {
	client  Client
	options Options
	active  *active
	extend  chan struct{} // holds a value during a call of Extend: a heartbeat must not undo a return

	stop    context.CancelFunc // ends the keepers; set by Next, used by Close
	keepers sync.WaitGroup     // heartbeat, finisher, depth

	mu      sync.Mutex // guards what follows
	lastErr error      // of the last Receive
	depth   *Depth     // nil while unknown
}

// New returns a queue. It starts no goroutine: the first Next does.
func New(c Client, o Options) *Queue {
	if o.Visibility == 0 {
		o.Visibility = DefaultVisibility
	}
	if o.Wait == 0 {
		o.Wait = DefaultWait
	}
	if o.InFlight == 0 {
		o.InFlight = DefaultInFlight
	}
	q := &Queue{client: c, options: o, active: newActive(o), extend: make(chan struct{}, 1)}
	o.Metrics.add(q)
	return q
}

// Ready returns the error of the last Receive, nil if it succeeded or if there
// was none yet. It is safe for concurrent use.
func (q *Queue) Ready() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lastErr
}

// closeTime bounds what Close may take.
const closeTime = 5 * time.Second

// Close ends the heartbeats, deletes the messages that were processed and
// returns all others to the queue, visible at once. Deliveries that have not
// ended are returned, too: their Done does nothing any more.
//
// The caller calls Close after Next has returned. The error says how many
// processed messages could not be deleted, so that they come again.
func (q *Queue) Close() error {
	if again := q.active.close(); again || q.stop == nil {
		return nil
	}
	q.stop()
	q.keepers.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	for try := 0; ; try++ {
		ended, _ := q.active.takeEnded(time.Now().Add(maxRetry)) // also those that wait for a retry
		if len(ended) == 0 || try > 0 && !pause(ctx, firstRetry) {
			break
		}
		q.flush(ctx, ended)
	}
	if n := q.active.abandon(); n > 0 {
		return fmt.Errorf("close queue %s: %d processed messages could not be deleted and will come again",
			q.options.Name, n)
	}
	return nil
}

// pause reports whether d passed before the context ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
