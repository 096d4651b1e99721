package queue

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/notify"
)

// Metrics are the metrics of all queues of a worker. The caller's registerer adds
// the program's prefix to their names.
type Metrics struct {
	messages *prometheus.CounterVec
	removals prometheus.Counter

	mu      sync.Mutex // guards what follows; locked after the mutex of active
	queues  []*Queue
	account Account
}

// Account says what became of the messages. Received is the sum of the others.
type Account struct{ Received, Acked, Returned, InFlight int64 }

// Unaccounted returns how many messages are missing in the account. It is 0
// unless this package loses a message.
func (a Account) Unaccounted() int64 { return a.Received - a.Acked - a.Returned - a.InFlight }

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "messages_total", Help: "Receipts of messages that have ended, by the form of the body and the outcome.",
		}, []string{"format", "outcome"}),
		removals: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "removals_announced_total",
			Help: "Removals of log files and digest files in processed messages: deletions, delete markers and expiries.",
		}),
	}
	r.MustRegister(m.messages, m.removals, depths{m},
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "messages_received_total", Help: "Receipts of messages.",
		}, func() float64 { return float64(m.Account().Received) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "messages_in_flight", Help: "Messages in work.",
		}, func() float64 { return float64(m.Account().InFlight) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "queue_oldest_seconds", Help: "Age of the oldest message in work, 0 without one.",
		}, m.oldest),
	)
	for _, f := range []notify.Format{notify.Unknown, notify.SNSSubscription} {
		m.messages.WithLabelValues(string(f), left) // so that the first one is an increase
	}
	return m
}

func (m *Metrics) add(q *Queue) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queues = append(m.queues, q)
}

// all returns the queues in the order in which they were made.
func (m *Metrics) all() []*Queue {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.queues)
}

func (m *Metrics) received() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.account.Received++
}

func (m *Metrics) ended(f notify.Format, outcome string) {
	m.messages.WithLabelValues(string(f), outcome).Inc()
	m.mu.Lock()
	defer m.mu.Unlock()
	if outcome == acked {
		m.account.Acked++
	} else {
		m.account.Returned++
	}
}

// Account returns the account at one moment. It counts the messages in work
// themselves, so that the sum shows a lost one. It is safe for concurrent use.
func (m *Metrics) Account() Account {
	queues, unlock := m.lock()
	defer unlock()
	a := m.account
	for _, q := range queues {
		a.InFlight += int64(len(q.active.all))
	}
	return a
}

func (m *Metrics) oldest() float64 {
	queues, unlock := m.lock()
	defer unlock()
	var oldest time.Duration
	for _, q := range queues {
		for d := range q.active.all {
			if sent := d.announced.Sent; !sent.IsZero() {
				oldest = max(oldest, time.Since(sent))
			}
		}
	}
	return oldest.Seconds()
}

// lock locks the messages of all queues, in the order of all, and the account.
func (m *Metrics) lock() (queues []*Queue, unlock func()) {
	queues = m.all()
	for _, q := range queues {
		q.active.mu.Lock()
	}
	m.mu.Lock()
	return queues, func() {
		m.mu.Unlock()
		for _, q := range queues {
			q.active.mu.Unlock()
		}
	}
}
