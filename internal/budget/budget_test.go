package budget_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/trailseal/trailseal/internal/budget"
)

func TestBudget(t *testing.T) {
	const total = 100
	var most, last atomic.Int64
	b := budget.New(total, func(n int64) {
		last.Store(n)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
	})
	var users sync.WaitGroup
	for range 50 {
		users.Go(func() {
			for range 100 {
				n := 1 + rand.Int64N(total)
				if err := b.Acquire(context.Background(), n); err != nil {
					t.Error(err)
				}
				b.Release(n)
			}
		})
	}
	users.Wait()
	if most.Load() > total || most.Load() == 0 || b.InFlight() != 0 {
		t.Errorf("most %d, in flight %d", most.Load(), b.InFlight())
	}
}

func TestCancelled(t *testing.T) {
	b := budget.New(10, func(int64) {})
	if err := b.Acquire(context.Background(), 8); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.Acquire(ctx, 5); !errors.Is(err, context.Canceled) || b.InFlight() != 8 {
		t.Errorf("%v, in flight %d", err, b.InFlight())
	}
}

// One who holds a whole share leaves the rest to others, and what is cancelled
// in between is given back.
func TestShare(t *testing.T) {
	b := budget.New(10, func(int64) {})
	greedy, other := b.Share(6), b.Share(6)
	if err := greedy.Acquire(t.Context(), 6); err != nil {
		t.Fatal(err)
	}
	if err := other.Acquire(t.Context(), 4); err != nil || b.InFlight() != 10 {
		t.Fatalf("%v, in flight %d", err, b.InFlight())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, share := range []*budget.Budget{greedy, other} {
		if err := share.Acquire(ctx, 2); !errors.Is(err, context.Canceled) || b.InFlight() != 10 {
			t.Errorf("%v, in flight %d", err, b.InFlight())
		}
	}
	greedy.Release(6)
	if err := other.Acquire(t.Context(), 2); err != nil || other.InFlight() != 6 || b.InFlight() != 6 {
		t.Errorf("%v, in flight %d of %d", err, other.InFlight(), b.InFlight())
	}
}
