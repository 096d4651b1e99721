package validatelogs_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/internal/validatelogs"
	"github.com/trailseal/trailseal/pkg/trail"
)

// watched counts what is asked of a world.
type watched struct {
	*testtrail.World
	reading, most, lists atomic.Int64
	breakAt              string // the key at which listings break off
}

func (w *watched) List(ctx context.Context, bucket, prefix, after string) iter.Seq2[trail.Object, error] {
	w.lists.Add(1)
	return func(yield func(trail.Object, error) bool) {
		for o, err := range w.World.List(ctx, bucket, prefix, after) {
			if w.breakAt != "" && o.Key >= w.breakAt {
				yield(trail.Object{}, io.ErrUnexpectedEOF)
				return
			}
			if !yield(o, err) {
				return
			}
		}
	}
}

func (w *watched) Get(ctx context.Context, o trail.Object) (io.ReadCloser, map[string]string, error) {
	n := w.reading.Add(1)
	defer w.reading.Add(-1)
	for most := w.most.Load(); n > most && !w.most.CompareAndSwap(most, n); most = w.most.Load() {
	}
	return w.World.Get(ctx, o)
}

// Latency must be paid side by side, for sparse digests too, and must not
// change what is printed or when.
func TestParallel(t *testing.T) {
	const latency = 30 * time.Millisecond
	s := newScene(72)
	s.request.Verbose = true
	s.Delete("trail-bucket", s.chain.Issued[40].Logs[1].Key)
	s.Delete("trail-bucket", s.chain.Issued[20].Key)
	run := func(concurrency int, latency time.Duration) (text string, took time.Duration, w *watched) {
		synctest.Test(t, func(t *testing.T) {
			s.request.Concurrency, s.Latency = concurrency, latency
			w = &watched{World: s.World}
			var both bytes.Buffer
			begun := time.Now()
			if _, err := validatelogs.Run(t.Context(), w, w, s.request, &both, &both); err != nil {
				t.Error(err)
			}
			text, took = both.String(), time.Since(begun)
		})
		return text, took, w
	}
	serial, _, _ := run(1, 0)
	parallel, took, w := run(32, latency)
	if serial != parallel {
		t.Error("the order of the output depends on the concurrency")
	}
	// 73 digests and 142 logs: 6.5 s one after another, 0.21 s at best.
	if took > 700*time.Millisecond {
		t.Errorf("took %v", took)
	}
	if most := w.most.Load(); most > 32+16 {
		t.Errorf("%d reads at once", most)
	}
	if n := w.lists.Load(); n != 1 {
		t.Errorf("%d listings", n)
	}
}

// Each object is read once, whatever was read ahead.
func TestReadsOnce(t *testing.T) {
	s := newScene(30)
	s.Delete("trail-bucket", s.chain.Issued[20].Key)
	if _, _, _, err := s.run(t); err != nil {
		t.Fatal(err)
	}
	for i, d := range s.chain.Issued {
		if n := s.Reads(d.Bucket, d.Key); n != 1 {
			t.Errorf("digest %d was read %d times", i, n)
		}
		for _, l := range d.Logs {
			if n := s.Reads(l.Bucket, l.Key); n > 1 {
				t.Errorf("%s was read %d times", l, n)
			}
		}
	}
}

// A digest that is too large to be read ahead is read when its turn comes.
func TestLargeDigest(t *testing.T) {
	s := newScene(3)
	d := s.chain.Issued[3]
	s.chain.SignBody(d, append([]byte(`{"padding":"`+strings.Repeat("x", 5<<20)+`",`), d.Body[1:]...))
	_, diag, r, err := s.run(t)
	if err != nil || diag != "" || r.Digests.Valid != 4 || r.Logs.Valid != 6 {
		t.Errorf("%+v %v %s", r, err, diag)
	}
	if n := s.Reads(d.Bucket, d.Key); n != 2 {
		t.Errorf("%d reads", n)
	}
}

// A reader that is slow to take the text holds the reading back.
func TestBackPressure(t *testing.T) {
	s := newScene(60)
	s.request.Verbose = true
	out := &gate{open: make(chan struct{}), after: 5}
	done := make(chan error)
	go func() {
		_, err := validatelogs.Run(t.Context(), s.World, s.World, s.request, out, io.Discard)
		done <- err
	}()
	time.Sleep(100 * time.Millisecond)
	read := 0
	for _, d := range s.chain.Issued {
		for _, l := range d.Logs {
			read += s.Reads(l.Bucket, l.Key)
		}
	}
	close(out.open)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if read > 30 {
		t.Errorf("%d log files were read while nobody took a line", read)
	}
}

type gate struct {
	open   chan struct{}
	writes int
	after  int
}

func (g *gate) Write(b []byte) (int, error) {
	if g.writes++; g.writes > g.after {
		<-g.open
	}
	return len(b), nil
}

// Whatever it is in the middle of, a cancelled run ends, reports nothing as
// not verified, and leaves no goroutine (synctest waits for all).
func TestCancel(t *testing.T) {
	s := newScene(40)
	s.Latency = 40 * time.Millisecond
	for after := time.Duration(0); after < 500*time.Millisecond; after += 15 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), after)
			defer cancel()
			var diag bytes.Buffer
			r, err := validatelogs.Run(ctx, s.World, s.World, s.request, io.Discard, &diag)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("after %v: %v", after, err)
			}
			if diag.Len() > 0 || r.Unverified() > 0 {
				t.Errorf("after %v: %s", after, diag.String())
			}
		})
	}
}
