package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/ledger"
	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/pkg/finding"
)

// A counter that appears with its first event has no increase: everything that an alert looks at
// is there before anything happens.
func TestMetricsOfANewWorker(t *testing.T) {
	r := prometheus.NewRegistry()
	s := newSite(t, 1)
	s.cfg.Metrics = r
	if _, err := ingest.New(t.Context(), s.cfg); err != nil {
		t.Fatal(err)
	}
	if problems, err := testutil.GatherAndLint(r); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	want := []string{
		"digests_total{result=valid}", "logs_total{result=invalid}", "announced_total{result=refused}",
		"state_errors_total{}", "finding_retries_total{}", "chains{state=waiting}", "unaccounted{kind=objects}",
	}
	for _, class := range finding.Classes() {
		want = append(want, fmt.Sprintf("findings_total{class=%s}", class))
		want = append(want, fmt.Sprintf("last_finding_timestamp_seconds{class=%s}", class))
	}
	for _, reason := range finding.Reasons() {
		want = append(want, fmt.Sprintf("unverified_total{reason=%s}", reason))
	}
	got := values(t, r)
	for _, series := range want {
		if v, isThere := got[series]; !isThere || v != 0 {
			t.Errorf("%s: %v, %v", series, v, isThere)
		}
	}
}

// Metrics say what a run met.
func TestMetrics(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(*site)
		want map[string]float64
	}{
		{"a finding", func(s *site) { s.Edit(bucket, s.c.Issued[2].Logs[0].Key, spoil) }, map[string]float64{
			"findings_total{class=log-corrupt}": 1, "grace_seconds{}": 7200,
			"last_finding_timestamp_seconds{class=log-corrupt}":  float64(day.Add(4*time.Hour + 491*time.Second).Unix()),
			"last_finding_timestamp_seconds{class=log-modified}": 0,
		}},
		// What cannot be read is counted once for each try, and its chain waits.
		{"a chain that waits", func(s *site) {
			s.chain(other, region, day).Hours(3)
			s.deny(s.c.Issued[2].Logs[0], finding.ErrKMSDenied)
		}, map[string]float64{
			"chains{state=waiting}": 1, "chains{state=current}": 1, "chains{state=behind}": 0, "chains{state=late}": 0,
			"pending_digests{}": 2, "unverified_total{reason=kms-denied}": 4, "unverified_total{reason=network}": 0,
		}},
		{"a head of another source", func(s *site) {
			name := ledger.Name("s3://another", s.c.Name())
			if _, err := s.state.Store.Put(s.t.Context(), name, []byte(`{"version":2}`), ""); err != nil {
				s.t.Fatal(err)
			}
		}, map[string]float64{"unmatched_heads{}": 1}},
		{"a first head that seems not to be stored", func(s *site) {
			s.cfg.Since = s.c.Now().Add(-90 * time.Minute)
			fails := once(errReset)
			s.state.put = func(_ context.Context, _ string, put func() (state.Version, error)) (state.Version, error) {
				v, err := put()
				return v, errors.Join(err, fails())
			}
		}, map[string]float64{"chains_began_total{at=later}": 1, "state_errors_total{}": 1}},
		{"a restart", func(s *site) { s.run() }, map[string]float64{
			"chain_verified_until_timestamp_seconds{account=111122223333,region=us-east-1,trail=main}": float64(
				day.Add(3*time.Hour + 491*time.Second).Unix()),
		}},
	} {
		withSite(t, tt.name, 3, func(s *site) {
			tt.make(s)
			_, series := s.run()
			for name, want := range tt.want {
				if series[name] != want {
					s.t.Errorf("%s is %v, want %v", name, series[name], want)
				}
			}
		})
	}
}
