package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/failure"
	"github.com/trailseal/trailseal/internal/findings"
	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/pkg/finding"
)

// openSinks opens the sinks of events as one: an event counts when all have it.
func openSinks(ctx context.Context, o *sinkOpener, log *slog.Logger) (*sink.Set, error) {
	format := sink.Trailseal
	if o.config.Format == "raw" {
		format = sink.Raw
	}
	kinds := o.kinds()
	var members []sink.Member
	for _, setting := range o.config.Sink {
		s, err := o.open(ctx, setting, format)
		if err != nil {
			return nil, fmt.Errorf("sink %s: %w", redacted(setting), err)
		}
		o.opened.addFile(s)
		label := labelOf(kinds, o.config.Sink, setting)
		members = append(members, sink.Member{Name: redacted(setting), Sink: s, Took: o.metrics.ofBatches(label)})
	}
	options := sink.Options{Retry: retrySink, Hangs: time.Duration(o.config.SinkTimeout), Log: log}
	if o.config.Once {
		options.Patience = time.Duration(o.config.SinkPatience)
	}
	all, err := sink.NewSet(options, members...)
	if err != nil {
		return nil, err
	}
	o.opened.add(all)
	return all, nil
}

// labelOf returns the label of a sink in metrics: its scheme and, from the
// second sink of a scheme on, a number. So each sink has its own series.
func labelOf(kinds []sink.Kind, settings []string, setting string) string {
	k, _ := sink.KindOf(kinds, setting)
	n := 1
	for _, other := range settings {
		if other == setting {
			break
		}
		if before, _ := sink.KindOf(kinds, other); before.Scheme == k.Scheme {
			n++
		}
	}
	if n == 1 {
		return k.Label()
	}
	return k.Label() + "-" + strconv.Itoa(n)
}

// retrySink is the policy for sinks that fail.
func retrySink(_ string, try int, err error) (pause time.Duration, giveUp bool) {
	if failure.Decide(failure.Failure{Operation: failure.Batch, Err: err}).Do != failure.Retry {
		return 0, true
	}
	return failure.Pause(try - 1), false
}

// emitLine makes a line durable in a sink that writes records as they are.
func emitLine(ctx context.Context, s sink.Sink, line []byte, id string) error {
	if err := s.Emit(ctx, sink.Batch{Events: []sink.Event{{Record: line, ID: id}}}); err != nil {
		return err
	}
	return s.Flush(ctx)
}

// openFindings opens the place where findings go.
func openFindings(ctx context.Context, o *sinkOpener, log *slog.Logger) (findings.Sink, error) {
	s, err := o.open(ctx, o.config.Findings, sink.Raw)
	if err != nil {
		return nil, fmt.Errorf("findings %s: %w", redacted(o.config.Findings), err)
	}
	o.opened.add(s)
	o.opened.addFile(s)
	if o.config.Findings == "stderr" {
		log = slog.New(slog.DiscardHandler)
	}
	return findingLines{s, log}, nil
}

// findingLines writes findings as lines of JSON into a sink, and into the log
// unless they are beside it anyway.
type findingLines struct {
	sink sink.Sink
	log  *slog.Logger
}

// Find implements findings.Sink.
func (l findingLines) Find(ctx context.Context, f finding.Finding) error {
	l.log.Warn("finding", "class", f.Class, "account", f.Account, "region", f.Region, "trail", f.Trail,
		"key", f.Key, "detail", f.Detail)
	b, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("finding: %w", err)
	}
	sum := sha256.Sum256(b)
	return emitLine(ctx, l.sink, b, hex.EncodeToString(sum[:16]))
}

// sinkMetrics are the metrics of the sinks. A member of the set has the label of
// the same index.
type sinkMetrics struct {
	set     *sink.Set
	labels  []string
	refused *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

var (
	sinkEvents = sinkDesc("events_total", "Events that a sink has made durable, repeats included.")
	sinkErrors = sinkDesc("sink_errors_total", "Attempts to give events to a sink, or to flush it, that failed.")
	sinkOldest = sinkDesc("sink_oldest_seconds",
		"How long the oldest batch waits for a sink to take it or make it durable, 0 without one.")
	sinkRetries = prometheus.NewDesc("sink_retries_total",
		"Attempts that failed and after which another was made, of all sinks.", nil, nil)
)

func sinkDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, []string{"sink"}, nil)
}

func newSinkMetrics() *sinkMetrics {
	return &sinkMetrics{
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "refused_events_total", Help: "Events that a sink refused for their content; they are dead letters.",
		}, []string{"sink"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sink_seconds", Help: "Time that a sink takes for a batch, retries included.",
			Buckets: prometheus.ExponentialBuckets(0.001, 3, 12),
		}, []string{"sink"}),
	}
}

// Describe implements prometheus.Collector.
func (m *sinkMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{sinkEvents, sinkErrors, sinkOldest, sinkRetries} {
		ch <- d
	}
	m.refused.Describe(ch)
	m.seconds.Describe(ch)
}

// Collect implements prometheus.Collector.
func (m *sinkMetrics) Collect(ch chan<- prometheus.Metric) {
	var retries int64
	for i, s := range m.set.Members() {
		retries += s.Retries
		var oldest time.Duration
		if !s.Oldest.IsZero() {
			oldest = time.Since(s.Oldest)
		}
		ch <- prometheus.MustNewConstMetric(sinkEvents, prometheus.CounterValue, float64(s.Flushed), m.labels[i])
		ch <- prometheus.MustNewConstMetric(sinkErrors, prometheus.CounterValue, float64(s.Failures), m.labels[i])
		ch <- prometheus.MustNewConstMetric(sinkOldest, prometheus.GaugeValue, oldest.Seconds(), m.labels[i])
	}
	ch <- prometheus.MustNewConstMetric(sinkRetries, prometheus.CounterValue, float64(retries))
	m.refused.Collect(ch)
	m.seconds.Collect(ch)
}

// ofBatches adds the next member of the set. It returns what observes the time that a
// batch takes. All series are there from the start.
func (m *sinkMetrics) ofBatches(label string) (took func(time.Duration)) {
	m.labels = append(m.labels, label)
	m.refused.WithLabelValues(label)
	seconds := m.seconds.WithLabelValues(label)
	return func(d time.Duration) { seconds.Observe(d.Seconds()) }
}
