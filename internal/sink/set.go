package sink

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Member is one sink of a Set.
type Member struct {
	Name string // for errors and Members
	Sink Sink
}

// Retry decides what follows after a member's Emit or Flush has failed. try is
// 1 after the first failure of a call. The member is called again after pause,
// or the Set's call ends if giveUp is true. Retry is called concurrently.
type Retry func(member string, try int, err error) (pause time.Duration, giveUp bool)

// Set is several sinks that take each batch together. Each member has its own
// retries: a member that has a batch does not get it again because another
// member refuses it. Set is a Sink.
type Set struct {
	retry   Retry
	members []*member
}

// NewSet returns a set of at least one member.
func NewSet(retry Retry, members ...Member) (*Set, error) {
	if len(members) == 0 {
		return nil, errors.New("sinks: none is set")
	}
	s := &Set{retry: retry}
	for _, m := range members {
		s.members = append(s.members, &member{name: m.Name, sink: m.Sink, work: map[*call]bool{}})
	}
	return s, nil
}

// Emit gives b to all members at once and returns nil when every member has it.
// It returns an error only if ctx ends or a member gives up. Then all members
// have ended, and the caller does not know which of them have the batch.
func (s *Set) Emit(ctx context.Context, b Batch) error {
	return s.all(ctx, func(ctx context.Context, m *member) error {
		err := m.try(ctx, s.retry, func() error {
			if err := m.sink.Emit(ctx, b); err != nil {
				return err
			}
			m.took(len(b.Events))
			return nil
		})
		if err != nil {
			m.lacks(len(b.Events))
		}
		return err
	})
}

// Flush flushes all members at once and returns nil when all are flushed. It
// returns an error only if ctx ends or a member gives up.
func (s *Set) Flush(ctx context.Context) error {
	return s.all(ctx, func(ctx context.Context, m *member) error {
		return m.try(ctx, s.retry, func() error {
			taken := m.taken()
			if err := m.sink.Flush(ctx); err != nil {
				return err
			}
			m.flushed(taken)
			return nil
		})
	})
}

// all runs do for all members and waits for them. The first error ends the
// other members and is returned.
func (s *Set) all(ctx context.Context, do func(context.Context, *member) error) error {
	if len(s.members) == 1 { // a goroutine would only cost time
		return do(ctx, s.members[0])
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, m := range s.members {
		group.Go(func() error { return do(ctx, m) })
	}
	return group.Wait()
}

// Close closes all members and joins their errors.
func (s *Set) Close() error {
	errs := make([]error, len(s.members))
	for i, m := range s.members {
		if err := m.sink.Close(); err != nil {
			errs[i] = fmt.Errorf("sink %s: %w", m.name, err)
		}
	}
	return errors.Join(errs...)
}

// MemberStatus is a snapshot of a member.
type MemberStatus struct {
	Name string
	// Err is the last error of the call that has failed for longest, and Since
	// is when that call failed first. Both are zero if no call in work has failed.
	Err   error
	Since time.Time
	// Oldest is when the oldest Emit or Flush in work began, its retries
	// included. It is zero if none is in work.
	Oldest  time.Time
	Taken   int64 // events that Emit took, repeats included
	Failed  int64 // events of calls of Emit that ended with an error; the member can have them
	Flushed int64 // events that Emit took before a Flush began that succeeded
	Retries int64 // failed calls that were made again, or will be
}

// Members returns the status of each member, in the order of NewSet.
func (s *Set) Members() []MemberStatus {
	all := make([]MemberStatus, len(s.members))
	for i, m := range s.members {
		all[i] = m.status()
	}
	return all
}

// Counts are events as the caller of a Set counts them, repeats included.
type Counts struct {
	Offered   int64 // that were given to Emit
	Accepted  int64 // of calls of Emit that returned nil
	Refused   int64 // of calls of Emit that returned an error
	Committed int64 // that were flushed: the caller counts on them
}

// Unaccounted returns how many events the members have lost, doubled or invented, by the
// counts of the caller. It calls counts twice, since they change while it reads
// those of the members. While no call of Emit is in work, a single event shows.
func (s *Set) Unaccounted(counts func() Counts) (unaccounted int64) {
	before := counts()
	members := s.Members()
	after := counts()
	for _, m := range members {
		ended := m.Taken + m.Failed
		unaccounted += max(0, before.Accepted+before.Refused-ended) // lost
		unaccounted += max(0, ended-after.Offered)                  // doubled or invented
		unaccounted += max(0, before.Committed-m.Flushed) + max(0, m.Flushed-m.Taken)
	}
	return unaccounted
}

// Err returns what is wrong with the members, nil if no call in work has failed.
func (s *Set) Err() error {
	var errs []error
	for _, m := range s.Members() {
		if m.Err != nil {
			errs = append(errs, fmt.Errorf("sink %s: %w", m.Name, m.Err))
		}
	}
	return errors.Join(errs...)
}

// member is a sink with its accounts.
type member struct {
	name string
	sink Sink

	mu     sync.Mutex // guards what follows
	counts MemberStatus
	work   map[*call]bool
}

// call is an Emit or Flush in work. Its member's mutex guards it.
type call struct {
	began, failed time.Time
	err           error // of the last try
}

// try calls do until it succeeds, ctx ends or retry gives up.
func (m *member) try(ctx context.Context, retry Retry, do func() error) error {
	c := m.begin()
	defer m.end(c)
	var last error // before ctx ended
	for try := 1; ; try++ {
		err := do()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return m.ended(ctx, err, last)
		}
		last = err
		pause, giveUp := retry(m.name, try, err)
		if giveUp {
			return fmt.Errorf("sink %s: %w", m.name, err)
		}
		m.failed(c, err)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return m.ended(ctx, ctx.Err(), last)
		}
	}
}

// ended returns why a call ended with its context. last is the error of the try
// before, nil without one.
func (m *member) ended(ctx context.Context, err, last error) error {
	if !errors.Is(err, ctx.Err()) {
		err = fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	if last != nil {
		err = fmt.Errorf("%w; the last error was: %w", err, last)
	}
	return fmt.Errorf("sink %s: %w", m.name, err)
}

func (m *member) begin() *call {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &call{began: time.Now()}
	m.work[c] = true
	return c
}

func (m *member) end(c *call) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.work, c)
}

func (m *member) failed(c *call, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts.Retries++
	if c.err == nil {
		c.failed = time.Now()
	}
	c.err = err
}

func (m *member) took(events int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts.Taken += int64(events)
}

func (m *member) lacks(events int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts.Failed += int64(events)
}

func (m *member) taken() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts.Taken
}

func (m *member) flushed(events int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts.Flushed = max(m.counts.Flushed, events)
}

func (m *member) status() MemberStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.counts
	s.Name = m.name
	for c := range m.work {
		if s.Oldest.IsZero() || c.began.Before(s.Oldest) {
			s.Oldest = c.began
		}
		if c.err != nil && (s.Err == nil || c.failed.Before(s.Since)) {
			s.Err, s.Since = c.err, c.failed
		}
	}
	return s
}
