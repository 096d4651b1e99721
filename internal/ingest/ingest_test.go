package ingest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/trailseal/trailseal/internal/failure"
	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

const (
	bucket  = "trail-bucket"
	account = "111122223333"
	region  = "us-east-1"
)

var day = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// sinks keeps what it is given. It can fail.
type sinks struct {
	mu     sync.Mutex
	lines  map[string]string // by id
	counts map[string]int    // how often each id came
	fail   func(sink.Batch) error
	after  func(sink.Batch) error // fails although it took effect

	buffers bool        // lines counts what was flushed
	kept    [][2]string // ids and lines that were not
}

func (s *sinks) Flush(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.kept {
		s.store(k[0], k[1])
	}
	s.kept = nil
	return nil
}

// store is called with mu held.
func (s *sinks) store(id, line string) {
	if old, there := s.lines[id]; there && old != line {
		panic("one id, two lines")
	}
	s.lines[id] = line
	s.counts[id]++
}

func (s *sinks) Emit(_ context.Context, b sink.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		if err := s.fail(b); err != nil {
			return err
		}
	}
	e := sink.Trailseal.Encoder(&b)
	for i := range b.Events {
		id, line := b.Events[i].ID, string(e.Append(nil, &b.Events[i]))
		if s.buffers {
			s.kept = append(s.kept, [2]string{id, line})
			continue
		}
		s.store(id, line)
	}
	if s.after != nil {
		return s.after(b)
	}
	return nil
}

type findings struct {
	mu  sync.Mutex
	all []finding.Finding
}

func (f *findings) Find(_ context.Context, g finding.Finding) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, g)
	return nil
}

// site is a world with one chain, and a worker's surroundings that outlive its
// runs.
type site struct {
	*testtrail.World
	trail *testtrail.Trail
	c     *testtrail.Chain
	sink  *sinks
	found *findings
	cfg   ingest.Config
}

func newSite(t *testing.T, hours int) *site {
	t.Helper()
	w := testtrail.New()
	s := &site{World: w, trail: w.Trail(testtrail.Options{}), sink: &sinks{lines: map[string]string{}, counts: map[string]int{}}, found: &findings{}}
	s.c = s.trail.Chain(account, region, day)
	s.c.Hours(hours)
	s.cfg = ingest.Config{
		Sources: []ingest.Source{{Source: source.Source{Bucket: bucket, Name: "s3://" + bucket}, Objects: w}},
		Keys:    w, State: state.NewMemory(), Sink: retried(s.sink), Findings: s.found,
		Since: day, Grace: 2 * time.Hour, Poll: time.Millisecond, Memory: ingest.MinMemory(1), Concurrency: 8, Once: true,
		Now: func() time.Time { return s.c.Now().Add(time.Hour) }, Log: slog.New(slog.DiscardHandler),
	}
	return s
}

