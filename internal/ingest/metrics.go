package ingest

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/pkg/trail"
)

// Metrics are the worker's. Names get the program's prefix where they are
// registered; units are seconds and bytes.
type Metrics struct {
	digests, logs, findings, unverified *prometheus.CounterVec
	events, inflated, deadLetters       prometheus.Counter
	sinkRetries                         prometheus.Counter
	stages                              *prometheus.HistogramVec
	attestationDelay                    prometheus.Histogram
	memoryBudget                        prometheus.Gauge
	verifiedUntil, gaps                 *prometheus.GaugeVec
}

// chainsMost caps the label sets of the chain gauges: beyond it the chains of
// the statusz page remain.
const chainsMost = 10_000

// NewMetrics registers the worker's metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	chain := []string{"account", "region", "trail"}
	m := &Metrics{
		digests:          counters("digests_total", "Digest files dealt with.", "result"),
		logs:             counters("logs_total", "Log files dealt with.", "result"),
		findings:         counters("findings_total", "Findings reported.", "class"),
		unverified:       counters("unverified_total", "Objects that could not be checked when they were read; each is tried again.", "reason"),
		events:           counter("events_total", "Events that are durable in every sink."),
		inflated:         counter("inflated_bytes_total", "Inflated bytes of proven log files."),
		deadLetters:      counter("dead_letters_total", "Records of proven log files that are no JSON objects."),
		sinkRetries:      counter("sink_retries_total", "Batches that a sink refused and that were tried again."),
		stages:           prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "stage_seconds", Help: "Time that one log file spends in a stage.", Buckets: prometheus.ExponentialBuckets(0.001, 3, 12)}, []string{"stage"}),
		attestationDelay: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "attestation_delay_seconds", Help: "From a digest's end until its events are durable downstream.", Buckets: prometheus.ExponentialBuckets(60, 2, 14)}),
		memoryBudget:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "memory_budget_bytes", Help: "Bytes that log files in flight may hold."}),
		verifiedUntil:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "chain_verified_until_timestamp_seconds", Help: "End of the chain's newest proven digest."}, chain),
		gaps:             prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "chain_gaps", Help: "Gaps found in the chain since the worker started."}, chain),
	}
	r.MustRegister(m.digests, m.logs, m.findings, m.unverified, m.events, m.inflated, m.deadLetters, m.sinkRetries,
		m.stages, m.attestationDelay, m.memoryBudget, m.verifiedUntil, m.gaps)
	for _, result := range []string{"valid", "invalid"} { // shown from the start, so that an alert can tell 0 from unknown
		m.digests.WithLabelValues(result)
		m.logs.WithLabelValues(result)
	}
	return m
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func counters(name, help, label string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
}

func (m *Metrics) stage(name string, d time.Duration) {
	m.stages.WithLabelValues(name).Observe(d.Seconds())
}

// labels are those of the chain's gauges.
func labels(c trail.Chain) []string { return []string{c.Account, c.Region, c.Trail} }
