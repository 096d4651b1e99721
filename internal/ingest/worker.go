package ingest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/trailseal/trailseal/internal/budget"
	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Worker is one run.
type Worker struct {
	Config
	m       *Metrics
	keys    *chain.Keyring
	budget  *budget.Budget
	scratch [len(classes)]sync.Pool // of *scratch
	group   *errgroup.Group         // every goroutine that follows
	stops   stops
	sources []*feed
	events  atomic.Int64

	mu       sync.Mutex // guards what follows
	chains   map[string]*follower
	told     map[findingID]*telling // findings reported, so that a retry reports none twice
	findings int
	sinkErr  error
}

// ErrNotListed: a source has not been looked at yet.
var ErrNotListed = errors.New("not yet listed")

// errNotYet: what is absent may still arrive.
var errNotYet = errors.New("not there yet")

// feed is a Source with what belongs to it.
type feed struct {
	Source
	digests *fetch.Fetcher
	logs    *fetch.Fetcher // each source has its own, so that a slow one holds no other
	workers *fetch.Workers // log files in flight
	finder  *discover.Finder
	budget  *budget.Budget // its share, so that one which hangs leaves room for others: as many as Memory has room for a large log of each
	// hands bounds, in bytes, the logs that are being read, inflated and emitted
	// to inHand: where sinks are slower than that, more of them would only lie in
	// memory. The latency of those whose turn comes next passes meanwhile.
	hands  *semaphore.Weighted
	inHand int64
	last   sizes               // of the last log of any chain
	walks  *semaphore.Weighted // chains in flight
	deep   *semaphore.Weighted // those of them that may go deep
	// recalled: the chains that an earlier run followed are followed. Owned by
	// who polls.
	recalled bool
	// filtersTold and trailsTold: what was asked for and is not there was told.
	// Owned by who polls.
	filtersTold, trailsTold bool
	listed                  map[trail.Place]bool // whose digests were listed since Since; guarded by the worker's mu
	err                     error                // of the last look at it, ErrNotListed before the first; guarded by the worker's mu
}

// ErrHalt ends a run at a finding.
var ErrHalt = errors.New("halted at a finding")

// Run follows until ctx ends or, with Once, until all is dealt with that can
// be. It waits for everything it started.
func Run(ctx context.Context, c Config) (Outcome, error) { return New(c).Run(ctx) }

// New returns a worker that has not begun.
func New(c Config) *Worker {
	w := &Worker{
		Config: c, m: c.Metrics, budget: budget.New(c.Memory, func(n int64) { c.Metrics.inFlight.Set(float64(n)) }),
		keys:   chain.NewKeyring(c.Keys, c.Since, c.Now(), c.Now),
		chains: map[string]*follower{}, told: map[findingID]*telling{},
	}
	for n := range w.scratch {
		w.scratch[n].New = func() any { return new(scratch) }
	}
	w.m.memoryBudget.Set(float64(c.Memory))
	w.m.grace.Set(c.Grace.Seconds())
	w.m.census.of(w.followers)
	share := max(c.Memory/int64(max(len(c.Sources), 1)), largeReserve)
	for _, s := range c.Sources {
		w.sources = append(w.sources, w.newSource(s, share))
	}
	return w
}

// Run runs the worker, once.
func (w *Worker) Run(ctx context.Context) (Outcome, error) {
	stopped := ctx
	group, ctx := errgroup.WithContext(ctx)
	w.group = group
	for _, s := range w.sources {
		group.Go(func() error { return w.pollAll(ctx, s) })
	}
	for _, a := range w.Announcers {
		group.Go(func() error { return w.listen(ctx, a) })
	}
	err := group.Wait()
	if stopped.Err() != nil && errors.Is(err, stopped.Err()) {
		err = nil
	}
	for _, s := range w.sources {
		s.logs.Wait()
		s.workers.Wait()
	}
	w.release(errStopping)
	if err == nil && w.Once && stopped.Err() == nil {
		err = w.SourcesReady(ctx)
	}
	return w.outcome(), err
}

