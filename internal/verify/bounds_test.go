package verify_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/internal/verify"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Someone who can write to the bucket can plant very many objects: the report and
// the memory stay small, and every object is counted.
func TestPlantedInBulk(t *testing.T) {
	if raced {
		t.Skip("measures memory, which the race detector multiplies")
	}
	const each = 100_000
	s := newSite(testtrail.Options{}, 6)
	stamp := s.c.Issued[3].End.Add(-20 * time.Minute)
	name := s.c.Name()
	for i := range each {
		k := trail.LogKey{Place: s.c.Place(), Stamp: stamp, Day: day, Unique: fmt.Sprintf("%016d", i)}
		s.Put(bucket, k.String(), testtrail.Stored{Body: []byte("x")})
		name.Trail = fmt.Sprintf("planted-%d", i)
		s.Put(bucket, name.Digest(s.c.Issued[3].End).String(), testtrail.Stored{Body: []byte("x")})
	}
	s.cfg.Fetcher = fetch.New(s.World, 8)
	var most, before atomic.Int64
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before.Store(heap())
	done := make(chan struct{})
	go func() { // the heap while it runs
		for {
			select {
			case <-done:
				return
			default:
				most.Store(max(most.Load(), heap()))
			}
		}
	}()
	r, err := verify.Run(context.Background(), s.cfg)
	close(done)
	if err != nil {
		t.Fatal(err)
	}
	if grown := (most.Load() - before.Load()) >> 20; grown > 130 { // with what the world of the test keeps of each object that is asked for
		t.Errorf("the heap grew by %d MiB", grown)
	}
	if r.Counts.Findings != 2*each || len(r.Findings) != 2000 || r.Counts.Digests.Invalid != each {
		t.Errorf("%d findings, %d listed, digests %+v", r.Counts.Findings, len(r.Findings), r.Counts.Digests)
	}
	if r.Counts.Digests.Valid != 6 || r.Counts.Logs != (report.Count{Valid: 12}) || len(r.Chains) > 1001 {
		t.Errorf("%+v, %d chains", r.Counts, len(r.Chains))
	}
	var text strings.Builder
	if err := r.Text(&text); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(text.String(), "log-unlisted  "); n != 1000 || !strings.Contains(text.String(), "99,000") {
		t.Errorf("%d in text", n)
	}
}
