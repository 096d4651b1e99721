package stream_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/sink/sinktest"
	"github.com/trailseal/trailseal/internal/sink/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// reader is the other end of a stream, which can fail and stand still.
type reader struct {
	mu         sync.Mutex
	b          bytes.Buffer
	writes     int
	short, bad int           // so many writes are cut, or refused
	after      int           // so many are taken and then fail
	stall      chan struct{} // closed to go on
}

var errBroken = errors.New("broken pipe")

func (r *reader) Write(p []byte) (int, error) {
	r.mu.Lock()
	stall := r.stall
	r.mu.Unlock()
	if stall != nil {
		<-stall
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writes++
	switch {
	case r.short > 0:
		r.short--
		return r.b.Write(p[:len(p)/2])
	case r.bad > 0:
		r.bad--
		return 0, errBroken
	}
	n, err := r.b.Write(p)
	if r.after > 0 {
		r.after--
		err = errBroken
	}
	return n, err
}

func (r *reader) lines() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.b.Len() == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(r.b.String(), "\n"), "\n")
}

func downstream(f sink.Format, fail func(r *reader, times int)) func(*testing.T) sinktest.Downstream {
	return func(*testing.T) sinktest.Downstream {
		r := &reader{}
		locked := func(change func(int)) func(int) {
			return func(n int) {
				r.mu.Lock()
				defer r.mu.Unlock()
				change(n)
			}
		}
		return sinktest.Downstream{
			Sink: stream.New(r, f), Lines: r.lines,
			Fail:      locked(func(n int) { fail(r, n) }),
			FailAfter: locked(func(n int) { r.after = n }),
			Stall: func() func() {
				r.mu.Lock()
				defer r.mu.Unlock()
				c := make(chan struct{})
				r.stall = c
				return func() {
					r.mu.Lock()
					defer r.mu.Unlock()
					r.stall = nil
					close(c)
				}
			},
		}
	}
}

func TestIsASink(t *testing.T) {
	t.Run("refusing", func(t *testing.T) {
		sinktest.Run(t, downstream(sink.Raw, func(r *reader, n int) { r.bad = n }), sinktest.Options{Format: sink.Raw})
	})
	t.Run("cutting", func(t *testing.T) {
		sinktest.Run(t, downstream(sink.Trailseal, func(r *reader, n int) { r.short = n }), sinktest.Options{TornLines: true})
	})
}

// A batch is one write; a cut one is an error, and its torn end is ended
// before the next.
func TestWrites(t *testing.T) {
	r := &reader{}
	s := stream.New(r, sink.Trailseal)
	b := sinktest.Batch(1, 3)
	if err := s.Emit(t.Context(), b); err != nil || r.writes != 1 {
		t.Fatalf("%d writes, %v", r.writes, err)
	}
	whole := r.b.String()
	r.short = 1
	if err := s.Emit(t.Context(), b); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("short write: %v", err)
	}
	r.bad = 1
	if err := s.Emit(t.Context(), b); !errors.Is(err, errBroken) {
		t.Errorf("refused write: %v", err)
	}
	for range 2 {
		if err := s.Emit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if want := whole + whole[:len(whole)/2] + "\n" + whole + whole; r.b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", r.b.String(), want)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Emit(t.Context(), b); !errors.Is(err, sink.ErrClosed) {
		t.Errorf("after close: %v", err)
	}
}

func TestFullDevice(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("there is no /dev/full here")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	if err := stream.New(full, sink.Trailseal).Emit(t.Context(), sinktest.Batch(1, 3)); err == nil {
		t.Error("acknowledged by a full device")
	}
}

// Of many who wait for a stream that stands still, half give up; when it goes
// on, nobody else is forgotten.
func TestNobodyIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const waiting = 200
		stall := make(chan struct{})
		r := &reader{stall: stall}
		s := stream.New(r, sink.Trailseal)
		impatient, giveUp := context.WithCancel(t.Context())
		var done, gaveUp atomic.Int64
		for i := range waiting {
			ctx := t.Context()
			if i%2 == 1 {
				ctx = impatient
			}
			go func() {
				switch err := s.Emit(ctx, sinktest.Batch(i, 1)); {
				case err == nil:
					done.Add(1)
				case errors.Is(err, context.Canceled) && ctx == impatient:
					gaveUp.Add(1)
				default:
					t.Error(err)
				}
			}()
		}
		synctest.Wait() // one writes, all others wait for it
		giveUp()
		synctest.Wait()
		if done.Load() != 0 || gaveUp.Load() != waiting/2 {
			t.Errorf("while it stands still %d are done and %d gave up", done.Load(), gaveUp.Load())
		}
		r.mu.Lock()
		r.stall = nil
		r.mu.Unlock()
		close(stall)
		synctest.Wait()
		// One who gave up may have been the one whose write went on.
		if n := len(r.lines()); done.Load() != waiting/2 || n < waiting/2 || n > waiting/2+1 {
			t.Errorf("%d are done, and %d lines there, want those of the %d who waited", done.Load(), n, waiting/2)
		}
	})
}
