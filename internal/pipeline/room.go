package pipeline

import (
	"context"
	"slices"
	"sync"
)

// room is what the log files of one source may take: places and memory. A log file has a
// place while it is in work, also while it hangs. So places bound the open connections.
//
// The chains share the room by one rule: a chain may take at most three times what it
// leaves free. So a chain alone has three quarters, and a chain that hangs leaves a quarter
// of what it finds. The first log file of a chain may take all that is free, and gets a place
// where none is free.
//
// A chain cannot have all while the others have no work: memory does not come back from a
// body that hangs. A chain whose log file waits for memory gets no further place: one more
// connection would wait, too.
type room struct {
	most     amount    // that one chain may take
	arrivals sync.Pool // of *arrival that nothing refers to any more

	mu      sync.Mutex // guards what follows, and the tenants
	free    amount
	waiting []*arrival // first come, first served
	isShort bool       // some of them wait for memory
}

// amount is what a log file takes: a place, or memory.
type amount struct {
	places int64 // 1 or 0
	memory int64 // bytes that it may hold
	active int64 // bytes that it is likely to hold
}

// tenant is what the room knows of a chain.
type tenant struct {
	taken    amount
	awaiting int  // log files that wait for memory
	refused  bool // one of them does not get it now
}

// arrival is a log file that waits.
type arrival struct {
	tenant *tenant
	n      amount
	taken  chan struct{} // has an element when it has what it waits for
}

// timesFree is how many times what it leaves free a chain may take.
const timesFree = 3

// take waits for an amount for a log file of the chain. The error is the context's.
func (r *room) take(ctx context.Context, t *tenant, n amount) error {
	a := r.arrive(t, n)
	if a == nil {
		return nil
	}
	select {
	case <-a.taken:
		r.arrivals.Put(a)
		return nil
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.waiting, a); i >= 0 {
		r.waiting = slices.Delete(r.waiting, i, i+1)
		t.awaiting -= a.n.forMemory()
	} else {
		r.move(t, n, -1)
	}
	r.serve()
	return ctx.Err()
}

// give gives back what take has taken.
func (r *room) give(t *tenant, n amount) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.move(t, n, -1)
	r.serve()
}

// arrive takes an amount, or returns the arrival that waits for it.
func (r *room) arrive(t *tenant, n amount) *arrival {
	r.mu.Lock()
	defer r.mu.Unlock()
	if (n.places > 0 || !r.isShort) && r.mayTake(t, n) {
		r.move(t, n, 1)
		return nil
	}
	a, _ := r.arrivals.Get().(*arrival)
	if a == nil {
		a = &arrival{taken: make(chan struct{}, 1)}
	}
	a.tenant, a.n = t, n
	r.waiting = append(r.waiting, a)
	t.awaiting += n.forMemory()
	r.serve()
	return a
}

// move gives an amount to a chain, or takes it back where sign is -1. The mutex is locked.
func (r *room) move(t *tenant, n amount, sign int64) {
	t.taken.add(n, sign)
	r.free.add(n, -sign)
}

// serve gives those that wait what they may take, memory first. The mutex is locked.
func (r *room) serve() {
	r.isShort = false
	for _, a := range r.waiting {
		a.tenant.refused = false
	}
	for _, isPlace := range []bool{false, true} {
		r.serveThose(isPlace)
	}
}

func (r *room) serveThose(places bool) {
	left := r.waiting[:0]
	full := false // the first log file of a chain waits: it must not wait for ever
	for _, a := range r.waiting {
		t := a.tenant
		switch {
		case (a.n.places > 0) != places, full, t.refused:
			left = append(left, a)
		case r.mayTake(t, a.n):
			r.move(t, a.n, 1)
			t.awaiting -= a.n.forMemory()
			a.taken <- struct{}{}
		default:
			left = append(left, a)
			t.refused, full = true, !places && t.taken.memory == 0
			r.isShort = r.isShort || !places
		}
	}
	clear(r.waiting[len(left):])
	r.waiting = left
}

// mayTake is the rule. The mutex is locked.
func (r *room) mayTake(t *tenant, n amount) bool {
	switch {
	case n.places > 0:
		return t.awaiting == 0 && (t.taken.places == 0 || isFair(t.taken.places, n.places, r.free.places, r.most.places))
	case n.memory > r.free.memory, n.active > r.free.active:
		return false
	case t.taken.memory == 0:
		return true
	}
	return isFair(t.taken.memory, n.memory, r.free.memory, r.most.memory) &&
		isFair(t.taken.active, n.active, r.free.active, r.most.active)
}

// isFair reports whether a chain that has taken some may take n more.
func isFair(taken, n, free, most int64) bool {
	return n == 0 || taken+n <= min(most, timesFree*(free-n))
}

func (a *amount) add(n amount, sign int64) {
	a.places += sign * n.places
	a.memory += sign * n.memory
	a.active += sign * n.active
}

// forMemory returns 1 for an amount of memory.
func (a amount) forMemory() int { return int(1 - a.places) }
