package fetch_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trailseal/trailseal/internal/fetch"
)

func TestWorkers(t *testing.T) {
	for _, n := range []int{-1, 1, 3} {
		synctest.Test(t, func(t *testing.T) {
			w := fetch.NewWorkers(n)
			var done, now, most atomic.Int64
			began := time.Now()
			for range 12 {
				w.Go(func() {
					most.Store(max(most.Load(), now.Add(1)))
					time.Sleep(time.Second)
					now.Add(-1)
					done.Add(1)
				})
			}
			w.Wait()
			want := int64(max(n, 1))
			if took := time.Since(began); done.Load() != 12 || most.Load() != want ||
				took != time.Duration(12/want)*time.Second {
				t.Errorf("%d workers: %d calls, %d at once, %s", n, done.Load(), most.Load(), took)
			}
		})
	}
	fetch.NewWorkers(3).Wait() // nothing to do
}
