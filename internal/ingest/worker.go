// Package ingest follows digest chains and emits the events of their log files, each only
// when it is proven. It holds the loops. What they decide and do is in the packages below:
//
//	poll.go      lists a source again and again ──┐
//	announce.go  receives from a queue ───────────┴─> follow.Frontier of each chain
//	schedule     which chains run now
//	chain.go     one chain: the oldest known digest, again and again; whether it is late
//	digest.go    one digest: judge ─> follow.Next ─> logfile ─> flush ─> head ─> done
//
//	place.go     the accounts and regions of a source, and the listing of one
//	listed.go    which account folders were listed in full, and what was asked for and is not there
//	recall.go    the chains of earlier runs
//	chains.go    all chains; those without a trusted digest are a bounded number of names
//	begin.go     the head that a chain begins with
//	lookback.go  the digests before one, by signed names or by listing
//	removal.go   announced deletions: looked at, never believed
//	orders.go    what the operator orders, carried out between two digests
//	status.go    what the operator sees
//
// A digest is done when every log file that it lists is durable in every sink, or
// quarantined with a finding. Then the head of its chain is stored, and then those who
// announced the digest are told. A crash anywhere repeats a digest, with equal ids, and
// loses nothing. What cannot be read is waited for and never skipped. What is wrong is
// reported, quarantined and skipped.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/trailseal/trailseal/internal/findings"
	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/internal/ledger"
	"github.com/trailseal/trailseal/internal/logfile"
	"github.com/trailseal/trailseal/internal/pipeline"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/finding"
)

// Worker is one run.
type Worker struct {
	config   Config
	policy   follow.Policy
	keys     *chain.Keyring
	ledger   *ledger.Ledger
	findings *findings.Reporter
	pipeline *pipeline.Pipeline
	feeds    []*feed
	chains   *chains
	removals *removals
	logRules *logfile.Rules
	metrics  *metrics
	drained  chan struct{} // closed by Drain
	drain    func()
	halt     context.CancelCauseFunc // ends the run; set by Run before anything else runs
	orders   chan *order             // of the operator; Run passes them on

	unmatched atomic.Pointer[[]string] // heads of sources that are not among the feeds
}

// ErrNotListed says that a source has not been listed yet.
var ErrNotListed = errors.New("not yet listed")

// ErrHalt says that the run ended at a finding.
var ErrHalt = findings.ErrHalt

// errStopping says that the worker ends. What it was given comes back at once.
var errStopping = fmt.Errorf("shutting down: %w", context.Canceled)

// Outcome is how a run ended.
type Outcome struct {
	Findings int // reported
	Waiting  int // chains with digests that could not be processed
	Events   int64
}

// Run makes a worker and runs it.
func Run(ctx context.Context, c Config) (Outcome, error) {
	w, err := New(ctx, c)
	switch {
	case err != nil && ctx.Err() != nil:
		return Outcome{}, nil
	case err != nil:
		return Outcome{}, err
	}
	return w.Run(ctx)
}

