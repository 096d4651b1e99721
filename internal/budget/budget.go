// Package budget bounds the bytes that are in flight. It counts what its users
// say they hold, and holds nothing itself.
package budget

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// Budget is a number of bytes to reserve from, first come first served. A user
// holds one reservation at a time and gives it back before it asks for a
// larger one: so nobody waits while holding what another waits for.
type Budget struct {
	sem      *semaphore.Weighted
	inFlight atomic.Int64
	changed  func(inFlight int64)
	whole    *Budget // that it is a share of, or nil
}

// New returns a budget of total bytes. changed is told of every change; it may
// be called at any time and from several goroutines.
func New(total int64, changed func(inFlight int64)) *Budget {
	return &Budget{sem: semaphore.NewWeighted(total), changed: changed}
}

// Share returns a budget of at most most bytes that are reserved of b, too: so
// that none of several users takes it all.
func (b *Budget) Share(most int64) *Budget {
	share := New(most, func(int64) {})
	share.whole = b
	return share
}

// Acquire waits until n bytes are free, or ctx ends. Release must follow.
func (b *Budget) Acquire(ctx context.Context, n int64) error {
	if err := b.sem.Acquire(ctx, n); err != nil {
		return err
	}
	if b.whole != nil {
		if err := b.whole.Acquire(ctx, n); err != nil {
			b.sem.Release(n)
			return err
		}
	}
	b.changed(b.inFlight.Add(n))
	return nil
}

// Release gives n bytes back.
func (b *Budget) Release(n int64) {
	b.changed(b.inFlight.Add(-n))
	if b.whole != nil {
		b.whole.Release(n)
	}
	b.sem.Release(n)
}

// InFlight returns how many bytes are reserved.
func (b *Budget) InFlight() int64 { return b.inFlight.Load() }
