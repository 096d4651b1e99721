package queue

import (
	"context"
	"errors"
	"time"
)

// beat renews the visibility of each message in work when a third to a half of
// it has passed.
func (q *Queue) beat(ctx context.Context) {
	t := time.NewTicker(q.options.Visibility / 6)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			q.renew(ctx)
		}
	}
}

func (q *Queue) renew(ctx context.Context) {
	q.extend <- struct{}{}
	defer func() { <-q.extend }()
	third := q.options.Visibility / 3
	now := time.Now() // before the call: a heartbeat that comes early is safe
	due := q.active.due(now.Add(-third))
	if len(due) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, third)
	defer cancel()
	errs := q.client.Extend(ctx, receipts(due), q.options.Visibility)
	for _, err := range q.active.renewed(due, errs, now) {
		if ctx.Err() == nil {
			q.options.Log.Warn("message in work cannot be kept invisible", "queue", q.options.Name, "error", err)
		}
	}
}

// renewed notes the results of a heartbeat and returns the errors after which
// the next heartbeat tries again.
func (a *active) renewed(list []*delivery, errs []error, now time.Time) (failures []error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, d := range list {
		switch err := errs[i]; {
		case err == nil:
			d.extended = now
		case errors.Is(err, ErrReceipt):
			d.lost = true // others may process it once more, which is harmless
		default:
			failures = append(failures, err)
		}
	}
	return failures
}

func receipts(list []*delivery) []string {
	all := make([]string, len(list))
	for i, d := range list {
		all[i] = d.receipt
	}
	return all
}
