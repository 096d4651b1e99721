package queue_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/trailseal/trailseal/internal/queue"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

const (
	bucket    = "trail-bucket"
	logKey    = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/01/111122223333_CloudTrail_eu-west-1_20260301T1205Z_abcDEF0123456789.json.gz"
	digestKey = "AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/2026/03/01/111122223333_CloudTrail-Digest_eu-west-1_main_us-east-1_20260301T120811Z.json.gz"
)

// pond is a queue in memory, on the clock of the test's bubble.
type pond struct {
	mu       sync.Mutex
	messages []*drop
	calls    []string // "delete 3", "extend 2 0s", "receive 10"
	fault    func(op, receipt string) (after bool, err error)
	receipts int
}

type drop struct {
	body     string
	visible  time.Time
	receipt  string
	receives int
	deleted  bool
}

func (p *pond) send(bodies ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range bodies {
		p.messages = append(p.messages, &drop{body: b})
	}
}

func (p *pond) Receive(ctx context.Context, limit int, wait, visibility time.Duration) ([]queue.Message, error) {
	p.note("receive %d", limit)
	if _, err := p.fails("receive", ""); err != nil {
		return nil, err
	}
	for end := time.Now().Add(wait); ; {
		if got := p.take(limit, visibility); len(got) > 0 || !time.Now().Before(end) {
			return got, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (p *pond) take(limit int, visibility time.Duration) (got []queue.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for _, m := range p.messages {
		if len(got) == limit || m.deleted || m.visible.After(now) {
			continue
		}
		p.receipts++
		m.receives++
		m.receipt, m.visible = fmt.Sprint("r", p.receipts), now.Add(visibility)
		got = append(got, queue.Message{ID: m.body, Receipt: m.receipt, Body: []byte(m.body), Sent: now.Add(-time.Minute), Receives: m.receives})
	}
	return got
}

func (p *pond) Delete(ctx context.Context, receipts []string) []error {
	p.note("delete %d", len(receipts))
	return p.each(ctx, "delete", receipts, func(m *drop) { m.deleted = true })
}

func (p *pond) Extend(ctx context.Context, receipts []string, visibility time.Duration) []error {
	p.note("extend %d %s", len(receipts), visibility)
	return p.each(ctx, "extend", receipts, func(m *drop) { m.visible = time.Now().Add(visibility) })
}

func (p *pond) each(ctx context.Context, op string, receipts []string, do func(*drop)) (errs []error) {
	for _, r := range receipts {
		after, err := p.fails(op, r)
		if err == nil {
			err = ctx.Err()
		}
		p.mu.Lock()
		i := slices.IndexFunc(p.messages, func(m *drop) bool { return m.receipt == r && !m.deleted })
		switch {
		case err != nil && !after:
		case i < 0:
			err = queue.ErrReceipt
		default:
			do(p.messages[i])
		}
		p.mu.Unlock()
		errs = append(errs, err)
	}
	return errs
}

func (p *pond) fails(op, receipt string) (bool, error) {
	p.mu.Lock()
	fault := p.fault
	p.mu.Unlock()
	if fault == nil {
		return false, nil
	}
	return fault(op, receipt)
}

func (p *pond) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, fmt.Sprintf(format, args...))
}

func (p *pond) left() (bodies []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.messages {
		if !m.deleted {
			bodies = append(bodies, m.body)
		}
	}
	return bodies
}

func (p *pond) called(what string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.calls {
		if strings.HasPrefix(c, what) {
			n++
		}
	}
	return n
}

// announcing is the body of a notification about one key.
func announcing(key string) string { return record("ObjectCreated:Put", key) }

func record(event, key string) string {
	return `{"Records":[{"eventVersion":"2.1","eventName":"` + event + `","s3":{"bucket":{"name":"` + bucket + `"},"object":{"key":"` + key + `"}}}]}`
}

type found struct {
	mu  sync.Mutex
	all []finding.Finding
	err error
}

func (f *found) find(_ context.Context, g finding.Finding) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.all = append(f.all, g)
	}
	return f.err
}

// start returns a queue over p, and its metrics.
func start(p queue.Client, f *found, change func(*queue.Options)) (*queue.Queue, *queue.Metrics, *prometheus.Registry) {
	r := prometheus.NewRegistry()
	o := queue.Options{Name: "q", Log: slog.New(slog.DiscardHandler), Metrics: queue.NewMetrics(r)}
	if change != nil {
		change(&o)
	}
	q := queue.New(p, o)
	q.Report(f.find)
	return q, o.Metrics, r
}

