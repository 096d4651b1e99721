package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
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

// chance fails calls at random, from a seed.
type chance struct {
	mu sync.Mutex // guards r
	r  *rand.Rand
}

func (c *chance) fails(one int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.r.IntN(one) == 0 {
		return errors.New("by chance")
	}
	return nil
}

// chancy is a world whose reads fail at times, before or within the body.
type chancy struct {
	*testtrail.World
	c *chance
}

func (w chancy) Get(ctx context.Context, o trail.Object) (io.ReadCloser, map[string]string, error) {
	body, meta, err := w.World.Get(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	if err := w.c.fails(10); err != nil {
		body.Close()
		return nil, nil, err
	}
	if err := w.c.fails(10); err != nil {
		return io.NopCloser(io.MultiReader(io.LimitReader(body, 900), broken{})), meta, nil
	}
	return body, meta, nil
}

type chancyState struct {
	state.Store
	c *chance
}

func (s chancyState) Put(ctx context.Context, name string, v []byte, prev state.Version) (state.Version, error) {
	before := s.c.fails(6)
	if before != nil {
		return "", before
	}
	version, err := s.Store.Put(ctx, name, v, prev)
	if after := s.c.fails(6); err == nil && after != nil {
		return "", after // it took effect
	}
	return version, err
}

// chancySink fails at times, also although it took effect, and flushes badly.
type chancySink struct{ c *chance }

func (s chancySink) Emit(ctx context.Context, b sink.Batch) error {
	select {
	case <-time.After(20 * time.Millisecond):
		return s.c.fails(8)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s chancySink) Flush(context.Context) error { return s.c.fails(4) }
func (chancySink) Close() error                  { return nil }

// The accounts are 0 at every moment, whatever fails and whenever the worker is cancelled,
// and nothing is reserved or runs after it.
func TestAccountsWhileAllFails(t *testing.T) {
	s := newSite(t, 0)
	s.c.Hour(append(s.logs(5), s.SizedLog(17<<20))...) // which is emitted in parts
	s.trail.Chain(neighbour, region, day).Hours(3)
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			c := &chance{r: rand.New(rand.NewPCG(seed, 1))}
			cfg := s.cfg
			cfg.Sources = append([]ingest.Source{}, s.cfg.Sources...)
			cfg.Sources[0].Objects = chancy{s.World, c}
			cfg.State, cfg.Findings = chancyState{state.NewMemory(), c}, &findings{}
			retry := func(_ string, try int, _ error) (time.Duration, bool) { return 10 * time.Millisecond, try > 3 }
			set, err := sink.NewSet(retry, sink.Member{Name: "a", Sink: chancySink{c}}, sink.Member{Name: "b", Sink: chancySink{c}})
			if err != nil {
				t.Fatal(err)
			}
			cfg.Sink, cfg.Sinks, cfg.Memory = set, 2, ingest.MinMemory(2)
			registry := prometheus.NewRegistry()
			cfg.Metrics, cfg.Once, cfg.Poll = registry, false, time.Minute
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(seed*seed)*57*time.Millisecond)
			defer cancel()
			w, err := ingest.New(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			scraped := make(chan struct{})
			go func() {
				defer close(scraped)
				for {
					if bad := unaccounted(registry, w, set); bad != "" {
						t.Errorf("seed %d: %s", seed, bad)
					}
					select {
					case <-done:
						return
					case <-time.After(10 * time.Millisecond):
					}
				}
			}()
			if _, err := w.Run(ctx); err != nil {
				t.Error(err)
			}
			close(done)
			<-scraped
			if bad := unaccounted(registry, w, set); bad != "" || w.Status().InFlight != 0 {
				t.Errorf("seed %d: %s, %d bytes in flight at the end", seed, bad, w.Status().InFlight)
			}
		})
	}
}

// unaccounted returns what the accounts show that is not 0.
func unaccounted(r *prometheus.Registry, w *ingest.Worker, set *sink.Set) string {
	families, err := r.Gather()
	if err != nil {
		return err.Error()
	}
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == "unaccounted" && m.GetGauge().GetValue() != 0 {
				return fmt.Sprint(m)
			}
		}
	}
	if n := set.Unaccounted(w.Events); n != 0 {
		return fmt.Sprintf("sinks %d: %+v", n, set.Members())
	}
	return ""
}
