package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/sink/fan"
	"github.com/trailseal/trailseal/internal/sink/file"
	httpsink "github.com/trailseal/trailseal/internal/sink/http"
	"github.com/trailseal/trailseal/internal/sink/s3"
	"github.com/trailseal/trailseal/internal/sink/stream"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// sink is what every package below internal/sink gives.
type sink interface {
	ingest.Sink
	io.Closer
}

// sinks opens the sinks; an event counts when all have it.
func (w *wiring) sinks(ctx context.Context, c *ingest.Config) error {
	var members []fan.Member
	w.sinkMetrics = newSinkMetrics(w.registerer())
	for _, name := range w.Sink {
		s, err := w.openSink(ctx, name)
		if err != nil {
			return fmt.Errorf("sink %s: %w", redacted(name), err)
		}
		members = append(members, fan.Member{Name: redacted(name), Sink: w.sinkMetrics.measure(s, kindOf(name))})
	}
	all, err := fan.New(members...)
	if err != nil {
		return fmt.Errorf("sink: %w", err)
	}
	w.closers = append(w.closers, all)
	c.Sink = all
	return nil
}

// openSink opens one sink. Its owner closes it.
func (w *wiring) openSink(ctx context.Context, name string) (sink, error) {
	scheme, rest, _ := strings.Cut(name, ":")
	switch {
	case name == "stdout":
		return stream.New(w.stdout), nil
	case name == "stderr":
		return stream.New(w.stderr), nil
	case scheme == "file" && rest != "":
		return file.Open(filepath.Clean(rest), file.Options{MaxBytes: int64(w.FileMax), Every: time.Duration(w.FileEvery), Now: w.now})
	case scheme == "s3":
		return w.openS3(ctx, strings.TrimPrefix(rest, "//"))
	case scheme == "http", scheme == "https":
		return w.openHTTP(scheme, name, "")
	case scheme == "opensearch+http", scheme == "opensearch+https":
		u, err := url.Parse(strings.TrimPrefix(name, "opensearch+"))
		if err != nil {
			return nil, errors.New("not a URL")
		}
		index := strings.Trim(u.Path, "/")
		if index == "" || strings.Contains(index, "/") {
			return nil, errors.New("names no index: opensearch+https://host/index")
		}
		u.Path = "/"
		return w.openHTTP(scheme, u.String(), index)
	}
	return nil, errors.New("not stdout, file:PATH, s3://bucket/prefix, https://... or opensearch+https://host/index")
}

func (w *wiring) openS3(ctx context.Context, at string) (sink, error) {
	client, err := w.aws(ctx)
	if err != nil {
		return nil, err
	}
	bucket, prefix, _ := strings.Cut(at, "/")
	return s3.New(client.S3(), s3.Options{Bucket: bucket, Prefix: prefix, Zstd: w.SinkCompression == "zstd"})
}

func (w *wiring) openHTTP(kind, address, index string) (sink, error) {
	header := http.Header{}
	for _, h := range w.SinkHeader {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return nil, errors.New("sink-header: not NAME: VALUE")
		}
		header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	o := httpsink.Options{URL: address, Index: index, Header: header, Gzip: w.SinkCompression != "none", Log: w.logger(w.config)}
	if w.DeadLetters != "" {
		letters, err := w.deadLetters()
		if err != nil {
			return nil, fmt.Errorf("dead letters: %w", err)
		}
		o.DeadLetter = func(ctx context.Context, line []byte, id, reason string) error {
			err := letters.Emit(ctx, trail.Batch{Lines: [][]byte{httpsink.Letter(line, id, reason)}, IDs: []string{id}})
			if err == nil {
				w.sinkMetrics.refused.WithLabelValues(kind).Inc()
			}
			return err
		}
	}
	return httpsink.New(o)
}

// deadLetters opens the file of dead letters, which the HTTP sinks share.
func (w *wiring) deadLetters() (sink, error) {
	if w.letters == nil {
		f, err := file.Open(filepath.Clean(w.DeadLetters), file.Options{Now: w.now})
		if err != nil {
			return nil, err
		}
		w.letters = f
		w.closers = append(w.closers, f)
	}
	return w.letters, nil
}

