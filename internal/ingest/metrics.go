package ingest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/logfile"
	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// metrics are the worker's. The program gives their names its prefix. Units are seconds
// and bytes.
type metrics struct {
	digests, logs, unverified   *prometheus.CounterVec
	announced, removals         *prometheus.CounterVec
	attestationDelay            prometheus.Histogram
	verifiedUntil, gaps         *prometheus.GaugeVec
	fetched                     prometheus.Counter
	stateConflicts, stateErrors prometheus.Counter
	began                       *prometheus.CounterVec
	dropped                     prometheus.Counter
	grace, unmatched            prometheus.Gauge

	mu     sync.Mutex         // guards chains
	chains map[[3]string]bool // that have gauges
}

// maxChainGauges bounds the label sets of the gauges of chains: /statusz shows the others.
const maxChainGauges = 10_000

// Where a chain begins, as labels of a metric.
const (
	beganAtStart = "start"
	beganLater   = "later"
)

func newMetrics(r prometheus.Registerer, w *Worker) *metrics {
	ofChain := []string{"account", "region", "trail"}
	m := &metrics{
		chains:  map[[3]string]bool{},
		digests: counters("digests_total", "Digest files processed, by result.", "result"),
		logs:    counters("logs_total", "Log files processed, by result.", "result"),
		unverified: counters(
			"unverified_total",
			"Objects that could not be checked when they were read, once for each try, and records that could not be taken as events (odd-record), by reason.",
			"reason",
		),
		announced: counters(
			"announced_total",
			"Objects that announcements named, by result: digests are followed, others skipped, foreign ones refused.",
			"result",
		),
		removals: counters("removals_total", "Announced deletions, by what looking at the object showed.", "result"),
		attestationDelay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "attestation_delay_seconds", Help: "Time from a digest's end until its events are durable in every sink.",
			Buckets: prometheus.ExponentialBuckets(60, 2, 14),
		}),
		verifiedUntil: gauges(
			"chain_verified_until_timestamp_seconds",
			"End of the chain's newest proven digest.",
			ofChain,
		),
		gaps:    gauges("chain_gaps", "Gaps found in the chain since the worker started.", ofChain),
		fetched: counter("fetched_bytes_total", "Stored bytes read from sources."),
		stateConflicts: counter("state_conflicts_total",
			"Heads that another worker had changed."),
		stateErrors: counter(
			"state_errors_total",
			"Heads, listings and dates of findings that could not be loaded or stored.",
		),
		began: counters(
			"chains_began_total",
			"Chains that this worker began to follow: at their start, or at a later digest.",
			"at",
		),
		dropped: counter(
			"dropped_names_total",
			"Names of chains that were left out because too many wait for a proof.",
		),
		grace:     gauge("grace_seconds", "How long after its hour a digest may arrive before it counts as late."),
		unmatched: gauge("unmatched_heads", "Heads in the state that belong to no source."),
	}
	r.MustRegister(
		m.digests,
		m.logs,
		m.unverified,
		m.announced,
		m.removals,
		m.attestationDelay,
		m.verifiedUntil,
		m.gaps,
		m.fetched,
		m.stateConflicts,
		m.stateErrors,
		m.began,
		m.dropped,
		m.grace,
		m.unmatched,
		chainCollector{w},
	)
	m.showZeros()
	return m
}

// showZeros makes all series exist from the start: Prometheus does not see the increase of
// a counter that appears with its first event.
func (m *metrics) showZeros() {
	for _, result := range logfile.Results() {
		m.digests.WithLabelValues(result)
		m.logs.WithLabelValues(result)
	}
	for _, result := range []string{"digest", "skipped", "refused"} {
		m.announced.WithLabelValues(result)
	}
	for _, result := range []string{
		removalPresent, removalExpired, removalUnselected, removalUnlisted, removalAhead, removalListed, removalUnverified,
	} {
		m.removals.WithLabelValues(result)
	}
	for _, at := range []string{beganAtStart, beganLater} {
		m.began.WithLabelValues(at)
	}
	for _, reason := range finding.Reasons() {
		m.unverified.WithLabelValues(string(reason))
	}
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func counters(name, help, label string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
}

func gauges(name, help string, labels []string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
}

// unverifiedBy counts objects or records that were not checked. An object that may still
// arrive has no reason, and is not counted.
func (m *metrics) unverifiedBy(reason finding.Reason, n int) {
	if reason != "" {
		m.unverified.WithLabelValues(string(reason)).Add(float64(n))
	}
}

// stateFailed counts a head that could not be loaded or stored.
func (m *metrics) stateFailed(ctx context.Context, err error) {
	switch {
	case errors.Is(err, state.ErrConflict):
		m.stateConflicts.Inc()
	case ctx.Err() == nil:
		m.stateErrors.Inc()
	}
}

// showHead sets the chain's gauges, after a restart too: a chain that stands still must
// not vanish from the dashboards.
func (m *metrics) showHead(c trail.Chain, end time.Time) {
	if !c.Backfill && !end.IsZero() {
		m.ofChain(m.verifiedUntil, c, func(g prometheus.Gauge) { g.Set(float64(end.Unix())) })
		m.ofChain(m.gaps, c, func(prometheus.Gauge) {}) // it exists, be it 0
	}
}

// hideHead removes the gauge of a chain that has ended: it would look late.
func (m *metrics) hideHead(c trail.Chain) {
	if !c.Backfill {
		m.verifiedUntil.DeleteLabelValues(c.Account, c.Region, c.Trail)
	}
}

func (m *metrics) addGap(c trail.Chain) { m.ofChain(m.gaps, c, prometheus.Gauge.Inc) }

// ofChain sets a gauge of a chain, unless too many chains have gauges already.
func (m *metrics) ofChain(g *prometheus.GaugeVec, c trail.Chain, set func(prometheus.Gauge)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	labels := [3]string{c.Account, c.Region, c.Trail}
	if !m.chains[labels] && len(m.chains) >= maxChainGauges {
		return
	}
	m.chains[labels] = true
	set(g.WithLabelValues(labels[:]...))
}

// chainCollector counts the chains by their states when it is scraped. It computes nothing
// for each pending digest.
type chainCollector struct{ w *Worker }

var (
	chainsDesc = prometheus.NewDesc(
		"chains",
		"Chains that are followed, by state: current, behind (there is more to do), "+
			"waiting (the last try failed), unsigned (a copy's newest digest waits for its successor), "+
			"late (no digest came within the grace), ended (for good), unproven (no digest is trusted yet).",
		[]string{"state"},
		nil,
	)
	pendingDesc = prometheus.NewDesc("pending_digests",
		"Digests that are known and not done. Of a chain with a backlog, those that are kept count.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c chainCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- chainsDesc
	ch <- pendingDesc
}

// Collect implements prometheus.Collector.
func (c chainCollector) Collect(ch chan<- prometheus.Metric) {
	states, pending := map[string]int{
		stateCurrent: 0, stateBehind: 0, stateWaiting: 0, stateUnsigned: 0, stateLate: 0, stateEnded: 0, stateUnproven: 0,
	}, 0
	for _, loop := range c.w.chains.list() {
		states[stateOf(loop)]++
		pending += loop.frontier.Len()
	}
	for state, n := range states {
		ch <- prometheus.MustNewConstMetric(chainsDesc, prometheus.GaugeValue, float64(n), state)
	}
	ch <- prometheus.MustNewConstMetric(pendingDesc, prometheus.GaugeValue, float64(pending))
}
