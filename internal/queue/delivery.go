package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/notify"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// delivery is a message in work. It is held until SQS knows how it ended or it
// is left alone.
type delivery struct {
	queue    *Queue
	id       string
	receipt  string
	sent     time.Time
	receives int
	format   notify.Format
	objects  []trail.Object

	// Guarded by the queue's mutex.
	beat  time.Time // when its visibility was set last
	lost  bool      // the receipt is good no longer: others may have it
	over  bool      // told how it ended
	err   error     // with what
	tries int       // deletions that failed
}

// Outcomes of a delivery, as labels of a metric.
const (
	acked    = "acked"    // deleted
	failed   = "failed"   // comes back: an object of it could not be dealt with
	left     = "left"     // comes back: not understood, or for a person
	released = "released" // comes back: the worker ended
	stale    = "stale"    // dealt with, and the receipt was good no longer
	kept     = "kept"     // dealt with, and could not be deleted
)

// admit takes messages into work and returns how many: what was given back in
// a queue that is drained is left.
func (q *Queue) admit(ctx context.Context, messages []Message) (n int) {
	list := make([]*delivery, 0, len(messages))
	q.mu.Lock()
	for _, m := range messages {
		d := &delivery{queue: q, id: m.ID, receipt: m.Receipt, sent: m.Sent, receives: m.Receives, beat: time.Now(), format: notify.Unknown}
		q.held[d] = true
		list = append(list, d)
	}
	q.Metrics.received(len(list))
	q.mu.Unlock()
	for i, d := range list {
		if q.again(d) {
			q.leave(d)
			continue
		}
		n++
		q.open(ctx, d, messages[i])
	}
	return n
}

func (q *Queue) again(d *delivery) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.tried[d.id]
}

// open reads a message, deals with what is no object, and makes the rest ready.
func (q *Queue) open(ctx context.Context, d *delivery, m Message) {
	in, err := notify.Parse(m.Body)
	q.mu.Lock()
	d.format = in.Format
	q.mu.Unlock()
	switch {
	case err != nil:
		q.Log.Warn("message is not understood and left in the queue", "queue", q.Name, "message", m.ID, "receives", m.Receives, "error", err)
		q.leave(d)
		return
	case in.Format == notify.SNSSubscription:
		// Its URL is in the message alone, so deleting it would lose it.
		q.Log.Warn("an SNS subscription waits to be confirmed, which this program never does", "queue", q.Name, "message", m.ID, "topic", in.Topic)
		q.leave(d)
		return
	}
	for _, o := range in.Removed {
		if err := q.removed(ctx, o, in.Format); err != nil {
			q.Log.Warn("removal not reported", "queue", q.Name, "message", m.ID, "object", o.String(), "error", err)
			_ = d.end(ctx, err)
			return
		}
	}
	if len(in.Created) == 0 {
		_ = d.end(ctx, nil)
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	d.objects = in.Created
	q.ready = append(q.ready, d)
}

// removed reports that something of a trail was deleted or has expired.
func (q *Queue) removed(ctx context.Context, o trail.Object, format notify.Format) error {
	f := finding.Finding{
		Class: finding.LogMissing, Detail: "removal announced (" + string(format) + ")",
		Subject: finding.Subject{Bucket: o.Bucket, Key: o.Key},
	}
	tail := trail.Tail(o.Key)
	if k, err := trail.ParseDigestKey(o.Key); err == nil {
		f.Class, f.Account, f.Region, f.Trail, f.Time = finding.DigestMissing, k.Account, k.Region, k.Trail, k.End
	} else if k, err := trail.ParseLogKey(o.Key); err == nil {
		f.Account, f.Region, f.Time = k.Account, k.Region, k.Stamp
	} else if strings.HasSuffix(o.Key, "/") || !strings.Contains(tail, "/CloudTrail") {
		return nil // a folder's marker, or another service's
	} else if strings.Contains(tail, "/"+trail.DigestFolder+"/") {
		f.Class = finding.DigestMissing
	}
	if err := q.find(ctx, f); err != nil {
		return fmt.Errorf("removal of %s: %w", o, err)
	}
	q.Metrics.removals.Inc()
	return nil
}

// end implements what Next returns.
func (d *delivery) end(_ context.Context, err error) error {
	q := d.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if d.over || !q.held[d] {
		return nil // told twice, or after Close
	}
	d.over, d.err = true, err
	q.ended = append(q.ended, d)
	select {
	case q.work <- struct{}{}:
	default:
	}
	return nil
}

// leave stops caring about a message: it comes back when its visibility runs
// out, and the redrive policy counts that.
func (q *Queue) leave(d *delivery) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.goneLocked(d, left)
}

func (q *Queue) goneLocked(d *delivery, outcome string) {
	if !q.held[d] {
		return
	}
	delete(q.held, d)
	if q.Drain && outcome != acked && outcome != stale {
		q.tried[d.id] = true
	}
	q.Metrics.gone(d.format, outcome)
	close(q.changed)
	q.changed = make(chan struct{})
}

// longestReturn bounds how long a message that failed stays away.
const longestReturn = time.Hour

// away is how long a message that failed stays away: longer each time, so that
// an outage neither hammers nor soon exhausts the redrive policy's count.
func (d *delivery) away(visibility time.Duration) time.Duration {
	if errors.Is(d.err, context.Canceled) {
		return 0
	}
	return max(visibility, min(visibility<<min(max(d.receives-1, 0), 10), longestReturn))
}
