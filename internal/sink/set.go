package sink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
)

// Member is one sink of a Set.
type Member struct {
	Name string // for errors, the log and Members; without secrets
	Sink Sink
	// Took is told how long each batch took, retries included. It may be nil.
	Took func(time.Duration)
}

// Retry decides what follows after an attempt of a member's Emit or Flush has
// failed. try is 1 after the first failure of a call. The member is called again
// after pause, or the Set's call ends if giveUp is true. Retry is called
// concurrently.
type Retry func(member string, try int, err error) (pause time.Duration, giveUp bool)

// Options are of all members alike.
type Options struct {
	Retry Retry
	// Hangs is how long an attempt may take before its member counts as failing.
	// The attempt goes on. Zero is DefaultHangs.
	Hangs time.Duration
	// Patience ends a call that has failed for so long, and each call of a member
	// none of whose calls has succeeded for so long. Zero is never.
	Patience time.Duration
	// Log is told when a member begins to fail, how often it failed once a minute,
	// and when it has recovered. It may be nil.
	Log *slog.Logger
}

// DefaultHangs is the default of Options.Hangs.
const DefaultHangs = time.Minute

// Set is several sinks that take each batch together. Each member has its own
// retries: a member that has a batch does not get it again because another
// member refuses it. Set is a Sink.
//
// All attempts of all sinks are made here. So the set knows which members fail,
// since when and why, and sinks neither retry nor log.
type Set struct {
	members []*member
}

// NewSet returns a set of at least one member.
func NewSet(o Options, members ...Member) (*Set, error) {
	if len(members) == 0 {
		return nil, errors.New("sinks: none is set")
	}
	o.Hangs = cmp.Or(o.Hangs, DefaultHangs)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Set{}
	for _, m := range members {
		if m.Took == nil {
			m.Took = func(time.Duration) {}
		}
		s.members = append(s.members, &member{
			name: m.Name, sink: m.Sink, tookTime: m.Took, options: o,
			health: health{name: m.Name, log: o.Log}, work: map[*call]bool{},
		})
	}
	return s, nil
}

// Emit gives b to all members at once and returns nil when every member has it.
// It returns an error only if ctx ends or a member gives up. Then all members
// have ended, and the caller does not know which of them have the batch.
func (s *Set) Emit(ctx context.Context, b Batch) error {
	return s.all(ctx, func(ctx context.Context, m *member) error {
		began, attempt := time.Now(), delivery(m.sink, b)
		err := m.try(ctx, func() (bool, error) {
			isDone, err := attempt(ctx)
			if err != nil || !isDone {
				return false, err
			}
			m.took(len(b.Events))
			return true, nil
		})
		if err != nil {
			m.lacks(len(b.Events))
			return err
		}
		m.tookTime(time.Since(began))
		return nil
	})
}

// Flush flushes all members at once and returns nil when all are flushed. It
// returns an error only if ctx ends or a member gives up.
func (s *Set) Flush(ctx context.Context) error {
	return s.all(ctx, func(ctx context.Context, m *member) error {
		return m.try(ctx, func() (bool, error) {
			taken := m.taken()
			if err := m.sink.Flush(ctx); err != nil {
				return false, err
			}
			m.flushed(taken)
			return true, nil
		})
	})
}

// delivery returns the attempts to deliver a batch.
func delivery(s Sink, b Batch) (attempt func(context.Context) (isDone bool, err error)) {
	if r, ok := s.(Resumer); ok {
		return r.Begin(b).Try
	}
	return func(ctx context.Context) (bool, error) {
		err := s.Emit(ctx, b)
		return err == nil, err
	}
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
	// Err is what is wrong with the member: the last error of the call in work
	// that has failed for longest, or that an attempt in work hangs. Without such a
	// call it is the last error of a call that ended so, if none has succeeded
	// since. Since is when the first attempt began that failed or hangs.
	Err   error
	Since time.Time
	// Oldest is when the oldest Emit or Flush in work began, its retries
	// included. It is zero if none is in work.
	Oldest   time.Time
	Taken    int64 // events that Emit took, repeats included
	Failed   int64 // events of calls of Emit that ended with an error; the member can have them
	Flushed  int64 // events that Emit took before a Flush began that succeeded
	Failures int64 // attempts that failed
	Retries  int64 // of them, those after which another was made, or will be
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

// Err returns what is wrong with the members, nil if nothing is.
func (s *Set) Err() error {
	var errs []error
	for _, m := range s.Members() {
		if m.Err != nil {
			errs = append(errs, fmt.Errorf("sink %s: %w", m.Name, m.Err))
		}
	}
	return errors.Join(errs...)
}