// findings opens the place where findings go.
func (w *wiring) findings(ctx context.Context, c *ingest.Config) error {
	s, err := w.openSink(ctx, w.Findings)
	if err != nil {
		return fmt.Errorf("findings %s: %w", redacted(w.Findings), err)
	}
	w.closers = append(w.closers, s)
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
	sink ingest.Sink
	log  *slog.Logger
}

// Find implements ingest.FindingSink.
func (l findingLines) Find(ctx context.Context, f finding.Finding) error {
	l.log.Warn("finding", "class", f.Class, "account", f.Account, "region", f.Region, "trail", f.Trail, "key", f.Key, "detail", f.Detail)
	b, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("finding: %w", err)
	}
	sum := sha256.Sum256(b)
	return l.sink.Emit(ctx, trail.Batch{
		Log: trail.Object{Bucket: f.Bucket, Key: f.Key}, Lines: [][]byte{b}, IDs: []string{hex.EncodeToString(sum[:16])},
	})
}

// sinkMetrics are those of each kind of sink.
type sinkMetrics struct {
	events, errors, refused *prometheus.CounterVec
	seconds                 *prometheus.HistogramVec

	mu     sync.Mutex
	inWork map[string]map[*time.Time]bool // when batches were given to the sinks of a kind that still have them
}

var sinkOldest = prometheus.NewDesc("sink_oldest_seconds", "How long the oldest batch waits for a sink to take it, 0 without one.", []string{"sink"}, nil)

func newSinkMetrics(r prometheus.Registerer) *sinkMetrics {
	counters := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"sink"})
	}
	m := &sinkMetrics{
		events:  counters("events_total", "Events that a sink has taken, repeats included."),
		errors:  counters("sink_errors_total", "Batches that a sink gave back; each is tried again."),
		refused: counters("refused_events_total", "Events that a sink refused for their content; they are dead letters."),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "sink_seconds", Help: "Time that a sink takes for a batch, its own retries included.", Buckets: prometheus.ExponentialBuckets(0.001, 3, 12)}, []string{"sink"}),
		inWork:  map[string]map[*time.Time]bool{},
	}
	r.MustRegister(m.events, m.errors, m.refused, m.seconds, m)
	return m
}

// Describe implements prometheus.Collector, for what is told at the moment of
// asking.
func (m *sinkMetrics) Describe(ch chan<- *prometheus.Desc) { ch <- sinkOldest }

// Collect implements prometheus.Collector.
func (m *sinkMetrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for kind, batches := range m.inWork {
		var oldest time.Duration
		for began := range batches {
			oldest = max(oldest, time.Since(*began))
		}
		ch <- prometheus.MustNewConstMetric(sinkOldest, prometheus.GaugeValue, oldest.Seconds(), kind)
	}
}

// measure returns s, counted. All series are there from the start.
func (m *sinkMetrics) measure(s sink, kind string) sink {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.inWork[kind] == nil {
		m.inWork[kind] = map[*time.Time]bool{}
	}
	for _, c := range []*prometheus.CounterVec{m.events, m.errors, m.refused} {
		c.WithLabelValues(kind)
	}
	return measured{s, kind, m}
}

func (m *sinkMetrics) begin(kind string, began *time.Time) (end func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inWork[kind][began] = true
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.inWork[kind], began)
	}
}

// measured counts what a sink takes.
type measured struct {
	sink
	kind string
	m    *sinkMetrics
}

// Emit implements ingest.Sink.
func (s measured) Emit(ctx context.Context, b trail.Batch) error {
	began := time.Now()
	defer s.m.begin(s.kind, &began)()
	if err := s.sink.Emit(ctx, b); err != nil {
		if ctx.Err() == nil { // or it was ended by another's failure, or with the worker
			s.m.errors.WithLabelValues(s.kind).Inc()
		}
		return err
	}
	s.m.seconds.WithLabelValues(s.kind).Observe(time.Since(began).Seconds())
	s.m.events.WithLabelValues(s.kind).Add(float64(len(b.Lines)))
	return nil
}

// kindOf names a sink without what is its own, so that labels are few.
func kindOf(name string) string {
	kind, _, _ := strings.Cut(name, ":")
	return kind
}
