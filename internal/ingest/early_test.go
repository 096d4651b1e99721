package ingest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// gets counts the log files that are asked for, in all and at once.
type gets struct {
	*testtrail.World
	all, now, most atomic.Int64
}

func (g *gets) Get(ctx context.Context, o trail.Object) (io.ReadCloser, map[string]string, error) {
	if !strings.Contains(o.Key, "-Digest/") {
		g.all.Add(1)
		n := g.now.Add(1)
		defer g.now.Add(-1)
		for m := g.most.Load(); n > m && !g.most.CompareAndSwap(m, n); m = g.most.Load() {
		}
	}
	return g.World.Get(ctx, o)
}

// count makes a site count.
func (s *site) count() *gets {
	g := &gets{World: s.World}
	s.cfg.Sources[0].Objects = g
	return g
}

// logs makes so many logs.
func (s *site) logs(n int) (bodies [][]byte) {
	for range n {
		bodies = append(bodies, s.Log(1))
	}
	return bodies
}

// forever runs a site that does not end by itself until ctx ends.
func (s *site) forever(ctx context.Context) {
	s.cfg.Once, s.cfg.Poll = false, time.Hour
	s.cfg.Metrics = prometheus.NewRegistry()
	_, _ = ingest.Run(ctx, s.cfg)
}

// sinkFunc is a sink.
type sinkFunc func(ctx context.Context, b sink.Batch) error

func (f sinkFunc) Emit(ctx context.Context, b sink.Batch) error { return f(ctx, b) }
func (sinkFunc) Flush(context.Context) error                    { return nil }

// Digests of a chain are dealt with one after the other; the latency of what
// they list is waited for side by side, by as many as may be in flight.
func TestLatencyOfAChain(t *testing.T) {
	for _, row := range []struct {
		options     testtrail.Options
		concurrency int
		most        int64
		took        time.Duration
	}{
		{testtrail.Options{}, 1, 2, 60 * time.Second},
		{testtrail.Options{}, 8, 16, 20 * time.Second},
		{testtrail.Options{}, 160, 45, 15 * time.Second},
		{testtrail.Options{Name: "other", Prefix: "a/prefix"}, 160, 45, 20 * time.Second},
		{testtrail.Options{Name: "other", Organization: "o-abcdefghij"}, 160, 45, 20 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, 0)
			s.c = s.Trail(row.options).Chain(account, region, day)
			for range 48 {
				s.c.Hour(s.Log(1))
			}
			s.Latency = time.Second
			s.cfg.Concurrency = row.concurrency
			g := s.count()
			began := time.Now()
			s.run(t)
			if took := time.Since(began); took > row.took || g.most.Load() > row.most {
				t.Errorf("%+v, concurrency %d: %s, %d at once", row.options, row.concurrency, took, g.most.Load())
			}
			s.expect(t, s.want())
			s.once(t)
		})
	}
}

// A digest that someone wrote makes nobody ask for what it lists, wherever
// that is.
func TestForgedDigestAsksForNothing(t *testing.T) {
	for _, folder := range []string{"AWSLogs", "secret"} {
		s := newSite(t, 6)
		forged := s.c.Issued[3]
		s.Edit(bucket, forged.Key, func(o *testtrail.Stored) {
			o.Body = testtrail.Gzip(bytes.ReplaceAll(forged.Body, []byte(`"s3Object":"AWSLogs`), []byte(`"s3Object": "`+folder)))
		})
		s.run(t)
		for _, l := range forged.Logs {
			if key := strings.Replace(l.Key, "AWSLogs", folder, 1); s.Reads(bucket, key) != 0 {
				t.Errorf("%s was read", key)
			}
		}
		s.expect(t, s.want(forged.Logs...), "digest-signature")
	}
}

// A chain that waits does not ask again and again for what comes after.
func TestChainThatWaitsAsksForLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 0)
		for range 17 {
			s.c.Hour(s.logs(10)...)
		}
		denied := s.c.Issued[1].Logs[0]
		s.Fail(denied.Bucket, denied.Key, &testtrail.Fault{Err: fmt.Errorf("get: %w", finding.ErrKMSDenied)})
		s.Latency, s.cfg.Concurrency = 30*time.Millisecond, 160
		g := s.count()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		s.forever(ctx)
		tries := int64(s.Reads(denied.Bucket, denied.Key))
		if n := g.all.Load(); tries < 10 || n > tries+170 {
			t.Errorf("%d GETs of logs in an hour, %d of them of the one that is denied", n, tries)
		}
	})
}

