package queue_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/trailseal/trailseal/internal/notify"
	"github.com/trailseal/trailseal/internal/queue"
	"github.com/trailseal/trailseal/pkg/trail"
)

// What becomes of each kind of message, beside the control.
func TestDispositions(t *testing.T) {
	object := func(key string) trail.Object { return trail.Object{Bucket: bucket, Key: key} }
	created := []trail.Object{object(digestKey)}
	removal := func(key, version string, c notify.Cause) []notify.Removal {
		return []notify.Removal{{Object: object(key), VersionID: version, Cause: c}}
	}
	poison := errors.New("digest cannot be read")
	both := strings.Replace(announcing(digestKey), `[`, `[`+
		strings.TrimSuffix(strings.TrimPrefix(record("ObjectRemoved:Delete", logKey, ""), `{"Records":[`), `]}`)+`,`, 1)
	const insight = "p/AWSLogs/111122223333/CloudTrail-Insight/eu-west-1/2026/03/01/x.json.gz"
	for name, row := range map[string]struct {
		body    string
		end     error // of the worker
		created []trail.Object
		removed []notify.Removal
		deleted bool
		outcome string
	}{
		"control":     {announcing(digestKey), nil, created, nil, true, "acked"},
		"failed":      {announcing(digestKey), poison, created, nil, false, "failed"},
		"interrupted": {announcing(digestKey), fmt.Errorf("run: %w", context.Canceled), created, nil, false, "released"},
		"unknown":     {`{"hello":1}`, nil, nil, nil, false, "left"},
		"test":        {`{"Service":"Amazon S3","Event":"s3:TestEvent"}`, nil, nil, nil, true, "acked"},
		"validation":  {`CloudTrail validation message.`, nil, nil, nil, true, "acked"},
		"subscription": {`{"Type":"SubscriptionConfirmation","TopicArn":"arn:aws:sns:eu-west-1:1:t",` +
			`"SubscribeURL":"https://127.0.0.1:1/"}`, nil, nil, nil, false, "left"},
		"restore": {record("ObjectRestore:Post", logKey, ""), nil, nil, nil, true, "acked"},
		"log removed": {record("ObjectRemoved:Delete", logKey, ""), nil, nil,
			removal(logKey, "", notify.Deleted), true, "acked"},
		"version removed": {record("ObjectRemoved:Delete", logKey, "v1"), nil, nil,
			removal(logKey, "v1", notify.Deleted), true, "acked"},
		"marker made": {record("ObjectRemoved:DeleteMarkerCreated", digestKey, "m"), nil, nil,
			removal(digestKey, "m", notify.Marked), true, "acked"},
		"digest expired": {record("LifecycleExpiration:Delete", digestKey, ""), nil, nil,
			removal(digestKey, "", notify.Expired), true, "acked"},
		"removal undecided": {record("ObjectRemoved:Delete", logKey, ""), poison, nil,
			removal(logKey, "", notify.Deleted), false, "failed"},
		"both": {both, nil, created, removal(logKey, "", notify.Deleted), true, "acked"},
		"odd digest removed": {record("ObjectRemoved:Delete", "AWSLogs/1/CloudTrail-Digest/x", ""), nil, nil,
			nil, true, "acked"},
		"insights removed": {record("ObjectRemoved:Delete", insight, ""), nil, nil, nil, true, "acked"},
		"folder removed":   {record("ObjectRemoved:Delete", "AWSLogs/1/CloudTrail/", ""), nil, nil, nil, true, "acked"},
		"another service":  {record("ObjectRemoved:Delete", "AWSLogs/1/vpcflowlogs/x", ""), nil, nil, nil, true, "acked"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{}
				f.send(row.body)
				q, m, r := start(f, drain)
				sent := time.Now().Add(-time.Minute)
				list := all(t, q, func(notify.Delivery) error { return row.end })
				a := closed(t, q, m)
				if deleted := len(f.left()) == 0; deleted != row.deleted {
					t.Errorf("left %v", f.left())
				}
				switch announces := len(row.created)+len(row.removed) > 0; {
				case len(list) == 0 && !announces:
				case len(list) != 1 || !announces:
					t.Errorf("announced %+v", list)
				case !reflect.DeepEqual(list[0].Created, row.created) || !reflect.DeepEqual(list[0].Removed, row.removed):
					t.Errorf(" got %+v\nwant %+v, %+v", list[0], row.created, row.removed)
				case !list[0].Sent.Equal(sent):
					t.Errorf("sent %s, want %s", list[0].Sent, sent)
				}
				received := int64(1)
				if row.outcome == "released" {
					received = 2 // it is there again at once, and left
				}
				if n := outcomes(t, r); n[row.outcome] != 1 || a.Received != received {
					t.Errorf("outcomes %v, account %+v", n, a)
				}
				removals := 0.0 // counted when they are processed
				if row.end == nil {
					removals = float64(len(row.removed))
				}
				if n := counts(t, r, "removals_announced_total", "")[""]; n != removals {
					t.Errorf("%v removals", n)
				}
			})
		})
	}
}

