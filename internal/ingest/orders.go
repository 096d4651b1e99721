package ingest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/trailseal/trailseal/internal/operate"
	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/pkg/trail"
)

// order is an order of the operator on its way to the loop of its chain.
type order struct {
	what    operate.Order
	chain   *chainLoop
	isTaken atomic.Bool  // carried out now or before, or withdrawn
	done    chan outcome // of one: what became of it
}

type outcome struct {
	text string
	err  error
}

// errBusy says why an order was not carried out.
var errBusy = errors.New("the chain is at work on a digest: nothing was changed, try again")

// Order lets the loop of a chain carry out an order of the operator, between two digests. It
// returns what was done, for people. Errors that wrap operate.ErrUsage say that the order is
// wrong. It may be called from any goroutine while Run runs, and ends with ctx.
func (w *Worker) Order(ctx context.Context, o operate.Order) (string, error) {
	if err := o.Check(); err != nil {
		return "", err
	}
	loops := map[string]*chainLoop{}
	for _, c := range w.all() {
		loops[c.id] = c
	}
	name, err := operate.Resolve(slices.Sorted(maps.Keys(loops)), o.Chain)
	if err != nil {
		return "", err
	}
	p := &order{what: o, chain: loops[name], done: make(chan outcome, 1)}
	select {
	case w.orders <- p:
	case <-ctx.Done():
		return "", errBusy
	}
	select {
	case d := <-p.done:
		return d.text, d.err
	case <-ctx.Done():
	}
	if p.isTaken.CompareAndSwap(false, true) {
		return "", errBusy
	}
	d := <-p.done // the loop is about to say
	return d.text, d.err
}

// beginOrders begins to pass orders on to the loops. The function that it returns ends that,
// and refuses those that no loop has taken. It may be called more than once.
func (w *Worker) beginOrders(ctx context.Context) (end func()) {
	passing, cancel := context.WithCancel(ctx)
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			select {
			case p := <-w.orders:
				p.chain.mu.Lock()
				p.chain.orders = append(p.chain.orders, p)
				p.chain.mu.Unlock()
				p.chain.feed.schedule.hurry(ctx, p.chain)
			case <-passing.Done():
				return
			}
		}
	})
	return func() {
		cancel()
		wait.Wait()
		for _, c := range w.all() {
			for _, p := range c.takeOrders() {
				p.done <- outcome{err: errStopping}
			}
		}
	}
}

// isOrdered reports whether orders wait for the loop.
func (c *chainLoop) isOrdered() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.orders) > 0
}

// takeOrders returns the orders that wait for the loop and were not withdrawn. The caller
// says what becomes of each.
func (c *chainLoop) takeOrders() []*order {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.orders
	c.orders = nil
	return slices.DeleteFunc(all, func(p *order) bool { return !p.isTaken.CompareAndSwap(false, true) })
}

// carryOut carries out the orders that wait for the loop.
func (c *chainLoop) carryOut(ctx context.Context) {
	for _, p := range c.takeOrders() {
		text, err := c.carry(ctx, p.what)
		p.done <- outcome{text, err}
	}
}

func (c *chainLoop) carry(ctx context.Context, o operate.Order) (text string, err error) {
	if err := c.open(ctx); err != nil {
		return "", err
	}
	w := c.worker
	e, text, err := operate.Carry(ctx, w.ledger, w.findings.Note, c.entry, o, w.config.Now())
	switch {
	case errors.Is(err, operate.ErrUsage):
		return "", err
	case err != nil:
		c.isOpen = false // whether the head was stored is not known
		if errors.Is(err, state.ErrConflict) {
			clear(c.emitted)
			w.metrics.stateFailed(ctx, err)
		}
		return "", err
	}
	w.config.Log.Warn("order of the operator", "verb", string(o.Verb), "chain", c.name.String(), "object", o.Object,
		"since", o.Since, "by", o.By, "reason", o.Reason)
	c.setEntry(e)
	c.prove()
	c.tries = 0
	if o.Verb == operate.Reset {
		c.reset()
	}
	c.showHead()
	return text, nil
}

// reset forgets what the loop knew of the digests that it follows again.
func (c *chainLoop) reset() {
	clear(c.emitted)
	c.looked, c.failed = looked{}, trail.Object{}
	c.isReset = true
	c.update(func(p *progress) { p.polled = false })
	c.feed.mu.Lock()
	c.feed.refuted = recent{} // what was judged false is judged again
	c.feed.mu.Unlock()
}

// isContinued reports whether another chain has the same labels as this one in metrics, and
// has not ended.
func (w *Worker) isContinued(c *chainLoop) bool {
	for _, f := range w.feeds {
		for _, o := range w.chainsOf(f, c.name.Place) {
			if o != c && o.name.Trail == c.name.Trail && !o.name.Backfill && !o.snapshot().head.Ended {
				return true
			}
		}
	}
	return false
}