// walksAtOnce bounds the chains under way, and with them the digests held: of
// each chain aheadDigests are fetched ahead, deepDigests of the first few. More
// would only open connections that are never used again.
const (
	walksAtOnce  = 64
	aheadDigests = 4
	deepAtOnce   = 8
	deepDigests  = 16
)

// depth returns how many digests of a chain are fetched ahead; done gives a
// place among the deep ones back.
func (s *feed) depth() (n int, done func()) {
	if s.deep.TryAcquire(1) {
		return deepDigests, func() { s.deep.Release(1) }
	}
	return aheadDigests, func() {}
}

func (w *Worker) newSource(s Source, share int64) *feed {
	objects := counting{s.View(s.Objects), w.m}
	src := &feed{
		Source: s, digests: fetch.New(objects, (walksAtOnce-deepAtOnce)*aheadDigests+deepAtOnce*deepDigests), logs: fetch.New(objects, w.Concurrency),
		workers: fetch.NewWorkers(w.Concurrency), budget: w.budget.Share(share), walks: semaphore.NewWeighted(walksAtOnce), deep: semaphore.NewWeighted(deepAtOnce),
		listed: map[trail.Place]bool{}, err: ErrNotListed,
	}
	src.inHand = share / 8
	src.hands = semaphore.NewWeighted(src.inHand)
	src.digests.Plain, src.logs.Plain = s.IsCopy(), s.IsCopy()
	src.finder = &discover.Finder{
		Objects: s.View(s.Objects), Source: s.Source, Concurrency: 16,
		Keep: func(p trail.Place) bool {
			return wanted(w.Accounts, p.Account) && (p.Region == "" || wanted(w.Regions, p.Region))
		},
	}
	return src
}

// placeOf returns a place of the source with the roots of a copy. In a copy a
// place has no prefix.
func (s *feed) placeOf(p trail.Place) discover.Place {
	if s.IsCopy() {
		p.Prefix = ""
	}
	return discover.Place{Place: p, Roots: s.Roots(p)}
}

// managementAccount returns the management account of an organization, "" where
// it is not known, or for no organization.
func (w *Worker) managementAccount(ctx context.Context, organization string) string {
	if organization == "" || w.Management == nil {
		return ""
	}
	return w.Management(ctx, organization)
}

func wanted(only []string, s string) bool { return len(only) == 0 || slices.Contains(only, s) }

// follower returns the follower of a chain, made where needed.
func (w *Worker) follower(s *feed, name trail.Chain) *follower {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := s.Name + " " + headName(s, name)
	f := w.chains[id]
	if f == nil {
		f = w.newFollower(s, name)
		w.chains[id] = f
	}
	return f
}

func (w *Worker) newFollower(s *feed, name trail.Chain) *follower {
	return &follower{
		Worker: w, source: s, name: name, pace: maxPace, emitted: map[trail.Object]bool{}, bad: map[string]bool{}, repeated: map[string]string{},
		known: map[trail.DigestKey]discover.Digest{}, waiting: map[trail.DigestKey][]func(error){}, hinted: map[trail.DigestKey]bool{},
	}
}

// kick lets a chain be followed, unless it is already.
func (w *Worker) kick(ctx context.Context, f *follower) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.again = true
	if f.running || ctx.Err() != nil {
		return
	}
	f.running = true
	w.group.Go(func() error {
		for f.kicked() {
			if err := f.run(ctx); errors.Is(err, ErrHalt) {
				return err
			}
		}
		return ctx.Err()
	})
}

// kicked reports whether the chain is to be followed once more. Where not, it
// stops running in the same step: a kick comes before it or starts anew.
func (f *follower) kicked() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running, f.again = f.again, false
	return f.running
}

