package fan_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/trailseal/trailseal/internal/sink/fan"
	"github.com/trailseal/trailseal/internal/sink/sinktest"
	"github.com/trailseal/trailseal/pkg/trail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sink keeps lines, fails and stands still.
type sink struct {
	mu         sync.Mutex
	lines      []string
	bad, after int
	stall      chan struct{}
	closed     bool
	closing    error
}

var errDown = errors.New("down")

func (s *sink) Emit(ctx context.Context, b trail.Batch) error {
	s.mu.Lock()
	stall := s.stall
	s.mu.Unlock()
	if stall != nil {
		select {
		case <-stall:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return errors.New("closed")
	case ctx.Err() != nil:
		return ctx.Err()
	case s.bad > 0:
		s.bad--
		return errDown
	}
	for _, l := range b.Lines {
		s.lines = append(s.lines, string(l))
	}
	if s.after > 0 {
		s.after--
		return errDown
	}
	return nil
}

func (s *sink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.closing
}

func (s *sink) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.lines)
}

func open(t *testing.T, members ...fan.Member) *fan.Fan {
	t.Helper()
	f, err := fan.New(members...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Whichever member fails, the fan is a sink, and both have what it
// acknowledged.
func TestIsASink(t *testing.T) {
	for name, faulty := range map[string]int{"the first fails": 0, "the last fails": 2} {
		for which := range 3 {
			t.Run(name, func(t *testing.T) {
				sinktest.Run(t, func(t *testing.T) sinktest.Downstream {
					all := []*sink{{}, {}, {}}
					bad := all[faulty]
					return sinktest.Downstream{
						Sink: open(t, fan.Member{Name: "a", Sink: all[0]}, fan.Member{Name: "b", Sink: all[1]}, fan.Member{Name: "c", Sink: all[2]}),
						Lines: func() []string {
							all[which].mu.Lock()
							defer all[which].mu.Unlock()
							return slices.Clone(all[which].lines)
						},
						Fail:      func(n int) { bad.set(func() { bad.bad = n }) },
						FailAfter: func(n int) { bad.set(func() { bad.after = n }) },
						Stall: func() func() {
							c := make(chan struct{})
							bad.set(func() { bad.stall = c })
							return func() { bad.set(func() { bad.stall = nil }); close(c) }
						},
					}
				}, sinktest.Options{})
			})
		}
	}
}

// A member that fails is named; one that waits does not hide it, and says
// nothing of its own.
func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down, waits, fine := &sink{bad: 2}, &sink{stall: make(chan struct{})}, &sink{}
		f := open(t, fan.Member{Name: "waits", Sink: waits}, fan.Member{Name: "down", Sink: down}, fan.Member{Name: "fine", Sink: fine})
		err := f.Emit(t.Context(), sinktest.Batch(1, 3))
		if !errors.Is(err, errDown) || err.Error() != "sink down: down" {
			t.Errorf("one down, one waiting: %v", err)
		}
		waits.set(func() { waits.stall, waits.bad = nil, 1 })
		fine.set(func() { fine.bad = 0 })
		err = f.Emit(t.Context(), sinktest.Batch(1, 3))
		if err == nil || !strings.Contains(err.Error(), "sink ") {
			t.Errorf("two down: %v", err)
		}
		down.set(func() { down.bad = 0 })
		waits.set(func() { waits.bad = 0 })
		if err := f.Emit(t.Context(), sinktest.Batch(1, 3)); err != nil || waits.count() != 3 || down.count() != 3 {
			t.Errorf("all well: %v", err)
		}
	})
}

// An optional member neither holds a batch for long nor fails it; what it
// misses is told.
func TestOptional(t *testing.T) {
	for _, tt := range []struct {
		name  string
		extra *sink
		took  time.Duration
		has   int
		want  error
	}{
		{"well", &sink{}, 0, 3, nil},
		{"fails", &sink{bad: 1}, 0, 0, errDown},
		{"stands still", &sink{stall: make(chan struct{})}, fan.DefaultPatience, 0, context.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				needed := &sink{}
				f := open(t, fan.Member{Name: "needed", Sink: needed}, fan.Member{Name: "extra", Sink: tt.extra, Optional: true})
				var missed error
				f.Missed = func(name string, b trail.Batch, err error) {
					if name != "extra" || len(b.Lines) != 3 {
						t.Errorf("missed by %s: %d lines", name, len(b.Lines))
					}
					missed = err
				}
				begin := time.Now()
				if tt.extra.stall != nil {
					tt.extra.stall = make(chan struct{}) // of this bubble
				}
				if err := f.Emit(t.Context(), sinktest.Batch(1, 3)); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begin); took != tt.took || needed.count() != 3 || tt.extra.count() != tt.has || !errors.Is(missed, tt.want) {
					t.Errorf("took %v, needed has %d, extra %d, missed: %v", took, needed.count(), tt.extra.count(), missed)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		needed, extra := &sink{bad: 1}, &sink{stall: make(chan struct{})}
		f := open(t, fan.Member{Name: "needed", Sink: needed}, fan.Member{Name: "extra", Sink: extra, Optional: true})
		begin := time.Now()
		if err := f.Emit(t.Context(), sinktest.Batch(1, 3)); !errors.Is(err, errDown) || time.Since(begin) != 0 {
			t.Errorf("the required one failed: %v after %v", err, time.Since(begin))
		}
	})
	if _, err := fan.New(fan.Member{Name: "extra", Sink: &sink{}, Optional: true}); err == nil {
		t.Error("a fan of optional sinks only")
	}
	if _, err := fan.New(); err == nil {
		t.Error("a fan of nothing")
	}
}

func TestClose(t *testing.T) {
	a, b := &sink{closing: errDown}, &sink{}
	f := open(t, fan.Member{Name: "a", Sink: a}, fan.Member{Name: "b", Sink: b, Optional: true})
	if err := f.Close(); !errors.Is(err, errDown) || err.Error() != "sink a: down" || !a.closed || !b.closed {
		t.Errorf("%v, closed %v %v", err, a.closed, b.closed)
	}
}
