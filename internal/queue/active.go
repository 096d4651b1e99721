package queue

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/trailseal/trailseal/internal/notify"
)

// delivery is a message in work.
type delivery struct {
	id        string
	receipt   string
	receives  int
	format    notify.Format
	announced notify.Delivery

	// Guarded by the mutex of active.
	extended time.Time // when its visibility was set
	lost     bool      // the receipt is not valid any more: others may have the message
	ended    bool      // Done was called, or the queue ended it
	err      error     // that Done was called with
	tries    int       // failed deletions, or failed returns
	retry    time.Time // when to try again
}

// Outcomes of a delivery, the labels of a metric.
const (
	acked    = "acked"    // deleted
	failed   = "failed"   // comes back: the worker could not process it
	left     = "left"     // comes back: not understood, or a person has to act
	released = "released" // comes back: the worker ends
	stale    = "stale"    // processed, and its receipt was not valid any more
	kept     = "kept"     // comes back: processed, and could not be deleted
)

// Why the queue itself ends deliveries.
var (
	errNotHandedOut = fmt.Errorf("not handed out: %w", context.Canceled)
	errClosed       = fmt.Errorf("queue closed: %w", context.Canceled)
)

// active is the set of messages in work. Next, Done, the heartbeat, the finisher,
// Close and the metrics share it.
type active struct {
	metrics *Metrics
	limit   int           // of messages in work
	drain   bool          // remember what was returned
	wake    chan struct{} // holds a value if ended may have new members

	mu       sync.Mutex // guards what follows, and the deliveries
	all      map[*delivery]bool
	ready    []*delivery   // parsed, and not handed out yet
	ended    []*delivery   // to delete or to return
	changed  chan struct{} // closed and replaced when a delivery is removed
	closed   bool
	returned map[string]bool // ids of messages that came back; only with drain
}

func newActive(o Options) *active {
	return &active{
		metrics: o.Metrics, limit: o.InFlight, drain: o.Drain, wake: make(chan struct{}, 1),
		all: map[*delivery]bool{}, changed: make(chan struct{}), returned: map[string]bool{},
	}
}

// take returns the next delivery to hand out or, if there is none, how many
// messages there is room for. Without room it is 0 until changed is closed. After
// close it is less than 0.
func (a *active) take() (d *delivery, room int, changed <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, -1, nil
	}
	if len(a.ready) > 0 {
		d, a.ready = a.ready[0], a.ready[1:]
		return d, 0, nil
	}
	return nil, max(0, a.limit-len(a.all)), a.changed
}

// size returns how many messages are in work, and a channel that is closed when
// one of them is not any more.
func (a *active) size() (int, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.all), a.changed
}

// add takes a message into work and, if ready, makes it the last one to hand out.
// It reports whether the message is fresh. One that is not is never handed out.
func (a *active) add(d *delivery, ready bool) (fresh bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all[d] = true
	a.metrics.received()
	fresh = !a.returned[d.id]
	if fresh && ready {
		a.ready = append(a.ready, d)
	}
	return fresh
}

// end is notify.Delivery.Done.
func (a *active) end(d *delivery, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.endLocked(d, err)
}

func (a *active) endLocked(d *delivery, err error) {
	if d.ended || !a.all[d] {
		return
	}
	d.ended, d.err = true, err
	if err == nil {
		a.metrics.removals.Add(float64(len(d.announced.Removed)))
	}
	a.ended = append(a.ended, d)
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// releaseReady ends all deliveries that were not handed out.
func (a *active) releaseReady() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, d := range a.ready {
		a.endLocked(d, errNotHandedOut)
	}
	a.ready = nil
}

// close ends all deliveries that have not ended and stops take. It reports
// whether it was called before.
func (a *active) close() (again bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	again, a.closed, a.ready = a.closed, true, nil
	for d := range a.all {
		a.endLocked(d, errClosed)
	}
	return again
}

// due returns the messages whose visibility was set at t or before and must last.
// They include processed ones: these must not come again before they are deleted.
func (a *active) due(t time.Time) (due []*delivery) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for d := range a.all {
		if !d.lost && d.err == nil && !d.extended.After(t) {
			due = append(due, d)
		}
	}
	return due
}

// remove takes a message out of work.
func (a *active) remove(d *delivery, outcome string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.removeLocked(d, outcome)
}

func (a *active) removeLocked(d *delivery, outcome string) {
	if !a.all[d] {
		return
	}
	delete(a.all, d)
	if a.drain && outcome != acked && outcome != stale {
		a.returned[d.id] = true
	}
	a.metrics.ended(d.format, outcome)
	close(a.changed)
	a.changed = make(chan struct{})
}
