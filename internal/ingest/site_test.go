package ingest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/ledger"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

const (
	bucket  = "trail-bucket"
	account = "111122223333"
	other   = "444455556666" // another account
	region  = "us-east-1"
)

var (
	day         = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	errReset    = errors.New("connection reset by peer")
	errNoBucket = fmt.Errorf("NoSuchBucket: %w %w", fs.ErrNotExist, finding.ErrNoBucket)
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is a world with one chain, and a worker's surroundings that outlive its runs. Tests run
// it in a bubble of testing/synctest, where pauses take no time.
type site struct {
	*testtrail.World
	t      *testing.T
	trail  *testtrail.Trail
	c      *testtrail.Chain
	others []*testtrail.Chain // whose events are wanted, too
	lost   []trail.Object     // log files whose events are not wanted
	repeat bool               // events may be emitted again

	hooks *hooks
	state *stateHooks
	sink  *sinks
	found *findings
	cfg   ingest.Config
}

// withSite runs a test with a new site in a bubble.
func withSite(t *testing.T, name string, hours int, test func(s *site)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(newSite(t, hours)) })
	})
}

// newSite returns a site whose chain has a starting digest and those of some hours, with five
// events each. The clock stands an hour after the newest digest.
func newSite(t *testing.T, hours int) *site {
	w := testtrail.New()
	s := &site{
		World: w, t: t, trail: w.Trail(testtrail.Options{}), hooks: &hooks{World: w},
		state: &stateHooks{Store: state.NewMemory()}, found: &findings{},
		sink: &sinks{lines: map[string]string{}, counts: map[string]int{}},
	}
	s.c = s.trail.Chain(account, region, day)
	s.c.Hours(hours)
	s.cfg = ingest.Config{
		Sources: []ingest.Source{{Source: source.Source{Bucket: bucket, Name: "s3://" + bucket}, Objects: s.hooks}},
		Keys:    w, State: s.state, Sink: s.sink, Findings: s.found,
		Since: day, Grace: 2 * time.Hour, Poll: time.Second, Memory: ingest.MinMemory(1), Concurrency: 8, Once: true,
		Now: func() time.Time { return s.newest().Add(time.Hour) }, Log: slog.New(slog.DiscardHandler),
	}
	return s
}

// chains returns all chains whose events are wanted.
func (s *site) chains() []*testtrail.Chain { return append([]*testtrail.Chain{s.c}, s.others...) }

// newest returns when the newest digest of all chains ends.
func (s *site) newest() time.Time {
	byEnd := func(a, b *testtrail.Chain) int { return a.Now().Compare(b.Now()) }
	return slices.MaxFunc(s.chains(), byEnd).Now()
}

// at makes the clock stand at a time.
func (s *site) at(now time.Time) { s.cfg.Now = func() time.Time { return now } }

// chain adds a chain of the site's trail.
func (s *site) chain(account, region string, at time.Time) *testtrail.Chain {
	return s.add(s.trail.Chain(account, region, at))
}

func (s *site) add(c *testtrail.Chain) *testtrail.Chain {
	s.others = append(s.others, c)
	return c
}

// digests returns the names of the chain's digests from one on.
func (s *site) digests(from int) (all []trail.Object) {
	for _, d := range s.c.Issued[from:] {
		all = append(all, trail.Object{Bucket: d.Bucket, Key: d.Key})
	}
	return all
}

func (s *site) digest(n int) trail.Object { return s.digests(n)[0] }

// lose makes the events of a digest's log files unwanted, or those of one of them, which it returns.
func (s *site) lose(n int, log ...int) (one trail.Object) {
	all := s.c.Issued[n].Logs
	if len(log) > 0 {
		all, one = all[log[0]:log[0]+1], all[log[0]]
	}
	s.lost = append(s.lost, all...)
	return one
}

// deny makes an object one that fails to be read with an error, or no longer where it is nil.
func (s *site) deny(o trail.Object, err error) {
	var f *testtrail.Fault
	if err != nil {
		f = &testtrail.Fault{Err: fmt.Errorf("get: %w", err)}
	}
	s.Fail(o.Bucket, o.Key, f)
}

// sources makes the site read some sources.
func (s *site) sources(texts ...string) {
	s.t.Helper()
	s.cfg.Sources = nil
	for _, text := range texts {
		src, err := source.Parse(text)
		if err != nil {
			s.t.Fatal(err)
		}
		s.cfg.Sources = append(s.cfg.Sources, ingest.Source{Source: src, Objects: s.hooks})
	}
}

// run runs the worker until all is processed that can be, and returns how it ended and its
// metrics.
func (s *site) run() (ingest.Outcome, map[string]float64) {
	s.t.Helper()
	o, series, err := s.try()
	if err != nil {
		s.t.Error(err)
	}
	return o, series
}

