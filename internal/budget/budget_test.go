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