func drain(o *queue.Options) { o.Drain = true; o.Wait = time.Second }

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

// all takes everything that a queue announces and ends each delivery with end.
func all(t *testing.T, q *queue.Queue, end func(trail.Object) error) (keys []string) {
	t.Helper()
	for {
		objects, ack, err := q.Next(t.Context())
		if err == io.EOF {
			return keys
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range objects {
			keys = append(keys, o.Key)
		}
		if err := ack(t.Context(), end(objects[0])); err != nil {
			t.Error(err)
		}
	}
}

func fine(trail.Object) error { return nil }

// What becomes of each kind of message, beside the control.
func TestDispositions(t *testing.T) {
	poison := errors.New("digest cannot be read")
	for name, row := range map[string]struct {
		body    string
		end     error
		keys    int
		deleted bool
		found   []finding.Class
		outcome string
	}{
		"control":             {body: announcing(digestKey), keys: 1, deleted: true, outcome: "acked"},
		"failed":              {body: announcing(digestKey), end: poison, keys: 1, outcome: "failed"},
		"interrupted":         {body: announcing(digestKey), end: fmt.Errorf("run: %w", context.Canceled), keys: 1, outcome: "released"},
		"unknown":             {body: `{"hello":1}`, outcome: "left"},
		"test":                {body: `{"Service":"Amazon S3","Event":"s3:TestEvent"}`, deleted: true, outcome: "acked"},
		"validation":          {body: `CloudTrail validation message.`, deleted: true, outcome: "acked"},
		"subscription":        {body: `{"Type":"SubscriptionConfirmation","TopicArn":"arn:aws:sns:eu-west-1:1:t","SubscribeURL":"https://127.0.0.1:1/"}`, outcome: "left"},
		"restore":             {body: record("ObjectRestore:Post", logKey), deleted: true, outcome: "acked"},
		"log removed":         {body: record("ObjectRemoved:Delete", logKey), deleted: true, found: []finding.Class{finding.LogMissing}, outcome: "acked"},
		"digest expired":      {body: record("LifecycleExpiration:Delete", digestKey), deleted: true, found: []finding.Class{finding.DigestMissing}, outcome: "acked"},
		"odd digest removed":  {body: record("ObjectRemoved:Delete", "AWSLogs/1/CloudTrail-Digest/x"), deleted: true, found: []finding.Class{finding.DigestMissing}, outcome: "acked"},
		"insights removed":    {body: record("ObjectRemoved:Delete", "p/AWSLogs/1/CloudTrail-Insight/x"), deleted: true, found: []finding.Class{finding.LogMissing}, outcome: "acked"},
		"marker removed":      {body: record("ObjectRemoved:Delete", "AWSLogs/111122223333/CloudTrail/"), deleted: true, outcome: "acked"},
		"other files removed": {body: record("ObjectRemoved:Delete", "AWSLogs/111122223333/elasticloadbalancing/x"), deleted: true, outcome: "acked"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, f := &pond{}, &found{}
				p.send(row.body)
				q, m, r := start(p, f, drain)
				keys := all(t, q, func(trail.Object) error { return row.end })
				a := closed(t, q, m)
				if deleted := len(p.left()) == 0; deleted != row.deleted || len(keys) != row.keys {
					t.Errorf("left %v, announced %v", p.left(), keys)
				}
				var classes []finding.Class
				for _, g := range f.all {
					classes = append(classes, g.Class)
				}
				if !slices.Equal(classes, row.found) {
					t.Errorf("findings %+v", f.all)
				}
				counts := outcomes(t, r)
				received := int64(1)
				if row.outcome == "released" {
					received = 2 // it is there again at once, and left
				}
				if counts[row.outcome] != 1 || a.Received != received {
					t.Errorf("outcomes %v, account %+v", counts, a)
				}
			})
		})
	}
}

// outcomes sums messages_total by outcome.
func outcomes(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == "messages_total" && l.GetName() == "outcome" {
					sums[l.GetValue()] += m.GetCounter().GetValue()
				}
			}
		}
	}
	return sums
}

// A removal that nobody took stays in the queue.
func TestRemovalNotReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, f := &pond{}, &found{err: errors.New("disk full")}
		p.send(record("ObjectRemoved:Delete", logKey))
		q, m, _ := start(p, f, drain)
		all(t, q, fine)
		if closed(t, q, m); len(p.left()) != 1 {
			t.Error("deleted")
		}
	})
}

