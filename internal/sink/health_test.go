package sink_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/sink/sinktest"
)

// lines keeps what a log is told. It is safe for concurrent use.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// take returns the lines since the last call.
func (l *lines) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return strings.FieldsFunc(l.text.String(), func(r rune) bool { return r == '\n' })
}

// told returns a log, and what reads the lines that it was told since the last reading.
func told() (*slog.Logger, func() []string) {
	l := &lines{}
	drop := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "since" {
			return slog.Attr{}
		}
		return a
	}
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{ReplaceAttr: drop})), l.take
}

// The first failure and the recovery are told at once, and what is between once a minute.
// A sink that fails now and then is told of once a minute, too.
func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, lines := told()
		m := &sinktest.Memory{}
		s, err := sink.NewSet(sink.Options{Retry: everySecond, Log: log}, sink.Member{Name: "a", Sink: m})
		if err != nil {
			t.Fatal(err)
		}
		expect := func(when string, want ...string) {
			t.Helper()
			synctest.Wait()
			if got := lines(); !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", when, got, want)
			}
		}
		const fails = `level=WARN msg="sink fails" sink=a failures=`
		emit := func() {
			if err := s.Emit(t.Context(), sinktest.Batch(1, 1)); err != nil {
				t.Error(err)
			}
		}
		emit()
		expect("control")
		m.Fail(150)
		go emit()
		synctest.Wait()
		expect("the first failure", fails+"1 error=down")
		time.Sleep(2*time.Minute + time.Second/2)
		expect("two minutes later", fails+"60 error=down", fails+"60 error=down")
		time.Sleep(time.Minute)
		expect("when it is well", `level=INFO msg="sink recovered" sink=a failures=150 after=2m30s`)
		for range 120 {
			m.Fail(1)
			emit()
		}
		if got := lines(); len(got) != 4 || !strings.HasPrefix(got[2], fails) {
			t.Errorf("a failure every second for two minutes: %q", got)
		}
	})
}

// An attempt without an answer counts as a failure of its member, while it lasts.
func TestHangs(t *testing.T) {
	for call, buffers := range map[string]bool{"Emit": false, "Flush": true} {
		t.Run(call, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, lines := told()
				m := &sinktest.Memory{Buffers: buffers}
				s, err := sink.NewSet(sink.Options{Retry: everySecond, Hangs: 10 * time.Second, Log: log}, sink.Member{Name: "a", Sink: m})
				if err != nil {
					t.Fatal(err)
				}
				resume, began := m.Stall(), time.Now()
				go func() {
					if err := errors.Join(s.Emit(t.Context(), sinktest.Batch(1, 1)), s.Flush(t.Context())); err != nil {
						t.Error(err)
					}
				}()
				time.Sleep(9 * time.Second)
				if err := s.Err(); err != nil {
					t.Errorf("too early: %v", err)
				}
				time.Sleep(time.Second)
				synctest.Wait()
				if m := s.Members()[0]; m.Err == nil || !m.Since.Equal(began) || s.Err().Error() != "sink a: no answer for 10s" {
					t.Errorf("not told: %+v", m)
				}
				resume()
				synctest.Wait()
				want := []string{
					`level=WARN msg="sink fails" sink=a failures=1 error="no answer for 10s"`,
					`level=INFO msg="sink recovered" sink=a failures=1 after=10s`,
				}
				if got := lines(); !slices.Equal(got, want) || s.Err() != nil {
					t.Errorf("%v; %q, want %q", s.Err(), got, want)
				}
			})
		})
	}
}

// A sink without success for as long as the patience ends its calls. It then ends each
// call at once. A sink that refuses one batch ends the call of that one.
func TestPatience(t *testing.T) {
	for _, tt := range []struct {
		name string
		take bool  // other batches
		want error // of a later call
	}{{"refuses all", false, sinktest.ErrDown}, {"refuses one", true, nil}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &sinktest.Memory{}
				s, err := sink.NewSet(sink.Options{Retry: everySecond, Patience: time.Minute}, sink.Member{Name: "a", Sink: onlyFirst{m, tt.take}})
				if err != nil {
					t.Fatal(err)
				}
				m.Fail(1000)
				began := time.Now()
				done := make(chan error, 1)
				go func() { done <- s.Emit(t.Context(), sinktest.Batch(1, 1)) }()
				for tt.take && time.Since(began) < 45*time.Second {
					time.Sleep(15 * time.Second)
					if err := s.Emit(t.Context(), sinktest.Batch(2, 1)); err != nil {
						t.Error(err)
					}
				}
				if err := <-done; !errors.Is(err, sinktest.ErrDown) || time.Since(began) != time.Minute {
					t.Errorf("%v after %v", err, time.Since(began))
				}
				if s.Err() == nil {
					t.Error("ready")
				}
				began = time.Now()
				if err := s.Emit(t.Context(), sinktest.Batch(2, 1)); !errors.Is(err, tt.want) || time.Since(began) != 0 {
					t.Errorf("next: %v after %v", err, time.Since(began))
				}
			})
		})
	}
}

// onlyFirst lets batches but the first pass by a sink that fails, if passes is true.
type onlyFirst struct {
	*sinktest.Memory
	passes bool
}

func (s onlyFirst) Emit(ctx context.Context, b sink.Batch) error {
	if s.passes && b.Events[0].ID != "id-1-0" {
		return nil
	}
	return s.Memory.Emit(ctx, b)
}

// An error stays until a call succeeds, also when the call that had it has ended.
func TestErrorStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &sinktest.Memory{}
		s := newSet(t, everySecond, sink.Member{Name: "a", Sink: m})
		m.Fail(1000)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute-time.Second/2)
		defer cancel()
		began := time.Now()
		if s.Emit(ctx, sinktest.Batch(1, 1)) == nil {
			t.Error("no error")
		}
		if m := s.Members()[0]; !errors.Is(m.Err, sinktest.ErrDown) || !m.Since.Equal(began) || m.Failures != 60 {
			t.Errorf("%+v", m)
		}
		m.Fail(0)
		if err := s.Emit(t.Context(), sinktest.Batch(1, 1)); err != nil || s.Err() != nil {
			t.Errorf("%v, %v", err, s.Err())
		}
	})
}

// resumes is a sink that needs several attempts for a batch.
type resumes struct {
	sinktest.Memory
	attempts int
}

func (s *resumes) Begin(b sink.Batch) sink.Delivery { return &steps{s, b, s.attempts} }

type steps struct {
	to   *resumes
	b    sink.Batch
	left int
}

func (d *steps) Try(ctx context.Context) (bool, error) {
	switch d.left--; {
	case d.left == 2:
		return false, nil
	case d.left > 0:
		return false, &sink.BusyError{After: 5 * time.Second, Err: sinktest.ErrDown}
	}
	return true, d.to.Emit(ctx, d.b)
}

// A delivery goes on, after the pauses that the sink asks for. The time of a batch
// includes them.
func TestResumer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var took time.Duration
		r := &resumes{attempts: 5}
		s := newSet(t, everySecond, sink.Member{Name: "a", Sink: r, Took: func(d time.Duration) { took = d }})
		if err := s.Emit(t.Context(), sinktest.Batch(1, 2)); err != nil || took != 18*time.Second || len(r.Lines()) != 2 {
			t.Errorf("%v after %v", err, took)
		}
		if m := s.Members()[0]; m.Failures != 3 || m.Retries != 3 || m.Err != nil {
			t.Errorf("%+v", m)
		}
	})
}
