package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Metrics are the worker's. Names get the program's prefix where they are
// registered; units are seconds and bytes.
type Metrics struct {
	digests, logs, findings, unverified *prometheus.CounterVec
	announced                           *prometheus.CounterVec
	inflated, deadLetters               prometheus.Counter
	sinkRetries, findingRetries         prometheus.Counter
	stages                              *prometheus.HistogramVec
	attestationDelay                    prometheus.Histogram
	memoryBudget                        prometheus.Gauge
	verifiedUntil, gaps                 *prometheus.GaugeVec
	inFlight                            prometheus.Gauge
	eventAge                            prometheus.Histogram
	fetched                             prometheus.Counter
	stateConflicts, stateErrors         prometheus.Counter
	lastFinding                         *prometheus.GaugeVec
	grace                               prometheus.Gauge
	census                              census
	accounts                            accounts

	chainsMu sync.Mutex
	chains   map[[3]string]bool // that have gauges
}

// accounts keep the identities: everything that came in has exactly one
// outcome or is in flight. They change under one lock, so that a scrape never
// sees half a change.
type accounts struct {
	mu      sync.Mutex
	objects outcomes // log files
	records outcomes // their events
	others  map[string]func() int64
}

// outcomes counts what came in by what became of it. returned is what could
// not be dealt with and comes in again.
type outcomes struct {
	in, emitted, quarantined, returned, inFlight int64
}

func (o outcomes) unaccounted() int64 {
	return o.in - o.emitted - o.quarantined - o.returned - o.inFlight
}

// begin notes a log that comes in; end must follow.
func (a *accounts) begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.objects.in++
	a.objects.inFlight++
}

// end notes what became of a log.
func (a *accounts) end(quarantined bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.objects.inFlight--
	switch {
	case err != nil:
		a.objects.returned++
	case quarantined:
		a.objects.quarantined++
	default:
		a.objects.emitted++
	}
}

// lines notes the records of one pass over a log: those that were taken up, and
// of them those that were emitted and those that have no line.
func (a *accounts) lines(taken, emitted, odd int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.records.in += int64(taken)
	a.records.emitted += int64(emitted)
	a.records.quarantined += int64(odd)
	a.records.returned += int64(taken - emitted - odd)
}

var (
	outcomeDesc     = prometheus.NewDesc("outcomes_total", "What became of log files (objects) and events (records); returned ones come in again.", []string{"kind", "outcome"}, nil)
	unaccountedDesc = prometheus.NewDesc("unaccounted", "What came in and has neither an outcome nor is in flight: must be 0.", []string{"kind"}, nil)
)

// wait counts something that waits. Waiting for what may still arrive has no
// reason to count.
func (m *Metrics) wait(reason finding.Reason) {
	if reason != "" {
		m.unverified.WithLabelValues(string(reason)).Inc()
	}
}

// Account adds a kind of thing that somebody else keeps account of.
func (m *Metrics) Account(kind string, unaccounted func() int64) {
	m.accounts.mu.Lock()
	defer m.accounts.mu.Unlock()
	if m.accounts.others == nil {
		m.accounts.others = map[string]func() int64{}
	}
	m.accounts.others[kind] = unaccounted
}

// Describe implements prometheus.Collector.
func (a *accounts) Describe(ch chan<- *prometheus.Desc) {
	ch <- outcomeDesc
	ch <- unaccountedDesc
}

// Collect implements prometheus.Collector.
func (a *accounts) Collect(ch chan<- prometheus.Metric) {
	a.mu.Lock()
	kinds, others := map[string]outcomes{"objects": a.objects, "records": a.records}, maps.Clone(a.others)
	a.mu.Unlock()
	for kind, unaccounted := range others {
		ch <- prometheus.MustNewConstMetric(unaccountedDesc, prometheus.GaugeValue, float64(unaccounted()), kind)
	}
	for kind, o := range kinds {
		for outcome, n := range map[string]int64{"emitted": o.emitted, "quarantined": o.quarantined, "returned": o.returned} {
			ch <- prometheus.MustNewConstMetric(outcomeDesc, prometheus.CounterValue, float64(n), kind, outcome)
		}
		ch <- prometheus.MustNewConstMetric(unaccountedDesc, prometheus.GaugeValue, float64(o.unaccounted()), kind)
	}
}

// chainsMost caps the label sets of the chain gauges: beyond it the chains of
// the statusz page remain.
const chainsMost = 10_000

