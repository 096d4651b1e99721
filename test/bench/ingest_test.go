package bench

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/finding"
	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// discard takes everything and keeps nothing.
type discard struct{}

func (discard) Emit(context.Context, trail.Batch) error         { return nil }
func (discard) Find(_ context.Context, f finding.Finding) error { return fmt.Errorf("finding: %+v", f) }

// ingestTrail is a trail in memory, so that no network and no HTTP is measured.
type ingestTrail struct {
	world  *testtrail.World
	end    time.Time
	events int
	bytes  int
	logs   [][]byte // as stored
}

func newIngestTrail(size, total int) *ingestTrail {
	t := &ingestTrail{world: testtrail.New()}
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	c := t.world.Trail(testtrail.Options{}).Chain("111122223333", "us-east-1", start)
	for left := max(1, total/size); left > 0; {
		var bodies [][]byte
		for range min(left, 24) {
			b := t.world.SizedLog(size)
			t.events += bytes.Count(b, []byte(`"eventID"`))
			t.bytes += len(b)
			bodies = append(bodies, b)
		}
		left -= len(bodies)
		for _, o := range c.Hour(bodies...).Logs {
			s, _ := t.world.Stored(o.Bucket, o.Key)
			t.logs = append(t.logs, s.Body)
		}
	}
	t.end = c.Now()
	return t
}

func (t *ingestTrail) run(b *testing.B) {
	o, err := ingest.Run(b.Context(), ingest.Config{
		Sources: []ingest.Source{{Source: discover.Source{Bucket: "trail-bucket", Name: "s3://trail-bucket"}, Objects: t.world}},
		Keys:    t.world, State: state.NewMemory(), Sink: discard{}, Findings: discard{},
		Since: t.end.Add(-1000 * time.Hour), Grace: 2 * time.Hour, Poll: time.Minute, Memory: 512 << 20, Concurrency: 8, Once: true,
		Now: func() time.Time { return t.end.Add(time.Hour) }, Log: slog.New(slog.DiscardHandler),
		Metrics: ingest.NewMetrics(prometheus.NewRegistry()),
	})
	if err != nil || o.Events != int64(t.events) || o.Findings != 0 {
		b.Fatalf("%+v, want %d events, %v", o, t.events, err)
	}
}

// bare is what every ingester that verifies must do at least: inflate with the
// same library, hash, and find the records.
func (t *ingestTrail) bare(b *testing.B) {
	var z gzip.Reader
	var inflated bytes.Buffer
	n := 0
	split := func([]byte) error { n++; return nil }
	for _, log := range t.logs {
		if err := z.Reset(bytes.NewReader(log)); err != nil {
			b.Fatal(err)
		}
		inflated.Reset()
		if _, err := io.Copy(&inflated, &z); err != nil {
			b.Fatal(err)
		}
		_ = sha256.Sum256(inflated.Bytes())
		s := trail.Splitter{Record: split}
		if _, err := s.Write(inflated.Bytes()); err != nil {
			b.Fatal(err)
		}
	}
	if n != t.events {
		b.Fatalf("%d events, want %d", n, t.events)
	}
}

// BenchmarkIngest takes proven events from a bucket in memory to a sink that
// discards them: fetch, inflate, hash, verify, split, splice. Run it with -cpu
// 1 and 2; events/s of Ingest against those of Bare is the price of the rest.
func BenchmarkIngest(b *testing.B) {
	for _, size := range []int{20 << 10, 500 << 10, 5 << 20} {
		t := newIngestTrail(size, max(60<<20, 60*size))
		for name, run := range map[string]func(*testing.B){"Ingest": t.run, "Bare": t.bare} {
			b.Run(fmt.Sprintf("%dKB/%s", size>>10, name), func(b *testing.B) {
				b.SetBytes(int64(t.bytes))
				b.ReportAllocs()
				for b.Loop() {
					run(b)
				}
				b.ReportMetric(float64(t.events)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
			})
		}
	}
}
