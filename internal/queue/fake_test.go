package queue_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/notify"
	"github.com/trailseal/trailseal/internal/queue"
)

const (
	bucket = "trail-bucket"
	logKey = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/01/" +
		"111122223333_CloudTrail_eu-west-1_20260301T1205Z_abcDEF0123456789.json.gz"
	digestKey = "AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/2026/03/01/" +
		"111122223333_CloudTrail-Digest_eu-west-1_main_us-east-1_20260301T120811Z.json.gz"
)

// fake is a queue in memory, on the clock of the test's bubble.
type fake struct {
	// fault makes an operation on a receipt fail: with after once it took effect.
	// It may block until ctx ends.
	fault func(ctx context.Context, op, receipt string) (after bool, err error)

	mu       sync.Mutex // guards what follows
	messages []*message
	calls    []string // "delete 3", "extend 2 0s", "receive 10"
	receipts int
}

type message struct {
	body     string
	visible  time.Time // from when on it can be received
	receipt  string    // the last
	receives int
	deleted  bool
}

func (f *fake) send(bodies ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range bodies {
		f.messages = append(f.messages, &message{body: b})
	}
}

func (f *fake) Receive(ctx context.Context, limit int, wait, visibility time.Duration) ([]queue.Message, error) {
	f.note("receive %d", limit)
	if _, err := f.fails(ctx, "receive", ""); err != nil {
		return nil, err
	}
	for end := time.Now().Add(wait); ; {
		if list := f.take(limit, visibility); len(list) > 0 || !time.Now().Before(end) {
			return list, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// take receives without waiting.
func (f *fake) take(limit int, visibility time.Duration) (list []queue.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	for _, m := range f.messages {
		if len(list) == limit || m.deleted || m.visible.After(now) {
			continue
		}
		f.receipts++
		m.receives++
		m.receipt, m.visible = fmt.Sprint("r", f.receipts), now.Add(visibility)
		list = append(list, queue.Message{
			ID: m.body, Receipt: m.receipt, Body: []byte(m.body), Sent: now.Add(-time.Minute), Receives: m.receives,
		})
	}
	return list
}

func (f *fake) Delete(ctx context.Context, receipts []string) []error {
	f.note("delete %d", len(receipts))
	return f.each(ctx, "delete", receipts, func(m *message) { m.deleted = true })
}

func (f *fake) Extend(ctx context.Context, receipts []string, visibility time.Duration) []error {
	f.note("extend %d %s", len(receipts), visibility)
	return f.each(ctx, "extend", receipts, func(m *message) { m.visible = time.Now().Add(visibility) })
}

func (f *fake) each(ctx context.Context, op string, receipts []string, do func(*message)) (errs []error) {
	for _, r := range receipts {
		after, err := f.fails(ctx, op, r)
		if err == nil {
			err = ctx.Err()
		}
		f.mu.Lock()
		i := slices.IndexFunc(f.messages, func(m *message) bool { return m.receipt == r && !m.deleted })
		switch {
		case err != nil && !after:
		case i < 0:
			err = queue.ErrReceipt
		default:
			do(f.messages[i])
		}
		f.mu.Unlock()
		errs = append(errs, err)
	}
	return errs
}

func (f *fake) fails(ctx context.Context, op, receipt string) (bool, error) {
	f.mu.Lock()
	fault := f.fault
	f.mu.Unlock()
	if fault == nil {
		return false, nil
	}
	return fault(ctx, op, receipt)
}

func (f *fake) setFault(fault func(ctx context.Context, op, receipt string) (bool, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

func (f *fake) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
}

// left returns the bodies of the messages that were not deleted.
func (f *fake) left() (bodies []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.messages {
		if !m.deleted {
			bodies = append(bodies, m.body)
		}
	}
	return bodies
}

// called counts the calls that begin with prefix.
func (f *fake) called(prefix string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.calls {
		if strings.HasPrefix(c, prefix) {
			n++
		}
	}
	return n
}

// announcing is the body of a notification about one new key.
func announcing(key string) string { return record("ObjectCreated:Put", key, "") }

// record is an S3 event about one version of a key.
func record(event, key, version string) string {
	return fmt.Sprintf(`{"Records":[{"eventVersion":"2.1","eventName":%q,`+
		`"s3":{"bucket":{"name":%q},"object":{"key":%q,"versionId":%q}}}]}`, event, bucket, key, version)
}

// start returns a queue over c, and its metrics.
func start(c queue.Client, change func(*queue.Options)) (*queue.Queue, *queue.Metrics, *prometheus.Registry) {
	r := prometheus.NewRegistry()
	o := queue.Options{Name: "q", Log: slog.New(slog.DiscardHandler), Metrics: queue.NewMetrics(r)}
	if change != nil {
		change(&o)
	}
	return queue.New(c, o), o.Metrics, r
}

func drain(o *queue.Options) { o.Drain = true; o.Wait = time.Second }

// next returns the next delivery.
func next(t *testing.T, q *queue.Queue) notify.Delivery {
	t.Helper()
	d, err := q.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// all ends each delivery of a drained queue with end and returns them.
func all(t *testing.T, q *queue.Queue, end func(notify.Delivery) error) (list []notify.Delivery) {
	t.Helper()
	for {
		d, err := q.Next(t.Context())
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, d)
		d.Done(end(d))
	}
}

// closed closes a queue and returns its account, in which nothing may be missing.
func closed(t *testing.T, q *queue.Queue, m *queue.Metrics) queue.Account {
	t.Helper()
	if err := q.Close(); err != nil {
		t.Error(err)
	}
	a := m.Account()
	if a.InFlight != 0 || a.Unaccounted() != 0 {
		t.Errorf("account %+v", a)
	}
	return a
}

// counts sums a counter by one of its labels, or under "" if it has none.
func counts(t *testing.T, r *prometheus.Registry, name, label string) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			value := ""
			for _, l := range m.GetLabel() {
				if l.GetName() == label {
					value = l.GetValue()
				}
			}
			if f.GetName() == name {
				sums[value] += m.GetCounter().GetValue()
			}
		}
	}
	return sums
}

func outcomes(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	return counts(t, r, "messages_total", "outcome")
}

func when(is bool, err error) error {
	if is {
		return err
	}
	return nil
}
