// Package ingest follows digest chains and emits the events of their log files, each only
// when it is proven. It holds the loops; what they decide and do is in the packages below:
//
//	poll.go      lists a source again and again ──┐
//	announce.go  receives from a queue ───────────┴─> follow.Frontier of each chain
//	schedule.go  which chains run now
//	chain.go     one chain, one digest: read ─> judge ─> follow.Next ─> logs ─> flush ─> head ─> done
//	late.go      whether a chain is late
//	lookback.go  the digests before one, by signed names or by listing
//	unproven.go  chains without a trusted digest: a bounded number, without a head
//	removal.go   announced deletions: looked at, never believed
//	orders.go    what the operator orders, carried out between two digests
//	listed.go    which account folders were listed in full
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

	"golang.org/x/sync/errgroup"

	"github.com/trailseal/trailseal/internal/failure"
	"github.com/trailseal/trailseal/internal/findings"
	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/internal/ledger"
	"github.com/trailseal/trailseal/internal/pipeline"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
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
	offs     offs
	removals *removals
	metrics  *metrics
	drained  chan struct{} // closed by Drain
	drain    func()
	halt     context.CancelCauseFunc // ends the run; set by Run before anything else runs
	orders   chan *order             // of the operator; Run passes them on

	mu        sync.Mutex                  // guards what follows
	chains    map[string]*chainLoop       // with a stored head or a trusted digest, by their heads' names
	byRegion  map[feedRegion][]*chainLoop // the same, by account and region
	unmatched []string                    // heads of sources that are not among the feeds
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
		removals: newRemovals(), drained: make(chan struct{}), orders: make(chan *order),
		chains: map[string]*chainLoop{}, byRegion: map[feedRegion][]*chainLoop{},
	}
	w.drain = sync.OnceFunc(func() { close(w.drained) })
	w.metrics = newMetrics(c.Metrics, w)
	w.metrics.grace.Set(c.Grace.Seconds())
	for _, s := range c.Sources {
		i := slices.IndexFunc(w.feeds, func(f *feed) bool { return f.isOf(s) })
		if i < 0 {
			w.feeds = append(w.feeds, w.newFeed(s))
			continue
		}
		w.feeds[i].prefixes = append(w.feeds[i].prefixes, s.Prefix)
	}
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
	if err := w.recallAll(intake, ctx); err != nil {
		return w.outcome(), w.ended(ctx, stopped, err)
	}
	endOrders := w.beginOrders(ctx)
	defer endOrders()
	group, intake := errgroup.WithContext(intake)
	for _, f := range w.feeds {
		group.Go(func() error { return w.pollAll(intake, ctx, f) })
	}
	for _, a := range w.config.Announcers {
		group.Go(func() error { return w.listen(intake, ctx, a) })
	}
	err := group.Wait()
	if err == nil && w.config.Once && !w.isDraining() {
		for _, f := range w.feeds {
			f.schedule.waitIdle(ctx)
			err = errors.Join(err, w.recordListing(ctx, f, true))
		}
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		halt(err)
	}
	for _, f := range w.feeds {
		f.schedule.close()
		f.logs.Wait()
		f.digests.Wait()
	}
	w.removals.wait.Wait()
	endOrders()
	for _, c := range w.all() {
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
	for _, c := range w.all() {
		if c.snapshot().err != nil {
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

// all returns the loops of all chains.
func (w *Worker) all() []*chainLoop {
	w.mu.Lock()
	all := make([]*chainLoop, 0, len(w.chains))
	for _, c := range w.chains {
		all = append(all, c)
	}
	w.mu.Unlock()
	for _, f := range w.feeds {
		f.mu.Lock()
		for _, c := range f.unproven {
			all = append(all, c)
		}
		f.mu.Unlock()
	}
	return all
}

// recallAll recalls the chains of earlier runs. Without them the worker would begin anew, so
// it tries until it can read the state, or intake ends. The chains run until ctx ends.
func (w *Worker) recallAll(intake, ctx context.Context) error {
	for try := 0; ; try++ {
		err := w.recall(intake, ctx)
		decision := failure.Decide(failure.Failure{Operation: failure.Head, Err: err})
		if decision.Do != failure.Retry || w.policy.Tries > 0 && try+1 >= w.policy.Tries {
			return err
		}
		w.config.Log.Warn("the state cannot be read, trying again", "try", try+1, "error", err)
		if err := failure.Sleep(intake, failure.Pause(try)); err != nil {
			return err
		}
	}
}

// recall makes the loops of the chains that earlier runs followed, and lets each run once:
// a chain whose folders were emptied meanwhile must not be forgotten with them. It reads
// when folders were last listed, too.
func (w *Worker) recall(intake, ctx context.Context) error {
	names, err := w.ledger.Names(intake)
	if err != nil {
		w.metrics.stateFailed(intake, err)
		return err
	}
	for _, f := range w.feeds {
		listings, err := w.ledger.Listings(intake, f.identity)
		if err == nil && listings.Since.IsZero() {
			listings.Since = w.config.Since
			listings, err = w.ledger.SetListings(intake, f.identity, listings)
		}
		if err != nil {
			w.metrics.stateFailed(intake, err)
			return err
		}
		f.mu.Lock()
		f.listings = listings
		f.mu.Unlock()
	}
	var unmatched []string
	for _, name := range names {
		source, c, err := ledger.Parse(name)
		i := slices.IndexFunc(w.feeds, func(f *feed) bool { return f.identity == source })
		switch {
		case err != nil || i < 0:
			unmatched = append(unmatched, name)
		case w.isSelected(c):
			loop := w.newLoop(w.feeds[i], c)
			w.mu.Lock()
			w.addLocked(loop)
			w.mu.Unlock()
		}
	}
	w.mu.Lock()
	w.unmatched = unmatched
	w.mu.Unlock()
	w.openAll(ctx)
	for _, c := range w.all() {
		c.feed.schedule.add(ctx, c)
	}
	if n := len(unmatched); n > 0 {
		w.metrics.unmatched.Set(float64(n))
		w.config.Log.Warn("the state has heads that belong to no source: their chains are not followed",
			"heads", n, "first", unmatched[0])
	}
	return nil
}

// openAll reads the stored heads: they say where polls begin. The loop of a head that cannot be
// read tries again by itself.
func (w *Worker) openAll(ctx context.Context) {
	group := new(errgroup.Group)
	group.SetLimit(opensAtOnce)
	for _, c := range w.all() {
		group.Go(func() error {
			_ = c.open(ctx)
			return nil
		})
	}
	_ = group.Wait()
}

// opensAtOnce is how many heads are read at once.
const opensAtOnce = 16

// feedRegion is an account and region of a source.
type feedRegion struct {
	feed            *feed
	account, region string
}

// addLocked adds a chain that is followed. mu is held.
func (w *Worker) addLocked(c *chainLoop) {
	if w.chains[c.id] != nil {
		return
	}
	w.chains[c.id] = c
	at := feedRegion{c.feed, c.name.Account, c.name.Region}
	w.byRegion[at] = append(w.byRegion[at], c)
}

// isSelected reports whether the operator asked for a chain.
func (w *Worker) isSelected(c trail.Chain) bool {
	return wanted(w.config.Accounts, c.Account) && wanted(w.config.Regions, c.Region) &&
		wanted(w.config.Trails, c.Trail)
}

func wanted(only []string, s string) bool { return len(only) == 0 || slices.Contains(only, s) }

// managementAccount returns the management account of an organization, "" where it is not
// known, or for no organization.
func (w *Worker) managementAccount(ctx context.Context, organization string) string {
	if organization == "" || w.config.Management == nil {
		return ""
	}
	return w.config.Management(ctx, organization)
}
