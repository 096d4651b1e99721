package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/trailseal/trailseal/pkg/trail"
)

// emits is a sink of one function.
type emits func(context.Context) error

func (e emits) Emit(ctx context.Context, _ trail.Batch) error { return e(ctx) }
func (emits) Close() error                                    { return nil }

// A sink that fails shows by its errors, one that hangs by the age of what it
// has not taken; who is only ended with the others shows by neither.
func TestSinkMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := prometheus.NewRegistry()
		m := newSinkMetrics(r)
		expect := func(when, errs, oldest string) {
			t.Helper()
			want := `# HELP sink_errors_total Batches that a sink gave back; each is tried again.
# TYPE sink_errors_total counter
sink_errors_total{sink="s3"} ` + errs + `
# HELP sink_oldest_seconds How long the oldest batch waits for a sink to take it, 0 without one.
# TYPE sink_oldest_seconds gauge
sink_oldest_seconds{sink="s3"} ` + oldest + "\n"
			if err := testutil.GatherAndCompare(r, strings.NewReader(want), "sink_errors_total", "sink_oldest_seconds"); err != nil {
				t.Errorf("%s: %v", when, err)
			}
		}
		release := make(chan struct{})
		hangs := m.measure(emits(func(ctx context.Context) error {
			select {
			case <-release:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}), "s3")
		expect("at first", "0", "0")
		fails := m.measure(emits(func(context.Context) error { return errors.New("no") }), "s3")
		if fails.Emit(t.Context(), trail.Batch{}) == nil {
			t.Error("no error")
		}
		expect("after an error", "1", "0")
		go hangs.Emit(t.Context(), trail.Batch{})
		synctest.Wait()
		time.Sleep(time.Minute)
		go hangs.Emit(t.Context(), trail.Batch{})
		synctest.Wait()
		time.Sleep(time.Minute)
		expect("while two wait", "1", "120")
		close(release)
		synctest.Wait()
		expect("when they went through", "1", "0")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		ended := m.measure(emits(func(ctx context.Context) error { return ctx.Err() }), "s3")
		if ended.Emit(ctx, trail.Batch{}) == nil {
			t.Error("no error")
		}
		expect("after one was ended", "1", "0")
	})
}

// An event that a sink refuses for its content is lost to it: that is counted.
func TestRefusedEvents(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }))
	defer srv.Close()
	w := &wiring{app: &app{now: time.Now}, config: &config{DeadLetters: filepath.Join(t.TempDir(), "letters")}}
	defer w.close()
	w.metrics()
	w.sinkMetrics = newSinkMetrics(w.registerer())
	s, err := w.openSink(t.Context(), srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b := trail.Batch{Lines: [][]byte{[]byte(`{"a":1}`), []byte(`{"b":2}`)}, IDs: []string{"a", "b"}}
	if err := w.sinkMetrics.measure(s, "http").Emit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if n := testutil.ToFloat64(w.sinkMetrics.refused.WithLabelValues("http")); n != 2 {
		t.Errorf("%v events refused", n)
	}
}