// run runs the worker until all that is there is dealt with.
func (s *site) run(t *testing.T) ingest.Outcome {
	t.Helper()
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	registry := prometheus.NewRegistry()
	s.cfg.Metrics = registry
	o, err := ingest.Run(t.Context(), s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	want := `# HELP unaccounted The difference between counts that are taken at independent points, by kind: must be 0.
# TYPE unaccounted gauge
unaccounted{kind="logs"} 0
unaccounted{kind="objects"} 0
unaccounted{kind="records"} 0
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "unaccounted"); err != nil {
		t.Error(err)
	}
	return o
}

// events returns the ids of all events in the logs, in the form "log n".
func (s *site) want(skip ...trail.Object) map[string]bool {
	want := map[string]bool{}
	for _, d := range s.c.Issued {
		for _, l := range d.Logs {
			if slices.Contains(skip, l) {
				continue
			}
			o, _ := s.Stored(l.Bucket, l.Key)
			for i := range recordsOf(o.Body) {
				want[fmt.Sprintf("%s %d", l, i)] = true
			}
		}
	}
	return want
}

// got returns the emitted events in the form of want.
func (s *site) got(t *testing.T) map[string]bool {
	t.Helper()
	got := map[string]bool{}
	for id, line := range s.sink.lines {
		var e struct {
			Trailseal struct {
				Status, Log, SHA256, Digest, Fingerprint, ID string
				Record                                       int
			}
			EventID string
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		a := e.Trailseal
		if a.Status != "verified" || a.ID != id || len(a.SHA256) != 64 || len(a.Fingerprint) != 32 || !strings.HasPrefix(a.Digest, "s3://") || e.EventID == "" {
			t.Fatalf("line %s", line)
		}
		got[fmt.Sprintf("%s %d", a.Log, a.Record)] = true
	}
	return got
}

func (s *site) expect(t *testing.T, want map[string]bool, classes ...string) {
	t.Helper()
	if got := s.got(t); !maps.Equal(got, want) {
		t.Errorf("%d events, want %d", len(got), len(want))
	}
	var found []string
	for _, f := range s.found.all {
		found = append(found, string(f.Class))
	}
	if slices.Sort(found); !slices.Equal(found, classes) {
		t.Errorf("findings %v, want %v", found, classes)
	}
}

func (s *site) once(t *testing.T) {
	t.Helper()
	for id, n := range s.sink.counts {
		if n != 1 {
			t.Errorf("%s came %d times", id, n)
		}
	}
}

func TestEverythingProvenOnce(t *testing.T) {
	s := newSite(t, 5)
	if o := s.run(t); o.Waiting != 0 || o.Findings != 0 || o.Events != 25 {
		t.Errorf("%+v", o)
	}
	s.expect(t, s.want())
	s.c.Hours(2)
	s.run(t) // goes on where it was
	s.run(t) // and has nothing to do
	s.expect(t, s.want())
	s.once(t)
}

func TestHeadIsShownAfterARestart(t *testing.T) {
	s := newSite(t, 2)
	s.run(t)
	registry := prometheus.NewRegistry()
	s.cfg.Metrics = registry
	if _, err := ingest.Run(t.Context(), s.cfg); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`# HELP chain_verified_until_timestamp_seconds End of the chain's newest proven digest.
# TYPE chain_verified_until_timestamp_seconds gauge
chain_verified_until_timestamp_seconds{account=%q,region=%q,trail="main"} %d
`, account, region, s.c.Now().Unix())
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "chain_verified_until_timestamp_seconds"); err != nil {
		t.Error(err)
	}
}

func TestTamper(t *testing.T) {
	log := func(s *site, i, j int) trail.Object { return s.c.Issued[i].Logs[j] }
	rows := []struct {
		name   string
		tamper func(*site) (skip []trail.Object)
		want   []string
	}{
		{"log modified", func(s *site) []trail.Object {
			s.Edit(bucket, log(s, 2, 0).Key, func(o *testtrail.Stored) { o.Body = testtrail.Gzip([]byte(`{"Records":[{"a":1}]}`)) })
			return []trail.Object{log(s, 2, 0)}
		}, []string{"log-modified"}},
		{"log gone", func(s *site) []trail.Object {
			l := log(s, 2, 0)
			s.Delete(bucket, l.Key)
			return []trail.Object{l}
		}, []string{"log-missing"}},
		{"log corrupt", func(s *site) []trail.Object {
			s.Edit(bucket, log(s, 2, 0).Key, func(o *testtrail.Stored) { o.Body = append(o.Body, 0) })
			return []trail.Object{log(s, 2, 0)}
		}, []string{"log-corrupt"}},
		{"digest without signature, proven by its successor", func(s *site) []trail.Object {
			s.Edit(bucket, s.c.Issued[2].Key, func(o *testtrail.Stored) { o.Meta = nil })
			return nil
		}, []string{"digest-signature"}},
		{"digest tampered with", func(s *site) []trail.Object {
			s.Edit(bucket, s.c.Issued[2].Key, func(o *testtrail.Stored) {
				o.Body = testtrail.Gzip([]byte(strings.Replace(string(s.c.Issued[2].Body), `"SHA-256"`, `"SHA-256" `, 1)))
			})
			return s.c.Issued[2].Logs
		}, []string{"digest-signature"}},
		{"digest gone", func(s *site) []trail.Object {
			s.Delete(bucket, s.c.Issued[2].Key)
			return s.c.Issued[2].Logs
		}, []string{"digest-missing"}},
		{"two digests gone", func(s *site) []trail.Object {
			s.Delete(bucket, s.c.Issued[2].Key)
			s.Delete(bucket, s.c.Issued[3].Key)
			return slices.Concat(s.c.Issued[2].Logs, s.c.Issued[3].Logs)
		}, []string{"digest-missing", "digest-missing"}},
		{"digest substituted", func(s *site) []trail.Object {
			s.c.Reissue(3, func(d *testtrail.Doc) { d.Newest = nil })
			return nil // it is signed
		}, []string{"chain-mismatch"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t, 5)
			skip := row.tamper(s)
			want := s.want(skip...)
			s.run(t)
			s.expect(t, want, row.want...)
			s.run(t) // nothing is said or sent twice
			s.expect(t, want, row.want...)
			s.once(t)
		})
	}
}

func TestGapIsExplained(t *testing.T) {
	s := newSite(t, 2)
	s.c.Hour(testtrail.LogOf(s.StopLogging(s.c.Now().Add(30*time.Minute), "main")))
	s.c.Skip(4 * time.Hour)
	s.c.Restart(s.c.Now())
	s.c.Hours(1)
	s.run(t)
	s.expect(t, s.want(), "gap", "gap") // when it was switched off, and when it was on again
	if e := s.found.all[1].Evidence.Event; e == nil || e.Name != "StopLogging" {
		t.Errorf("event %+v", e)
	}
}

func TestRollback(t *testing.T) {
	s := newSite(t, 3)
	s.run(t)
	s.c.ReissueFrom(3, func(d *testtrail.Doc) { d.PrevObject = &s.c.Issued[1].Key })
	s.c.Hours(1)
	s.c.ReissueFrom(4, func(d *testtrail.Doc) { d.PrevObject = &s.c.Issued[2].Key })
	s.run(t)
	s.expect(t, s.want(), "rollback")
}

// What cannot be read is waited for, and nothing behind it is passed on in its
// place.
func TestUnreadableHoldsTheChain(t *testing.T) {
	s := newSite(t, 4)
	key := s.c.Issued[2].Logs[0].Key
	s.Fail(bucket, key, &testtrail.Fault{Err: fmt.Errorf("get: %w", fs.ErrPermission)})
	other := s.trail.Chain("444455556666", region, day)
	other.Hours(4)
	if o := s.run(t); o.Waiting != 1 {
		t.Errorf("%+v", o)
	}
	if len(s.sink.lines) >= len(s.want())+20 || len(s.sink.lines) < 20+5 {
		t.Errorf("%d events", len(s.sink.lines)) // the other chain's are there
	}
	s.Fail(bucket, key, nil)
	if o := s.run(t); o.Waiting != 0 {
		t.Errorf("%+v", o)
	}
	if len(s.sink.lines) != len(s.want())+20 {
		t.Errorf("%d events", len(s.sink.lines))
	}
	if len(s.found.all) > 0 {
		t.Errorf("findings %v", s.found.all)
	}
}

func TestSinkFailures(t *testing.T) {
	for name, set := range map[string]func(*sinks, func() error){
		"fails":                 func(s *sinks, err func() error) { s.fail = func(sink.Batch) error { return err() } },
		"fails but took effect": func(s *sinks, err func() error) { s.after = func(sink.Batch) error { return err() } },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, 3)
			n := 0
			set(s.sink, func() error {
				if n++; n%2 == 1 {
					return errors.New("sink is down")
				}
				return nil
			})
			s.run(t)
			s.expect(t, s.want())
		})
	}
}

func TestOddLogs(t *testing.T) {
	s := newSite(t, 1)
	big := s.SizedLog(6 << 20)
	s.c.Hour(
		[]byte(`{"Records":[{"eventID":"a"},5,"x",{"eventID":"b","n":12345678901234567890.10,"s":"\u0041\/"}]}`),
		[]byte("{\"Records\": [\n  {\n    \"eventID\": \"c\"\r\n  }\n ]}"),
		[]byte(`{"Records":[]}`), []byte(`{"Records":null}`), []byte(`[{"eventID":"d"}]`), []byte(`{}`), big,
	)
	s.run(t)
	var classes []string
	for _, f := range s.found.all {
		classes = append(classes, string(f.Class)+" "+f.Detail)
	}
	if len(classes) != 1 { // a file without Records; odd records are not findings
		t.Errorf("findings %q", classes)
	}
	var tails []string
	for _, l := range s.sink.lines {
		if i := strings.Index(l, `"},`); strings.Contains(l, `"eventID":"b"`) || strings.Contains(l, `"eventID": "c"`) || strings.Contains(l, `"eventID":"d"`) {
			tails = append(tails, l[i+3:])
		}
	}
	slices.Sort(tails)
	if want := []string{`    "eventID": "c"  }`, `"eventID":"b","n":12345678901234567890.10,"s":"\u0041\/"}`, `"eventID":"d"}`}; !slices.Equal(tails, want) {
		t.Errorf("lines %q", tails)
	}
	if n := len(s.sink.lines); n < 6<<20/2000 {
		t.Errorf("%d events of the large log", n)
	}
}