// New returns a worker that has not begun. It reads the state and registers the metrics.
func New(ctx context.Context, c Config) (*Worker, error) {
	var w *Worker // findings.New does not call StateFailed
	reporter, err := findings.New(ctx, findings.Options{
		Sink: c.Findings, Store: c.State, Halt: c.Halt, Now: c.Now, Metrics: c.Metrics,
		StateFailed: func(ctx context.Context, err error) { w.metrics.stateFailed(ctx, err) },
	})
	if err != nil {
		return nil, err
	}
	w = &Worker{
		config: c, policy: c.policy(), ledger: ledger.New(c.State), findings: reporter,
		keys: chain.NewKeyring(c.Keys, c.Since, c.Now(), c.Now),
		pipeline: pipeline.New(pipeline.Options{
			Sink: c.Sink, Sinks: c.Sinks, Memory: c.Memory, Concurrency: c.Concurrency, Sources: len(c.Sources),
			Now: c.Now, Log: c.Log, Metrics: c.Metrics,
		}),
		chains: newChains(), drained: make(chan struct{}), orders: make(chan *order),
	}
	w.drain = sync.OnceFunc(func() { close(w.drained) })
	w.metrics = newMetrics(c.Metrics, w)
	w.metrics.grace.Set(c.Grace.Seconds())
	w.logRules = &logfile.Rules{
		Pipeline: w.pipeline, Report: w.report, Unverified: w.metrics.unverifiedBy,
		Done:       func(result string) { w.metrics.logs.WithLabelValues(result).Inc() },
		Management: w.config.managementAccount, Grace: w.policy.Grace, Offs: &logfile.Offs{}, Now: c.Now, Log: c.Log,
	}
	for _, s := range c.Sources {
		i := slices.IndexFunc(w.feeds, func(f *feed) bool { return f.isOf(s) })
		if i < 0 {
			w.feeds = append(w.feeds, newFeed(w, s))
			continue
		}
		w.feeds[i].prefixes = append(w.feeds[i].prefixes, s.Prefix)
	}
	w.removals = newRemovals(w)
	return w, nil
}

// Drain ends the intake: the digests in work are processed, others are left to the next
// run, and Run returns. It may be called at any time, from any goroutine.
func (w *Worker) Drain() { w.drain() }

func (w *Worker) isDraining() bool {
	select {
	case <-w.drained:
		return true
	default:
		return false
	}
}

// Run runs the worker, once, until ctx ends, Drain is called or, with Config.Once, all is
// processed that can be. It waits for everything that it started.
func (w *Worker) Run(ctx context.Context) (Outcome, error) {
	stopped := ctx
	ctx, halt := context.WithCancelCause(ctx)
	defer halt(nil)
	w.halt = halt
	intake, endIntake := context.WithCancel(ctx)
	defer endIntake()
	defer context.AfterFunc(ctx, endIntake)()
	go func(done <-chan struct{}) {
		select {
		case <-w.drained:
			endIntake()
		case <-done:
		}
	}(intake.Done())
	if err := recall(intake, ctx, w); err != nil {
		return w.outcome(), w.ended(ctx, stopped, err)
	}
	endOrders := w.beginOrders(ctx)
	defer endOrders()
	group, intake := errgroup.WithContext(intake)
	for _, f := range w.feeds {
		group.Go(func() error { return newPoller(w, f).run(intake, ctx) })
	}
	for _, a := range w.config.Announcers {
		group.Go(func() error { return listener{worker: w, from: a}.run(intake, ctx) })
	}
	err := group.Wait()
	if err == nil && w.config.Once && !w.isDraining() {
		for _, f := range w.feeds {
			f.schedule.WaitIdle(ctx)
			err = errors.Join(err, recordListing(ctx, w, f, true))
		}
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		halt(err)
	}
	for _, f := range w.feeds {
		f.schedule.Close()
		f.logs.Wait()
		f.judge.Digests.Wait()
	}
	w.removals.wait.Wait()
	endOrders()
	for _, c := range w.chains.list() {
		c.frontier.GiveBack(errStopping)
	}
	w.pipeline.Accounts().End()
	return w.outcome(), w.ended(ctx, stopped, err)
}

// ended returns the error of a run.
func (w *Worker) ended(ctx, stopped context.Context, err error) error {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, ErrHalt):
		return ErrHalt
	case stopped.Err() != nil, w.isDraining():
		return nil
	case err != nil:
		return err
	case w.config.Once:
		return w.SourcesReady(stopped)
	}
	return nil
}

func (w *Worker) outcome() Outcome {
	o := Outcome{Events: w.pipeline.Accounts().Events().Accepted, Findings: w.findings.Count()}
	for _, c := range w.chains.list() {
		if c.progress.now().err != nil {
			o.Waiting++
		}
	}
	return o
}

// report reports a finding. Where it halts the run, no chain goes on.
func (w *Worker) report(ctx context.Context, f finding.Finding) error {
	err := w.findings.Report(ctx, f)
	if errors.Is(err, ErrHalt) {
		w.halt(err)
	}
	return err
}
