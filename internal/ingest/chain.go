package ingest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/trailseal/trailseal/internal/ended"
	"github.com/trailseal/trailseal/internal/failure"
	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/internal/ledger"
	"github.com/trailseal/trailseal/internal/logfile"
	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// chainLoop follows one chain of a source, oldest digest first.
type chainLoop struct {
	worker   *Worker
	feed     *feed
	name     trail.Chain // without a prefix: a chain is known by its trail, account and region
	id       string      // the name of its head in the state
	frontier follow.Frontier
	listedAt time.Time // when its account folder was last listed in full and the chain was absent; zero: never
	progress progress
	orders   inbox

	// The goroutine that runs the loop owns these.
	entry     ledger.Entry
	isOpen    bool // entry is what the state has
	tries     int  // that failed since the last success
	looked    looked
	former    *chainLoop       // the chain that this one continues, once it knows what it must come to
	continues trail.DigestKey  // the digest of former that it must come to
	logs      *logfile.Emitter // takes the log files of its digests to the sinks
	before    lookback         // looks for digests before one
	doubted   time.Time        // the end of which it was doubted that the chain is late
	isReset   bool             // the operator has reset the chain, and its digests are not listed since
	isBegun   bool             // where the chain begins was told
	isOver    bool             // a trusted digest after Config.Until was compared: the chain is done
	// prefetch is how many queued digests have their log files requested early. It doubles
	// while the chain makes progress and drops to 0 after an error.
	prefetch int
}

func newLoop(w *Worker, f *feed, name trail.Chain) *chainLoop {
	name.Prefix = ""
	c := &chainLoop{
		worker: w, feed: f, name: name, id: ledger.Name(f.identity, name), prefetch: maxPrefetch,
		logs: logfile.New(w.logRules, f.source.Source, f.logs.Share()),
	}
	c.before = lookback{feed: f, name: name, frontier: &c.frontier, config: &w.config, isOver: w.isDraining}
	return c
}

// progress is what others may know of a chain. It is safe for concurrent use.
type progress struct {
	mu sync.Mutex // guards at
	at standing
}

// standing is where a chain stands.
type standing struct {
	head    follow.Head
	isKnown bool         // head is known: the state was read
	err     error        // of the last try, nil after a success
	gaps    int          // since the worker started
	sweep   time.Time    // of a backfill chain: listed digests that end before are done, or too old
	polled  bool         // a poll has listed all folders of the chain since its last digest
	isEnded bool         // another chain continues this one
	waiters []*chainLoop // that continue this one, and wait for its end
}

func (p *progress) now() standing {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

func (p *progress) change(change func(*standing)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.at)
}

// run runs the loop until nothing is left to do or it fails. It returns how long to wait
// before it is tried again, 0 for not at all.
func (c *chainLoop) run(ctx context.Context) (pause time.Duration) {
	w := c.worker
	err := c.runAll(ctx)
	var waiters []*chainLoop
	c.progress.change(func(s *standing) { s.err, waiters, s.waiters = err, s.waiters, nil })
	for _, other := range waiters {
		other.feed.schedule.Add(ctx, other)
	}
	if errors.Is(err, follow.ErrElsewhere) && c.former.progress.now().err == nil { // else it runs again by itself
		c.former.feed.schedule.Add(ctx, c.former)
	}
	switch {
	case err == nil:
		c.tries = 0
		if !c.entry.Head.IsProven() {
			w.chains.forget(c)
		}
		if err := recordListing(ctx, w, c.feed, false); err != nil {
			w.config.Log.Warn("what was listed is not stored: the next full poll stores it", "error", err)
		}
		return 0
	case ctx.Err() != nil, errors.Is(err, ErrHalt):
		return 0
	}
	c.tries++
	c.prefetch = 0
	isUnsigned := errors.Is(err, follow.ErrUnsigned)
	if isUnsigned || c.tries >= tries {
		c.frontier.GiveBack(err)
	}
	if isUnsigned || errors.Is(err, follow.ErrElsewhere) {
		return 0 // a poll, a message or the end of the other chain lets it run
	}
	w.config.Log.Warn("chain waits", "chain", c.name.String(), "try", c.tries, "error", err)
	if w.policy.Tries > 0 && c.tries >= w.policy.Tries {
		return 0
	}
	return failure.Pause(c.tries - 1)
}

// runAll follows the chain until nothing is known that is not done. An error says why the
// chain stands where it is.
func (c *chainLoop) runAll(ctx context.Context) error {
	began := time.Now()
	for ctx.Err() == nil && !c.worker.isDraining() && !c.isOver {
		c.carryOut(ctx)
		if err := c.open(ctx); err != nil {
			return err
		}
		if c.feed.schedule.IsOver(began) {
			c.feed.schedule.Add(ctx, c) // after the others
			return nil
		}
		known := c.frontier.Oldest(c.entry.Head, follow.MaxListed)
		switch {
		case c.isReset, len(known) == 0 && c.frontier.HasMore():
			from := c.entry.Head.Cursor
			if from.IsZero() && !c.listedAt.IsZero() {
				from = c.listedAt.Add(-reach)
			}
			if sweep := c.progress.now().sweep; sweep.After(from) {
				from = sweep
			}
			if err := c.before.listMore(ctx, c.entry.Head, from); err != nil {
				return err
			}
			c.isReset = false
		case len(known) > 0:
			if err := c.follow(ctx, known, began); err != nil {
				if errors.Is(err, follow.ErrUnsigned) {
					err = errors.Join(err, c.reportLate(ctx))
				}
				return err
			}
		default:
			return c.reportLate(ctx)
		}
	}
	return ctx.Err()
}

