package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/ops"
	"github.com/trailseal/trailseal/internal/sink"
)

// healthTime is how long health waits for an answer: less than what runs health waits for
// its exit code.
const healthTime = 4 * time.Second

// runHealth asks the worker that listens where the settings say whether it lives.
func runHealth(ctx context.Context, a app, c *config) int {
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	err := errors.New("listen: none is set: the worker serves no health page")
	if c.Listen != "" {
		err = ops.Live(ctx, ops.Config{Addr: c.Listen, WebConfig: c.WebConfig})
	}
	if err != nil {
		return a.fail(exitNoAnswer, err, "set TRAILSEAL_LISTEN and TRAILSEAL_WEB_CONFIG, or --config, as for the worker")
	}
	return exitOK
}

// serves reports whether a run with these settings has an operations server. A run that ends
// by itself serves only where it is asked to.
func serves(c *config) bool { return c.Listen != "" && (!c.Once || c.Listen != defaultListen) }

// serve answers /metrics and the like until the function it returns is called.
func serve(ctx context.Context, c *config, worker *ingest.Worker, p *parts) (stop func(), err error) {
	if !serves(c) {
		return func() {}, nil
	}
	log := p.worker.Log
	checks := []ops.Check{
		{Name: "sources", Run: sourcesReady(worker)},
		{Name: "sinks", Run: func(context.Context) error { return p.sinks.Err() }},
		{Name: "queues", Run: p.queues.ready},
		{Name: "state", Run: p.state.Ready},
		{Name: "findings", Run: worker.FindingsReady},
	}
	showReady(p.worker.Metrics, checks)
	server, err := ops.Listen(ctx, ops.Config{
		Addr: c.Listen, WebConfig: c.WebConfig, Registry: p.registry, Pprof: c.Pprof, Log: log,
		Checks: checks, Status: func() any { return statusOf(worker, p.sinks) },
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(ctx); err != nil {
			log.Error("operations server ended", "error", err)
		}
	}()
	return func() { cancel(); <-done }, nil
}

// sourcesReady returns the check of the sources. A source that was not listed yet is not a
// failure: the program is starting.
func sourcesReady(worker *ingest.Worker) func(context.Context) error {
	return func(ctx context.Context) error {
		err := worker.SourcesReady(ctx)
		if errors.Is(err, ingest.ErrNotListed) {
			return fmt.Errorf("%w: %w", ops.ErrStarting, err)
		}
		return err
	}
}

// showReady shows each check as a gauge. The checks return how the last try went, and try
// nothing themselves.
func showReady(r prometheus.Registerer, checks []ops.Check) {
	for _, c := range checks {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "ready", Help: "Whether a check of /readyz holds: 1, or 0.", ConstLabels: prometheus.Labels{"check": c.Name},
		}, func() float64 {
			if c.Run(context.Background()) != nil {
				return 0
			}
			return 1
		}))
	}
}

// newRegistry returns a registry with the metrics of the process.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// registerBuild registers what runs.
func registerBuild(r prometheus.Registerer) {
	build := prometheus.NewGaugeVec(
		prometheus.GaugeOpts{Name: "build_info", Help: "Always 1; the labels say what runs."},
		[]string{"version", "goversion"},
	)
	build.WithLabelValues(programVersion(), runtime.Version()).Set(1)
	r.MustRegister(build)
}

// registerRequests registers the counter of requests to AWS. It returns what counts one.
func registerRequests(r prometheus.Registerer) (count func(service, operation, code string)) {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "aws_requests_total",
		Help: "Attempts of requests to AWS. " +
			"The code is the HTTP status, or throttled, credentials, denied, canceled, none.",
	}, []string{"service", "operation", "code"})
	r.MustRegister(requests)
	return func(service, operation, code string) { requests.WithLabelValues(service, operation, code).Inc() }
}

// status is the snapshot of the program.
type status struct {
	ingest.Status
	SinkError string       `json:"sink_error,omitempty"`
	Sinks     []sinkStatus `json:"sinks"`
}

// sinkStatus is the snapshot of one sink.
type sinkStatus struct {
	Name         string    `json:"name"`
	Flushed      int64     `json:"events"`   // that it has made durable, repeats included
	Failures     int64     `json:"failures"` // attempts
	Retries      int64     `json:"retries"`
	FailingSince time.Time `json:"failing_since,omitzero"`
	Error        string    `json:"error,omitempty"`
}

func statusOf(worker *ingest.Worker, sinks *sink.Set) status {
	s := status{Status: worker.Status()}
	if err := sinks.Err(); err != nil {
		s.SinkError = err.Error()
	}
	for _, m := range sinks.Members() {
		one := sinkStatus{Name: m.Name, Flushed: m.Flushed, Failures: m.Failures, Retries: m.Retries, FailingSince: m.Since}
		if m.Err != nil {
			one.Error = m.Err.Error()
		}
		s.Sinks = append(s.Sinks, one)
	}
	return s
}
