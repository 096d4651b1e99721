package findings_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/trailseal/trailseal/internal/findings"
	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/pkg/finding"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDown = errors.New("down")

// taker is a sink of findings.
type taker struct {
	fail func(ctx context.Context) error // nil: it takes all

	mu  sync.Mutex
	all []finding.Finding // that it was given
}

// Find implements findings.Sink.
func (s *taker) Find(ctx context.Context, f finding.Finding) error {
	s.mu.Lock()
	s.all = append(s.all, f)
	s.mu.Unlock()
	if s.fail != nil {
		return s.fail(ctx)
	}
	return nil
}

func (s *taker) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// run is a reporter with what it works on.
type run struct {
	*findings.Reporter
	sink    *taker
	metrics *prometheus.Registry
	failed  []error // of the state
}

func start(t *testing.T, store state.Store, halt bool) *run {
	t.Helper()
	r := &run{sink: &taker{}, metrics: prometheus.NewRegistry()}
	var err error
	r.Reporter, err = findings.New(t.Context(), findings.Options{
		Sink: r.sink, Store: store, Halt: halt, Now: time.Now, Metrics: r.metrics,
		StateFailed: func(_ context.Context, err error) { r.failed = append(r.failed, err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// value returns a metric, of a class where one is named.
func (r *run) value(t *testing.T, name string, class finding.Class) (value float64) {
	t.Helper()
	families, err := r.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == name && (class == "" || m.Label[0].GetValue() == string(class)) {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s of %q", name, class)
	return 0
}

func modified(key string) finding.Finding {
	return finding.Finding{Class: finding.LogModified, Subject: finding.Subject{Bucket: "b", Key: key}}
}

// A finding is another one where any part of it differs that says what it is about.
func TestOnce(t *testing.T) {
	r := start(t, state.NewMemory(), false)
	all := []finding.Finding{
		modified("k"), modified("k2"), {Class: finding.LogMissing, Subject: modified("k").Subject},
		{
			Class: finding.Gap,
		}, {Class: finding.Gap, Subject: finding.Subject{Account: "1"}}, {Class: finding.Gap, Subject: finding.Subject{Region: "1"}},
		{
			Class:   finding.Gap,
			Subject: finding.Subject{Trail: "1"},
		}, {Class: finding.Gap, Subject: finding.Subject{Bucket: "1"}},
		{Class: finding.Gap, Subject: finding.Subject{Time: time.Unix(1, 0)}}, {Class: finding.Gap, Detail: "1"},
		{
			Class:   finding.Gap,
			Subject: finding.Subject{Key: "a b"},
			Detail:  "c",
		}, {Class: finding.Gap, Subject: finding.Subject{Key: "a"}, Detail: "b c"},
	}
	for range 3 {
		for _, f := range all {
			if err := r.Report(t.Context(), f); err != nil {
				t.Error(err)
			}
		}
		same := modified("k")
		same.Evidence.Got, same.Time = "other evidence", same.Time.In(time.FixedZone("", 3600))
		if err := r.Report(t.Context(), same); err != nil {
			t.Error(err)
		}
	}
	if got := r.sink.count(); got != len(all) || r.Count() != len(all) ||
		r.value(t, "findings_total", finding.LogModified) != 2 {
		t.Errorf("%d given to the sink, %d counted, want %d", got, r.Count(), len(all))
	}
	if problems, err := testutil.GatherAndLint(r.metrics); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// Callers that report the same finding at the same time wait for one report of it. Where
// the context of the caller ended that sends it, another one sends it.
func TestWaiters(t *testing.T) {
	for _, tt := range []struct {
		name   string
		halt   bool
		end    func(resume chan<- error, cancelFirst, cancelSecond func())
		want   [2]error
		sent   int
		counts int
		ready  error
	}{
		{"goes well", false, func(resume chan<- error, _, _ func()) { resume <- nil }, [2]error{nil, nil}, 1, 1, nil},
		{"halts", true, func(resume chan<- error, _, _ func()) { resume <- nil }, [2]error{findings.ErrHalt, findings.ErrHalt}, 1, 1, nil},
		{"fails", false, func(resume chan<- error, _, _ func()) { resume <- errDown }, [2]error{errDown, errDown}, 1, 0, errDown},
		{"the first is cancelled", false, func(resume chan<- error, first, _ func()) {
			first()
			synctest.Wait()
			resume <- nil
		}, [2]error{context.Canceled, nil}, 2, 1, nil},
		{"the second is cancelled", false, func(resume chan<- error, _, second func()) {
			second()
			synctest.Wait()
			resume <- nil
		}, [2]error{nil, context.Canceled}, 1, 1, nil},
		{"both are cancelled", false, func(_ chan<- error, first, second func()) {
			second()
			synctest.Wait()
			first()
		}, [2]error{context.Canceled, context.Canceled}, 1, 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, state.NewMemory(), tt.halt)
				resume := make(chan error)
				r.sink.fail = func(ctx context.Context) error {
					select {
					case err := <-resume:
						return err
					case <-ctx.Done():
						return fmt.Errorf("sink: %w", ctx.Err())
					}
				}
				var ended [2]chan error
				var cancel [2]func()
				for i := range ended {
					ctx, c := context.WithCancel(t.Context())
					cancel[i], ended[i] = c, make(chan error, 1)
					go func() { ended[i] <- r.Report(ctx, modified("k")) }()
					synctest.Wait()
				}
				tt.end(resume, cancel[0], cancel[1])
				for i := range ended {
					got := <-ended[i]
					if tt.want[i] == errDown && got != nil && got.Error() == "report finding: down" {
						continue
					}
					if !errors.Is(got, tt.want[i]) || tt.want[i] == nil && got != nil {
						t.Errorf("caller %d: %v, want %v", i, got, tt.want[i])
					}
					cancel[i]()
				}
				cancel[0]()
				cancel[1]()
				if got := r.sink.count(); got != tt.sent || r.Count() != tt.counts {
					t.Errorf("sent %d times, want %d; counted %d times, want %d", got, tt.sent, r.Count(), tt.counts)
				}
				if got := r.Ready(t.Context()); (got != nil) != (tt.ready != nil) {
					t.Errorf("ready: %v", got)
				}
			})
		})
	}
}

// A finding that its sink refuses is not reported: the next call tries it again.
func TestRetry(t *testing.T) {
	r := start(t, state.NewMemory(), true)
	r.sink.fail = func(context.Context) error { return errDown }
	for range 2 {
		err := r.Report(t.Context(), modified("k"))
		if err == nil || errors.Is(err, findings.ErrHalt) || errors.Is(err, errDown) || r.Ready(t.Context()) == nil ||
			r.Count() != 0 {
			t.Errorf("refused: %v", err)
		}
	}
	if got := r.value(t, "finding_retries_total", ""); got != 2 {
		t.Errorf("%v retries", got)
	}
	r.sink.fail = nil
	for range 2 { // where the run halts, a finding that is known halts it, too
		if err := r.Report(t.Context(), modified("k")); !errors.Is(err, findings.ErrHalt) {
			t.Errorf("%v", err)
		}
	}
	if err := r.Ready(t.Context()); err != nil || r.sink.count() != 3 || r.Count() != 1 {
		t.Errorf("%v, given %d times, counted %d times", err, r.sink.count(), r.Count())
	}
}

// Of many findings the last 50,000 are remembered, and of those before as many at most.
func TestBoundedMemory(t *testing.T) {
	const most, n = 50_000, 160_000
	r := start(t, state.NewMemory(), false)
	r.sink.all = make([]finding.Finding, 0, n)
	report := func(i int) (again bool) {
		before := len(r.sink.all)
		if err := r.Report(t.Context(), modified(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		return len(r.sink.all) > before
	}
	for i := range n {
		if !report(i) {
			t.Fatalf("finding %d is taken for another", i)
		}
	}
	for i := n - most; i < n; i++ {
		if report(i) {
			t.Fatalf("finding %d is forgotten", i)
		}
	}
	if !report(0) || !report(n-2*most-1) {
		t.Error("more findings are remembered than there is room for")
	}
}

// counting is a store that counts its writes.
type counting struct {
	*state.Memory
	puts int
	err  error
}

func (s *counting) Put(ctx context.Context, name string, value []byte, prev state.Version) (state.Version, error) {
	s.puts++
	if s.err != nil {
		return "", s.err
	}
	return s.Memory.Put(ctx, name, value, prev)
}

// When a finding was reported survives the worker, as does its state: a scraper may not
// have seen it in time.
func TestDatesSurviveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := state.NewMemory()
		first := start(t, store, false)
		const last = "last_finding_timestamp_seconds"
		if got := first.value(t, last, finding.Rollback); got != 0 {
			t.Errorf("at first %v", got)
		}
		began := time.Now()
		report := func(r *run, class finding.Class) error { return r.Report(t.Context(), finding.Finding{Class: class}) }
		if err := report(first, finding.Rollback); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if err := report(first, finding.Gap); err != nil {
			t.Fatal(err)
		}
		second := start(t, store, false)
		for class, want := range map[finding.Class]time.Time{finding.Rollback: began, finding.Gap: time.Now()} {
			if got := second.value(t, last, class); got != float64(want.Unix()) {
				t.Errorf("after a restart %s: %v, want %d", class, got, want.Unix())
			}
		}
		// What the sink refuses has no date.
		second.sink.fail = func(context.Context) error { return errDown }
		if report(second, finding.ChainHole) == nil {
			t.Error("no error")
		}
		if got := start(t, store, false).value(t, last, finding.ChainHole); got != 0 {
			t.Errorf("refused, and dated %v", got)
		}
	})
}

// Many findings of a class cost one write a minute. A state that takes nothing holds back
// no finding, and shows.
func TestDatesAreWrittenSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &counting{Memory: state.NewMemory()}
		r := start(t, store, false)
		n := 0
		report := func(class finding.Class, times int) {
			for range times {
				n++
				if err := r.Report(t.Context(), finding.Finding{Class: class, Detail: fmt.Sprint(n)}); err != nil {
					t.Error(err)
				}
			}
		}
		expect := func(when string, puts, failed int) {
			t.Helper()
			if store.puts != puts || len(r.failed) != failed || r.sink.count() != n {
				t.Errorf("%s: %d writes, want %d; %v", when, store.puts, puts, r.failed)
			}
		}
		report(finding.Gap, 1000)
		expect("at once", 1, 0)
		report(finding.LogModified, 10)
		expect("another class", 2, 0)
		time.Sleep(59 * time.Second)
		report(finding.Gap, 10)
		expect("within a minute", 2, 0)
		time.Sleep(time.Second)
		report(finding.Gap, 10)
		expect("after a minute", 3, 0)
		time.Sleep(time.Minute)
		store.err = errDown
		report(finding.Gap, 2)
		expect("while the state fails", 5, 2)
		store.err = nil
		report(finding.Gap, 2)
		expect("after that", 6, 2)
	})
}

