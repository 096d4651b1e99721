package bench

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/finding"
)

// discard encodes everything, as sinks do, and keeps nothing.
type discard struct {
	buffers sync.Pool // of *[]byte
}

func (d *discard) Emit(_ context.Context, b sink.Batch) error {
	buffer, _ := d.buffers.Get().(*[]byte)
	if buffer == nil {
		buffer = new([]byte)
	}
	*buffer = sink.Trailseal.AppendLines((*buffer)[:0], &b)
	d.buffers.Put(buffer)
	return nil
}

func (*discard) Flush(context.Context) error { return nil }

func (*discard) Find(_ context.Context, f finding.Finding) error {
	return fmt.Errorf("finding: %+v", f)
}

// ingestTrail is a trail in memory, so that no network and no HTTP is measured.
type ingestTrail struct {
	world  *testtrail.World
	end    time.Time
	events int
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

// run ingests the trail. A bucket in memory has no latency to hide, hence the
// concurrency.
func (t *ingestTrail) run(tb testing.TB) { t.runInto(tb, new(discard)) }

// steady returns the processor time for a log once the worker has its buffers:
// of its first quarter, what a worker does once in its life is most.
func (t *ingestTrail) steady(tb testing.TB) time.Duration {
	s := &markedSink{tb: tb, at: int64(len(t.logs) / 4)}
	t.runInto(tb, s)
	return (processorTime(tb) - s.mark) / time.Duration(len(t.logs)-len(t.logs)/4)
}

// markedSink notes the processor time when it gets a certain batch.
type markedSink struct {
	discard
	tb   testing.TB
	n    atomic.Int64
	at   int64
	mark time.Duration
}

func (s *markedSink) Emit(ctx context.Context, b sink.Batch) error {
	if s.n.Add(1) == s.at {
		s.mark = processorTime(s.tb)
	}
	return s.discard.Emit(ctx, b)
}

func (t *ingestTrail) runInto(tb testing.TB, into ingest.Sinks) {
	o, err := ingest.Run(tb.Context(), ingest.Config{
		Sources: []ingest.Source{{Source: source.Source{Bucket: "trail-bucket", Name: "s3://trail-bucket"}, Objects: t.world}},
		Keys:    t.world, State: state.NewMemory(), Sink: into, Findings: new(discard),
		Since: t.end.Add(-1000 * time.Hour), Grace: 2 * time.Hour, Poll: time.Minute, Memory: 512 << 20, Concurrency: 2 * runtime.GOMAXPROCS(0), Once: true,
		Now: func() time.Time { return t.end.Add(time.Hour) }, Log: slog.New(slog.DiscardHandler),
		Metrics: prometheus.NewRegistry(),
	})
	if err != nil || o.Events != int64(t.events) || o.Findings != 0 {
		tb.Fatalf("%+v, want %d events, %v", o, t.events, err)
	}
}

// bare does to each log what every ingester that verifies must do at least:
// inflate, hash and, with split, find the records.
func (t *ingestTrail) bare(l loop, records bool) func(testing.TB) {
	return func(tb testing.TB) {
		n := 0
		for _, log := range t.logs {
			var err error
			if records {
				_, err = l.read(log, split(&n))
			} else {
				_, err = l.read(log, nil)
			}
			if err != nil {
				tb.Fatal(err)
			}
		}
		if records && n != t.events {
			tb.Fatalf("%d events, want %d", n, t.events)
		}
	}
}

// ingestRows take proven events from a bucket in memory to a sink that
// discards them: fetch, inflate, hash, verify, split, splice. Beside them stand
// the loops that are their limit. Run them with -cpu 1 and 2; the loops run on
// one core in either case.
func ingestRows(full bool) (rows []row) {
	for _, size := range pick(full, logSizes, logSizes[:1]) {
		t := newIngestTrail(size, pick(full, max(60<<20, 60*size), 1<<20))
		for _, r := range []struct {
			name string
			run  func(testing.TB)
		}{
			{"ingest", t.run},
			{"inflate+hash", t.bare(loop{read: ours}, false)},
			{"inflate+hash+split", t.bare(loop{read: ours}, true)},
			{"klauspost+hash", t.bare(loop{read: new(klauspost).hash}, false)},
			{"klauspost+hash+split", t.bare(loop{read: new(klauspost).hash}, true)},
		} {
			rows = append(rows, row{fmt.Sprintf("%dKB/%s", size>>10, r.name), func(m meter) { t.measure(m, r.run) }})
		}
	}
	return rows
}

func (t *ingestTrail) measure(m meter, run func(testing.TB)) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, began, cpu := 0, time.Now(), processorTime(m)
	for m.Loop() {
		run(m)
		n++
	}
	wall := time.Since(began)
	cpu = processorTime(m) - cpu
	runtime.ReadMemStats(&after)
	events := float64(n * t.events)
	m.ReportMetric(events/wall.Seconds(), "events/s")
	m.ReportMetric(events/cpu.Seconds(), "events/cpu-s")
	m.ReportMetric(float64(after.Mallocs-before.Mallocs)/events, "allocs/event")
}
