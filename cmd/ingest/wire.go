package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/dir"
	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/sink/file"
	"github.com/trailseal/trailseal/internal/sink/stream"
	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/pkg/digest"
)

// ingest wires the worker and runs it:
//
//	s3:// ──> awsapi ─┐                           ┌─> stream, file (sinks)
//	folder ─> dir ────┴─> ingest.Run ──> findings ┴─> stream, file
//	                         │  └─> state: bbolt
//	                         └─> metrics, status ──> ops
func (a *app) ingest(ctx context.Context, c *config) int {
	w := &wiring{app: a, config: c}
	defer w.close()
	worker, err := w.worker(ctx)
	if err != nil {
		return a.fail(exitUsage, err, "ingest check tells what is missing")
	}
	ctx, stop := a.untilSignal(ctx, time.Duration(c.Drain), worker.Log.Info)
	defer stop()
	o, err := ingest.Run(ctx, worker)
	worker.Log.Info("ended", "events", o.Events, "findings", o.Findings, "chains_waiting", o.Waiting)
	switch {
	case err != nil && !errors.Is(err, ingest.ErrHalt):
		return a.fail(exitIncomplete, err, "")
	case o.Findings > 0 && (c.Once || err != nil):
		return exitFindings
	case o.Waiting > 0 && c.Once:
		return exitIncomplete
	}
	return exitOK
}

// wiring opens what the settings name, and closes it in the end.
type wiring struct {
	*app
	*config
	closers []io.Closer
	client  *awsapi.Client
}

func (w *wiring) close() {
	for _, c := range slices.Backward(w.closers) {
		c.Close()
	}
}

func (w *wiring) worker(ctx context.Context) (ingest.Config, error) {
	c := ingest.Config{
		Accounts: w.Account, Regions: w.Region, Trails: w.Trail, Grace: time.Duration(w.Grace), Poll: time.Duration(w.Poll),
		Memory: int64(w.Memory), Concurrency: w.Concurrency, Raw: w.Format == "raw", Once: w.Once, Halt: w.OnFinding == "halt",
		Now: w.now, Log: w.logger(w.config),
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	c.Metrics = ingest.NewMetrics(prometheus.WrapRegistererWithPrefix("trailseal_", registry))
	var err error
	if c.Since, err = parseSince(w.Since, w.now()); err != nil {
		return c, err
	}
	steps := []func(context.Context, *ingest.Config) error{w.sources, w.keys, w.sinks, w.findings, w.store}
	for _, step := range steps {
		if err := step(ctx, &c); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (w *wiring) aws(ctx context.Context) (*awsapi.Client, error) {
	if w.client == nil {
		client, err := awsapi.Load(ctx, awsapi.Options{Profile: w.Profile, ExpectedBucketOwner: w.ExpectedBucketOwner, Concurrency: w.Concurrency})
		if err != nil {
			return nil, err
		}
		w.client = client
	}
	return w.client, nil
}

func (w *wiring) sources(ctx context.Context, c *ingest.Config) error {
	for _, name := range w.Source {
		s := ingest.Source{Source: discover.Source{Name: name}}
		if rest, ok := strings.CutPrefix(name, "s3://"); ok {
			client, err := w.aws(ctx)
			if err != nil {
				return err
			}
			s.Bucket, s.Prefix, _ = strings.Cut(rest, "/")
			if s.Prefix = strings.Trim(s.Prefix, "/"); s.Prefix != "" {
				s.Prefix += "/"
			}
			s.Objects = client.S3()
		} else {
			d, err := dir.Open(name)
			if err != nil {
				return fmt.Errorf("source: %w", err)
			}
			w.closers = append(w.closers, d)
			s.Objects = d
		}
		c.Sources = append(c.Sources, s)
	}
	return nil
}

func (w *wiring) keys(ctx context.Context, c *ingest.Config) error {
	if w.Keys == "auto" {
		client, err := w.aws(ctx)
		if err != nil {
			return err
		}
		c.Keys = client.CloudTrail()
		return nil
	}
	b, err := os.ReadFile(w.Keys)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	set, err := digest.ParseKeySet(b)
	if err != nil {
		return fmt.Errorf("keys %s: %w", w.Keys, err)
	}
	c.Keys = fetch.SavedKeys(set)
	return nil
}

func (w *wiring) sinks(_ context.Context, c *ingest.Config) error {
	if len(w.Sink) != 1 {
		return errors.New("sink: one is needed")
	}
	s, err := w.openSink(w.Sink[0])
	if err != nil {
		return fmt.Errorf("sink %s: %w", redacted(w.Sink[0]), err)
	}
	c.Sink = s
	return nil
}

// sink is what every package below internal/sink gives.
type sink interface {
	ingest.Sink
	io.Closer
}

func (w *wiring) openSink(name string) (s sink, err error) {
	path, isFile := strings.CutPrefix(name, "file:")
	switch {
	case name == "stdout":
		s = stream.New(w.stdout)
	case name == "stderr":
		s = stream.New(w.stderr)
	case isFile && path != "":
		s, err = file.Open(filepath.Clean(path), file.Options{})
	default:
		err = errors.New("not stdout, stderr or file:PATH")
	}
	if err == nil {
		w.closers = append(w.closers, s)
	}
	return s, err
}

func (w *wiring) store(_ context.Context, c *ingest.Config) error {
	path, ok := strings.CutPrefix(w.State, "file:")
	if !ok || path == "" {
		if w.State == "memory" {
			c.State = state.NewMemory()
			return nil
		}
		return fmt.Errorf("state %q: not file:PATH", w.State)
	}
	f, err := state.OpenFile(path)
	if err != nil {
		return err
	}
	w.closers = append(w.closers, f)
	c.State = f
	return nil
}

// untilSignal returns a context that ends at SIGTERM or SIGINT. A second
// signal, or the end of the drain time, ends the program at once.
func (a *app) untilSignal(ctx context.Context, drain time.Duration, log func(string, ...any)) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		select {
		case <-done:
			return
		case s := <-signals:
			log("ending", "signal", s.String())
			cancel()
		}
		select {
		case <-done:
		case <-signals:
			os.Exit(exitIncomplete)
		case <-time.After(drain):
			os.Exit(exitIncomplete)
		}
	}()
	return ctx, func() { signal.Stop(signals); close(done); cancel() }
}

func programVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