// Two workers on one state keep each other's dates.
func TestDatesConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := state.NewMemory()
		a, b := start(t, store, false), start(t, store, false)
		began := time.Now()
		for i, r := range []*run{a, b, a, b} {
			class := []finding.Class{finding.Gap, finding.Rollback, finding.LogMissing, finding.Gap}[i]
			if err := r.Report(t.Context(), finding.Finding{Class: class, Detail: fmt.Sprint(i)}); err != nil ||
				len(r.failed) > 0 {
				t.Error(err, r.failed)
			}
			time.Sleep(time.Minute)
		}
		later := start(t, store, false)
		for class, minutes := range map[finding.Class]int64{finding.Gap: 3, finding.Rollback: 1, finding.LogMissing: 2} {
			if got := later.value(t, "last_finding_timestamp_seconds", class); got != float64(began.Unix()+60*minutes) {
				t.Errorf("%s: %v", class, got)
			}
		}
	})
}

// Dates that cannot be read end the start, and are not taken for none.
func TestDamagedDates(t *testing.T) {
	store := state.NewMemory()
	if _, err := store.Put(t.Context(), "findings", []byte(`{"gap":`), ""); err != nil {
		t.Fatal(err)
	}
	_, err := findings.New(
		t.Context(),
		findings.Options{Sink: &taker{}, Store: store, Now: time.Now, Metrics: prometheus.NewRegistry()},
	)
	if err == nil {
		t.Error("no error")
	}
}
