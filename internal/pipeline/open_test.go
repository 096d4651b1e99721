package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/pipeline"
	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/pkg/trail"
)

// counting counts the bodies that are open. Each comes after a while, and pauses after its
// first bytes.
type counting struct {
	fetch.Objects
	latency, pause time.Duration
	open, most     *atomic.Int64
}

// Get implements fetch.Objects.
func (c counting) Get(ctx context.Context, o trail.Object) (io.ReadCloser, map[string]string, error) {
	time.Sleep(c.latency)
	body, meta, err := c.Objects.Get(ctx, o)
	if err != nil {
		return body, meta, err
	}
	n := c.open.Add(1)
	for m := c.most.Load(); n > m && !c.most.CompareAndSwap(m, n); m = c.most.Load() {
	}
	pause := readerFunc(func([]byte) (int, error) { time.Sleep(c.pause); return 0, io.EOF })
	return countedBody{io.MultiReader(io.LimitReader(body, 40), pause, body), body, c.open}, meta, err
}

type readerFunc func([]byte) (int, error)

// Read implements io.Reader.
func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

type countedBody struct {
	io.Reader
	body io.Closer
	open *atomic.Int64
}

// Close implements io.Closer.
func (b countedBody) Close() error {
	b.open.Add(-1)
	return b.body.Close()
}

// While the sinks are slow and memory is short, few bodies are open: their connections would
// wait for memory. When the sinks go on, all log files come to their end.
func TestSlowSinksLeaveFewBodiesOpen(t *testing.T) {
	const (
		concurrency = 8
		files       = 60 // of each chain
		stalls      = fetch.Stalled * 3 / 2
	)
	for _, tt := range []struct {
		name           string
		chains         int
		records        int // of 1 kB, of each log file
		latency, pause time.Duration
	}{
		{"one chain", 1, 5, 0, 0},
		{"one chain, short of memory", 1, 600, 0, 0},
		{"chains", 10, 5, 0, 0},
		{"chains, short of memory", 10, 600, 0, 0},
		{"chains, slow headers", 10, 5, stalls, 0},
		{"chains, slow headers, short of memory", 10, 600, stalls, 0},
		{"chains, slow bodies", 10, 5, 0, stalls},
		{"chains, slow bodies, short of memory", 10, 600, 0, stalls},
		{"all slow", 10, 5, stalls, stalls},
		{"all slow, short of memory", 10, 600, stalls, stalls},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, pipeline.Options{Memory: pipeline.MinMemory(1), Concurrency: concurrency})
				jobs := s.hour(slices.Repeat([][]byte{log(tt.records, 1000)}, files)...)
				var open, most atomic.Int64
				s.open(counting{s.World, tt.latency, tt.pause, &open, &most})
				goOn := make(chan struct{})
				s.sink.fail = func(sink.Batch) error { <-goOn; return nil }
				var ended []<-chan result
				for range tt.chains {
					ended = append(ended, s.start(t.Context(), s.source.Share(), jobs...))
				}
				time.Sleep(time.Minute)
				if n, limit := most.Load(), int64(3*concurrency+tt.chains); n > limit {
					t.Errorf("%d bodies were open, more than %d", n, limit)
				}
				close(goOn)
				for _, e := range ended {
					for range files {
						if r := <-e; r.err != nil {
							t.Fatal(r.err)
						}
					}
				}
				if n := open.Load(); n != 0 {
					t.Errorf("%d bodies are still open", n)
				}
				s.balanced()
			})
		})
	}
}

// Each chain that hangs leaves a quarter of what it finds. So a chain that comes after some
// of them has its log files at once.
func TestChainsThatHangLeaveRoom(t *testing.T) {
	const concurrency = 64
	for chains := range 4 {
		t.Run(fmt.Sprint(chains), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := options()
				o.Concurrency = concurrency
				s := newSite(t, o)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				body := log(5, 1000)
				bad, good := s.hour(slices.Repeat([][]byte{body}, 2*concurrency)...), s.hour(slices.Repeat([][]byte{body}, 20)...)
				isGood := map[string]bool{}
				for _, j := range good {
					isGood[j.Log.Object] = true
				}
				s.open(hangs{s.World, func(o trail.Object) int {
					if isGood[o.Key] {
						return -1
					}
					return 40
				}})
				var ended []<-chan result
				for range chains {
					ended = append(ended, s.start(ctx, s.source.Share(), bad...))
					time.Sleep(time.Minute)
				}
				began := time.Now()
				goodEnded := s.start(t.Context(), s.source.Share(), good...)
				for range good {
					if r := <-goodEnded; r.err != nil {
						t.Error(r.err)
					}
				}
				if took := time.Since(began); took > 0 {
					t.Errorf("the last chain took %s", took)
				}
				cancel()
				for _, e := range ended {
					for range bad {
						<-e
					}
				}
				s.balanced()
			})
		})
	}
}

// A chain alone has three quarters of the memory while its sinks are slow. Another one gets
// memory at once.
func TestOneChainAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const memory = 512 << 20
		s := newSite(t, pipeline.Options{Memory: memory, Concurrency: 64})
		body := log(600, 1000) // of the second class
		jobs, other := s.hour(slices.Repeat([][]byte{body}, 40)...), s.hour(body)
		if _, err := s.process(t.Context(), other[0]); err != nil { // tells how large they are
			t.Fatal(err)
		}
		goOn := make(chan struct{})
		s.sink.fail = func(b sink.Batch) error {
			if b.Log.Key != other[0].Log.Object {
				<-goOn
			}
			return nil
		}
		ended := s.start(t.Context(), s.share, jobs...)
		time.Sleep(time.Minute)
		if n := s.InFlight(); n < memory*7/10 || n > memory*3/4 {
			t.Errorf("%d of %d bytes are reserved", n, memory)
		}
		began := time.Now()
		if r := <-s.start(t.Context(), s.source.Share(), other[0]); r.err != nil || time.Since(began) > 0 {
			t.Errorf("the other chain took %s, %v", time.Since(began), r.err)
		}
		close(goOn)
		for range jobs {
			if r := <-ended; r.err != nil {
				t.Error(r.err)
			}
		}
	})
}

// Whatever ends a log file, or the wait for its place or memory, leaves room to the others:
// all of them come to their end.
func TestCancelledAtRandom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, pipeline.Options{Memory: pipeline.MinMemory(1), Concurrency: 4})
		small, middle := s.hour(log(5, 1000))[0], s.hour(log(600, 1000))[0]
		var open, most atomic.Int64
		s.open(counting{s.World, time.Second, time.Second, &open, &most})
		s.sink.fail = func(sink.Batch) error { time.Sleep(time.Second); return nil }
		random := rand.New(rand.NewPCG(1, 2))
		var ended []<-chan result
		for range 10 {
			share := s.source.Share()
			for range 30 {
				ctx := t.Context()
				if random.IntN(2) == 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, time.Duration(random.Int64N(int64(2*time.Minute))))
					defer cancel()
				}
				job := small
				if random.IntN(3) == 0 {
					job = middle
				}
				ended = append(ended, s.start(ctx, share, job))
			}
		}
		cancelled := 0
		for _, e := range ended {
			if r := <-e; errors.Is(r.err, context.DeadlineExceeded) {
				cancelled++
			} else if r.err != nil {
				t.Error(r.err)
			}
		}
		if n := open.Load(); n != 0 || cancelled == 0 || cancelled > len(ended)*2/3 {
			t.Errorf("%d bodies are open, %d of %d log files were cancelled", n, cancelled, len(ended))
		}
		s.balanced()
	})
}
