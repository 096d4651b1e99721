package testaws

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// queues is the state of SQS. Its clock is the wall clock and what tests have
// added to it.
type queues struct {
	mu      sync.Mutex
	byName  map[string]*Queue
	skew    time.Duration
	changed chan struct{} // closed and replaced when a message may have become visible
	ids     int           // messages and receipts so far
}

// Queue is a standard queue: messages come at least once, in about their
// order. Its methods may be called at any time.
type Queue struct {
	Name string

	server *Server
	// What follows is guarded by server.sqs.mu.
	visibility  time.Duration
	dead        *Queue
	maxReceives int
	random      *rand.Rand // nil: in the order they were sent
	messages    []*queued
}

// queued is a message. One that is deleted stays, to be delivered again where
// a test wants that.
type queued struct {
	id, body string
	sent     time.Time
	visible  time.Time // when it can be received
	receives int
	receipts []string // the last is the one that counts
	deleted  bool
}

// Queue returns the queue of that name, made if there is none with SQS's own
// visibility timeout of 30 s.
func (s *Server) Queue(name string) *Queue {
	s.sqs.mu.Lock()
	defer s.sqs.mu.Unlock()
	if q := s.sqs.byName[name]; q != nil {
		return q
	}
	q := &Queue{Name: name, server: s, visibility: 30 * time.Second}
	s.sqs.byName[name] = q
	return q
}

// Advance moves the queues' clock: invisible messages come back, long polls
// end.
func (s *Server) Advance(d time.Duration) {
	s.sqs.mu.Lock()
	defer s.sqs.mu.Unlock()
	s.sqs.skew += d
	s.sqs.wake()
}

func (s *queues) now() time.Time { return time.Now().Add(s.skew) }

func (s *queues) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *queues) newID(what string) string {
	s.ids++
	return fmt.Sprintf("%s-%06d", what, s.ids)
}

// URL returns the address that the API knows the queue by.
func (q *Queue) URL() string { return q.server.URL + "/" + q.server.Account + "/" + q.Name }

// ARN returns the queue's name for policies.
func (q *Queue) ARN() string { return "arn:aws:sqs:" + Region + ":" + q.server.Account + ":" + q.Name }

// SetVisibility changes how long a received message is invisible.
func (q *Queue) SetVisibility(d time.Duration) {
	defer q.lock()()
	q.visibility = d
}

// Redrive moves messages to dead instead of delivering them more than max
// times.
func (q *Queue) Redrive(dead *Queue, max int) {
	defer q.lock()()
	q.dead, q.maxReceives = dead, max
}

// Shuffle makes deliveries come in an order that the seed decides.
func (q *Queue) Shuffle(seed uint64) {
	defer q.lock()()
	q.random = rand.New(rand.NewPCG(seed, seed))
}

// Send adds a message and returns its id.
func (q *Queue) Send(body string) string { return q.SendLate(body, 0) }

// SendLate adds a message that can be received only after a delay.
func (q *Queue) SendLate(body string, delay time.Duration) string {
	defer q.lock()()
	s := &q.server.sqs
	m := &queued{id: s.newID("message"), body: body, sent: s.now(), visible: s.now().Add(delay)}
	q.messages = append(q.messages, m)
	return m.id
}

// Repeat makes the next receive deliver a message once more, whether it is in
// flight or even deleted: SQS promises at least once.
func (q *Queue) Repeat(id string) {
	defer q.lock()()
	for _, m := range q.messages {
		if m.id == id {
			m.visible, m.deleted = q.server.sqs.now(), false
		}
	}
}

// Bodies returns what is in the queue, in flight or not, as it was sent.
func (q *Queue) Bodies() (bodies []string) {
	defer q.lock()()
	for _, m := range q.messages {
		if !m.deleted {
			bodies = append(bodies, m.body)
		}
	}
	return bodies
}

// Counts returns how many messages can be received, are in flight, and were
// sent late.
func (q *Queue) Counts() (visible, inFlight, delayed int) {
	defer q.lock()()
	return q.counts()
}

func (q *Queue) counts() (visible, inFlight, delayed int) {
	now := q.server.sqs.now()
	for _, m := range q.messages {
		switch {
		case m.deleted:
		case !m.visible.After(now):
			visible++
		case m.receives > 0:
			inFlight++
		default:
			delayed++
		}
	}
	return visible, inFlight, delayed
}

// lock takes the state's lock. What it returns gives it back, and wakes those
// who wait for messages.
func (q *Queue) lock() (unlock func()) {
	s := &q.server.sqs
	s.mu.Lock()
	return func() {
		s.wake()
		s.mu.Unlock()
	}
}

// receive waits for a first message until wait is over or ctx ends.
func (q *Queue) receive(ctx context.Context, limit int, wait time.Duration, visibility *time.Duration) []queued {
	s := &q.server.sqs
	s.mu.Lock()
	end := s.now().Add(wait)
	for ctx.Err() == nil {
		got, now := q.take(limit, visibility), s.now()
		if len(got) > 0 || !now.Before(end) {
			s.mu.Unlock()
			return got
		}
		changed, next := s.changed, end
		for _, m := range q.messages {
			if !m.deleted && m.visible.Before(next) {
				next = m.visible
			}
		}
		s.mu.Unlock()
		timer := time.NewTimer(next.Sub(now))
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
		s.mu.Lock()
	}
	s.mu.Unlock()
	return nil
}

// take delivers what is visible. The caller holds the lock.
func (q *Queue) take(limit int, visibility *time.Duration) (got []queued) {
	s := &q.server.sqs
	now, hidden := s.now(), q.visibility
	if visibility != nil {
		hidden = *visibility
	}
	order := slices.Clone(q.messages)
	if q.random != nil {
		q.random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	}
	for _, m := range order {
		if len(got) == limit {
			break
		}
		if m.deleted || m.visible.After(now) {
			continue
		}
		if q.dead != nil && m.receives >= q.maxReceives {
			q.messages = slices.DeleteFunc(q.messages, func(o *queued) bool { return o == m })
			q.dead.messages = append(q.dead.messages, m)
			continue
		}
		m.receives++
		m.visible = now.Add(hidden)
		m.receipts = append(m.receipts, s.newID("receipt"))
		got = append(got, *m)
	}
	return got
}

// find returns the message that a receipt was given for, and whether it is
// the last one that was. The caller holds the lock.
func (q *Queue) find(receipt string) (m *queued, last bool) {
	for _, m := range q.messages {
		if i := slices.Index(m.receipts, receipt); i >= 0 {
			return m, i == len(m.receipts)-1
		}
	}
	return nil, false
}

// remove deletes a message. With a receipt that is not the last SQS may answer
// that it did and not do it: this queue never does it.
func (q *Queue) remove(receipt string) *entryError {
	defer q.lock()()
	m, last := q.find(receipt)
	if m == nil {
		return badReceipt(receipt)
	}
	if last {
		m.deleted = true
	}
	return nil
}

// hide changes when a message in flight comes back.
func (q *Queue) hide(receipt string, d time.Duration) *entryError {
	defer q.lock()()
	m, last := q.find(receipt)
	switch now := q.server.sqs.now(); {
	case m == nil:
		return badReceipt(receipt)
	case m.deleted || !last || !m.visible.After(now):
		return &entryError{"InvalidParameterValue", "Value " + receipt + " for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change."}
	default:
		m.visible = now.Add(d)
	}
	return nil
}

func badReceipt(receipt string) *entryError {
	return &entryError{"ReceiptHandleIsInvalid", `The input receipt handle "` + receipt + `" is not a valid receipt handle.`}
}
