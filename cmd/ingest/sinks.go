package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/failure"
	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/sink/file"
	"github.com/trailseal/trailseal/pkg/finding"
)

// sinks opens the sinks; an event counts when all have it.
func (w *wiring) sinks(ctx context.Context, c *ingest.Config) error {
	format := sink.Trailseal
	if w.Format == "raw" {
		format = sink.Raw
	}
	w.sinkMetrics = newSinkMetrics()
	var members []sink.Member
	for _, setting := range w.Sink {
		s, err := w.openSink(ctx, setting, format)
		if err != nil {
			return fmt.Errorf("sink %s: %w", redacted(setting), err)
		}
		w.noteReopener(s)
		members = append(
			members,
			sink.Member{Name: redacted(setting), Sink: w.sinkMetrics.timed(s, w.labelOf(setting))},
		)
	}
	all, err := sink.NewSet(retrySink(c.Log, w.sinkMetrics.retries), members...)
	if err != nil {
		return err
	}
	w.closers = append(w.closers, all)
	w.sinkMetrics.set = all
	w.registerer().MustRegister(w.sinkMetrics)
	c.Sink, c.Sinks = all, len(members)
	return nil
}

// noteReopener remembers a sink that SIGHUP concerns.
func (w *wiring) noteReopener(s sink.Sink) {
	if r, ok := s.(reopener); ok {
		w.reopeners = append(w.reopeners, r)
	}
}

