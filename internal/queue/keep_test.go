package queue_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trailseal/trailseal/internal/notify"
	"github.com/trailseal/trailseal/internal/queue"
)

func TestHeartbeat(t *testing.T) {
	for name, fails := range map[string]bool{"control": false, "every other heartbeat fails": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				f := &fake{fault: func(_ context.Context, op, _ string) (bool, error) {
					n++
					return false, when(fails && op == "extend" && n%2 == 0, errors.New("throttled"))
				}}
				f.send(announcing("a"))
				q, m, _ := start(f, nil)
				d := next(t, q)
				for range 100 {
					time.Sleep(queue.DefaultVisibility / 10)
					if list := f.take(1, 0); len(list) > 0 {
						t.Fatal("visible while in work")
					}
				}
				if calls := f.called("extend"); calls < 20 || calls > 60 {
					t.Errorf("%d calls in ten times the visibility", calls)
				}
				d.Done(nil)
				time.Sleep(time.Second)
				if len(f.left()) > 0 {
					t.Error("not deleted")
				}
				closed(t, q, m)
			})
		})
	}
}

// A message whose receipt is not valid any more has no heartbeat: others have it.
func TestHeartbeatOfALostMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{fault: func(_ context.Context, op, _ string) (bool, error) {
			return false, when(op == "extend", queue.ErrReceipt)
		}}
		f.send(announcing("a"))
		q, m, _ := start(f, nil)
		d := next(t, q)
		time.Sleep(10 * queue.DefaultVisibility)
		if n := f.called("extend"); n != 1 {
			t.Errorf("%d calls", n)
		}
		d.Done(nil)
		time.Sleep(time.Second)
		if a := closed(t, q, m); a.Acked != 1 {
			t.Errorf("%+v", a)
		}
	})
}

// A heartbeat that is under way when a delivery ends does not undo its return.
func TestHeartbeatDoesNotUndoReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		beating := make(chan struct{})
		var once sync.Once
		f := &fake{fault: func(_ context.Context, op, _ string) (bool, error) {
			if op == "extend" {
				once.Do(func() { // the first call: a heartbeat
					close(beating)
					time.Sleep(10 * time.Second)
				})
			}
			return false, nil
		}}
		f.send(announcing("a"))
		q, m, _ := start(f, nil)
		d := next(t, q)
		<-beating
		d.Done(context.Canceled)
		time.Sleep(30 * time.Second)
		if list := f.take(1, 0); len(list) != 1 {
			t.Error("not visible")
		}
		closed(t, q, m)
	})
}

// Returns that get no answer do not end the heartbeats of other messages.
func TestReturnHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{fault: func(ctx context.Context, op, receipt string) (bool, error) {
			if op == "extend" && receipt == "r1" {
				<-ctx.Done()
			}
			return false, nil
		}}
		f.send(announcing("a"), announcing("b"))
		q, m, _ := start(f, nil)
		d, _ := next(t, q), next(t, q)
		d.Done(errors.New("chain waits"))
		for range 30 {
			time.Sleep(queue.DefaultVisibility / 10)
			for _, msg := range f.take(10, 0) {
				if msg.ID == announcing("b") {
					t.Fatal("visible while in work")
				}
			}
		}
		closed(t, q, m)
	})
}

func TestDeletions(t *testing.T) {
	broken := errors.New("connection reset")
	for name, row := range map[string]struct {
		fault func(n int, receipt string) (after bool, err error) // n counts the receipts
		left  int
		calls int
		acked int64
	}{
		"control":       {func(int, string) (bool, error) { return false, nil }, 0, 1, 25},
		"one fails":     {func(n int, r string) (bool, error) { return false, when(r == "r3" && n < 30, broken) }, 0, 6, 25},
		"all fail once": {func(n int, _ string) (bool, error) { return false, when(n <= 25, broken) }, 0, 2, 25},
		"took effect":   {func(n int, _ string) (bool, error) { return true, when(n <= 25, broken) }, 0, 2, 0},
		"receipt expired": {func(_ int, r string) (bool, error) {
			return false, when(r == "r3", queue.ErrReceipt)
		}, 1, 1, 24},
		"one never works": {func(_ int, r string) (bool, error) { return false, when(r == "r3", broken) }, 1, 9, 24},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				f := &fake{fault: func(_ context.Context, op, r string) (bool, error) {
					if op != "delete" {
						return false, nil
					}
					n++
					return row.fault(n, r)
				}}
				for i := range 25 {
					f.send(announcing(fmt.Sprint(i)))
				}
				q, m, _ := start(f, nil)
				var list []notify.Delivery
				for range 25 {
					list = append(list, next(t, q))
				}
				for _, d := range list {
					d.Done(nil)
					d.Done(broken) // a second call does nothing
				}
				time.Sleep(time.Minute)
				a := m.Account()
				if len(f.left()) != row.left || f.called("delete") != row.calls {
					t.Errorf("left %v, %d calls", f.left(), f.called("delete"))
				}
				if a.Acked != row.acked || a.InFlight != 0 {
					t.Errorf("%+v", a)
				}
				closed(t, q, m)
			})
		})
	}
}

