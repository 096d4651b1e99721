package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// drainAfter runs a worker that goes on, drains it after a while, and returns how long it
// took from then on to end.
func (s *site) drainAfter(t *testing.T, after time.Duration) time.Duration {
	t.Helper()
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s.cfg.Once, s.cfg.Metrics = false, prometheus.NewRegistry()
	w, err := ingest.New(t.Context(), s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
	defer cancel()
	drained := make(chan time.Time, 1)
	time.AfterFunc(after, func() {
		drained <- time.Now()
		w.Drain()
	})
	if _, err := w.Run(ctx); err != nil {
		t.Error(err)
	}
	if ctx.Err() != nil {
		t.Fatal("the worker did not end")
	}
	return time.Since(<-drained)
}

// lockedState fails each call, as a state does that another program has locked.
type lockedState struct{ state.Store }

func (s lockedState) List(context.Context, string) iter.Seq2[state.Entry, error] {
	return func(yield func(state.Entry, error) bool) {
		time.Sleep(2 * time.Second) // the busy timeout
		yield(state.Entry{}, errors.New("locked"))
	}
}

// noListing is a world whose digest folders cannot be listed.
type noListing struct{ *testtrail.World }

func (noListing) List(context.Context, string, string, string) iter.Seq2[trail.Object, error] {
	return func(yield func(trail.Object, error) bool) { yield(trail.Object{}, errors.New("not now")) }
}

// Drain ends the worker as soon as the digest in work is done, whatever the worker does.
func TestDrainEndsSoon(t *testing.T) {
	for _, row := range []struct {
		name    string
		prepare func(s *site)
		most    time.Duration
	}{
		{"while the state is locked", func(s *site) { s.cfg.State = lockedState{s.cfg.State} }, 3 * time.Second},
		{"within a year of digests", func(s *site) { s.cfg.Poll = time.Minute }, 4 * time.Second},
		{"while the names before a digest are followed back", func(s *site) {
			s.cfg.Sources[0].Objects = noListing{s.World}
			newest := s.c.Issued[len(s.c.Issued)-1]
			s.cfg.Announcers = []ingest.Announcer{newAnnouncer([]trail.Object{{Bucket: bucket, Key: newest.Key}})}
		}, 3 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, 400)
				s.Latency = time.Second
				row.prepare(s)
				if took := s.drainAfter(t, 20*time.Second); took > row.most {
					t.Errorf("ended after %s", took)
				}
				if n := len(s.c.Issued); len(s.sink.lines) >= 5*n {
					t.Errorf("all %d digests are done", n)
				}
				for _, f := range s.found.all {
					t.Errorf("finding %s %s", f.Class, f.Detail)
				}
			})
		})
	}
}

// What the sinks have of a digest whose head could not be stored is not emitted again
// after an older digest came between.
func TestFullDiskRepeatsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 3)
		late := s.c.Issued[1]
		kept, _ := s.Stored(bucket, late.Key)
		s.Delete(bucket, late.Key)
		full := &fullState{Store: s.cfg.State}
		s.cfg.State, s.cfg.Once, s.cfg.Poll = full, false, time.Minute
		// The second digest is absent for longer than the grace.
		s.cfg.Now = func() time.Time { return s.c.Issued[2].End.Add(3 * time.Hour) }
		s.cfg.Metrics = prometheus.NewRegistry()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		next := s.cfg.Sink
		var once sync.Once
		s.cfg.Sink = sinkFunc(func(ctx context.Context, b sink.Batch) error {
			if b.Proof.Digest.Key == s.c.Issued[2].Key {
				once.Do(func() {
					full.set(true)
					time.AfterFunc(10*time.Minute, func() { s.Put(bucket, late.Key, kept) })
					time.AfterFunc(20*time.Minute, func() { full.set(false) })
				})
			}
			return next.Emit(ctx, b)
		})
		if _, err := ingest.Run(ctx, s.cfg); err != nil {
			t.Fatal(err)
		}
		s.once(t)
		if len(s.sink.lines) != 15 {
			t.Errorf("%d events", len(s.sink.lines))
		}
	})
}

// fullState refuses heads while its disk is full.
type fullState struct {
	state.Store
	mu     sync.Mutex // guards isFull
	isFull bool
}

func (s *fullState) set(isFull bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.isFull = isFull
}

func (s *fullState) Put(ctx context.Context, name string, value []byte, prev state.Version) (state.Version, error) {
	s.mu.Lock()
	isFull := s.isFull
	s.mu.Unlock()
	if isFull && strings.HasPrefix(name, "chain/") {
		return "", fmt.Errorf("put %s: no space left on device", name)
	}
	return s.Store.Put(ctx, name, value, prev)
}
