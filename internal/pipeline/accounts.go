package pipeline

import (
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/sink"
)

// Accounts compare counts that are taken at independent points. A difference says that
// the program lost, doubled or invented something. They change under one lock, so a
// scrape never sees half a change.
type Accounts struct {
	mu      sync.Mutex // guards what follows
	objects objects
	records Counts
	logs    int64       // that digests with stored heads list and that were not done
	events  sink.Counts // given to the sinks
	others  map[string]func() int64
	isOver  bool // nothing is in flight any more
}

// objects counts log files by what became of them.
type objects struct{ in, emitted, quarantined, returned, inFlight int64 }

// begin notes a log file that comes in. Settle must follow.
func (a *Accounts) begin() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.objects.in++
	a.objects.inFlight++
}

// end notes the records of one call of Process.
func (a *Accounts) end(r Receipt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.records.Split += r.Counts.Split
	a.records.Filtered += r.Counts.Filtered
	a.records.Emitted += r.Counts.Emitted
	a.records.Odd += r.Counts.Odd
	a.records.Returned += r.Counts.Returned
}

// Outcome is what becomes of a log file.
type Outcome int

// The outcomes.
const (
	Emitted Outcome = iota
	Quarantined
	Returned // it comes in again
)

// Settle notes what becomes of a log file. The caller of Process calls it once for each
// call, when it has decided.
func (a *Accounts) Settle(o Outcome) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.objects.inFlight--
	switch o {
	case Emitted:
		a.objects.emitted++
	case Quarantined:
		a.objects.quarantined++
	case Returned:
		a.objects.returned++
	}
}

// Commit notes that the head of a proven digest is stored. The digest lists so many log
// files, each once. So many of them were emitted or quarantined, and so many events of
// these are durable in every sink.
func (a *Accounts) Commit(listed, done, events int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.logs += int64(listed - done)
	a.events.Committed += int64(events)
}

// End notes that the run is over: a log file that was not settled is unaccounted for.
func (a *Accounts) End() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.isOver = true
}

func (a *Accounts) offer(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events.Offered += int64(n)
}

// answered notes how a call of the sinks ended.
func (a *Accounts) answered(n int, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		a.events.Accepted += int64(n)
	} else {
		a.events.Refused += int64(n)
	}
}

// Events returns what was given to the sinks.
func (a *Accounts) Events() sink.Counts {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.events
}

// Add adds an account that another package keeps.
func (a *Accounts) Add(kind string, unaccounted func() int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.others == nil {
		a.others = map[string]func() int64{}
	}
	a.others[kind] = unaccounted
}

// Unaccounted returns the differences by kind. All must be 0.
func (a *Accounts) Unaccounted() map[string]int64 {
	a.mu.Lock()
	o, r, logs, isOver, others := a.objects, a.records, a.logs, a.isOver, maps.Clone(a.others)
	a.mu.Unlock()
	inFlight := max(o.inFlight, 0) // one that is settled twice must not vanish here
	if isOver {
		inFlight = 0
	}
	all := map[string]int64{
		"objects": o.in - o.emitted - o.quarantined - o.returned - inFlight,
		"logs":    logs,
		"records": int64(r.Split - r.Filtered - r.Emitted - r.Odd - r.Returned),
	}
	for kind, unaccounted := range others {
		all[kind] = unaccounted()
	}
	return all
}

var (
	outcomesDesc = prometheus.NewDesc(
		"outcomes_total",
		"What became of log files (objects) and events (records). Returned ones come in again.",
		[]string{"kind", "outcome"},
		nil,
	)
	unaccountedDesc = prometheus.NewDesc(
		"unaccounted",
		"The difference between counts that are taken at independent points, by kind: must be 0.",
		[]string{"kind"},
		nil,
	)
	recordsDesc = prometheus.NewDesc(
		"records_total",
		"Records of proven log files at the stages of the pipeline: split, filtered, emitted, odd, returned.",
		[]string{"stage"},
		nil,
	)
)

// Describe implements prometheus.Collector.
func (a *Accounts) Describe(ch chan<- *prometheus.Desc) {
	ch <- outcomesDesc
	ch <- unaccountedDesc
	ch <- recordsDesc
}

// Collect implements prometheus.Collector.
func (a *Accounts) Collect(ch chan<- prometheus.Metric) {
	for kind, n := range a.Unaccounted() {
		ch <- prometheus.MustNewConstMetric(unaccountedDesc, prometheus.GaugeValue, float64(n), kind)
	}
	a.mu.Lock()
	o, r := a.objects, a.records
	a.mu.Unlock()
	for kind, outcomes := range map[string]map[string]int64{
		"objects": {"emitted": o.emitted, "quarantined": o.quarantined, "returned": o.returned},
		"records": {"emitted": int64(r.Emitted), "quarantined": int64(r.Odd), "returned": int64(r.Returned)},
	} {
		for outcome, n := range outcomes {
			ch <- prometheus.MustNewConstMetric(outcomesDesc, prometheus.CounterValue, float64(n), kind, outcome)
		}
	}
	for stage, n := range map[string]int{
		"split": r.Split, "filtered": r.Filtered, "emitted": r.Emitted, "odd": r.Odd, "returned": r.Returned,
	} {
		ch <- prometheus.MustNewConstMetric(recordsDesc, prometheus.CounterValue, float64(n), stage)
	}
}

// metrics are the pipeline's. The program gives their names its prefix.
type metrics struct {
	inFlight, memory prometheus.Gauge
	inflated         prometheus.Counter
	stages           *prometheus.HistogramVec
	eventAge         prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "in_flight_bytes", Help: "Bytes reserved for log files in flight.",
		}),
		memory: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "memory_budget_bytes", Help: "Bytes that log files in flight may reserve.",
		}),
		inflated: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "inflated_bytes_total", Help: "Inflated bytes of proven log files.",
		}),
		stages: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "stage_seconds", Help: "Time that one log file spends in a stage.",
			Buckets: prometheus.ExponentialBuckets(0.001, 3, 12),
		}, []string{"stage"}),
		eventAge: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "event_age_seconds", Help: "Time from a log file's oldest event until every sink has it.",
			Buckets: prometheus.ExponentialBuckets(60, 2, 14),
		}),
	}
	r.MustRegister(m.inFlight, m.memory, m.inflated, m.stages, m.eventAge)
	return m
}

func (m *metrics) stage(name string, d time.Duration) {
	m.stages.WithLabelValues(name).Observe(d.Seconds())
}
