package durable

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// ErrClosed is the result of Do after Close.
var ErrClosed = errors.New("closed")

// Group runs the requests of many callers in as few commits as can be: those
// that come while one commit runs share the next. A commit that costs a sync
// to disk then costs one for all of them.
type Group[T any] struct {
	commit func([]T) []error

	mu      sync.Mutex
	queue   []*request[T] // not yet given to commit
	running bool          // run is at work and will look at the queue again
	closed  bool
	work    sync.WaitGroup // run
}

type request[T any] struct {
	value T
	done  chan error // one value, never waited for by its sender
}

// NewGroup returns a group. commit is never called twice at once, in the order
// of the requests, and returns a result for each of them.
func NewGroup[T any](commit func([]T) []error) *Group[T] {
	return &Group[T]{commit: commit}
}

// Do runs one request and returns its result. When ctx ends first it returns
// ctx's error at once: the request is dropped if its commit had not begun, and
// else its outcome is not known. v may be in use after such an end.
func (g *Group[T]) Do(ctx context.Context, v T) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := &request[T]{v, make(chan error, 1)}
	if err := g.enqueue(r); err != nil {
		return err
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		g.drop(r)
		return ctx.Err()
	}
}

func (g *Group[T]) enqueue(r *request[T]) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return ErrClosed
	}
	g.queue = append(g.queue, r)
	if !g.running {
		g.running = true
		g.work.Go(g.run)
	}
	return nil
}

func (g *Group[T]) drop(r *request[T]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.queue, r); i >= 0 {
		g.queue = slices.Delete(g.queue, i, i+1)
	}
}

// run commits until nothing waits.
func (g *Group[T]) run() {
	for {
		all := g.take()
		if all == nil {
			return
		}
		values := make([]T, len(all))
		for i, r := range all {
			values[i] = r.value
		}
		for i, err := range g.commit(values) {
			all[i].done <- err
		}
	}
}

func (g *Group[T]) take() []*request[T] {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := g.queue
	g.queue = nil
	if len(all) == 0 {
		g.running = false
		return nil
	}
	return all
}

// Close refuses further requests and returns when those before are done.
func (g *Group[T]) Close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.work.Wait()
}
