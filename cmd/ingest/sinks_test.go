package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/sink/sinktest"
)

// A sink that fails shows by its errors, one that hangs by the age of what it
// has not taken. An event counts when its sink has flushed it.
func TestSinkMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, m := prometheus.NewRegistry(), newSinkMetrics()
		s3, file := &sinktest.Memory{Buffers: true}, &sinktest.Memory{}
		members := []sink.Member{{Name: "a", Sink: s3, Took: m.ofBatches("s3")}, {Name: "b", Sink: file, Took: m.ofBatches("file")}}
		set, err := sink.NewSet(sink.Options{Retry: retrySink}, members...)
		if err != nil {
			t.Fatal(err)
		}
		m.set = set
		r.MustRegister(m)
		expect := func(when, events, errs, oldest string) {
			t.Helper()
			want := `# HELP events_total Events that a sink has made durable, repeats included.
# TYPE events_total counter
events_total{sink="file"} ` + events + `
events_total{sink="s3"} ` + events + `
# HELP sink_errors_total Attempts to give events to a sink, or to flush it, that failed.
# TYPE sink_errors_total counter
sink_errors_total{sink="file"} ` + errs + `
sink_errors_total{sink="s3"} 0
# HELP sink_oldest_seconds How long the oldest batch waits for a sink to take it or make it durable, 0 without one.
# TYPE sink_oldest_seconds gauge
sink_oldest_seconds{sink="file"} 0
sink_oldest_seconds{sink="s3"} ` + oldest + `
# HELP sink_retries_total Attempts that failed and after which another was made, of all sinks.
# TYPE sink_retries_total counter
sink_retries_total ` + errs + "\n"
			if err := testutil.GatherAndCompare(r, strings.NewReader(want), "events_total", "sink_errors_total", "sink_oldest_seconds", "sink_retries_total"); err != nil {
				t.Errorf("%s: %v", when, err)
			}
		}
		expect("at first", "0", "0", "0")
		file.Fail(2)
		if err := set.Emit(t.Context(), sinktest.Batch(1, 10)); err != nil {
			t.Fatal(err)
		}
		expect("emitted after two errors", "0", "2", "0")
		resume := s3.Stall()
		go func() { _ = set.Flush(t.Context()) }()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := testutil.CollectAndCount(r, "sink_seconds"); n != 2 {
			t.Errorf("%d histograms", n)
		}
		resume()
		synctest.Wait()
		expect("flushed", "10", "2", "0")
		if problems, err := testutil.GatherAndLint(r); err != nil || len(problems) > 0 {
			t.Errorf("%v %v", problems, err)
		}
	})
}

// A sink that fails is tried for ever. What the end of the program breaks off is not.
func TestRetrySink(t *testing.T) {
	for try := 1; try <= 100; try++ {
		if pause, giveUp := retrySink("s3", try, errors.New("down")); giveUp || pause <= 0 {
			t.Errorf("try %d: %v, %v", try, pause, giveUp)
		}
	}
	if _, giveUp := retrySink("s3", 1, fmt.Errorf("emit: %w", context.Canceled)); !giveUp {
		t.Error("tried again after the program's end")
	}
}

// An event that a sink refuses for its content is lost to it: that is counted.
func TestRefusedEvents(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }))
	defer srv.Close()
	opened, m := &resources{}, newSinkMetrics()
	defer opened.close()
	o := &sinkOpener{
		app: app{now: time.Now}, config: &config{DeadLetters: filepath.Join(t.TempDir(), "letters")},
		opened: opened, metrics: m,
	}
	s, err := o.open(t.Context(), srv.URL, sink.Trailseal)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Emit(t.Context(), sinktest.Batch(1, 2)); err != nil {
		t.Fatal(err)
	}
	if n := testutil.ToFloat64(m.refused.WithLabelValues("http")); n != 2 {
		t.Errorf("%v events refused", n)
	}
}

// Each sink has its own series, with few labels that hold nothing of a setting.
func TestLabels(t *testing.T) {
	settings := []string{
		"file:a", "s3://b", "file:c", "https://h/1", "https://h/2", "opensearch+https://h/i", "file:d",
	}
	var got []string
	for _, s := range settings {
		got = append(got, labelOf(new(sinkOpener).kinds(), settings, s))
	}
	want := []string{"file", "s3", "file-2", "https", "https-2", "opensearch+https", "file-3"}
	if !slices.Equal(got, want) {
		t.Errorf("labels %q, want %q", got, want)
	}
}

// The table of kinds says which settings there are and what they may be used for.
func TestKinds(t *testing.T) {
	kinds := new(sinkOpener).kinds()
	for _, tt := range []struct {
		setting, label   string
		events, findings bool
	}{
		{"stdout", "stdout", true, true}, {"stderr", "stderr", false, true}, {"file:a", "file", true, true},
		{"s3://b/p", "s3", true, false}, {"https://h", "https", true, false}, {"http://h", "http", true, false},
		{"opensearch+https://h/i", "opensearch+https", true, false}, {"opensearch+http://h/i", "opensearch+http", true, false},
		{"json+https://h/p", "json+https", true, false}, {"elastic+https://h/s", "elastic+https", true, false}, {"loki+https://h", "loki+https", true, false}, {"datadog+https://h", "datadog+https", true, false}, {"splunk+https://x:t@h:8088", "splunk+https", true, false},
		{"stdout:", "", false, false}, {"stdouts", "", false, false}, {"file:", "", false, false}, {"file", "", false, false},
		{"s3:b", "", false, false}, {"s3://", "", false, false}, {"kafka://b/t", "", false, false}, {"", "", false, false},
	} {
		k, _ := sink.KindOf(kinds, tt.setting)
		if k.Label() != tt.label || isOneOf(kinds, tt.setting, takesEvents) != tt.events || isOneOf(kinds, tt.setting, takesFindings) != tt.findings {
			t.Errorf("%q: %+v", tt.setting, k)
		}
	}
	for _, k := range kinds {
		if k.Open == nil || k.Check == nil || k.Usage != "" && !strings.HasPrefix(k.Usage, k.Scheme) {
			t.Errorf("%s is not whole", k.Scheme)
		}
	}
}
