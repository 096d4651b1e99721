package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"runtime"
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
	"github.com/trailseal/trailseal/internal/ended"
	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/ops"
	"github.com/trailseal/trailseal/internal/queue"
	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/internal/state/sqlite"
	"github.com/trailseal/trailseal/internal/when"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
)

// ingest wires the worker and runs it:
//
//	s3:// ──> awsapi ─┐                           ┌─> stream, file, http, s3 (sinks)
//	folder ─> dir ────┴─> ingest.Run ──> findings ┴─> stream, file, ...
//	STATE.sock <── operate ──┤  └─> state: sqlite, memory
//	                         └─> metrics, status ──> ops
func (a *app) ingest(ctx context.Context, c *config) int {
	w := &wiring{app: a, config: c}
	defer w.close()
	return a.work(ctx, w, w.worker)
}

// endsOpening ends the program at SIGTERM or SIGINT while it opens what it needs: nothing was
// begun. SIGHUP, which must not end it, has no effect yet. The function that it returns is
// called when all is open.
func endsOpening(signals <-chan os.Signal, once bool) (opened func()) {
	isOpen, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-isOpen:
				return
			case s := <-signals:
				switch {
				case s == syscall.SIGHUP:
				case once:
					os.Exit(exitIncomplete)
				default:
					os.Exit(exitOK)
				}
			}
		}
	}()
	return func() { close(isOpen); <-done }
}

// work opens what a worker needs and runs it to its end.
func (a *app) work(ctx context.Context, w *wiring, open func(context.Context) (ingest.Config, error)) int {
	c := w.config
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP) // SIGHUP until the end
	defer signal.Stop(signals)
	opened := endsOpening(signals, c.Once)
	settings, err := open(ctx)
	opened()
	if err != nil {
		return a.fail(exitUsage, err, hint(err))
	}
	worker, err := ingest.New(ctx, settings)
	if err != nil {
		return a.fail(exitIncomplete, err, hint(err))
	}
	w.addAccounts(worker)
	if os.Getenv("GOMEMLIMIT") == "" { // or the collector would let garbage double what is in flight
		debug.SetMemoryLimit(int64(c.Memory) + memoryBesides)
	}
	stopServing, err := w.serve(ctx, worker, settings.Log)
	if err != nil {
		return a.fail(exitUsage, err, "")
	}
	defer stopServing()
	defer w.serveOrders(ctx, worker, settings.Log)()
	ctx, stop := a.onSignals(ctx, signals, time.Duration(c.Drain), worker.Drain, w.reopen, settings.Log)
	defer stop()
	o, err := worker.Run(ctx)
	settings.Log.Info("ended", "events", o.Events, "findings", o.Findings, "chains_waiting", o.Waiting)
	if c.Once && err == nil {
		logWaiting(worker.Status(), settings.Log)
	}
	balance := logUnaccounted(worker.Unaccounted(), settings.Log)
	switch {
	case err != nil && !errors.Is(err, ingest.ErrHalt):
		code := exitIncomplete
		if o.Findings > 0 && c.Once && balance {
			code = exitFindings // what could not be listed does not hide a finding
		}
		return a.fail(code, err, hint(err))
	case !balance:
		return exitIncomplete
	case o.Findings > 0 && (c.Once || err != nil):
		return exitFindings
	case o.Waiting > 0 && c.Once:
		return exitIncomplete
	}
	if err := replayed(worker.Status(), settings, settings.Log); err != nil {
		return a.fail(exitIncomplete, err, "the worker's findings and \"verifier verify\" say what is missing")
	}
	return exitOK
}

// memoryBesides is what the program takes beside the logs in flight: code,
// connections, digests, listings, and the ballast, which counts and is not there.
const memoryBesides = 64 << 20

// logWaiting says which chains could not be followed to their end, and why.
func logWaiting(s ingest.Status, log *slog.Logger) {
	for _, c := range s.Chains {
		if c.LastError != "" {
			log.Warn("chain waits", "account", c.Account, "region", c.Region, "trail", c.Trail, "error", c.LastError)
		}
	}
}

// logUnaccounted reports whether all accounts balance, and logs those that do not. A run
// that has ended is not scraped.
func logUnaccounted(differences map[string]int64, log *slog.Logger) (balance bool) {
	balance = true
	for _, kind := range slices.Sorted(maps.Keys(differences)) {
		if n := differences[kind]; n != 0 {
			balance = false
			log.Error("unaccounted: the program lost, doubled or invented something", "kind", kind, "difference", n)
		}
	}
	return balance
}

// sourcesReady tells a source that has not had its turn from one that fails.
func sourcesReady(worker *ingest.Worker) func(context.Context) error {
	return func(ctx context.Context) error {
		err := worker.SourcesReady(ctx)
		if errors.Is(err, ingest.ErrNotListed) {
			return fmt.Errorf("%w: %w", ops.ErrStarting, err)
		}
		return err
	}
}