// NewMetrics registers the worker's metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	chain := []string{"account", "region", "trail"}
	m := &Metrics{
		chains:           map[[3]string]bool{},
		digests:          counters("digests_total", "Digest files dealt with.", "result"),
		logs:             counters("logs_total", "Log files dealt with.", "result"),
		findings:         counters("findings_total", "Findings reported.", "class"),
		unverified:       counters("unverified_total", "Objects that could not be checked when they were read, once for each try, and records that were passed over because they are too large (odd-record).", "reason"),
		announced:        counters("announced_total", "Objects that announcements named: digests are followed, others skipped, foreign ones refused.", "result"),
		inflated:         counter("inflated_bytes_total", "Inflated bytes of proven log files."),
		deadLetters:      counter("dead_letters_total", "Records of proven log files that are no JSON objects."),
		sinkRetries:      counter("sink_retries_total", "Batches that a sink refused and that were tried again."),
		stages:           prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "stage_seconds", Help: "Time that one log file spends in a stage.", Buckets: prometheus.ExponentialBuckets(0.001, 3, 12)}, []string{"stage"}),
		attestationDelay: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "attestation_delay_seconds", Help: "From a digest's end until its events are durable downstream.", Buckets: prometheus.ExponentialBuckets(60, 2, 14)}),
		inFlight:         prometheus.NewGauge(prometheus.GaugeOpts{Name: "in_flight_bytes", Help: "Bytes reserved for log files in flight."}),
		eventAge:         prometheus.NewHistogram(prometheus.HistogramOpts{Name: "event_age_seconds", Help: "From a log file's oldest event until it is durable downstream.", Buckets: prometheus.ExponentialBuckets(60, 2, 14)}),
		fetched:          counter("fetched_bytes_total", "Stored bytes read from sources."),
		findingRetries:   counter("finding_retries_total", "Findings that their sink refused; each is tried again."),
		stateErrors:      counter("state_errors_total", "Heads that could not be loaded or stored."),
		lastFinding:      prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "last_finding_timestamp_seconds", Help: "When a finding of the class was reported last, by this or an earlier run on the same state, 0 for never."}, []string{"class"}),
		grace:            prometheus.NewGauge(prometheus.GaugeOpts{Name: "grace_seconds", Help: "How late a chain's newest digest may be."}),
		stateConflicts:   counter("state_conflicts_total", "Heads that somebody else had changed."),
		memoryBudget:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "memory_budget_bytes", Help: "Bytes that log files in flight may hold."}),
		verifiedUntil:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "chain_verified_until_timestamp_seconds", Help: "End of the chain's newest proven digest."}, chain),
		gaps:             prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "chain_gaps", Help: "Gaps found in the chain since the worker started."}, chain),
	}
	r.MustRegister(m.digests, m.logs, m.findings, m.unverified, m.inflated, m.deadLetters, m.sinkRetries,
		m.stages, m.attestationDelay, m.memoryBudget, m.verifiedUntil, m.gaps,
		m.announced, m.inFlight, m.eventAge, m.fetched, m.stateConflicts,
		m.findingRetries, m.stateErrors, m.lastFinding, m.grace, &m.census, &m.accounts)
	m.showZeros()
	return m
}

// showZeros makes every series there is to be: of a counter that appears with
// its first event, Prometheus never sees the increase.
func (m *Metrics) showZeros() {
	for _, result := range []string{"valid", "invalid"} {
		m.digests.WithLabelValues(result)
		m.logs.WithLabelValues(result)
	}
	for _, result := range []string{"digest", "skipped", "refused"} {
		m.announced.WithLabelValues(result)
	}
	for _, class := range finding.Classes() {
		m.findings.WithLabelValues(string(class))
		m.lastFinding.WithLabelValues(string(class))
	}
	for _, reason := range finding.Reasons() {
		m.unverified.WithLabelValues(string(reason))
	}
}

// stateFailed counts a head that could not be loaded or stored.
func (m *Metrics) stateFailed(ctx context.Context, err error) {
	switch {
	case errors.Is(err, trail.ErrConflict):
		m.stateConflicts.Inc()
	case ctx.Err() == nil:
		m.stateErrors.Inc()
	}
}