// run follows the chain and, after a failure, tries again later: no other
// chain waits for it.
func (f *follower) run(ctx context.Context) error {
	for try := 0; ; try++ {
		err := f.runOnce(ctx)
		f.mu.Lock()
		f.lastErr = err
		f.mu.Unlock()
		if err == nil || ctx.Err() != nil || errors.Is(err, ErrHalt) {
			return err
		}
		if errors.Is(err, errWaits) || try+1 >= holdTries {
			f.giveBack(err)
		}
		if errors.Is(err, errWaits) {
			return err
		}
		f.Log.Warn("chain waits", "chain", f.name.String(), "try", try+1, "error", err)
		if f.Once && try+1 >= onceTries {
			return err
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}

// onceTries is how often a run that ends by itself tries a chain. After
// holdTries announcements are given back; not later, since in such a run the
// announcer waits for them.
const (
	onceTries = 4
	holdTries = onceTries
)

func (f *follower) runOnce(ctx context.Context) error {
	if err := f.source.walks.Acquire(ctx, 1); err != nil {
		return err
	}
	defer f.source.walks.Release(1)
	return f.follow(ctx)
}

// findingID is the hash of what makes a finding the same as another.
type findingID [16]byte

// telling is a finding on its way; done is closed when err is known.
type telling struct {
	done chan struct{}
	err  error
}

// find reports a finding, once in a run. Whoever finds the same at the same
// time waits: nothing is passed by before its finding is durable.
func (w *Worker) find(ctx context.Context, f finding.Finding) error {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %s %s %s %s %s %s", f.Class, f.Account, f.Region, f.Trail, f.Bucket, f.Key, f.Time, f.Detail))
	id := findingID(sum[:16])
	w.mu.Lock()
	t := w.told[id]
	if t == nil {
		t = &telling{done: make(chan struct{})}
		w.told[id] = t
		w.mu.Unlock()
		w.tell(ctx, id, t, f)
		return t.err
	}
	w.mu.Unlock()
	select {
	case <-t.done:
		if errors.Is(t.err, ErrHalt) {
			return nil
		}
		return t.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *Worker) tell(ctx context.Context, id findingID, t *telling, f finding.Finding) {
	err := w.Findings.Find(ctx, f)
	w.mu.Lock()
	defer w.mu.Unlock()
	defer close(t.done)
	if err != nil {
		delete(w.told, id)
		// Not wrapped: that a file of findings is not there says nothing about
		// the evidence.
		if t.err = ctx.Err(); t.err == nil {
			t.err = fmt.Errorf("report finding: %v", err)
			w.m.findingRetries.Inc()
		}
		return
	}
	w.findings++
	w.m.found(f.Class, w.Now())
	if w.Halt {
		t.err = ErrHalt
	}
}

// deliver gives a batch to the sinks until they have it or ctx ends. Nothing
// else moves on meanwhile: the batch keeps its share of the budget.
func (w *Worker) deliver(ctx context.Context, b trail.Batch) error {
	for try := 0; ; try++ {
		err := w.Sink.Emit(ctx, b)
		if err == nil {
			w.events.Add(int64(len(b.Lines)))
			w.sinkError(nil)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		w.sinkError(err)
		w.m.sinkRetries.Inc()
		w.Log.Warn("emit failed, trying again", "log", b.Log.String(), "try", try+1, "error", err)
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}

func (w *Worker) sinkError(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sinkErr = err
}

// release tells everyone who waits for a digest that the run has ended.
func (w *Worker) release(why error) {
	for _, f := range w.followers() {
		f.mu.Lock()
		for key := range f.waiting {
			f.settleLocked(key, why)
		}
		f.mu.Unlock()
	}
}

func (w *Worker) followers() []*follower {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []*follower
	for _, f := range w.chains {
		all = append(all, f)
	}
	return all
}

func (w *Worker) outcome() Outcome {
	o := Outcome{Events: w.events.Load()}
	for _, f := range w.followers() {
		f.mu.Lock()
		if f.lastErr != nil {
			o.Waiting++
		}
		f.mu.Unlock()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	o.Findings = w.findings
	return o
}

// SourcesReady returns why the sources cannot be listed, nil if they can.
func (w *Worker) SourcesReady(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sourcesErr()
}

// sourcesErr is called with mu held.
func (w *Worker) sourcesErr() error {
	var errs []error
	for _, s := range w.sources {
		errs = append(errs, s.err)
	}
	return errors.Join(errs...)
}

// SinksReady returns why the last batch was refused, nil if it was not.
func (w *Worker) SinksReady(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sinkErr
}