// A deletion that fails does not delay others, nor what is released.
func TestRetriesDelayNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{fault: func(_ context.Context, op, r string) (bool, error) {
			return false, when(op == "delete" && r == "r1", errors.New("connection reset"))
		}}
		f.send(announcing("a"), announcing("b"), announcing("c"))
		q, m, _ := start(f, nil)
		a, b, c := next(t, q), next(t, q), next(t, q)
		a.Done(nil)
		time.Sleep(8 * time.Second) // the next try is seconds away
		tries := f.called("delete")
		b.Done(nil)
		c.Done(context.Canceled)
		time.Sleep(time.Second)
		if list := f.take(10, 0); len(list) != 1 || len(f.left()) != 2 {
			t.Errorf("visible %v, left %v", list, f.left())
		}
		if n := f.called("delete"); n > tries+2 {
			t.Errorf("%d more deletions within a second", n-tries)
		}
		time.Sleep(time.Minute)
		closed(t, q, m)
	})
}

// Close deletes what was processed and returns the rest, visible at once.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.send(announcing("a"), announcing("b"), announcing("c"), announcing("d"))
		q, m, r := start(f, nil)
		a, b, c := next(t, q), next(t, q), next(t, q) // d is received and not handed out
		a.Done(nil)
		b.Done(context.Canceled)
		closed(t, q, m)
		c.Done(nil) // too late
		if list := f.take(10, time.Minute); len(list) != 3 {
			t.Errorf("%d are there", len(list))
		}
		if n := outcomes(t, r); n["acked"] != 1 || n["released"] != 3 {
			t.Errorf("outcomes %v", n)
		}
		if _, err := q.Next(t.Context()); err != io.EOF {
			t.Errorf("after Close: %v", err)
		}
		closed(t, q, m)
	})
}

func TestCloseWithoutNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, m, _ := start(&fake{}, nil)
		closed(t, q, m)
		if _, err := q.Next(t.Context()); err != io.EOF {
			t.Error(err)
		}
	})
}

// What SQS does while the queue closes.
func TestCloseUnderFaults(t *testing.T) {
	down := errors.New("no route to host")
	hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for name, row := range map[string]struct {
		fault   func(ctx context.Context, op string, n int) error
		err     bool
		visible int
		acked   int64
	}{
		"control":                {func(context.Context, string, int) error { return nil }, false, 1, 1},
		"SQS is down":            {func(context.Context, string, int) error { return down }, true, 0, 0},
		"SQS is down for a time": {func(_ context.Context, _ string, n int) error { return when(n <= 3, down) }, false, 1, 1},
		"deletions hang": {func(ctx context.Context, op string, _ int) error {
			if op == "delete" {
				return hang(ctx)
			}
			return nil
		}, true, 1, 0},
		"returns hang": {func(ctx context.Context, op string, _ int) error {
			if op == "extend" {
				return hang(ctx)
			}
			return nil
		}, false, 0, 1},
		"all hang once": {func(ctx context.Context, op string, n int) error {
			if n <= 2 {
				return hang(ctx)
			}
			return nil
		}, false, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{}
				f.send(announcing("a"), announcing("b"))
				q, m, _ := start(f, nil)
				a, b := next(t, q), next(t, q)
				var n atomic.Int64
				f.setFault(func(ctx context.Context, op, _ string) (bool, error) {
					return false, row.fault(ctx, op, int(n.Add(1)))
				})
				a.Done(nil)
				b.Done(context.Canceled)
				time.Sleep(200 * time.Millisecond) // the finisher is in its calls
				began := time.Now()
				err := q.Close()
				if took := time.Since(began); (err != nil) != row.err || took > 6*time.Second {
					t.Errorf("%v after %s", err, took)
				}
				if list := f.take(10, 0); len(list) != row.visible {
					t.Errorf("%d visible, want %d", len(list), row.visible)
				}
				if acc := m.Account(); acc.Acked != row.acked || acc.InFlight != 0 || acc.Unaccounted() != 0 {
					t.Errorf("%+v", acc)
				}
			})
		})
	}
}