func TestHeartbeat(t *testing.T) {
	for name, hiccup := range map[string]bool{"control": false, "every other beat fails": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &pond{}
				n := 0
				p.fault = func(op, _ string) (bool, error) {
					if n++; hiccup && op == "extend" && n%2 == 0 {
						return false, errors.New("throttled")
					}
					return false, nil
				}
				p.send(announcing("a"))
				q, m, _ := start(p, &found{}, nil)
				_, ack, err := q.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for range 100 { // it is looked at at all times and never comes
					time.Sleep(queue.DefaultVisibility / 10)
					if got := p.take(1, 0); len(got) > 0 {
						t.Fatal("visible while in work")
					}
				}
				if beats := p.called("extend"); beats < 20 || beats > 60 {
					t.Errorf("%d calls in ten times the visibility", beats)
				}
				_ = ack(t.Context(), nil)
				time.Sleep(time.Second)
				if len(p.left()) > 0 {
					t.Error("not deleted")
				}
				closed(t, q, m)
			})
		})
	}
}

// The heartbeat of a message ends when its receipt does: whoever has it now
// deals with it.
func TestHeartbeatOfALostMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pond{fault: func(op, _ string) (bool, error) { return false, map[string]error{"extend": queue.ErrReceipt}[op] }}
		p.send(announcing("a"))
		q, m, _ := start(p, &found{}, nil)
		_, ack, err := q.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * queue.DefaultVisibility)
		if n := p.called("extend"); n != 1 {
			t.Errorf("%d calls", n)
		}
		_ = ack(t.Context(), nil)
		time.Sleep(time.Second)
		if a := closed(t, q, m); a.Acked != 1 {
			t.Errorf("%+v", a)
		}
	})
}

func TestDeletions(t *testing.T) {
	broken := errors.New("connection reset")
	for name, row := range map[string]struct {
		fault func(n int, receipt string) (after bool, err error)
		left  int
		calls int
		acked int64
	}{
		"control":               {func(int, string) (bool, error) { return false, nil }, 0, 1, 25},
		"one fails":             {func(n int, r string) (bool, error) { return false, when(r == "r3" && n < 30, broken) }, 0, 6, 25},
		"all fail once":         {func(n int, _ string) (bool, error) { return false, when(n <= 25, broken) }, 0, 2, 25},
		"took effect":           {func(n int, _ string) (bool, error) { return true, when(n <= 25, broken) }, 0, 2, 0},
		"a receipt has expired": {func(_ int, r string) (bool, error) { return false, when(r == "r3", queue.ErrReceipt) }, 1, 1, 24},
		"one never works":       {func(_ int, r string) (bool, error) { return false, when(r == "r3", broken) }, 1, 9, 24},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &pond{}
				n := 0
				p.fault = func(op, r string) (bool, error) {
					if op != "delete" {
						return false, nil
					}
					n++
					return row.fault(n, r)
				}
				for i := range 25 {
					p.send(announcing(fmt.Sprint(i)))
				}
				q, m, _ := start(p, &found{}, nil)
				var acks []func(context.Context, error) error
				for range 25 {
					_, ack, err := q.Next(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					acks = append(acks, ack)
				}
				for _, ack := range acks {
					_ = ack(t.Context(), nil)
					_ = ack(t.Context(), broken) // once told is told
				}
				time.Sleep(time.Minute)
				a := m.Account()
				if len(p.left()) != row.left || p.called("delete") != row.calls || a.Acked != row.acked || a.InFlight != 0 {
					t.Errorf("left %v, %d calls, %+v", p.left(), p.called("delete"), a)
				}
				closed(t, q, m)
			})
		})
	}
}

func when(is bool, err error) error {
	if is {
		return err
	}
	return nil
}

// No more is received than there is room for, and room comes with each end.
func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pond{}
		for i := range 40 {
			p.send(announcing(fmt.Sprint(i)))
		}
		q, m, _ := start(p, &found{}, func(o *queue.Options) { o.InFlight = 13 })
		var acks []func(context.Context, error) error
		for range 13 {
			_, ack, err := q.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			acks = append(acks, ack)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, _, err := q.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		p.mu.Lock()
		if !slices.Equal(p.calls[:2], []string{"receive 10", "receive 3"}) || m.Account().InFlight != 13 {
			t.Errorf("calls %v, %+v", p.calls[:2], m.Account())
		}
		p.mu.Unlock()
		_ = acks[0](t.Context(), nil)
		if _, _, err := q.Next(t.Context()); err != nil {
			t.Error(err)
		}
		a := closed(t, q, m)
		if a.Received != 14 || a.Acked != 1 {
			t.Errorf("%+v", a)
		}
	})
}

