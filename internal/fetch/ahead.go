package fetch

import (
	"context"
	"iter"
)

// Ahead calls get for the items, up to n at once (one where n is less), and
// yields the results in the items' order. A place becomes free only when its
// result is taken, so a slow consumer holds the fetching back. When the consumer
// stops, calls under way are cancelled and waited for.
func Ahead[T, R any](ctx context.Context, n int, items iter.Seq[T], get func(context.Context, T) R) iter.Seq2[T, R] {
	return func(yield func(T, R) bool) {
		ctx, cancel := context.WithCancel(ctx)
		next, stop := iter.Pull(items)
		calls := NewWorkers(n)
		defer calls.Wait()
		defer stop()
		defer cancel()

		type call struct {
			item   T
			result chan R
		}
		var queue []call // at most n
		fill := func() {
			for len(queue) < max(n, 1) { // with no place at all nothing would be read, and silently
				item, ok := next()
				if !ok {
					return
				}
				c := call{item, make(chan R, 1)}
				queue = append(queue, c)
				calls.Go(func() { c.result <- get(ctx, c.item) })
			}
		}
		for fill(); len(queue) > 0; fill() {
			c := queue[0]
			queue = queue[1:]
			if !yield(c.item, <-c.result) {
				return
			}
		}
	}
}
