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
	for _, c := range w.chains.list() {
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
				p.chain.orders.add(p)
				p.chain.feed.schedule.Hurry(ctx, p.chain)
			case <-passing.Done():
				return
			}
		}
	})
	return func() {
		cancel()
		wait.Wait()
		for _, c := range w.chains.list() {
			for _, p := range c.orders.take() {
				p.done <- outcome{err: errStopping}
			}
		}
	}
}

// inbox are the orders that wait for the loop of a chain. It is safe for concurrent use.
type inbox struct {
	mu  sync.Mutex // guards all
	all []*order
}

func (i *inbox) add(o *order) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.all = append(i.all, o)
}

// has reports whether orders wait.
func (i *inbox) has() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.all) > 0
}

// take returns the orders that wait and were not withdrawn. The caller says what becomes of
// each.
func (i *inbox) take() []*order {
	i.mu.Lock()
	defer i.mu.Unlock()
	all := i.all
	i.all = nil
	return slices.DeleteFunc(all, func(o *order) bool { return !o.isTaken.CompareAndSwap(false, true) })
}

// carryOut carries out the orders that wait for the loop.
func (c *chainLoop) carryOut(ctx context.Context) {
	for _, o := range c.orders.take() {
		text, err := carry(ctx, c, o.what)
		o.done <- outcome{text, err}
	}
}

func carry(ctx context.Context, c *chainLoop, o operate.Order) (text string, err error) {
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
			c.logs.ForgetAll()
			w.metrics.stateFailed(ctx, err)
		}
		return "", err
	}
	w.config.Log.Warn("order of the operator", "verb", string(o.Verb), "chain", c.name.String(), "object", o.Object,
		"since", o.Since, "by", o.By, "reason", o.Reason)
	c.setEntry(e)
	w.chains.follow(c)
	c.tries = 0
	if o.Verb == operate.Reset { // what the loop knows of the digests that it follows again is forgotten
		c.logs.ForgetAll()
		c.looked, c.isReset = looked{}, true
		c.progress.change(func(s *standing) { s.polled = false })
		c.feed.refuted.clear() // what was judged false is judged again
	}
	w.chains.showHead(w.metrics, c, e.Head)
	return text, nil
}
