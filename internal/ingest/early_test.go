package ingest_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// gets counts the log files that are asked for at once.
type gets struct {
	*testtrail.World
	now, most atomic.Int64
}

func (g *gets) Get(ctx context.Context, o trail.Object) (io.ReadCloser, map[string]string, error) {
	if !strings.Contains(o.Key, "-Digest/") {
		n := g.now.Add(1)
		defer g.now.Add(-1)
		for m := g.most.Load(); n > m && !g.most.CompareAndSwap(m, n); m = g.most.Load() {
		}
	}
	return g.World.Get(ctx, o)
}

// Digests of a chain are dealt with one after the other; the latency of what
// they list is waited for side by side, by as many as may be in flight.
func TestLatencyOfAChain(t *testing.T) {
	for _, row := range []struct {
		concurrency int
		most        int64
		took        time.Duration
	}{
		{1, 1, 60 * time.Second}, // one by one
		{8, 7, 20 * time.Second},
		{160, 45, 15 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, 0)
			for range 48 {
				s.c.Hour(s.Log(1))
			}
			s.Latency = time.Second
			s.cfg.Concurrency = row.concurrency
			g := &gets{World: s.World}
			s.cfg.Sources[0].Objects = g
			began := time.Now()
			s.run(t)
			if took := time.Since(began); took > row.took || g.most.Load() > row.most {
				t.Errorf("concurrency %d: %s, %d at once", row.concurrency, took, g.most.Load())
			}
			s.expect(t, s.want())
			s.once(t)
		})
	}
}

// A digest that someone wrote makes nobody ask for what lies elsewhere.
func TestForgedDigestAsksForNothing(t *testing.T) {
	s := newSite(t, 6)
	forged := s.c.Issued[3]
	s.Edit(bucket, forged.Key, func(o *testtrail.Stored) {
		o.Body = testtrail.Gzip(bytes.ReplaceAll(forged.Body, []byte(`"s3Object":"AWSLogs`), []byte(`"s3Object":"secret`)))
	})
	s.run(t)
	for _, l := range forged.Logs {
		if key := strings.Replace(l.Key, "AWSLogs", "secret", 1); s.Reads(bucket, key) != 0 {
			t.Errorf("%s was read", key)
		}
	}
	s.expect(t, s.want(forged.Logs...), "digest-signature")
}
