package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// beat keeps what is in work invisible: each message's visibility is set anew
// when between a third and a half of it is over.
func (q *Queue) beat(ctx context.Context) {
	t := time.NewTicker(q.Visibility / 6)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if due := q.due(); len(due) > 0 {
			q.extend(ctx, due)
		}
	}
}

func (q *Queue) due() (due []*delivery) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for d := range q.held {
		if !d.lost && d.err == nil && time.Since(d.beat) >= q.Visibility/3 {
			due = append(due, d)
		}
	}
	return due
}

func (q *Queue) extend(ctx context.Context, due []*delivery) {
	ctx, cancel := context.WithTimeout(ctx, q.Visibility/3)
	defer cancel()
	now := time.Now() // before the call: sooner is safer
	errs := q.client.Extend(ctx, receipts(due), q.Visibility)
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, d := range due {
		switch err := errs[i]; {
		case err == nil:
			d.beat = now
		case errors.Is(err, ErrReceipt):
			// Whoever gets it deals with it once more, which is harmless.
			d.lost = true
		case ctx.Err() == nil:
			q.Log.Warn("message in work cannot be kept invisible", "queue", q.Name, "error", err)
		}
	}
}

// Pauses of settle.
const (
	gather      = 100 * time.Millisecond // for more to delete with one request
	retryFirst  = 200 * time.Millisecond
	retryMost   = 10 * time.Second
	deleteTries = 8
)

// settle tells SQS how deliveries ended.
func (q *Queue) settle(ctx context.Context) {
	for try := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-q.work:
		}
		pause := gather
		if try > 0 {
			most := min(retryFirst<<min(try, 10), retryMost)
			pause = most/2 + rand.N(most/2)
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		if q.flush(ctx) > 0 {
			try++
		} else {
			try = 0
		}
	}
}

// flush deletes and returns what has ended. It returns how many deletions are
// to be tried again.
func (q *Queue) flush(ctx context.Context) (again int) {
	q.mu.Lock()
	list := q.ended
	q.ended = nil
	q.mu.Unlock()
	var done []*delivery
	back := map[time.Duration][]*delivery{}
	for _, d := range list {
		if d.err == nil {
			done = append(done, d)
		} else {
			away := d.away(q.Visibility)
			back[away] = append(back[away], d)
		}
	}
	for away, list := range back {
		q.back(ctx, list, away)
	}
	if len(done) == 0 {
		return 0
	}
	errs := q.client.Delete(ctx, receipts(done))
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, d := range done {
		switch err := errs[i]; {
		case err == nil:
			q.goneLocked(d, acked)
		case errors.Is(err, ErrReceipt):
			q.goneLocked(d, stale)
		case d.tries >= deleteTries && !q.closed:
			q.Log.Warn("message is dealt with and cannot be deleted: it will come again", "queue", q.Name, "error", err)
			q.goneLocked(d, kept)
		default:
			d.tries++
			q.ended = append(q.ended, d)
			again++
		}
	}
	if again > 0 {
		select {
		case q.work <- struct{}{}:
		default:
		}
	}
	return again
}

// back gives messages back. Where that fails, they come back by themselves.
func (q *Queue) back(ctx context.Context, list []*delivery, away time.Duration) {
	errs := q.client.Extend(ctx, receipts(list), away)
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, d := range list {
		if err := errs[i]; err != nil && !errors.Is(err, ErrReceipt) {
			q.Log.Debug("message comes back when its visibility runs out", "queue", q.Name, "error", err)
		}
		outcome := failed
		if errors.Is(d.err, context.Canceled) {
			outcome = released
		}
		q.goneLocked(d, outcome)
	}
}

// closeTime bounds what Close may take.
const closeTime = 5 * time.Second

// Close ends the heartbeats, deletes what was dealt with and gives the rest
// back at once. Next is not running any more.
func (q *Queue) Close() error {
	q.mu.Lock()
	stop, again := q.stop, q.closed
	q.closed = true
	q.mu.Unlock()
	if stop == nil || again {
		return nil
	}
	stop()
	q.keepers.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	for q.flush(ctx) > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(retryFirst):
			continue
		}
		break
	}
	return q.release(ctx)
}

// release gives back whatever is held.
func (q *Queue) release(ctx context.Context) error {
	q.mu.Lock()
	var list, undone []*delivery
	for d := range q.held {
		if d.over && d.err == nil {
			undone = append(undone, d)
			continue
		}
		d.over, d.err = true, context.Canceled
		list = append(list, d)
	}
	for _, d := range undone {
		q.goneLocked(d, kept)
	}
	q.mu.Unlock()
	if len(list) > 0 {
		q.back(ctx, list, 0)
	}
	if len(undone) > 0 {
		return fmt.Errorf("close queue %s: %d messages are dealt with and could not be deleted: they will come again", q.Name, len(undone))
	}
	return nil
}

func receipts(list []*delivery) []string {
	all := make([]string, len(list))
	for i, d := range list {
		all[i] = d.receipt
	}
	return all
}
