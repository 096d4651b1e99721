package ingest

import (
	"context"
	"slices"
	"sync"
	"time"
)

// schedule runs the loops of the chains of one source that have something to do, a
// bounded number at a time, first come first served. A loop that runs long makes room for
// others. Each loop runs in one goroutine at a time. It is safe for concurrent use.
type schedule struct {
	// run runs a loop until nothing is left to do. A positive pause asks to run it again
	// after that.
	run  func(ctx context.Context, c *chainLoop) (pause time.Duration)
	most int // loops that run at once

	mu      sync.Mutex // guards what follows, and the slots of the loops
	ready   []*chainLoop
	running int
	paused  map[*chainLoop]*time.Timer
	idle    chan struct{} // closed while no loop is ready, running or paused; else open
	closed  bool
	wait    sync.WaitGroup
}

// slot is the place of a loop in its schedule. The schedule's mutex guards it.
type slot struct {
	ready, running, again bool
	hurried               bool // again, without a pause
}

func newSchedule(most int, run func(context.Context, *chainLoop) time.Duration) *schedule {
	s := &schedule{run: run, most: most, paused: map[*chainLoop]*time.Timer{}, idle: make(chan struct{})}
	close(s.idle)
	return s
}

// add lets a loop run. Where it runs now, it runs once more after that. Where it pauses
// after a failure, the pause goes on.
func (s *schedule) add(ctx context.Context, c *chainLoop) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed, c.slot.ready, s.paused[c] != nil:
	case c.slot.running:
		c.slot.again = true
	default:
		s.push(ctx, c)
	}
}

// runTime is how long a loop runs while others are ready. A chain with a long backlog must
// not hold up the others until it is done.
const runTime = 10 * time.Second

// isOver reports whether a loop that runs since began must make room for others: it calls
// add, and returns.
func (s *schedule) isOver(began time.Time) bool {
	if time.Since(began) < runTime {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ready) > 0
}

func (s *schedule) push(ctx context.Context, c *chainLoop) {
	if s.isIdle() {
		s.idle = make(chan struct{})
	}
	c.slot.ready = true
	s.ready = append(s.ready, c)
	if s.running < s.most {
		s.running++
		s.wait.Go(func() { s.work(ctx) })
	}
}

// hurry lets a loop run next, for an order of the operator: also where it pauses after a
// failure, and where as many loops run as may.
func (s *schedule) hurry(ctx context.Context, c *chainLoop) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return
	case c.slot.running:
		c.slot.again, c.slot.hurried = true, true
		return
	case s.isIdle():
		s.idle = make(chan struct{})
	}
	if t := s.paused[c]; t != nil {
		t.Stop()
		delete(s.paused, c)
	}
	s.ready = slices.DeleteFunc(s.ready, func(o *chainLoop) bool { return o == c })
	s.ready = slices.Insert(s.ready, 0, c)
	c.slot.ready = true
	s.running++
	s.wait.Go(func() { s.work(ctx) })
}

func (s *schedule) isIdle() bool { return s.running == 0 && len(s.ready) == 0 && len(s.paused) == 0 }

// work runs loops until none is ready.
func (s *schedule) work(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.ready) > 0 && !s.closed && ctx.Err() == nil {
		c := s.ready[0]
		s.ready = s.ready[1:]
		c.slot = slot{running: true}
		s.mu.Unlock()
		pause := s.run(ctx, c)
		s.mu.Lock()
		again, hurried := c.slot.again, c.slot.hurried
		c.slot = slot{}
		switch {
		case s.closed || ctx.Err() != nil:
		case pause > 0 && !hurried:
			s.paused[c] = time.AfterFunc(pause, func() { s.resume(ctx, c) })
		case again:
			c.slot.ready = true
			s.ready = append(s.ready, c)
		}
		if s.running > s.most {
			break // an order has let one more run
		}
	}
	s.running--
	if s.running == 0 && (s.closed || ctx.Err() != nil) {
		s.stop()
	}
	if s.isIdle() {
		close(s.idle)
	}
}

func (s *schedule) resume(ctx context.Context, c *chainLoop) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paused[c] == nil {
		return
	}
	delete(s.paused, c)
	if s.closed {
		return
	}
	c.slot.ready = true
	s.ready = append(s.ready, c)
	if s.running < s.most {
		s.running++
		s.wait.Go(func() { s.work(ctx) })
	}
}

// remove forgets a loop that pauses. It reports whether the loop is not in the schedule any
// more: one that runs or is ready stays.
func (s *schedule) remove(c *chainLoop) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.slot.running || c.slot.ready {
		return false
	}
	if t := s.paused[c]; t != nil {
		t.Stop()
		delete(s.paused, c)
		if s.isIdle() {
			close(s.idle)
		}
	}
	return true
}

// stop forgets the loops that are ready or paused.
func (s *schedule) stop() {
	for c, t := range s.paused {
		t.Stop()
		delete(s.paused, c)
	}
	s.ready = nil
}

// waitIdle waits until no loop is ready, running or paused, or ctx ends.
func (s *schedule) waitIdle(ctx context.Context) {
	s.mu.Lock()
	idle := s.idle
	s.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

// close lets no further loop run, and waits for those that run.
func (s *schedule) close() {
	s.mu.Lock()
	s.closed = true
	if !s.isIdle() && s.running == 0 {
		s.stop()
		close(s.idle)
	} else {
		s.stop()
	}
	s.mu.Unlock()
	s.wait.Wait()
}