// found counts a finding that is durable.
func (m *Metrics) found(class finding.Class, now time.Time) {
	m.findings.WithLabelValues(string(class)).Inc()
	m.lastFinding.WithLabelValues(string(class)).Set(float64(now.Unix()))
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

// chain sets a gauge of a chain, unless there are too many chains already.
func (m *Metrics) chain(g *prometheus.GaugeVec, c trail.Chain, set func(prometheus.Gauge)) {
	m.chainsMu.Lock()
	defer m.chainsMu.Unlock()
	labels := [3]string{c.Account, c.Region, c.Trail}
	if !m.chains[labels] && len(m.chains) >= chainsMost {
		return
	}
	m.chains[labels] = true
	set(g.WithLabelValues(labels[:]...))
}

// dated keeps in the state when findings were reported, so that a restart does
// not hide one that nobody has scraped yet. A digest is passed by only after
// its findings are both durable and dated, or found again.
type dated struct {
	FindingSink
	state State
	m     *Metrics
	now   func() time.Time

	mu     sync.Mutex // guards what follows
	stored []byte
	last   map[finding.Class]int64 // Unix seconds
}

const (
	datesName = "findings" // in the state
	// datesApart is how old a date may be: many findings at once cost one write.
	datesApart = 60
)

// Dated returns f with the dates of findings kept in s, and shows those that
// are there.
func Dated(ctx context.Context, f FindingSink, s State, m *Metrics, now func() time.Time) (FindingSink, error) {
	d := &dated{FindingSink: f, state: s, m: m, now: now, last: map[finding.Class]int64{}}
	var err error
	if d.stored, err = s.Load(ctx, datesName); err != nil {
		return nil, fmt.Errorf("load dates of findings: %w", err)
	}
	if d.stored == nil {
		return d, nil
	}
	if err := json.Unmarshal(d.stored, &d.last); err != nil {
		return nil, fmt.Errorf("load dates of findings: %w", err)
	}
	for class, at := range d.last {
		m.lastFinding.WithLabelValues(string(class)).Set(float64(at))
	}
	return d, nil
}

// Find implements FindingSink. That a date cannot be stored holds no finding
// back: it is durable, and without the state no head moves on either.
func (d *dated) Find(ctx context.Context, f finding.Finding) error {
	if err := d.FindingSink.Find(ctx, f); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	at := d.now().Unix()
	if at-d.last[f.Class] < datesApart {
		return nil
	}
	next := maps.Clone(d.last)
	next[f.Class] = at
	b, err := json.Marshal(next)
	if err == nil {
		err = d.state.Replace(ctx, datesName, d.stored, b)
	}
	if err != nil {
		d.m.stateFailed(ctx, err)
		return nil
	}
	d.stored, d.last = b, next
	return nil
}

// How a chain stands.
const (
	chainCurrent  = "current"  // nothing is known that is not dealt with
	chainBehind   = "behind"   // digests are known that are not dealt with
	chainWaiting  = "waiting"  // the last try to go on failed
	chainUnsigned = "unsigned" // the newest digest of a copy waits for its successor
	chainLate     = "late"     // no digest came within the grace
)

var (
	chainsDesc  = prometheus.NewDesc("chains", "Chains that are followed, by how they stand: current, behind (there is more to do), waiting (the last try failed), unsigned (a copy's newest digest waits for its successor), late (no digest came within the grace).", []string{"state"}, nil)
	pendingDesc = prometheus.NewDesc("pending_digests", "Known digests that are not dealt with.", nil, nil)
)

// census counts the chains when it is asked.
type census struct {
	mu        sync.Mutex
	followers func() []*follower // nil before there is a worker
}

func (c *census) of(followers func() []*follower) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.followers = followers
}

// Describe implements prometheus.Collector.
func (c *census) Describe(ch chan<- *prometheus.Desc) {
	ch <- chainsDesc
	ch <- pendingDesc
}

// Collect implements prometheus.Collector.
func (c *census) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	followers := c.followers
	c.mu.Unlock()
	states, pending := map[string]int{chainCurrent: 0, chainBehind: 0, chainWaiting: 0, chainUnsigned: 0, chainLate: 0}, 0
	if followers != nil {
		for _, f := range followers() {
			state, n := f.stands()
			states[state]++
			pending += n
		}
	}
	for state, n := range states {
		ch <- prometheus.MustNewConstMetric(chainsDesc, prometheus.GaugeValue, float64(n), state)
	}
	ch <- prometheus.MustNewConstMetric(pendingDesc, prometheus.GaugeValue, float64(pending))
}

// stands returns how the chain stands and how many digests are to be dealt
// with.
func (f *follower) stands() (state string, pending int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key := range f.known {
		if !f.isPast(key) {
			pending++
		}
	}
	switch {
	case errors.Is(f.lastErr, errWaits):
		return chainUnsigned, pending
	case f.lastErr != nil:
		return chainWaiting, pending
	case f.late:
		return chainLate, pending
	case pending > 0:
		return chainBehind, pending
	}
	return chainCurrent, pending
}
