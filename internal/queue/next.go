package queue

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/trailseal/trailseal/internal/notify"
	"github.com/trailseal/trailseal/pkg/trail"
)

// maxReceive is SQS's limit of messages in one answer.
const maxReceive = 10

// Next blocks until a message announces objects or removals of trail files, and
// returns them. Messages that announce neither are deleted or left in the queue,
// and Next waits for another.
//
// The error is io.EOF after Close and, with Options.Drain, when the queue is
// empty. It is the context's error as soon as the context ends. Then the messages
// that were received and not returned by Next are visible to others again at
// once. Deliveries in work are not affected. After any other error the caller
// may call Next again. Only one goroutine calls Next.
func (q *Queue) Next(ctx context.Context) (notify.Delivery, error) {
	for {
		if err := ctx.Err(); err != nil {
			q.active.releaseReady()
			return notify.Delivery{}, err
		}
		d, room, changed := q.active.take()
		switch {
		case d != nil:
			return d.announced, nil
		case room < 0:
			return notify.Delivery{}, io.EOF
		case room == 0:
			wait(ctx, changed)
			continue
		}
		fresh, err := q.receive(ctx, room)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			return notify.Delivery{}, fmt.Errorf("queue %s: %w", q.options.Name, err)
		case fresh == 0 && q.options.Drain:
			// A message in work may come back. So ask once more after it ended.
			n, changed := q.active.size()
			if n == 0 {
				return notify.Delivery{}, io.EOF
			}
			wait(ctx, changed)
		}
	}
}

func wait(ctx context.Context, c <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-c:
	}
}

// start starts the goroutines that keep messages until Close.
func (q *Queue) start() {
	if q.stop != nil {
		return
	}
	var ctx context.Context
	ctx, q.stop = context.WithCancel(context.Background())
	q.keepers.Go(func() { q.beat(ctx) })
	q.keepers.Go(func() { q.finish(ctx) })
	if q.options.Depth != nil {
		q.keepers.Go(func() { q.measure(ctx) })
	}
}

// receive takes messages into work and returns how many of them are fresh: not
// returned before to a queue that is drained.
func (q *Queue) receive(ctx context.Context, room int) (fresh int, err error) {
	q.start()
	messages, err := q.client.Receive(ctx, min(room, maxReceive), q.options.Wait, q.options.Visibility)
	if ctx.Err() == nil {
		q.mu.Lock()
		q.lastErr = err
		q.mu.Unlock()
	}
	if err != nil {
		return 0, err
	}
	now := time.Now()
	for _, m := range messages {
		if q.accept(m, now) {
			fresh++
		}
	}
	return fresh, nil
}

// accept reads a message and decides what becomes of it. It reports whether the
// message is fresh.
func (q *Queue) accept(m Message, now time.Time) (fresh bool) {
	in, err := notify.Parse(m.Body)
	d := &delivery{id: m.ID, receipt: m.Receipt, receives: m.Receives, format: in.Format, extended: now}
	d.announced = notify.Delivery{
		Created: in.Created, Removed: ofTrails(in.Removed), Sent: m.Sent,
		Done: func(err error) { q.active.end(d, err) },
	}
	understood := err == nil && in.Format != notify.SNSSubscription
	announces := len(d.announced.Created)+len(d.announced.Removed) > 0
	fresh = q.active.add(d, understood && announces)
	log := q.options.Log.With("queue", q.options.Name, "message", m.ID, "receives", m.Receives)
	switch {
	case !fresh:
		q.active.remove(d, left)
	case err != nil:
		log.Warn("message is not understood and left in the queue", "error", err)
		q.active.remove(d, left)
	case !understood:
		// Its URL is in the message alone. To delete the message would lose it.
		log.Warn("an SNS subscription waits to be confirmed, which this program never does", "topic", in.Topic)
		q.active.remove(d, left)
	case !announces:
		q.active.end(d, nil)
	}
	return fresh
}

// ofTrails returns the removals of log files and digest files. A digest cannot
// list another object, such as a folder's marker, a file of another service or an
// Insights file.
func ofTrails(all []notify.Removal) (kept []notify.Removal) {
	for _, r := range all {
		_, errDigest := trail.ParseDigestKey(r.Object.Key)
		_, errLog := trail.ParseLogKey(r.Object.Key)
		if errDigest == nil || errLog == nil {
			kept = append(kept, r)
		}
	}
	return kept
}
