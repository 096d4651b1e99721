// Package queue consumes one SQS queue of notifications with good manners: it
// receives what there is room for, keeps what is in work invisible to others,
// deletes only what was dealt with, in batches, and gives back on the way out
// what was not.
//
//	receive ── parse ──┬─ objects ──> Next ──> dealt with ──┬─ nil ──> delete
//	                   ├─ removals ─> find ──> delete       └─ error ─> comes back
//	                   ├─ tests ────> delete
//	                   └─ unknown ──> left until its visibility runs out
//
// SQS delivers at least once, in any order, and takes deletions that seem to
// fail: a delivery is nothing but a hint that objects exist, so each is dealt
// with for itself, and all of them are harmless.
//
// The package never deletes what failed or what it does not understand (the
// queue's redrive policy owns those), never visits a URL of a body, and decides
// nothing about objects: which buckets are foreign is for who calls Next.
package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Client is the queue as an adapter offers it. Safe for concurrent use; it
// retries transient errors itself, and takes any number of receipts.
type Client interface {
	// Receive waits up to wait for a first message and returns up to limit of
	// those that are there, none where none came. They stay invisible to
	// others for visibility.
	Receive(ctx context.Context, limit int, wait, visibility time.Duration) ([]Message, error)
	// Delete removes messages for good. Of the errors, which are as many, each
	// tells about its receipt; it may have taken effect all the same, and wraps
	// ErrReceipt where it is of no use to try again.
	Delete(ctx context.Context, receipts []string) []error
	// Extend makes messages visible to others in visibility from now, at once
	// if that is 0. Errors are as for Delete.
	Extend(ctx context.Context, receipts []string, visibility time.Duration) []error
}

// Message is one delivery of a message.
type Message struct {
	ID       string // the same in every delivery
	Receipt  string // this delivery's
	Body     []byte
	Sent     time.Time // zero when unknown
	Receives int       // deliveries so far, about; at least 1
}

// ErrReceipt says that a receipt is good no longer: the message is gone, or can
// be received again and will be.
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
	Visibility time.Duration // of a message in work, from one heartbeat on
	Wait       time.Duration // of a long poll
	InFlight   int           // messages received and not ended, at most
	Drain      bool          // end once the queue is empty and nothing is in flight

	// Depth asks how many messages there are; nil: nobody is asked.
	Depth func(context.Context) (Depth, error)

	Log     *slog.Logger
	Metrics *Metrics
}

// Queue hands out what the messages of a queue announce.
type Queue struct {
	Options
	client Client
	find   func(context.Context, finding.Finding) error

	mu      sync.Mutex // guards what follows, and the deliveries
	held    map[*delivery]bool
	ready   []*delivery   // parsed, and not handed out yet
	ended   []*delivery   // told how they ended, and SQS does not know it yet
	changed chan struct{} // closed, and replaced, when a delivery has gone
	work    chan struct{} // holds a value when ended is not empty
	stop    context.CancelFunc
	closed  bool
	lastErr error  // of the last Receive
	depth   *Depth // nil: not known
	// tried are the messages that were given back or left, by id, in a queue
	// that is drained: it is empty when nothing else comes.
	tried   map[string]bool
	keepers sync.WaitGroup
}

// New returns a queue. Nothing runs before the first Next.
func New(c Client, o Options) *Queue {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&o.Visibility, DefaultVisibility)
	def(&o.Wait, DefaultWait)
	if o.InFlight == 0 {
		o.InFlight = DefaultInFlight
	}
	q := &Queue{
		Options: o, client: c, held: map[*delivery]bool{}, changed: make(chan struct{}), work: make(chan struct{}, 1), tried: map[string]bool{},
		find: func(context.Context, finding.Finding) error { return errNobody },
	}
	o.Metrics.add(q)
	return q
}

var errNobody = errors.New("nobody takes findings")

// Report says who takes findings, such as an announced removal: they are
// durable, or refused with an error and come back. It is called before the
// first Next.
func (q *Queue) Report(find func(context.Context, finding.Finding) error) { q.find = find }

// Next blocks for the objects that a message announces; io.EOF: no more. The
// function, which does not block, ends the delivery exactly once: nil removes
// the message, an error makes it come back, at once if it wraps
// context.Canceled and else after a while that grows with each delivery. Any
// other error of Next may be followed by another call. One goroutine calls it.
func (q *Queue) Next(ctx context.Context) ([]trail.Object, func(context.Context, error) error, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		d, room, changed := q.take()
		switch {
		case d != nil:
			return d.objects, d.end, nil
		case room < 0:
			return nil, nil, io.EOF
		case room == 0:
			wait(ctx, changed)
			continue
		}
		messages, err := q.client.Receive(ctx, min(room, mostAtOnce), q.Wait, q.Visibility)
		q.received(err)
		if err != nil {
			return nil, nil, fmt.Errorf("queue %s: %w", q.Name, err)
		}
		if n := q.admit(ctx, messages); n == 0 && q.Drain {
			// What is in work may come back, so one more look is due after it.
			switch n, changed := q.inWork(); n {
			case 0:
				return nil, nil, io.EOF
			default:
				wait(ctx, changed)
			}
		}
	}
}

// mostAtOnce is SQS's limit of messages in one answer.
const mostAtOnce = 10

func wait(ctx context.Context, c <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-c:
	}
}

// take returns the next delivery, or how many messages there is room for: less
// than 0 once the queue is closed.
func (q *Queue) take() (d *delivery, room int, changed <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, -1, nil
	}
	if q.stop == nil {
		var ctx context.Context
		ctx, q.stop = context.WithCancel(context.Background()) // Close ends it
		q.keepers.Go(func() { q.beat(ctx) })
		q.keepers.Go(func() { q.settle(ctx) })
		if q.Depth != nil {
			q.keepers.Go(func() { q.measure(ctx) })
		}
	}
	if len(q.ready) > 0 {
		d, q.ready = q.ready[0], q.ready[1:]
		return d, 0, nil
	}
	return nil, max(0, q.InFlight-len(q.held)), q.changed
}

func (q *Queue) received(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lastErr = err
}

// Ready returns why nothing could be received the last time, nil if it could.
func (q *Queue) Ready() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lastErr
}

func (q *Queue) inWork() (int, <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.held), q.changed
}
