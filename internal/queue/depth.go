package queue

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Depth is about how many messages a queue holds: those that can be received,
// those that some worker has received, and those that were sent to come late.
type Depth struct{ Visible, InFlight, Delayed int }

// SQS's own numbers are up to a minute old.
const (
	depthEvery   = 30 * time.Second
	depthTimeout = 10 * time.Second
)

// measure asks for the queue's depth again and again.
func (q *Queue) measure(ctx context.Context) {
	t := time.NewTicker(depthEvery)
	defer t.Stop()
	for {
		q.ask(ctx)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// ask forgets the depth that it cannot get: an old one would pass for the
// present.
func (q *Queue) ask(ctx context.Context) {
	asking, cancel := context.WithTimeout(ctx, depthTimeout)
	defer cancel()
	d, err := q.Depth(asking)
	if err != nil && ctx.Err() == nil {
		q.Log.Debug("depth unknown", "queue", q.Name, "error", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.depth = nil; err == nil {
		q.depth = &d
	}
}

// depths shows the depths of all queues together. While one is unknown there is
// none.
type depths struct{ m *Metrics }

var depthDesc = prometheus.NewDesc("queue_messages", "About how many messages the queues hold, as SQS said last: visible, in_flight (received by some worker), delayed.", []string{"state"}, nil)

// Describe implements prometheus.Collector.
func (depths) Describe(ch chan<- *prometheus.Desc) { ch <- depthDesc }

// Collect implements prometheus.Collector.
func (d depths) Collect(ch chan<- prometheus.Metric) {
	sum, ok := d.m.depth()
	if !ok {
		return
	}
	for state, n := range map[string]int{"visible": sum.Visible, "in_flight": sum.InFlight, "delayed": sum.Delayed} {
		ch <- prometheus.MustNewConstMetric(depthDesc, prometheus.GaugeValue, float64(n), state)
	}
}

func (m *Metrics) depth() (sum Depth, ok bool) {
	defer m.lock()()
	for _, q := range m.queues {
		if q.depth == nil {
			return Depth{}, false
		}
		sum.Visible += q.depth.Visible
		sum.InFlight += q.depth.InFlight
		sum.Delayed += q.depth.Delayed
	}
	return sum, len(m.queues) > 0
}