// A chain whose events are not taken leaves the places to others.
func TestChainThatStandsHoldsNoPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 0)
		s.c.Hour(s.Log(1))
		for range 20 {
			s.c.Hour(s.logs(20)...)
		}
		const logs = 1600
		other := s.trail.Chain("444455556666", region, day)
		for range 10 {
			d := other.Hour(s.logs(logs / 10)...)
			s.Fail(bucket, d.Key, &testtrail.Fault{Delay: 10 * time.Second}) // comes when the first one stands
		}
		s.Latency, s.cfg.Concurrency, s.cfg.Memory = 100*time.Millisecond, 8, 1<<30
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var mu sync.Mutex
		taken := 0
		s.cfg.Sink = sinkFunc(func(_ context.Context, b sink.Batch) error {
			if strings.Contains(b.Log.Key, account) {
				return errors.New("not now")
			}
			mu.Lock()
			defer mu.Unlock()
			if taken++; taken == logs {
				cancel()
			}
			return nil
		})
		began := time.Now()
		s.forever(ctx)
		if took := time.Since(began); took > 45*time.Second { // at best 8 at once: 20 s after the delay
			t.Errorf("the other chain took %s", took)
		}
	})
}

// A chain whose sink is slow asks for little that it would have to ask for anew.
func TestSlowSinkAsksForLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const digests, logs = 60, 4
		s := newSite(t, 0)
		for range digests {
			s.c.Hour(s.logs(logs)...)
		}
		s.Latency, s.cfg.Concurrency = 30*time.Millisecond, 160
		next := s.cfg.Sink
		s.cfg.Sink = sinkFunc(func(ctx context.Context, b sink.Batch) error {
			time.Sleep(12 * time.Second)
			return next.Emit(ctx, b)
		})
		g := s.count()
		s.run(t)
		if n := g.all.Load(); n > (digests+maxPace)*logs {
			t.Errorf("%d GETs of %d logs", n, digests*logs)
		}
		s.expect(t, s.want())
		s.once(t)
	})
}

const maxPace = 16 // as internal/ingest has it

// A digest that is slow to come holds up none of those before it.
func TestSlowDigestHoldsUpNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 20)
		s.Latency = 30 * time.Millisecond
		s.Fail(bucket, s.c.Issued[12].Key, &testtrail.Fault{Delay: 10 * time.Minute})
		began := time.Now()
		var first atomic.Int64 // when something before it came out
		next := s.cfg.Sink
		s.cfg.Sink = sinkFunc(func(ctx context.Context, b sink.Batch) error {
			if b.Log.Key == s.c.Issued[10].Logs[0].Key {
				first.Store(int64(time.Since(began)))
			}
			return next.Emit(ctx, b)
		})
		s.run(t)
		if took := time.Duration(first.Load()); took == 0 || took > time.Minute {
			t.Errorf("what comes before it came out after %s", took)
		}
		s.expect(t, s.want())
		s.once(t)
	})
}

// The logs of a digest that is too large to be read ahead have all places when
// its turn has come.
func TestLargeDigestAmongSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 0)
		for i := range 12 {
			n := 30
			if i == 4 {
				n = 1500
			}
			s.c.Hour(s.logs(n)...)
		}
		s.Latency, s.cfg.Memory = 100*time.Millisecond, 1<<30
		began := time.Now()
		s.run(t)
		if took := time.Since(began); took > 27*time.Second { // 1,830 logs, 8 at once: 23 s
			t.Errorf("took %s", took)
		}
		s.expect(t, s.want())
		s.once(t)
	})
}

// Of large logs no more are held than slow sinks are worth; of small ones as
// many as are allowed.
func TestSlowSinksHoldLittle(t *testing.T) {
	for _, row := range []struct{ size, least, most int }{
		{1 << 10, 48, 48},
		{400 << 10, 10, 20}, // an eighth of Memory, twice their size each
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, 0)
			for range 3 {
				var logs [][]byte
				for range 48 {
					logs = append(logs, s.SizedLog(row.size))
				}
				s.c.Hour(logs...)
			}
			s.cfg.Concurrency = 160
			var now, most atomic.Int64
			s.cfg.Sink = sinkFunc(func(context.Context, sink.Batch) error {
				n := now.Add(1)
				defer now.Add(-1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				time.Sleep(time.Second)
				return nil
			})
			s.run(t)
			if n := int(most.Load()); n < row.least || n > row.most {
				t.Errorf("%d logs of %d bytes at once, want %d to %d", n, row.size, row.least, row.most)
			}
		})
	}
}

// Digests of one chain that do not come hold no other chain.
func TestSlowDigestsOfOneChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 20)
		for _, d := range s.c.Issued {
			s.Fail(bucket, d.Key, &testtrail.Fault{Delay: 10 * time.Minute})
		}
		const other = "444455556666"
		s.trail.Chain(other, region, day).Hours(20)
		s.Latency, s.cfg.Concurrency = 30*time.Millisecond, 8
		began, last := time.Now(), time.Duration(0)
		var mu sync.Mutex
		s.cfg.Sink = sinkFunc(func(ctx context.Context, b sink.Batch) error {
			mu.Lock()
			defer mu.Unlock()
			if strings.Contains(b.Log.Key, other) {
				last = time.Since(began)
			}
			return s.sink.Emit(ctx, b)
		})
		s.run(t)
		if last == 0 || last > time.Minute {
			t.Errorf("the other chain is done after %s", last)
		}
	})
}
