package queue

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/notify"
)

// Metrics are those of all queues of a worker. Names get the program's prefix
// where they are registered.
type Metrics struct {
	messages *prometheus.CounterVec
	removals prometheus.Counter

	mu      sync.Mutex // taken after a queue's
	queues  []*Queue
	account Account
}

// Account is what became of the messages. Received is the sum of the others.
type Account struct{ Received, Acked, Returned, InFlight int64 }

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "messages_total", Help: "Deliveries of messages that have ended."}, []string{"format", "outcome"}),
		removals: prometheus.NewCounter(prometheus.CounterOpts{Name: "removals_announced_total", Help: "Deletions and expiries of trail files that queues announced."}),
	}
	r.MustRegister(m.messages, m.removals, depths{m},
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "messages_received_total", Help: "Deliveries of messages."}, func() float64 { return float64(m.Account().Received) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "messages_in_flight", Help: "Messages in work."}, func() float64 { return float64(m.Account().InFlight) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "queue_oldest_seconds", Help: "Age of the oldest message in work, 0 without one."}, m.oldest),
	)
	for _, f := range []notify.Format{notify.Unknown, notify.SNSSubscription} {
		m.messages.WithLabelValues(string(f), left) // shown from the start: the first one is an increase
	}
	return m
}

func (m *Metrics) add(q *Queue) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queues = append(m.queues, q)
}

func (m *Metrics) received(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.account.Received += int64(n)
}

func (m *Metrics) gone(f notify.Format, outcome string) {
	m.messages.WithLabelValues(string(f), outcome).Inc()
	m.mu.Lock()
	defer m.mu.Unlock()
	if outcome == acked {
		m.account.Acked++
	} else {
		m.account.Returned++
	}
}

// Account returns the account at one moment. What is in flight is counted for
// itself, so that it does not add up when something was forgotten.
func (m *Metrics) Account() Account {
	defer m.lock()()
	a := m.account
	for _, q := range m.queues {
		a.InFlight += int64(len(q.held))
	}
	return a
}

// Unaccounted is how many messages nobody knows the whereabouts of.
func (a Account) Unaccounted() int64 { return a.Received - a.Acked - a.Returned - a.InFlight }

func (m *Metrics) oldest() float64 {
	defer m.lock()()
	var oldest time.Duration
	for _, q := range m.queues {
		for d := range q.held {
			if !d.sent.IsZero() {
				oldest = max(oldest, time.Since(d.sent))
			}
		}
	}
	return oldest.Seconds()
}

// lock locks all queues, in the order in which they were made, and m.
func (m *Metrics) lock() (unlock func()) {
	m.mu.Lock()
	queues := slices.Clone(m.queues)
	m.mu.Unlock()
	for _, q := range queues {
		q.mu.Lock()
	}
	m.mu.Lock()
	return func() {
		m.mu.Unlock()
		for _, q := range queues {
			q.mu.Unlock()
		}
	}
}