// serve answers /metrics and the like until the function it returns is called.
// A run that ends by itself serves only where it is asked to.
func (w *wiring) serve(ctx context.Context, worker *ingest.Worker, log *slog.Logger) (stop func(), err error) {
	if w.Listen == "" || w.Once && w.Listen == defaultListen {
		return func() {}, nil
	}
	checks := []ops.Check{
		{Name: "sources", Run: sourcesReady(worker)},
		{Name: "sinks", Run: w.sinksReady},
		{Name: "queues", Run: w.queuesReady},
		{Name: "findings", Run: worker.FindingsReady},
	}
	showReady(w.registerer(), checks)
	server, err := ops.Listen(ctx, ops.Config{
		Addr: w.Listen, WebConfig: w.WebConfig, Registry: w.registry, Pprof: w.Pprof, Log: log,
		Checks: checks, Status: func() any { return w.status(worker) },
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

// showReady shows each check as a gauge. The checks ask nobody: they tell how
// the last try went.
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

// wiring opens what the settings name, and closes it in the end.
type wiring struct {
	*app
	*config
	closers []io.Closer
	client  *awsapi.Client // the first
	clients map[awsapi.Role]*awsapi.Client
	queues  []*queue.Queue
	letters sink.Sink
	// reopeners are the sinks that SIGHUP concerns.
	reopeners []reopener

	registry     *prometheus.Registry
	requests     *prometheus.CounterVec // of AWS; nil counts none
	sinkMetrics  *sinkMetrics
	queueMetrics *queue.Metrics // nil without queues
}

func (w *wiring) close() {
	for _, c := range slices.Backward(w.closers) {
		c.Close()
	}
}

func (w *wiring) worker(ctx context.Context) (ingest.Config, error) {
	c := ingest.Config{
		Accounts: w.Account, Regions: w.Region, Trails: w.Trail, Grace: time.Duration(w.Grace), Poll: time.Duration(w.Poll),
		Memory: int64(w.Memory), Concurrency: w.Concurrency, Once: w.Once, Halt: w.OnFinding == "halt",
		Now: w.now, Log: w.logger(w.config),
	}
	c.Metrics = w.metrics()
	var err error
	if c.Since, err = when.Time(w.Since, w.now()); err != nil {
		return c, fmt.Errorf("since: %w", err)
	}
	steps := []func(context.Context, *ingest.Config) error{
		w.sources, w.keys, w.nameOriginals, w.apart, w.nameManagement, w.sinks, w.findings, w.store, w.ended, w.openQueues,
	}
	for _, step := range steps {
		if err := step(ctx, &c); err != nil {
			return c, err
		}
	}
	return c, nil
}

// registerer gives names the program's prefix.
func (w *wiring) registerer() prometheus.Registerer {
	return prometheus.WrapRegistererWithPrefix("trailseal_", w.registry)
}

// metrics makes the registry, with what is the program's own, and returns
// where the rest registers.
func (w *wiring) metrics() prometheus.Registerer {
	w.registry = prometheus.NewRegistry()
	w.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	r := w.registerer()
	build := prometheus.NewGaugeVec(
		prometheus.GaugeOpts{Name: "build_info", Help: "Always 1; the labels say what runs."},
		[]string{"version", "goversion"},
	)
	build.WithLabelValues(programVersion(), runtime.Version()).Set(1)
	w.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "aws_requests_total", Help: "Attempts of requests to AWS. The code is the HTTP status, or throttled, credentials, denied, canceled, none.",
	}, []string{"service", "operation", "code"})
	r.MustRegister(build, w.requests)
	return r
}

// counted counts a request to AWS.
func (w *wiring) counted(service, operation, code string) {
	if w.requests != nil {
		w.requests.WithLabelValues(service, operation, code).Inc()
	}
}

func (w *wiring) aws(ctx context.Context) (*awsapi.Client, error) {
	return w.as(ctx, awsapi.Role{})
}

func (w *wiring) sources(ctx context.Context, c *ingest.Config) error {
	for _, name := range w.Source {
		s, err := w.openSource(ctx, name)
		if err != nil {
			return fmt.Errorf("source: %w", err)
		}
		c.Sources = append(c.Sources, s)
	}
	return nil
}

func (w *wiring) openSource(ctx context.Context, name string) (ingest.Source, error) {
	src, err := source.Parse(name)
	if err != nil {
		return ingest.Source{}, err
	}
	if src.IsCopy() {
		root, prefix, err := source.Folder(name)
		if err != nil {
			return ingest.Source{}, err
		}
		d, err := dir.Open(root)
		if err != nil {
			return ingest.Source{}, err
		}
		w.closers = append(w.closers, d)
		src.Prefix = prefix
		return ingest.Source{Source: src, Objects: d}, nil
	}
	client, err := w.forSources(ctx)
	if err != nil {
		return ingest.Source{}, err
	}
	return ingest.Source{Source: src, Objects: client.S3()}, nil
}

// nameOriginals sets the buckets that signed locations name, where these are not
// the sources' own: as they were given and, for access points, as their digests
// say.
func (w *wiring) nameOriginals(ctx context.Context, c *ingest.Config) error {
	sources := make([]source.Source, len(c.Sources))
	for i, s := range c.Sources {
		sources[i] = s.Source
	}
	sources, err := source.ParseOriginals(w.OriginalBucket, sources)
	if err != nil {
		return err
	}
	for i, s := range sources {
		if s.IsAccessPoint() && s.Original == "" {
			now := time.Now()
			bucket, err := discover.LearnBucket(
				ctx,
				s,
				c.Sources[i].Objects,
				chain.NewKeyring(c.Keys, now, now, time.Now),
				now,
			)
			if err != nil {
				return fmt.Errorf("source: %w", err)
			}
			s.Learn(bucket)
		}
		c.Sources[i].Source = s
	}
	return nil
}

// nameManagement says who tells the management account of an organization: the
// setting or, where the worker may ask, AWS Organizations.
func (w *wiring) nameManagement(ctx context.Context, c *ingest.Config) error {
	if w.ManagementAccount != "" {
		c.Management = func(context.Context, string) string { return w.ManagementAccount }
		return nil
	}
	if !slices.ContainsFunc(c.Sources, func(s ingest.Source) bool { return !s.IsCopy() }) {
		return nil // a copy is read without AWS
	}
	client, err := w.forSources(ctx)
	if err != nil {
		return err
	}
	c.Management = client.CloudTrail().ManagementAccounts()
	return nil
}

func (w *wiring) keys(ctx context.Context, c *ingest.Config) error {
	if w.Keys == "auto" {
		client, err := w.forSources(ctx)
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
	c.Keys = chain.Saved(set)
	return nil
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
	s, err := sqlite.Open(path)
	if err != nil {
		return err
	}
	w.closers = append(w.closers, s)
	c.State = s
	return nil
}

// addAccounts adds the accounts of queues and sinks to those of the worker.
func (w *wiring) addAccounts(worker *ingest.Worker) {
	if w.queueMetrics != nil {
		worker.Account("messages", func() int64 { return w.queueMetrics.Account().Unaccounted() })
	}
	worker.Account("sinks", func() int64 { return w.sinkMetrics.set.Unaccounted(worker.Events) })
}

// ended reads the acknowledged ends of chains.
func (w *wiring) ended(_ context.Context, c *ingest.Config) error {
	if w.Ended == "" {
		return nil
	}
	f, err := os.Open(w.Ended)
	if err != nil {
		return fmt.Errorf("ended: %w", err)
	}
	defer f.Close()
	if c.Ended, err = ended.Parse(f); err != nil {
		return fmt.Errorf("ended %s: %w", w.Ended, err)
	}
	return nil
}

// reopener is a sink that writes to a file which another program may have moved.
type reopener interface{ Reopen() error }

// reopen lets the file sinks go on in new files.
func (w *wiring) reopen() error {
	var errs []error
	for _, r := range w.reopeners {
		errs = append(errs, r.Reopen())
	}
	return errors.Join(errs...)
}

// onSignals acts on signals until stop is called. At SIGTERM or SIGINT the intake ends: the
// digests in work may take as long as drain, and then the context that it returns ends. A
// second signal ends the program at once, as does the first one after stop. At SIGHUP
// files are opened anew.
func (a *app) onSignals(
	ctx context.Context,
	signals chan os.Signal,
	drain time.Duration,
	endIntake func(),
	reopen func() error,
	log *slog.Logger,
) (work context.Context, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		var over <-chan time.Time // when work must end
		for ending := 0; ; {
			select {
			case <-done:
				return
			case <-over:
				log.Warn("work in flight did not end in time: the next run repeats it", "drain", drain)
				cancel()
				over = time.After(cancelTime)
				if ending++; ending > 2 {
					os.Exit(exitIncomplete)
				}
			case s := <-signals:
				switch {
				case s == syscall.SIGHUP:
					if err := reopen(); err != nil {
						log.Error("files could not be opened anew", "error", err)
					}
					continue
				case ending > 0:
					os.Exit(exitIncomplete)
				}
				ending = 1
				log.Info("ending", "signal", s.String())
				endIntake()
				over = time.After(drain)
			}
		}
	}()
	return ctx, func() { signal.Reset(os.Interrupt, syscall.SIGTERM); close(done); cancel() }
}

// cancelTime is how long cancelled work may take to return.
const cancelTime = 5 * time.Second

// release is set by the linker where there is no repository to ask, as in an
// image.
var release = ""

func programVersion() string {
	if release != "" {
		return release
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
