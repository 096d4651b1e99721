package schedule_test

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trailseal/trailseal/internal/schedule"
)

// loop has an address of its own.
type loop struct{ _ byte }

// scheduled is a loop with what a test knows of it.
type scheduled struct {
	loop        *loop
	added, seen atomic.Int64
	running     atomic.Bool
}

// Whatever is added from many goroutines runs after it was added, one goroutine at a time,
// and no more loops than allowed run at once.
func TestScheduleLosesNoLoop(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			const loops, most = 300, 8
			all := make([]*scheduled, loops)
			byLoop := map[*loop]*scheduled{}
			for i := range all {
				all[i] = &scheduled{loop: &loop{}}
				byLoop[all[i].loop] = all[i]
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var now, runs atomic.Int64
			var s *schedule.Schedule[*loop]
			s = schedule.New(most, func(ctx context.Context, c *loop) time.Duration {
				l := byLoop[c]
				if l.running.Swap(true) {
					t.Error("a loop runs twice")
				}
				if n := now.Add(1); n > most {
					t.Errorf("%d loops run at once", n)
				}
				added := l.added.Load()
				k := runs.Add(1) * 7919
				time.Sleep(time.Duration(k%1000) * time.Millisecond)
				if k%8 == 0 { // as a loop does that makes room for others
					l.added.Add(1)
					s.Add(ctx, c)
				}
				l.seen.Store(added)
				now.Add(-1)
				l.running.Store(false)
				if k%5 == 0 {
					return time.Duration(k%3000) * time.Millisecond
				}
				return 0
			})
			var adders sync.WaitGroup
			r := rand.New(rand.NewPCG(seed, 0))
			for range 10 {
				picks := r.Perm(loops)
				adders.Go(func() {
					for _, i := range picks {
						all[i].added.Add(1)
						s.Add(ctx, all[i].loop)
						time.Sleep(time.Duration(i%7) * time.Millisecond)
					}
				})
			}
			adders.Wait()
			s.WaitIdle(ctx)
			for i, l := range all {
				if l.added.Load() != l.seen.Load() {
					t.Errorf("seed %d: loop %d was added %d times and ran after %d", seed, i, l.added.Load(), l.seen.Load())
				}
			}
			s.Close()
			all[0].loop = &loop{}
			s.Add(ctx, all[0].loop) // does nothing
			synctest.Wait()
			if now.Load() != 0 {
				t.Error("a loop runs after close")
			}
		})
	}
}

// A loop that is removed while it pauses does not run again. One that runs is not removed.
func TestScheduleRemovesPausedLoops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ran := 0
		s := schedule.New(1, func(context.Context, *loop) time.Duration {
			ran++
			time.Sleep(time.Second)
			return time.Minute
		})
		c := &loop{}
		s.Add(t.Context(), c)
		if synctest.Wait(); s.Remove(c) {
			t.Error("removed while it runs")
		}
		time.Sleep(2 * time.Second)
		if !s.Remove(c) {
			t.Error("not removed while it pauses")
		}
		s.WaitIdle(t.Context())
		time.Sleep(time.Hour)
		if ran != 1 {
			t.Errorf("ran %d times", ran)
		}
		s.Close()
	})
}

// Loops that are ready do not cost goroutines, and all are forgotten at the end, whether
// they are ready, running or paused then.
func TestScheduleOfManyLoopsEnds(t *testing.T) {
	for _, end := range []string{"close", "context"} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var ran atomic.Int64
			s := schedule.New(64, func(ctx context.Context, _ *loop) time.Duration {
				ran.Add(1)
				select {
				case <-ctx.Done():
				case <-time.After(time.Minute):
				}
				return time.Hour
			})
			before := runtime.NumGoroutine()
			for range 20_000 {
				s.Add(ctx, &loop{})
			}
			time.Sleep(90 * time.Second)
			if n := runtime.NumGoroutine() - before; n > 64 {
				t.Errorf("%d goroutines", n)
			}
			idle := make(chan struct{})
			go func() { s.WaitIdle(t.Context()); close(idle) }()
			if end == "context" {
				cancel()
			}
			s.Close()
			<-idle
			time.Sleep(2 * time.Hour)
			if n := ran.Load(); n != 128 {
				t.Errorf("%d loops ran", n)
			}
		})
	}
}

// An order that lets a loop run that pauses, the only one, does not make the schedule look idle.
func TestHurryIsNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs, isDone := 0, false
		s := schedule.New(1, func(context.Context, string) time.Duration {
			if runs++; runs == 1 {
				return time.Hour
			}
			time.Sleep(time.Minute)
			isDone = true
			return 0
		})
		s.Add(t.Context(), "a")
		synctest.Wait()
		time.AfterFunc(time.Minute, func() { s.Hurry(t.Context(), "a") })
		s.WaitIdle(t.Context())
		if !isDone {
			t.Error("idle, and the loop has not run")
		}
		s.Close()
	})
}
