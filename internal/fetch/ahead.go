package fetch

import (
	"context"
	"iter"
)

// Ahead calls get for the items, up to n at once (one where n is less), and
// yields the results in the items' order. A result that is not taken counts as a call, so
// a slow consumer slows the fetching. When the consumer stops, Ahead cancels the calls
// that run and waits for them.
func Ahead[T, R any](ctx context.Context, n int, items iter.Seq[T], get func(context.Context, T) R) iter.Seq2[T, R] {
	return func(yield func(T, R) bool) {
		c := Begin(ctx, n, items, get)
		defer c.End()
		for item, result, ok := c.Next(); ok && yield(item, result); item, result, ok = c.Next() {
		}
	}
}

// Calls are those of Ahead, for a consumer that has other work while the next
// result is not there. One goroutine uses it.
type Calls[T, R any] struct {
	ctx     context.Context
	cancel  func()
	next    func() (T, bool)
	stop    func()
	get     func(context.Context, T) R
	most    int
	workers *Workers
	queue   []call[T, R] // at most most
}

type call[T, R any] struct {
	item   T
	result chan R
}

// Begin returns the calls of Ahead. The first Next begins them. The caller must call End.
func Begin[T, R any](ctx context.Context, n int, items iter.Seq[T], get func(context.Context, T) R) *Calls[T, R] {
	c := &Calls[T, R]{get: get, most: max(n, 1), workers: NewWorkers(n)}
	c.ctx, c.cancel = context.WithCancel(ctx)
	c.next, c.stop = iter.Pull(items)
	return c
}

// Next waits for the next result. It returns false after the last. A further call begins
// for each result that is taken.
func (c *Calls[T, R]) Next() (item T, result R, ok bool) {
	for len(c.queue) < c.most {
		item, ok := c.next()
		if !ok {
			break
		}
		made := call[T, R]{item, make(chan R, 1)}
		c.queue = append(c.queue, made)
		c.workers.Go(func() { made.result <- c.get(c.ctx, made.item) })
	}
	if len(c.queue) == 0 {
		return item, result, false
	}
	first := c.queue[0]
	c.queue = c.queue[1:]
	return first.item, <-first.result, true
}

// Ready reports whether Next would not wait.
func (c *Calls[T, R]) Ready() bool { return len(c.queue) > 0 && len(c.queue[0].result) > 0 }

// End cancels the calls that run and waits for them.
func (c *Calls[T, R]) End() {
	c.cancel()
	c.stop()
	c.workers.Wait()
}
