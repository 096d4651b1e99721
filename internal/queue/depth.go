package queue

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Depth is about how many messages a queue has: those that can be received, those
// that some worker has received, and those that were sent with a delay.
type Depth struct{ Visible, InFlight, Delayed int }

// SQS's own numbers are up to a minute old.
const (
	depthEvery   = 30 * time.Second
	depthTimeout = 10 * time.Second
)

// measure asks for the queue's depth until the context ends.
func (q *Queue) measure(ctx context.Context) {
	t := time.NewTicker(depthEvery)
	defer t.Stop()
	for {
		q.askDepth(ctx)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// askDepth stores the queue's depth, or that it is unknown: an old depth would
// pass for the present one.
func (q *Queue) askDepth(ctx context.Context) {
	asking, cancel := context.WithTimeout(ctx, depthTimeout)
	defer cancel()
	d, err := q.options.Depth(asking)
	if err != nil && ctx.Err() == nil {
		q.options.Log.Debug("depth unknown", "queue", q.options.Name, "error", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.depth = nil; err == nil {
		q.depth = &d
	}
}

func (q *Queue) lastDepth() *Depth {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.depth
}

// depths is the collector of the depth of all queues together. It shows no value
// while the depth of one of them is unknown.
type depths struct{ metrics *Metrics }

var depthDesc = prometheus.NewDesc("queue_messages",
	"Approximate number of messages in the queues: visible, in_flight (received by some worker), delayed.",
	[]string{"state"}, nil)

// Describe implements prometheus.Collector.
func (depths) Describe(ch chan<- *prometheus.Desc) { ch <- depthDesc }

// Collect implements prometheus.Collector.
func (d depths) Collect(ch chan<- prometheus.Metric) {
	queues := d.metrics.all()
	var sum Depth
	for _, q := range queues {
		depth := q.lastDepth()
		if depth == nil {
			return
		}
		sum.Visible += depth.Visible
		sum.InFlight += depth.InFlight
		sum.Delayed += depth.Delayed
	}
	if len(queues) == 0 {
		return
	}
	for state, n := range map[string]int{"visible": sum.Visible, "in_flight": sum.InFlight, "delayed": sum.Delayed} {
		ch <- prometheus.MustNewConstMetric(depthDesc, prometheus.GaugeValue, float64(n), state)
	}
}