// labelOf returns the label of a sink in metrics: its scheme and, from the
// second sink of a scheme on, a number. So each sink has its own series.
func (w *wiring) labelOf(setting string) string {
	kinds := w.kinds()
	k, _ := sink.KindOf(kinds, setting)
	n := 1
	for _, other := range w.Sink {
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

// retrySink returns the policy for sinks that fail.
func retrySink(log *slog.Logger, retries prometheus.Counter) sink.Retry {
	return func(member string, try int, err error) (pause time.Duration, giveUp bool) {
		decision := failure.Decide(failure.Failure{Operation: failure.Batch, Err: err})
		if decision.Do != failure.Retry {
			return 0, true
		}
		retries.Inc()
		pause = failure.Pause(try - 1)
		log.Warn("sink failed, trying again", "sink", member, "try", try, "pause", pause, "error", err)
		return pause, false
	}
}

// sinksReady returns why a sink takes no events, nil if all do.
func (w *wiring) sinksReady(context.Context) error { return w.sinkMetrics.set.Err() }

// status is the snapshot of the program.
type status struct {
	ingest.Status
	SinkError string       `json:"sink_error,omitempty"`
	Sinks     []sinkStatus `json:"sinks"`
}

// sinkStatus is the snapshot of one sink.
type sinkStatus struct {
	Name         string    `json:"name"`
	Flushed      int64     `json:"events"` // that it has made durable, repeats included
	Retries      int64     `json:"retries"`
	FailingSince time.Time `json:"failing_since,omitzero"`
	Error        string    `json:"error,omitempty"`
}

func (w *wiring) status(worker *ingest.Worker) status {
	s := status{Status: worker.Status()}
	if err := w.sinkMetrics.set.Err(); err != nil {
		s.SinkError = err.Error()
	}
	for _, m := range w.sinkMetrics.set.Members() {
		one := sinkStatus{Name: m.Name, Flushed: m.Flushed, Retries: m.Retries, FailingSince: m.Since}
		if m.Err != nil {
			one.Error = m.Err.Error()
		}
		s.Sinks = append(s.Sinks, one)
	}
	return s
}

// emitLine makes a line durable in a sink that writes records as they are.
func emitLine(ctx context.Context, s sink.Sink, line []byte, id string) error {
	if err := s.Emit(ctx, sink.Batch{Events: []sink.Event{{Record: line, ID: id}}}); err != nil {
		return err
	}
	return s.Flush(ctx)
}

// deadLetters opens the file of dead letters, which the HTTP sinks share.
func (w *wiring) deadLetters() (sink.Sink, error) {
	if w.letters == nil {
		f, err := file.Open(filepath.Clean(w.DeadLetters), file.Options{Now: w.now, Format: sink.Raw})
		if err != nil {
			return nil, err
		}
		w.letters = f
		w.noteReopener(f)
		w.closers = append(w.closers, f)
	}
	return w.letters, nil
}

// findings opens the place where findings go.
func (w *wiring) findings(ctx context.Context, c *ingest.Config) error {
	s, err := w.openSink(ctx, w.Findings, sink.Raw)
	if err != nil {
		return fmt.Errorf("findings %s: %w", redacted(w.Findings), err)
	}
	w.closers = append(w.closers, s)
	w.noteReopener(s)
	log := c.Log
	if w.Findings == "stderr" {
		log = slog.New(slog.DiscardHandler)
	}
	c.Findings = findingLines{s, log}
	return nil
}

// findingLines writes findings as lines of JSON into a sink, and into the log
// unless they are beside it anyway.
type findingLines struct {
	sink sink.Sink
	log  *slog.Logger
}

// Find implements ingest.FindingSink.
func (l findingLines) Find(ctx context.Context, f finding.Finding) error {
	l.log.Warn(
		"finding",
		"class",
		f.Class,
		"account",
		f.Account,
		"region",
		f.Region,
		"trail",
		f.Trail,
		"key",
		f.Key,
		"detail",
		f.Detail,
	)
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
	retries prometheus.Counter
	refused *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

var (
	sinkEvents = prometheus.NewDesc(
		"events_total",
		"Events that a sink has made durable, repeats included.",
		[]string{"sink"},
		nil,
	)
	sinkErrors = prometheus.NewDesc(
		"sink_errors_total",
		"Calls that a sink failed; each is tried again.",
		[]string{"sink"},
		nil,
	)
	sinkOldest = prometheus.NewDesc(
		"sink_oldest_seconds",
		"How long the oldest batch waits for a sink to take it or make it durable, 0 without one.",
		[]string{"sink"},
		nil,
	)
)

func newSinkMetrics() *sinkMetrics {
	return &sinkMetrics{
		retries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sink_retries_total", Help: "Calls that a sink failed and that are tried again, of all sinks.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "refused_events_total", Help: "Events that a sink refused for their content; they are dead letters.",
		}, []string{"sink"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sink_seconds", Help: "Time that a sink takes for a batch, its own retries included.",
			Buckets: prometheus.ExponentialBuckets(0.001, 3, 12),
		}, []string{"sink"}),
	}
}

// Describe implements prometheus.Collector.
func (m *sinkMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{sinkEvents, sinkErrors, sinkOldest} {
		ch <- d
	}
	m.retries.Describe(ch)
	m.refused.Describe(ch)
	m.seconds.Describe(ch)
}

// Collect implements prometheus.Collector.
func (m *sinkMetrics) Collect(ch chan<- prometheus.Metric) {
	for i, s := range m.set.Members() {
		var oldest time.Duration
		if !s.Oldest.IsZero() {
			oldest = time.Since(s.Oldest)
		}
		ch <- prometheus.MustNewConstMetric(sinkEvents, prometheus.CounterValue, float64(s.Flushed), m.labels[i])
		ch <- prometheus.MustNewConstMetric(sinkErrors, prometheus.CounterValue, float64(s.Retries), m.labels[i])
		ch <- prometheus.MustNewConstMetric(sinkOldest, prometheus.GaugeValue, oldest.Seconds(), m.labels[i])
	}
	m.retries.Collect(ch)
	m.refused.Collect(ch)
	m.seconds.Collect(ch)
}

// timed returns the next member of the set, with the time that its batches take.
// All series are there from the start.
func (m *sinkMetrics) timed(s sink.Sink, label string) sink.Sink {
	m.labels = append(m.labels, label)
	m.refused.WithLabelValues(label)
	return timed{s, m.seconds.WithLabelValues(label)}
}

// timed is a sink whose batches are timed.
type timed struct {
	sink.Sink
	seconds prometheus.Observer
}

// Emit implements sink.Sink.
func (s timed) Emit(ctx context.Context, b sink.Batch) error {
	began := time.Now()
	err := s.Sink.Emit(ctx, b)
	if err == nil {
		s.seconds.Observe(time.Since(began).Seconds())
	}
	return err
}