// On the way out what was dealt with is deleted, and the rest is there for
// others at once.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pond{}
		p.send(announcing("a"), announcing("b"), announcing("c"), announcing("d"))
		q, m, r := start(p, &found{}, nil)
		var acks []func(context.Context, error) error
		for range 3 { // d is received and never asked for
			_, ack, err := q.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			acks = append(acks, ack)
		}
		_ = acks[0](t.Context(), nil)
		_ = acks[1](t.Context(), context.Canceled)
		closed(t, q, m)
		_ = acks[2](t.Context(), nil) // too late
		if back := p.take(10, time.Minute); len(back) != 3 {
			t.Errorf("%d are there", len(back))
		}
		if counts := outcomes(t, r); counts["acked"] != 1 || counts["released"] != 3 {
			t.Errorf("outcomes %v", counts)
		}
		if _, _, err := q.Next(t.Context()); err != io.EOF {
			t.Errorf("after Close: %v", err)
		}
	})
}

func TestCloseWhileSQSIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("no route to host")
		p := &pond{}
		p.send(announcing("a"), announcing("b"))
		q, m, _ := start(p, &found{}, nil)
		_, ack, err := q.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p.mu.Lock()
		p.fault = func(string, string) (bool, error) { return false, down }
		p.mu.Unlock()
		_ = ack(t.Context(), nil)
		began := time.Now()
		if err := q.Close(); err == nil || time.Since(began) > 10*time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		if a := m.Account(); a.Acked != 0 || a.Returned != 2 || a.Unaccounted() != 0 {
			t.Errorf("%+v", a)
		}
	})
}

// A message that fails stays away longer each time.
func TestFailedIsNotHammered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pond{}
		p.send(announcing("a"))
		q, m, _ := start(p, &found{}, nil)
		var at []time.Duration
		began := time.Now()
		for range 9 {
			_, ack, err := q.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			at = append(at, time.Since(began).Round(time.Minute))
			_ = ack(t.Context(), errors.New("chain waits"))
		}
		want := []time.Duration{0, 2, 6, 14, 30, 62, 122, 182, 242}
		for i := range want {
			if at[i]/time.Minute != want[i] {
				t.Fatalf("came at %v", at)
			}
		}
		closed(t, q, m)
	})
}

func TestReceiveFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("access denied")
		p := &pond{fault: func(op, _ string) (bool, error) { return false, when(op == "receive", down) }}
		q, m, _ := start(p, &found{}, nil)
		if _, _, err := q.Next(t.Context()); !errors.Is(err, down) || !errors.Is(q.Ready(), down) {
			t.Errorf("error %v, ready %v", err, q.Ready())
		}
		p.mu.Lock()
		p.fault = nil
		p.mu.Unlock()
		p.send(announcing("a"))
		if objects, _, err := q.Next(t.Context()); err != nil || len(objects) != 1 || q.Ready() != nil {
			t.Errorf("%v, %v, ready %v", objects, err, q.Ready())
		}
		closed(t, q, m)
	})
}

// Drain ends only after what is in work has, since that may come back.
func TestDrainWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pond{}
		p.send(announcing("a"))
		q, m, _ := start(p, &found{}, drain)
		_, ack, err := q.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Hour, func() { _ = ack(context.Background(), nil) })
		began := time.Now()
		if _, _, err := q.Next(t.Context()); err != io.EOF || time.Since(began) < time.Hour {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		closed(t, q, m)
	})
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pond{}
		p.send(announcing("a"))
		q, m, r := start(p, &found{}, nil)
		if _, _, err := q.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := testutil.GatherAndCompare(r, strings.NewReader("# HELP queue_oldest_seconds Age of the oldest message in work, 0 without one.\n"+
			"# TYPE queue_oldest_seconds gauge\nqueue_oldest_seconds 61\n"), "queue_oldest_seconds"); err != nil {
			t.Error(err)
		}
		problems, err := testutil.GatherAndLint(r)
		if err != nil || len(problems) > 0 {
			t.Errorf("%v %v", problems, err)
		}
		closed(t, q, m)
	})
}