// A record that is too large for an event is lost alone, whether its log is held
// inflated or not. Neither is it a finding.
func TestLargeRecords(t *testing.T) {
	for name, size := range map[string]int{"held": 5 << 20, "not held": 40 << 20} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, 1)
			large := `{"eventID":"` + strings.Repeat("x", size) + `"}`
			s.c.Hour(
				[]byte(`{"Records":[{"eventID":"a"},{"eventID":"b"},{"eventID":"c"}]}`), // the control
				[]byte(`{"Records":[{"eventID":"a"},`+large+`,{"eventID":"b"}, `+large+`]}`),
			)
			var text bytes.Buffer
			s.cfg.Log = slog.New(slog.NewTextHandler(&text, nil))
			fails := 1
			s.sink.fail = func(b sink.Batch) error {
				if fails--; fails >= 0 {
					return errors.New("sink is down")
				}
				return nil
			}
			o := s.run(t)
			if o.Waiting != 0 {
				t.Errorf("%+v", o)
			}
			l := s.c.Issued[2].Logs[1]
			want := s.want()
			delete(want, l.String()+" 1")
			delete(want, l.String()+" 3")
			s.expect(t, want)
			s.once(t)
			for _, n := range []int{1, 3} {
				line := fmt.Sprintf("log=%s record=%d bytes=%d", l, n, len(large))
				if strings.Count(text.String(), line) != 1 {
					t.Errorf("no %q in %s", line, &text)
				}
			}
		})
	}
}

