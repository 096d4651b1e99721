package queue

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// Times of the finisher.
const (
	gather     = 100 * time.Millisecond // to collect more for one request
	firstRetry = 200 * time.Millisecond
	maxRetry   = 10 * time.Second
	maxRetries = 8
	maxAway    = time.Hour
)

// finish deletes and returns messages whose deliveries ended, until the context
// ends.
func (q *Queue) finish(ctx context.Context) {
	for {
		ended, next := q.active.takeEnded(time.Now())
		if len(ended) > 0 {
			q.flush(ctx, ended)
			continue
		}
		var retry <-chan time.Time
		if !next.IsZero() {
			retry = time.After(time.Until(next))
		}
		select {
		case <-ctx.Done():
			return
		case <-retry:
		case <-q.active.wake:
			if !pause(ctx, gather) {
				return
			}
		}
	}
}

// flush deletes messages that were processed and returns the others. Deletions and
// returns do not wait for each other.
func (q *Queue) flush(ctx context.Context, ended []*delivery) {
	var done []*delivery
	back := map[time.Duration][]*delivery{}
	for _, d := range ended {
		if d.err == nil {
			done = append(done, d)
			continue
		}
		away := d.away(q.options.Visibility)
		back[away] = append(back[away], d)
	}
	var calls sync.WaitGroup
	defer calls.Wait()
	if len(done) > 0 {
		calls.Go(func() { q.delete(ctx, done) })
	}
	for away, list := range back {
		q.makeVisible(ctx, list, away)
	}
}

// away returns how long a message stays away that the worker could not process.
// The time doubles with each receipt, so that an outage neither hammers the queue
// nor soon exhausts the receives that the redrive policy allows.
func (d *delivery) away(visibility time.Duration) time.Duration {
	if errors.Is(d.err, context.Canceled) {
		return 0
	}
	return max(visibility, min(visibility<<min(max(d.receives-1, 0), 10), maxAway))
}

func (q *Queue) delete(ctx context.Context, list []*delivery) {
	q.report(list, q.client.Delete(ctx, receipts(list)))
}

// makeVisible makes messages visible to others after a time. Heartbeats wait for
// it, so that none undoes the return, and so it is given little time.
func (q *Queue) makeVisible(ctx context.Context, list []*delivery, away time.Duration) {
	q.extend <- struct{}{}
	defer func() { <-q.extend }()
	ctx, cancel := context.WithTimeout(ctx, q.options.Visibility/6)
	defer cancel()
	q.report(list, q.client.Extend(ctx, receipts(list), away))
}

// report notes the results of a call and logs those that are final failures.
func (q *Queue) report(list []*delivery, errs []error) {
	for _, err := range q.active.answered(list, errs, time.Now()) {
		q.options.Log.Warn("message could not be deleted or returned and will come again",
			"queue", q.options.Name, "error", err)
	}
}

// takeEnded returns the deliveries that ended and whose next try is due by now,
// and when the next of the others is due: zero if there is no other. The caller
// flushes them.
func (a *active) takeEnded(now time.Time) (due []*delivery, next time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var later []*delivery
	for _, d := range a.ended {
		if !d.retry.After(now) {
			due = append(due, d)
			continue
		}
		later = append(later, d)
		if next.IsZero() || d.retry.Before(next) {
			next = d.retry
		}
	}
	a.ended = later
	return due, next
}

// answered notes what SQS answered to deletions and returns. Failures are tried
// again, after longer pauses each time. It returns the errors after the last try.
func (a *active) answered(list []*delivery, errs []error, now time.Time) (failures []error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	jitter := 0.5 + rand.Float64()/2 // the same for all, so that one request takes them
	for i, d := range list {
		switch err := errs[i]; {
		case err == nil && d.err == nil:
			a.removeLocked(d, acked)
		case errors.Is(err, ErrReceipt) && d.err == nil:
			a.removeLocked(d, stale)
		case err == nil, errors.Is(err, ErrReceipt):
			a.removeLocked(d, outcomeOf(d))
		case d.tries == maxRetries && !a.closed:
			failures = append(failures, err)
			a.removeLocked(d, outcomeOf(d))
		default:
			most := min(firstRetry<<min(d.tries, 10), maxRetry)
			d.tries, d.retry = d.tries+1, now.Add(time.Duration(jitter*float64(most)))
			a.ended = append(a.ended, d)
		}
	}
	return failures
}

// abandon takes all messages out of work and returns how many of them were
// processed.
func (a *active) abandon() (processed int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for d := range a.all {
		if d.err == nil {
			processed++
		}
		a.removeLocked(d, outcomeOf(d))
	}
	return processed
}

// outcomeOf returns the outcome of an ended delivery that was not deleted.
func outcomeOf(d *delivery) string {
	switch {
	case d.err == nil:
		return kept
	case errors.Is(d.err, context.Canceled):
		return released
	}
	return failed
}
