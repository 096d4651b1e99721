package sink

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// member is a sink with its accounts.
type member struct {
	name     string
	sink     Sink
	tookTime func(time.Duration)
	options  Options

	mu     sync.Mutex // guards what follows
	counts MemberStatus
	work   map[*call]bool
	health health
}

// call is an Emit or Flush in work. Its member's mutex guards it.
type call struct {
	began time.Time
	tried time.Time // when the attempt in work began, zero between attempts
	since time.Time // when the first attempt began that failed
	err   error     // of the last attempt
	hung  bool      // the attempt in work has hung, and the log was told
}

// try calls do until it is done, ctx ends or the member gives up.
func (m *member) try(ctx context.Context, do func() (isDone bool, err error)) error {
	c, err := m.begin()
	if err != nil {
		return fmt.Errorf("sink %s: %w", m.name, err)
	}
	var last error // before ctx ended
	for try := 1; ; try++ {
		isDone, err := m.attempt(c, do)
		switch {
		case err == nil:
			m.succeeded(c, isDone)
			if isDone {
				return nil
			}
			try, last = 0, nil
			continue
		case ctx.Err() != nil:
			m.ended(c)
			return m.brokenOff(ctx, err, last)
		}
		last = err
		pause, giveUp := m.options.Retry(m.name, try, err)
		pause, giveUp = m.failed(c, err, pause, giveUp)
		if giveUp {
			return fmt.Errorf("sink %s: %w", m.name, err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			m.ended(c)
			return m.brokenOff(ctx, ctx.Err(), last)
		}
	}
}

// attempt calls do once. The log is told if it hangs.
func (m *member) attempt(c *call, do func() (bool, error)) (isDone bool, err error) {
	m.locked(func() { c.tried = time.Now() })
	watch := time.AfterFunc(m.options.Hangs, func() {
		m.locked(func() {
			if err := m.hangs(c); err != nil {
				c.hung = true
				m.health.fail(time.Now(), c.tried, err)
			}
		})
	})
	defer watch.Stop()
	return do()
}

// hangs returns what says that the attempt of c in work hangs, nil if it does
// not. The caller holds mu.
func (m *member) hangs(c *call) error {
	if age := time.Since(c.tried); !c.tried.IsZero() && age >= m.options.Hangs {
		return fmt.Errorf("no answer for %s", age.Round(time.Second))
	}
	return nil
}

// begin returns a call, or why the member has given up all calls.
func (m *member) begin() (c *call, err error) {
	m.locked(func() {
		if err = m.health.dead; err == nil {
			c = &call{began: time.Now()}
			m.work[c] = true
		}
	})
	return c, err
}

// succeeded notes that an attempt did its work, and whether the call is done.
func (m *member) succeeded(c *call, isDone bool) {
	m.locked(func() {
		*c = call{began: c.began}
		if isDone {
			delete(m.work, c)
		}
		m.health.left, m.health.down = nil, time.Time{}
		if m.health.illness == 0 {
			return
		}
		for other := range m.work {
			if other.err != nil || m.hangs(other) != nil {
				return
			}
		}
		m.health.recover(time.Now())
	})
}

// failed notes that an attempt failed. It returns how long to wait and whether to give up,
// with what the sink asks for and the member's patience in mind.
func (m *member) failed(c *call, err error, pause time.Duration, giveUp bool) (time.Duration, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if c.err == nil {
		c.since = c.tried
	}
	if m.health.down.IsZero() {
		m.health.down = c.tried
	}
	if !c.hung {
		m.health.fail(now, c.tried, err)
	}
	m.counts.Failures++
	c.err, c.tried, c.hung = err, time.Time{}, false
	if busy := (*BusyError)(nil); errors.As(err, &busy) {
		pause += busy.After
	}
	if patience := m.options.Patience; patience > 0 {
		if now.Sub(m.health.down) >= patience {
			m.health.dead = err
		}
		giveUp = giveUp || m.health.dead != nil || now.Sub(c.since) >= patience
		pause = min(pause, c.since.Add(patience).Sub(now))
	}
	if giveUp {
		m.leave(c)
		return 0, true
	}
	m.counts.Retries++
	return pause, false
}

// ended ends a call that did not do its work.
func (m *member) ended(c *call) { m.locked(func() { m.leave(c) }) }

// leave is called with mu held.
func (m *member) leave(c *call) {
	delete(m.work, c)
	c.tried = time.Time{}
	if c.err != nil {
		m.health.left, m.health.leftSince = c.err, c.since
	}
}

// brokenOff returns why a call ended with its context. last is the error of the
// attempt before, nil without one.
func (m *member) brokenOff(ctx context.Context, err, last error) error {
	if !errors.Is(err, ctx.Err()) {
		err = fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	if last != nil {
		err = fmt.Errorf("%w; the last error was: %w", err, last)
	}
	return fmt.Errorf("sink %s: %w", m.name, err)
}

func (m *member) took(events int) { m.locked(func() { m.counts.Taken += int64(events) }) }

func (m *member) lacks(events int) { m.locked(func() { m.counts.Failed += int64(events) }) }

func (m *member) taken() (n int64) {
	m.locked(func() { n = m.counts.Taken })
	return n
}

func (m *member) flushed(events int64) {
	m.locked(func() { m.counts.Flushed = max(m.counts.Flushed, events) })
}

func (m *member) status() MemberStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.counts
	s.Name = m.name
	s.Err, s.Since = m.health.left, m.health.leftSince
	if s.Err == nil {
		s.Since = time.Time{}
	}
	isInWork := false // the call that Err is of
	for c := range m.work {
		if s.Oldest.IsZero() || c.began.Before(s.Oldest) {
			s.Oldest = c.began
		}
		err, since := c.err, c.since
		if err == nil {
			err, since = m.hangs(c), c.tried
		}
		if err != nil && (!isInWork || since.Before(s.Since)) {
			s.Err, s.Since, isInWork = err, since, true
		}
	}
	return s
}

// locked runs do with mu held.
func (m *member) locked(do func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	do()
}
