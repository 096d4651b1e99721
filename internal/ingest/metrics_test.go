package ingest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/finding"
)

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
			value := m.GetCounter().GetValue() + m.GetGauge().GetValue()
			all[f.GetName()+"{"+strings.Join(labels, ",")+"}"] = value
		}
	}
	return all
}

// A counter that appears with its first event has no increase: everything that
// an alert looks at is there before anything happens.
func TestZerosAreShown(t *testing.T) {
	r := prometheus.NewRegistry()
	s := newSite(t, 1)
	s.cfg.Metrics = r
	if _, err := ingest.New(t.Context(), s.cfg); err != nil {
		t.Fatal(err)
	}
	got := values(t, r)
	want := []string{
		"digests_total{result=valid}", "logs_total{result=invalid}", "announced_total{result=refused}", "state_errors_total{}",
		"finding_retries_total{}", "chains{state=waiting}", "unaccounted{kind=objects}",
	}
	for _, class := range finding.Classes() {
		want = append(want, fmt.Sprintf("findings_total{class=%s}", class), fmt.Sprintf("last_finding_timestamp_seconds{class=%s}", class))
	}
	for _, reason := range finding.Reasons() {
		want = append(want, fmt.Sprintf("unverified_total{reason=%s}", reason))
	}
	for _, series := range want {
		if v, there := got[series]; !there || v != 0 {
			t.Errorf("%s: %v, %v", series, v, there)
		}
	}
}

func (s *site) runFor(t *testing.T) map[string]float64 {
	t.Helper()
	r := prometheus.NewRegistry()
	s.cfg.Metrics = r
	if _, err := ingest.Run(t.Context(), s.cfg); err != nil {
		t.Fatal(err)
	}
	return values(t, r)
}

func TestFindingIsCountedAndDated(t *testing.T) {
	s := newSite(t, 5)
	s.Edit(bucket, s.c.Issued[2].Logs[0].Key, func(o *testtrail.Stored) { o.Body = append(o.Body, 0) })
	got := s.runFor(t)
	if n := got["findings_total{class=log-corrupt}"]; n != 1 {
		t.Errorf("%v findings", n)
	}
	if at := got["last_finding_timestamp_seconds{class=log-corrupt}"]; at != float64(s.cfg.Now().Unix()) {
		t.Errorf("last at %v", at)
	}
	if at := got["last_finding_timestamp_seconds{class=log-modified}"]; at != 0 {
		t.Errorf("another class at %v", at)
	}
	if n := got["grace_seconds{}"]; n != s.cfg.Grace.Seconds() {
		t.Errorf("grace %v", n)
	}
}

// What cannot be read is counted once for each try, and its chain waits.
func TestWaitingChainIsCounted(t *testing.T) {
	s := newSite(t, 3)
	other := s.trail.Chain("444455556666", region, day)
	other.Hours(3)
	s.Fail(bucket, s.c.Issued[2].Logs[0].Key, &testtrail.Fault{Err: fmt.Errorf("get: %w", finding.ErrKMSDenied)})
	got := s.runFor(t)
	for series, want := range map[string]float64{
		"chains{state=waiting}": 1, "chains{state=current}": 1, "chains{state=behind}": 0, "chains{state=late}": 0, "pending_digests{}": 2,
		"unverified_total{reason=kms-denied}": 4, "unverified_total{reason=network}": 0, // four tries
	} {
		if got[series] != want {
			t.Errorf("%s %v, want %v", series, got[series], want)
		}
	}
}

// The newest digest of a copy has no signature yet: that is no trouble.
func TestUnsignedChainDoesNotWait(t *testing.T) {
	s := newSite(t, 3)
	s.copied(t, t.TempDir())
	if got := s.runFor(t); got["chains{state=unsigned}"] != 1 || got["chains{state=waiting}"] != 0 {
		t.Errorf("%v", got)
	}
}

func TestRefusalsAreCounted(t *testing.T) {
	for seam, series := range map[string]string{
		"Find": "finding_retries_total{}", "Get head": "state_errors_total{}", "Put": "state_errors_total{}",
	} {
		t.Run(seam, func(t *testing.T) {
			s := newFaultSite(t).fresh()
			f := &fault{seam: seam, mode: "fails", n: map[string]int{"Get head": 3}[seam]} // after findings and listings
			f.n = max(f.n, 1)
			s.cfg.State, s.cfg.Sink, s.cfg.Findings = struckState{s.store, f}, retried(struckSink{s.sink, f}), struckFindings{s.found, f}
			got := s.runFor(t)
			if got[series] != 1 || got["state_conflicts_total{}"] != 0 {
				t.Errorf("%s %v", series, got[series])
			}
		})
	}
}