// Next receives at most what there is room for. Each end makes room.
func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		for i := range 40 {
			f.send(announcing(fmt.Sprint(i)))
		}
		q, m, _ := start(f, func(o *queue.Options) { o.InFlight = 13 })
		first := next(t, q)
		for range 12 {
			next(t, q)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := q.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if f.called("receive") != 2 || f.called("receive 3") != 1 || m.Account().InFlight != 13 {
			t.Errorf("%d calls, %+v", f.called("receive"), m.Account())
		}
		first.Done(nil)
		next(t, q)
		if a := closed(t, q, m); a.Received != 14 || a.Acked != 1 {
			t.Errorf("%+v", a)
		}
	})
}

func TestReceiveFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		denied := errors.New("access denied")
		f := &fake{fault: func(_ context.Context, op, _ string) (bool, error) { return false, when(op == "receive", denied) }}
		q, m, _ := start(f, nil)
		if _, err := q.Next(t.Context()); !errors.Is(err, denied) || !errors.Is(q.Ready(), denied) {
			t.Errorf("error %v, ready %v", err, q.Ready())
		}
		f.setFault(nil)
		f.send(announcing("a"))
		if d := next(t, q); len(d.Created) != 1 || q.Ready() != nil {
			t.Errorf("%+v, ready %v", d, q.Ready())
		}
		closed(t, q, m)
	})
}

// When its context ends, Next returns at once. What it received and did not
// return is visible to others at once. What is in work stays so.
func TestNextEnds(t *testing.T) {
	for name, row := range map[string]struct {
		handedOut int           // of three messages, before
		room      bool          // one of them has ended
		ends      time.Duration // when the context ends; less than 0: during Receive
		released  int
	}{
		"before the call":             {1, false, 0, 2},
		"while it receives":           {3, true, 5 * time.Second, 0},
		"while it waits for room":     {3, false, 5 * time.Second, 0},
		"and a message still arrives": {3, true, -1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{}
				f.send(announcing("a"), announcing("b"), announcing("c"))
				q, m, r := start(f, func(o *queue.Options) { o.InFlight = 3 })
				var inWork []notify.Delivery
				for range row.handedOut {
					inWork = append(inWork, next(t, q))
				}
				if row.room {
					inWork[0].Done(nil)
					inWork = inWork[1:]
					time.Sleep(time.Second)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				switch {
				case row.ends == 0:
					cancel()
				case row.ends > 0:
					time.AfterFunc(row.ends, cancel)
				default:
					f.send(announcing("d"))
					f.setFault(func(_ context.Context, op, _ string) (bool, error) {
						if op == "receive" {
							cancel()
						}
						return false, nil
					})
				}
				began := time.Now()
				_, err := q.Next(ctx)
				if took := time.Since(began); !errors.Is(err, context.Canceled) || took != max(row.ends, 0) {
					t.Fatalf("%v after %s", err, took)
				}
				if q.Ready() != nil {
					t.Errorf("ready %v", q.Ready())
				}
				f.setFault(nil)
				time.Sleep(time.Second)
				if list := f.take(10, 0); len(list) != row.released {
					t.Errorf("%d messages are visible, want %d", len(list), row.released)
				}
				if n := outcomes(t, r)["released"]; int(n) != row.released {
					t.Errorf("%v released", n)
				}
				f.mu.Lock()
				for _, msg := range f.messages {
					msg.deleted = msg.deleted || !msg.visible.After(time.Now()) // others process them
				}
				f.mu.Unlock()
				for range 20 { // the work takes longer than the visibility
					time.Sleep(queue.DefaultVisibility / 10)
					if list := f.take(10, 0); len(list) > 0 {
						t.Fatalf("%s is visible while it is in work", list[0].ID)
					}
				}
				for _, d := range inWork {
					d.Done(nil)
				}
				time.Sleep(time.Second)
				if left := f.left(); len(left) > 0 {
					t.Errorf("left %v", left)
				}
				closed(t, q, m)
			})
		})
	}
}

// A drained queue ends after the last message in work: it may come back.
func TestDrainWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.send(announcing("a"))
		q, m, _ := start(f, drain)
		d := next(t, q)
		time.AfterFunc(time.Hour, func() { d.Done(nil) })
		began := time.Now()
		if _, err := q.Next(t.Context()); err != io.EOF || time.Since(began) < time.Hour {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		closed(t, q, m)
	})
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.send(announcing("a"))
		q, m, r := start(f, nil)
		next(t, q)
		time.Sleep(time.Second)
		want := "# HELP queue_oldest_seconds Age of the oldest message in work, 0 without one.\n" +
			"# TYPE queue_oldest_seconds gauge\nqueue_oldest_seconds 61\n"
		if err := testutil.GatherAndCompare(r, strings.NewReader(want), "queue_oldest_seconds"); err != nil {
			t.Error(err)
		}
		if problems, err := testutil.GatherAndLint(r); err != nil || len(problems) > 0 {
			t.Errorf("%v %v", problems, err)
		}
		closed(t, q, m)
	})
}

// A message that fails stays away longer each time.
func TestFailuresBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		f.send(announcing("a"))
		q, m, _ := start(f, nil)
		var minutes []int
		began := time.Now()
		for range 9 {
			d := next(t, q)
			minutes = append(minutes, int(time.Since(began)/time.Minute))
			d.Done(errors.New("chain waits"))
		}
		if want := []int{0, 2, 6, 14, 30, 62, 122, 182, 242}; !slices.Equal(minutes, want) {
			t.Errorf("came after %v minutes, want %v", minutes, want)
		}
		closed(t, q, m)
	})
}
