package fetch_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/trailseal/trailseal/internal/fetch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func upTo(n int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

func TestAheadKeepsTheOrder(t *testing.T) {
	for _, n := range []int{-1, 0, 1, 2, 7, 100} {
		synctest.Test(t, func(t *testing.T) {
			var items, results []int
			for item, result := range fetch.Ahead(t.Context(), n, upTo(20), func(_ context.Context, i int) int {
				time.Sleep(time.Duration((i*7)%5) * time.Second) // finish in another order
				return i * i
			}) {
				items, results = append(items, item), append(results, result)
			}
			want := slices.Collect(upTo(20))
			if !slices.Equal(items, want) {
				t.Errorf("%d at once: items %v", n, items)
			}
			for i, r := range results {
				if r != i*i {
					t.Errorf("%d at once: result %d is %d", n, i, r)
				}
			}
		})
	}
}

// A result that is not taken counts as a call, so a slow consumer slows the calls.
func TestAheadIsBounded(t *testing.T) {
	for _, n := range []int{1, 2, 5} {
		synctest.Test(t, func(t *testing.T) {
			var started, pulled atomic.Int64
			taken := int64(0)
			items := func(yield func(int) bool) {
				for i := range 30 {
					pulled.Add(1)
					if !yield(i) {
						return
					}
				}
			}
			for range fetch.Ahead(t.Context(), n, items, func(context.Context, int) bool { started.Add(1); return true }) {
				synctest.Wait() // all that may run has run
				if got, want := started.Load(), min(taken+int64(n), 30); got != want {
					t.Fatalf("%d at once, %d taken: %d started, want %d", n, taken, got, want)
				}
				if p := pulled.Load(); p > started.Load()+1 {
					t.Fatalf("%d at once: %d items drawn for %d calls", n, p, started.Load())
				}
				taken++
			}
			if taken != 30 {
				t.Errorf("%d at once: %d results", n, taken)
			}
		})
	}
}

func TestAheadRunsSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		for range fetch.Ahead(t.Context(), 10, upTo(20), func(context.Context, int) bool { time.Sleep(time.Second); return true }) {
		}
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

// A consumer that stops early leaves nothing running behind it.
func TestAheadStopsAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, cancelled atomic.Int64
		stopped := false
		items := func(yield func(int) bool) {
			defer func() { stopped = true }()
			upTo(100)(yield)
		}
		for range fetch.Ahead(t.Context(), 5, items, func(ctx context.Context, i int) bool {
			if i == 0 {
				return true
			}
			running.Add(1)
			defer running.Add(-1)
			<-ctx.Done()
			cancelled.Add(1)
			time.Sleep(time.Second) // slow to notice
			return false
		}) {
			synctest.Wait()
			break
		}
		if n := running.Load(); n != 0 {
			t.Errorf("%d calls outlive their consumer", n)
		}
		if n := cancelled.Load(); n != 4 || !stopped {
			t.Errorf("%d calls were cancelled, items ended: %t", n, stopped)
		}
	})
}

func TestAheadPassesCancellationOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		go func() { time.Sleep(time.Second); cancel() }()
		n := 0
		for _, err := range fetch.Ahead(ctx, 3, upTo(5), func(ctx context.Context, _ int) error { <-ctx.Done(); return ctx.Err() }) {
			if err == nil {
				t.Error("a call ended without its context")
			}
			n++
		}
		if n != 5 { // each item is still accounted for
			t.Errorf("%d results", n)
		}
	})
}

func TestAheadOfNothing(t *testing.T) {
	for range fetch.Ahead(t.Context(), 3, upTo(0), func(context.Context, int) bool { return true }) {
		t.Error("a result of no item")
	}
}

// Ready says whether Next would wait.
func TestReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := fetch.Begin(t.Context(), 2, upTo(3), func(_ context.Context, i int) int {
			time.Sleep(time.Second)
			return i
		})
		defer calls.End()
		if calls.Ready() {
			t.Error("ready before the first call")
		}
		for want := range 3 {
			if _, got, ok := calls.Next(); !ok || got != want {
				t.Errorf("got %d, %t, want %d", got, ok, want)
			}
			synctest.Wait()
			if isReady := calls.Ready(); isReady != (want == 0) { // the second call began with the first
				t.Errorf("after result %d: ready %t", want, isReady)
			}
		}
		if _, _, ok := calls.Next(); ok || calls.Ready() {
			t.Error("a result after the last")
		}
	})
}
