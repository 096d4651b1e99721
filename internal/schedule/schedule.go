// Package schedule runs loops that have something to do, a bounded number at a time, first
// come first served. A loop that runs long makes room for others.
package schedule

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Schedule runs loops, each in one goroutine at a time. It is safe for concurrent use.
type Schedule[Loop comparable] struct {
	run  func(ctx context.Context, l Loop) (pause time.Duration)
	most int // loops that run at once

	mu      sync.Mutex     // guards what follows
	slots   map[Loop]*slot // of the loops that are ready, running or paused
	ready   []Loop
	running int
	idle    chan struct{} // closed while slots is empty; else open
	closed  bool
	wait    sync.WaitGroup
}

// slot is what a Schedule knows of a loop.
type slot struct {
	ready, running, again bool
	hurried               bool        // again, without a pause
	pause                 *time.Timer // after a failure; nil where the loop does not pause
}

// New returns a schedule that runs at most so many loops at once. run runs a loop until
// nothing is left to do. A positive pause asks to run it again after that.
func New[Loop comparable](most int, run func(ctx context.Context, l Loop) (pause time.Duration)) *Schedule[Loop] {
	s := &Schedule[Loop]{run: run, most: most, slots: map[Loop]*slot{}, idle: make(chan struct{})}
	close(s.idle)
	return s
}

// Add lets a loop run. ctx must be the context of all loops: the goroutine that runs this loop
// runs others after it. Where the loop runs now, it runs once more after that. Where it pauses
// after a failure, the pause goes on.
func (s *Schedule[Loop]) Add(ctx context.Context, l Loop) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch at := s.slots[l]; {
	case s.closed:
	case at == nil:
		s.push(ctx, l)
	case at.running:
		at.again = true
	}
}

// Hurry lets a loop run next, for an order of the operator: also where it pauses after a
// failure, and where as many loops run as may.
func (s *Schedule[Loop]) Hurry(ctx context.Context, l Loop) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.slots[l]
	switch {
	case s.closed:
		return
	case at != nil && at.running:
		at.again, at.hurried = true, true
		return
	case at != nil:
		s.takeOut(l, at)
		s.slots[l] = new(slot) // the schedule is not idle meanwhile
	default:
		s.occupy(l)
	}
	s.slots[l].ready = true
	s.ready = slices.Insert(s.ready, 0, l)
	s.begin(ctx)
}

// Remove forgets a loop that pauses. It reports whether the schedule does not have the loop
// any more: one that runs or is ready stays.
func (s *Schedule[Loop]) Remove(l Loop) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.slots[l]; at != nil && at.pause == nil {
		return false
	}
	s.drop(l)
	return true
}

// runTime is how long a loop runs while others are ready. A loop with a long backlog must
// not hold up the others until it is done.
const runTime = 10 * time.Second

// IsOver reports whether a loop that runs since began must make room for others: it calls
// Add, and returns.
func (s *Schedule[Loop]) IsOver(began time.Time) bool {
	if time.Since(began) < runTime {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ready) > 0
}

// WaitIdle waits until no loop is ready, running or paused, or ctx ends.
func (s *Schedule[Loop]) WaitIdle(ctx context.Context) {
	s.mu.Lock()
	idle := s.idle
	s.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

// Close lets no further loop run, and waits for those that run.
func (s *Schedule[Loop]) Close() {
	s.mu.Lock()
	s.closed = true
	s.dropWaiting()
	s.mu.Unlock()
	s.wait.Wait()
}

// The methods below need mu.

// occupy makes the slot of a loop that has none.
func (s *Schedule[Loop]) occupy(l Loop) *slot {
	if len(s.slots) == 0 {
		s.idle = make(chan struct{})
	}
	s.slots[l] = new(slot)
	return s.slots[l]
}

// drop forgets a loop that does not run.
func (s *Schedule[Loop]) drop(l Loop) {
	at := s.slots[l]
	if at == nil {
		return
	}
	s.takeOut(l, at)
	delete(s.slots, l)
	if len(s.slots) == 0 {
		close(s.idle)
	}
}

// takeOut ends the pause of a loop, and takes it from those that are ready.
func (s *Schedule[Loop]) takeOut(l Loop, at *slot) {
	if at.pause != nil {
		at.pause.Stop()
	}
	if at.ready {
		s.ready = slices.DeleteFunc(s.ready, func(o Loop) bool { return o == l })
	}
}

// dropWaiting forgets the loops that are ready or paused.
func (s *Schedule[Loop]) dropWaiting() {
	s.ready = nil
	for l, at := range s.slots {
		if at.ready = false; !at.running {
			s.drop(l)
		}
	}
}

// push makes a loop ready. It begins a goroutine unless as many run as may.
func (s *Schedule[Loop]) push(ctx context.Context, l Loop) {
	at := s.slots[l]
	if at == nil {
		at = s.occupy(l)
	}
	at.ready, at.pause = true, nil
	s.ready = append(s.ready, l)
	if s.running < s.most {
		s.begin(ctx)
	}
}

func (s *Schedule[Loop]) begin(ctx context.Context) {
	s.running++
	s.wait.Go(func() { s.work(ctx) })
}

// work runs loops until none is ready. It takes mu itself.
func (s *Schedule[Loop]) work(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.ready) > 0 && !s.closed && ctx.Err() == nil {
		l := s.ready[0]
		s.ready = s.ready[1:]
		at := s.slots[l]
		*at = slot{running: true}
		s.mu.Unlock()
		pause := s.run(ctx, l)
		s.mu.Lock()
		again, hurried := at.again, at.hurried
		*at = slot{}
		switch {
		case s.closed || ctx.Err() != nil:
			s.drop(l)
		case pause > 0 && !hurried:
			at.pause = time.AfterFunc(pause, func() { s.resume(ctx, l, at) })
		case again:
			at.ready = true
			s.ready = append(s.ready, l)
		default:
			s.drop(l)
		}
		if s.running > s.most {
			break // an order has let one more run
		}
	}
	s.running--
	if s.running == 0 && (s.closed || ctx.Err() != nil) {
		s.dropWaiting()
	}
}

// resume makes a loop ready after its pause. It takes mu itself.
func (s *Schedule[Loop]) resume(ctx context.Context, l Loop, paused *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.slots[l]; at == paused && at.pause != nil && !s.closed {
		s.push(ctx, l)
	}
}