func TestLargeRecordsAreCounted(t *testing.T) {
	s := newSite(t, 1)
	large := `"` + strings.Repeat("x", trail.MaxRecord) + `"`
	s.c.Hour([]byte(`[{"eventID":"a"},` + large + `,5,{"eventID":"b"}]`))
	got := s.runFor(t)
	for series, want := range map[string]float64{
		"unverified_total{reason=odd-record}": 2, "findings_total{class=log-corrupt}": 0,
		"logs_total{result=invalid}": 0, "unaccounted{kind=records}": 0, "unaccounted{kind=objects}": 0, "unaccounted{kind=logs}": 0,
		"outcomes_total{kind=records,outcome=quarantined}": 2, "outcomes_total{kind=objects,outcome=quarantined}": 0,
	} {
		if got[series] != want {
			t.Errorf("%s %v, want %v", series, got[series], want)
		}
	}
}

func TestHalt(t *testing.T) {
	s := newSite(t, 5)
	s.Delete(bucket, s.c.Issued[3].Logs[0].Key)
	s.cfg.Halt = true
	s.cfg.Metrics = prometheus.NewRegistry()
	if _, err := ingest.Run(t.Context(), s.cfg); !errors.Is(err, ingest.ErrHalt) {
		t.Errorf("error %v", err)
	}
	if got := s.got(t); len(got) >= len(s.want()) {
		t.Errorf("%d events after the halt", len(got))
	}
}

func TestMetricsAreLintClean(t *testing.T) {
	r := prometheus.NewRegistry()
	s := newSite(t, 1)
	s.cfg.Metrics = prometheus.WrapRegistererWithPrefix("trailseal_", r)
	if _, err := ingest.New(t.Context(), s.cfg); err != nil {
		t.Fatal(err)
	}
	problems, err := testutil.GatherAndLint(r)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

func recordsOf(gz []byte) (records [][]byte) {
	b, _, err := inflate.Bytes(bytes.NewReader(gz), inflate.Options{Limit: 1 << 30})
	if err != nil {
		return nil
	}
	for r, err := range trail.Records(bytes.NewReader(b)) {
		if err != nil && !errors.Is(err, trail.ErrRecordTooLarge) {
			return records
		}
		records = append(records, slices.Clone(r))
	}
	return records
}

// tried is what a test's sink does.
type tried interface {
	Emit(ctx context.Context, b sink.Batch) error
	Flush(ctx context.Context) error
}

// retried returns sinks that try until s has what it is given.
func retried(s tried) *sink.Set {
	set, err := sink.NewSet(func(_ string, try int, err error) (time.Duration, bool) {
		return failure.Pause(try - 1), failure.Decide(failure.Failure{Operation: failure.Batch, Err: err}).Do != failure.Retry
	}, sink.Member{Name: "test", Sink: opened{s}})
	if err != nil {
		panic(err)
	}
	return set
}

type opened struct{ tried }

func (opened) Close() error { return nil }