// open reads the stored head, unless it is known.
func (c *chainLoop) open(ctx context.Context) error {
	if c.isOpen {
		return nil
	}
	e, err := c.worker.ledger.Open(ctx, c.id)
	if err != nil {
		c.worker.metrics.stateFailed(ctx, err)
		return err
	}
	if !e.IsStored() {
		if e.Head, err = beginning(ctx, c); err != nil {
			return err
		}
		if e.Head.Cursor.IsZero() {
			c.frontier.SetMore(true) // its oldest digest may be older than those that are known
		}
	}
	c.setEntry(e)
	c.isOpen, c.looked = true, looked{}
	if e.IsStored() {
		c.worker.chains.follow(c)
		c.worker.chains.showHead(c.worker.metrics, c, e.Head)
	}
	return nil
}

func (c *chainLoop) setEntry(e ledger.Entry) {
	c.entry = e
	c.progress.change(func(s *standing) {
		s.polled = s.polled && s.head.Until().Equal(e.Head.Until())
		s.head, s.isKnown = e.Head, true
	})
}

// commit stores a head. When it returns nil, what the head covers is done; a crash before
// that repeats it. A chain without a trusted digest has no head in the state, unless the
// operator ordered something about it.
func (c *chainLoop) commit(ctx context.Context, h follow.Head) error {
	if !h.IsProven() && !c.entry.IsStored() {
		c.setEntry(ledger.Entry{Name: c.id, Head: h, Version: c.entry.Version})
		return nil
	}
	e, err := c.worker.ledger.Commit(ctx, c.entry, h)
	if failure.Decide(failure.Failure{Operation: failure.Head, Err: err}).Do != failure.Proceed {
		c.worker.metrics.stateFailed(ctx, err)
		c.isOpen = false // another worker may have changed it, or it took effect
		if errors.Is(err, state.ErrConflict) {
			c.logs.ForgetAll()
		}
		return err
	}
	c.setEntry(e)
	return nil
}

// lastCommit is how long the worker waits for the state while it ends.
const lastCommit = 5 * time.Second

// reportLate reports, once for each head, that the chain's newest digest is later than the
// grace. It judges by a poll that listed all folders of the chain after that digest. Where
// another chain continues this one, it stores that this one has ended.
func (c *chainLoop) reportLate(ctx context.Context) error {
	h, w := c.entry.Head, c.worker
	at := c.progress.now()
	if at.isEnded && !h.Ended {
		h.Ended = true
		err := c.commit(ctx, h)
		if err == nil {
			w.chains.showHead(w.metrics, c, h)
		}
		return err
	}
	end := h.Until()
	if !w.config.isLate(h, c.name, w.config.Now()) || w.config.Once || !at.polled {
		return nil
	}
	if standing, _ := w.config.Ended.Judge(c.name, end); standing == ended.Acknowledged {
		return nil
	}
	// A name that waits for a proof may continue this chain: then the next poll decides. Anyone
	// can plant a name, so it is waited for once for each end, unless what keeps it from its
	// proof passes.
	isNamed, isPassing := w.chains.mayContinue(c)
	if isPassing || isNamed && !c.doubted.Equal(end) {
		c.doubted = end
		c.progress.change(func(s *standing) { s.polled = false })
		return nil
	}
	switch e, err := w.ledger.Open(ctx, c.id); {
	case err != nil:
		return err
	case e.Version != c.entry.Version: // another worker has brought the chain further
		c.isOpen = false
		return nil
	}
	if found, err := c.before.listAfter(ctx, h); found || err != nil {
		c.feed.schedule.Add(ctx, c) // after an error it pauses first
		return err
	}
	detail := "no digest after the one that ends at " + end.Format(time.RFC3339)
	if h.Link.Key == "" {
		detail = "no digest since the time that the chain was reset to, " + end.Add(1).Format(time.RFC3339)
	}
	err := w.report(ctx, finding.Finding{
		Class: finding.Coverage,
		Subject: finding.Subject{
			Account: c.name.Account, Region: c.name.Region, Trail: c.name.Trail, Bucket: c.feed.source.Bucket, Time: end,
		},
		Detail:   detail + ": deleted, late, or logging stopped",
		Evidence: finding.Evidence{From: end, To: w.config.Now().UTC().Truncate(time.Second)},
	})
	if err != nil {
		return err
	}
	h.LateTold = true
	// It is told once, also where the worker ends now. A state that hangs does not keep the
	// worker from ending.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastCommit)
	defer cancel()
	return c.commit(last, h)
}