// try is run for a worker that may fail.
func (s *site) try() (ingest.Outcome, map[string]float64, error) {
	s.t.Helper()
	r := prometheus.NewRegistry()
	s.cfg.Metrics = r
	o, err := ingest.Run(s.t.Context(), s.cfg)
	series := values(s.t, r)
	for _, kind := range []string{"logs", "objects", "records"} {
		if n := series["unaccounted{kind="+kind+"}"]; n != 0 {
			s.t.Errorf("%v unaccounted %s", n, kind)
		}
	}
	return o, series, err
}

// begin begins a worker that goes on until stop is called.
func (s *site) begin() (w *ingest.Worker, registry *prometheus.Registry, stop func()) {
	s.t.Helper()
	cfg := s.cfg
	cfg.Once = false
	registry = prometheus.NewRegistry()
	cfg.Metrics = registry
	w, err := ingest.New(s.t.Context(), cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error)
	go func() {
		_, err := w.Run(ctx)
		done <- err
	}()
	return w, registry, func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	}
}

// during runs a worker for a while.
func (s *site) during(d time.Duration) {
	_, _, stop := s.begin()
	time.Sleep(d)
	stop()
}

// want returns all events that are to be emitted, in the form "log n".
func (s *site) want() map[string]bool {
	want := map[string]bool{}
	for _, c := range s.chains() {
		for _, d := range c.Issued {
			for _, l := range d.Logs {
				o, isThere := s.Stored(l.Bucket, l.Key)
				if !isThere || slices.Contains(s.lost, l) {
					continue
				}
				b, _, _ := inflate.Bytes(bytes.NewReader(o.Body), inflate.Options{Limit: 1 << 30})
				for i := range bytes.Count(b, []byte(`"eventID"`)) {
					want[fmt.Sprintf("%s %d", l, i)] = true
				}
			}
		}
	}
	return want
}

// got returns the emitted events in the form of want.
func (s *site) got() map[string]bool {
	s.t.Helper()
	got := map[string]bool{}
	for id, line := range s.sink.all() {
		var e struct {
			Trailseal struct {
				Status, Log, SHA256, Digest, Fingerprint, ID string
				Record                                       int
			}
			EventID string
		}
		a := &e.Trailseal
		if err := json.Unmarshal([]byte(line), &e); err != nil || a.Status != "verified" || a.ID != id ||
			len(a.SHA256) != 64 || len(a.Fingerprint) != 32 || !strings.HasPrefix(a.Digest, "s3://") || e.EventID == "" {
			s.t.Fatalf("line %s: %v", line, err)
		}
		got[fmt.Sprintf("%s %d", a.Log, a.Record)] = true
	}
	return got
}

// expect demands that the wanted events were emitted, each once, and the classes of findings.
func (s *site) expect(classes ...string) {
	s.t.Helper()
	got, want := s.got(), s.want()
	missing, unwanted := minus(want, got), minus(got, want)
	if len(missing)+len(unwanted) > 0 {
		s.t.Errorf("of %d events %d are missing: %.300q; %d are not wanted: %.300q",
			len(want), len(missing), missing, len(unwanted), unwanted)
	}
	if n := s.repeats(); n > 0 && !s.repeat {
		s.t.Errorf("%d events came again", n)
	}
	s.expectFound(classes...)
}

// minus returns what a has and b has not.
func minus(a, b map[string]bool) (ids []string) {
	for id := range a {
		if !b[id] {
			ids = append(ids, id)
		}
	}
	return ids
}

// expectFound demands the classes of findings.
func (s *site) expectFound(classes ...string) {
	s.t.Helper()
	var found []string
	s.found.mu.Lock()
	defer s.found.mu.Unlock()
	for _, f := range s.found.all {
		found = append(found, string(f.Class))
	}
	slices.Sort(found)
	if !slices.Equal(found, slices.Sorted(slices.Values(classes))) {
		s.t.Errorf("findings %+v, want %q", s.found.all, classes)
	}
}

// eventsOf returns how many events of an account were emitted.
func (s *site) eventsOf(account string) (n int) {
	for _, line := range s.sink.all() {
		if strings.Contains(line, "AWSLogs/"+account+"/") {
			n++
		}
	}
	return n
}

// repeats returns how many events were emitted again.
func (s *site) repeats() (n int) {
	s.sink.mu.Lock()
	defer s.sink.mu.Unlock()
	for _, times := range s.sink.counts {
		n += times - 1
	}
	return n
}

// entry returns the head of the site's chain that the state has.
func (s *site) entry() ledger.Entry {
	s.t.Helper()
	id := ledger.Name(s.cfg.Sources[0].Identity(), s.c.Name())
	e, err := ledger.New(s.state.Store).Open(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	return e
}

// values returns every series of a registry, as "name{label=value,...}".
func values(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			all[f.GetName()+"{"+strings.Join(labels, ",")+"}"] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return all
}
