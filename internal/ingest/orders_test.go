package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/ledger"
	"github.com/trailseal/trailseal/internal/operate"
	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

const chainText = account + "/" + region + "/main"

func skip(o trail.Object) operate.Order {
	return operate.Order{Verb: operate.Skip, Chain: chainText, Object: o.String(), By: "alice@desk", Reason: "lost"}
}

func reset(since time.Time) operate.Order {
	return operate.Order{Verb: operate.Reset, Chain: chainText, Since: since, By: "alice@desk", Reason: "lost"}
}

func end() operate.Order {
	return operate.Order{Verb: operate.End, Chain: chainText, By: "alice@desk", Reason: "deleted"}
}

func (s *site) digest(n int) trail.Object {
	return trail.Object{Bucket: bucket, Key: s.c.Issued[n].Key}
}

// unreadable makes an object one that cannot be read.
func (s *site) unreadable(o trail.Object) {
	s.Fail(bucket, o.Key, &testtrail.Fault{Err: fmt.Errorf("get: %w", fs.ErrPermission)})
}

// entry returns the head of the site's chain that the state has.
func (s *site) entry(t *testing.T) ledger.Entry {
	t.Helper()
	e, err := ledger.New(s.cfg.State).Open(t.Context(), ledger.Name(s.cfg.Sources[0].Identity(), s.c.Name()))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// carry carries out an order while no worker runs.
func (s *site) carry(t *testing.T, o operate.Order) {
	t.Helper()
	_, _, err := operate.Carry(t.Context(), ledger.New(s.cfg.State), s.found.Find, s.entry(t), o, s.cfg.Now())
	if err != nil {
		t.Fatal(err)
	}
}

// An order that was given while no worker ran is carried out by the next one.
func TestOrders(t *testing.T) {
	logs := func(s *site, ns ...int) (all []trail.Object) {
		for _, n := range ns {
			all = append(all, s.c.Issued[n].Logs...)
		}
		return all
	}
	for _, row := range []struct {
		name   string
		before func(*site) // the first run
		orders func(*site) []operate.Order
		after  func(*site) // the orders
		skip   func(*site) []trail.Object
		want   []string
	}{
		{
			"skip a digest that cannot be read", func(s *site) { s.unreadable(s.digest(3)) },
			func(s *site) []operate.Order { return []operate.Order{skip(s.digest(3))} }, func(*site) {},
			func(s *site) []trail.Object { return logs(s, 3) }, []string{"coverage"},
		},
		{
			"skip two digests", func(s *site) { s.unreadable(s.digest(3)); s.unreadable(s.digest(4)) },
			func(s *site) []operate.Order { return []operate.Order{skip(s.digest(4)), skip(s.digest(3))} },
			func(*site) {},
			func(s *site) []trail.Object { return logs(s, 3, 4) }, []string{"coverage", "coverage"},
		},
		{
			"skip a digest, and the one before it is gone",
			func(s *site) { s.unreadable(s.digest(4)); s.Delete(bucket, s.c.Issued[3].Key) },
			func(s *site) []operate.Order { return []operate.Order{skip(s.digest(4))} }, func(*site) {},
			func(s *site) []trail.Object { return logs(s, 3, 4) }, []string{"coverage", "digest-missing"},
		},
		{
			"skip a digest whose log files cannot be read",
			func(s *site) { s.unreadable(s.c.Issued[3].Logs[0]); s.unreadable(s.c.Issued[3].Logs[1]) },
			func(s *site) []operate.Order { return []operate.Order{skip(s.digest(3))} }, func(*site) {},
			func(s *site) []trail.Object { return logs(s, 3) }, []string{"coverage"},
		},
		{
			"skip a digest that somebody planted",
			func(s *site) {
				o := trail.Object{Bucket: bucket, Key: s.c.Name().Digest(s.c.Issued[3].End.Add(20 * time.Minute)).String()}
				s.Put(o.Bucket, o.Key, testtrail.Stored{Body: []byte("x")})
				s.unreadable(o)
			},
			func(s *site) []operate.Order {
				return []operate.Order{skip(trail.Object{
					Bucket: bucket, Key: s.c.Name().Digest(s.c.Issued[3].End.Add(20 * time.Minute)).String(),
				})}
			},
			func(*site) {}, func(*site) []trail.Object { return nil }, []string{"coverage"},
		},
		{
			"skip a log file", func(s *site) { s.unreadable(s.c.Issued[3].Logs[1]) },
			func(s *site) []operate.Order { return []operate.Order{skip(s.c.Issued[3].Logs[1])} }, func(*site) {},
			func(s *site) []trail.Object { return s.c.Issued[3].Logs[1:] }, []string{"coverage"},
		},
		{
			"skip a log file of a digest to come", func(*site) {},
			func(s *site) []operate.Order {
				s.c.Hours(1)
				return []operate.Order{skip(s.c.Issued[6].Logs[1])}
			}, func(*site) {},
			func(s *site) []trail.Object { return s.c.Issued[6].Logs[1:] }, []string{"coverage"},
		},
		{
			"reset to later", func(s *site) { s.unreadable(s.digest(3)) },
			func(s *site) []operate.Order { return []operate.Order{reset(s.c.Issued[5].End)} }, func(*site) {},
			func(s *site) []trail.Object { return logs(s, 3, 4) }, []string{"coverage"},
		},
		{
			"skip a log file that can be read again", func(s *site) { s.unreadable(s.c.Issued[3].Logs[0]) },
			func(s *site) []operate.Order { return []operate.Order{skip(s.c.Issued[3].Logs[0])} },
			func(s *site) { s.Fail(bucket, s.c.Issued[3].Logs[0].Key, nil) },
			func(s *site) []trail.Object { return s.c.Issued[3].Logs[:1] }, []string{"coverage"},
		},
	} {
		synctest.Test(t, func(t *testing.T) { // tries that fail take no time
			t.Log(row.name)
			s := newSite(t, 5)
			row.before(s)
			s.run(t)
			for _, o := range row.orders(s) {
				s.carry(t, o)
			}
			row.after(s)
			if o := s.run(t); o.Waiting != 0 {
				t.Errorf("%+v", o)
			}
			s.expect(t, s.want(row.skip(s)...), row.want...)
			s.c.Hours(1) // the successor has nothing to say about it
			s.run(t)
			s.expect(t, s.want(row.skip(s)...), row.want...)
			if left := s.entry(t).Head.Skips; len(left) > 0 {
				t.Errorf("not passed: %+v", left)
			}
		})
	}
}

// A skipped digest whose file can be hashed is compared with what its successor says.
func TestSkippedIsCompared(t *testing.T) {
	for _, row := range []struct {
		name   string
		tamper func(body []byte) []byte
		want   []string
	}{
		{"the control", func(b []byte) []byte { return b }, []string{"coverage"}},
		{"another content", func(b []byte) []byte {
			return []byte(strings.Replace(string(b), `"SHA-256"`, `"SHA-256" `, 1))
		}, []string{"chain-mismatch", "coverage"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t, 3) // the newest digest of a copy waits for its successor
			genuine, _ := s.Stored(bucket, s.c.Issued[3].Key)
			s.Edit(bucket, s.c.Issued[3].Key, func(o *testtrail.Stored) {
				o.Body = testtrail.Gzip(row.tamper(s.c.Issued[3].Body))
			})
			folder := t.TempDir()
			s.copied(t, folder)
			if o := s.run(t); o.Waiting != 1 {
				t.Fatalf("%+v", o)
			}
			s.carry(t, skip(trail.Object{Key: filepath.Join(folder, s.c.Issued[3].Key)}))
			s.run(t)
			s.Put(bucket, s.c.Issued[3].Key, genuine)
			s.c.Hours(2)
			s.copied(t, t.TempDir()) // under another path: the state is that of the first
			s.cfg.Sources[0].Name = folder
			s.run(t)
			s.expect(t, s.want(slices.Concat(s.c.Issued[3].Logs, s.c.Issued[5].Logs)...), row.want...)
		})
	}
}

// A chain that was reset is followed again with equal ids, and must contain the old head.
func TestReset(t *testing.T) {
	for _, row := range []struct {
		name   string
		hours  int // before the chain was reset to its third hour
		tamper func(*site)
		want   []string
	}{
		{"the control", 5, func(*site) {}, []string{"coverage"}},
		{"of more hours than a frontier keeps", 120, func(*site) {}, []string{"coverage"}},
		{"another history", 5, func(s *site) {
			s.c.ReissueFrom(4, func(d *testtrail.Doc) { d.Newest = nil })
			s.c.Hours(1)
		}, []string{"coverage", "rollback"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t, row.hours)
			s.run(t)
			row.tamper(s)
			s.carry(t, reset(s.c.Issued[3].End))
			if o := s.run(t); o.Waiting != 0 {
				t.Errorf("%+v", o)
			}
			s.expect(t, s.want(), row.want...)
			for id, n := range s.sink.counts {
				log := s.sink.lines[id]
				isAgain := !slices.ContainsFunc(
					slices.Concat(s.c.Issued[1].Logs, s.c.Issued[2].Logs),
					func(o trail.Object) bool {
						return strings.Contains(log, o.Key)
					},
				)
				isNew := row.want[len(row.want)-1] == "rollback" &&
					slices.ContainsFunc(s.c.Issued[len(s.c.Issued)-1].Logs,
						func(o trail.Object) bool { return strings.Contains(log, o.Key) })
				if want := map[bool]int{false: 1, true: 2}[isAgain && !isNew]; n != want {
					t.Errorf("%s came %d times, want %d", id, n, want)
				}
			}
			h := s.entry(t).Head
			if !h.Link.End.Equal(s.c.Now()) {
				t.Errorf("head %+v", h)
			}
			s.c.Hours(1)
			s.run(t)
			if h := s.entry(t).Head; !h.Witness.End.IsZero() || !h.Link.End.Equal(s.c.Now()) {
				t.Errorf("head %+v", h)
			}
		})
	}
}

// A chain that has ended is not late, and has no gauge. A new digest makes it go on.
func TestEnd(t *testing.T) {
	s := newSite(t, 3)
	s.run(t)
	s.carry(t, end())
	late := s.c.Now().Add(100 * time.Hour)
	s.cfg.Now = func() time.Time { return late }
	gauge := "chain_verified_until_timestamp_seconds{account=" + account + ",region=" + region + ",trail=main}"
	synctest.Test(t, func(t *testing.T) {
		w, registry, stop := s.begin(t)
		defer stop()
		synctest.Wait()
		time.Sleep(10 * time.Second)
		if st := w.Status().Chains; len(st) != 1 || st[0].State != "ended" || st[0].EndedWhy != "alice@desk: deleted" {
			t.Errorf("%+v", st)
		}
		if v, isThere := values(t, registry)[gauge]; isThere {
			t.Errorf("gauge %v", v)
		}
		if len(s.found.all) > 0 {
			t.Errorf("%+v", s.found.all)
		}
		s.c.Hours(1)
		time.Sleep(10 * time.Second)
		if st := w.Status().Chains; st[0].Ended || st[0].EndedWhy != "" {
			t.Errorf("%+v", st)
		}
		if v := values(t, registry)[gauge]; v != float64(s.c.Now().Unix()) {
			t.Errorf("gauge %v", v)
		}
	})
	s.expect(t, s.want(), "coverage") // it is late again
}

// A chain that was reset, and of which nothing comes any more, is late.
func TestResetIsLate(t *testing.T) {
	s := newSite(t, 3)
	s.run(t)
	s.carry(t, reset(s.c.Now().Add(time.Hour)))
	s.cfg.Now = func() time.Time { return s.c.Now().Add(10 * time.Hour) }
	synctest.Test(t, func(t *testing.T) {
		_, _, stop := s.begin(t)
		defer stop()
		time.Sleep(10 * time.Second)
	})
	s.expect(t, s.want(), "coverage", "coverage")
	if d := s.found.all[1].Detail; !strings.Contains(d, "reset to, "+s.c.Now().Add(time.Hour).Format(time.RFC3339)) {
		t.Error(d)
	}
}

// begin begins a worker that goes on until stop is called. It polls each second.
func (s *site) begin(t *testing.T) (w *ingest.Worker, registry *prometheus.Registry, stop func()) {
	t.Helper()
	s.cfg.Once, s.cfg.Poll = false, time.Second
	registry = prometheus.NewRegistry()
	s.cfg.Metrics = registry
	w, err := ingest.New(t.Context(), s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := w.Run(ctx)
		done <- err
	}()
	return w, registry, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// A worker carries an order out between two digests: at once, although its chain pauses
// after a failure.
func TestOrdersOfAWorker(t *testing.T) {
	for _, row := range []struct {
		name   string
		before func(*site)
		order  func(*site) operate.Order
		skip   func(*site) []trail.Object
	}{
		{
			"skip a digest", func(s *site) { s.unreadable(s.digest(3)) },
			func(s *site) operate.Order { return skip(s.digest(3)) },
			func(s *site) []trail.Object { return s.c.Issued[3].Logs },
		},
		{
			"skip a log file", func(s *site) { s.unreadable(s.c.Issued[3].Logs[0]) },
			func(s *site) operate.Order { return skip(s.c.Issued[3].Logs[0]) },
			func(s *site) []trail.Object { return s.c.Issued[3].Logs[:1] },
		},
		{
			"skip a log file of the first digest",
			func(s *site) { s.unreadable(s.c.Issued[1].Logs[0]); s.cfg.Since = s.c.Issued[1].End },
			func(s *site) operate.Order { return skip(s.c.Issued[1].Logs[0]) },
			func(s *site) []trail.Object { return s.c.Issued[1].Logs[:1] },
		},
		{
			"reset to later", func(s *site) { s.unreadable(s.digest(3)) },
			func(s *site) operate.Order { return reset(s.c.Issued[4].End) },
			func(s *site) []trail.Object { return s.c.Issued[3].Logs },
		},
		{
			"reset to later a chain without a proof",
			func(s *site) { s.unreadable(s.digest(1)); s.cfg.Since = s.c.Issued[1].End },
			func(s *site) operate.Order { return reset(s.c.Issued[2].End) },
			func(s *site) []trail.Object { return s.c.Issued[1].Logs },
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t, 5)
			s.cfg.Halt = true // an order does not halt the run
			row.before(s)
			synctest.Test(t, func(t *testing.T) {
				w, _, stop := s.begin(t)
				defer stop()
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				if st := w.Status().Chains; len(st) != 1 || st[0].State != "waiting" {
					t.Fatalf("%+v", st)
				}
				began := time.Now()
				text, err := w.Order(t.Context(), row.order(s))
				if took := time.Since(began); err != nil || text == "" || took > 0 {
					t.Fatalf("%q, %v after %v", text, err, took)
				}
				synctest.Wait()
				time.Sleep(time.Second) // the pauses of the chain are longer
				s.expect(t, s.want(row.skip(s)...), "coverage")
				if st := w.Status().Chains; len(st) != 1 || st[0].State != "current" || len(st[0].Skips) > 0 {
					t.Errorf("%+v", st)
				}
			})
			s.once(t)
		})
	}
}

// A running worker follows a chain again, while the other goes on.
func TestResetOfAWorker(t *testing.T) {
	s := newSite(t, 5)
	false4 := []byte(strings.Replace(string(s.c.Issued[4].Body), `"SHA-256"`, `"SHA-256" `, 1))
	s.Edit(bucket, s.c.Issued[4].Key, func(o *testtrail.Stored) { o.Body = testtrail.Gzip(false4) })
	s.cfg.Now = func() time.Time { return s.c.Now().Add(3 * time.Hour) } // after the grace
	synctest.Test(t, func(t *testing.T) {
		w, _, stop := s.begin(t)
		defer stop()
		time.Sleep(10 * time.Second)
		s.expect(t, s.want(s.c.Issued[4].Logs...), "digest-signature")
		s.Edit(bucket, s.c.Issued[4].Key, func(o *testtrail.Stored) { o.Body = testtrail.Gzip(s.c.Issued[4].Body) })
		if _, err := w.Order(t.Context(), reset(s.c.Issued[2].End)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		s.expect(t, s.want(), "coverage", "digest-signature") // what was restored is emitted
	})
}

// A run that emits events again does so with equal ids, and leaves the heads as they are.
func TestReplayedEventsAreEqual(t *testing.T) {
	s := newSite(t, 8)
	s.run(t)
	before, store := s.entry(t), s.cfg.State
	s.cfg.State, s.cfg.Since, s.cfg.Until = state.NewMemory(), s.c.Issued[3].End.Add(1), s.c.Issued[5].End
	s.run(t) // a sink that gets another line for an id panics
	s.cfg.State = store
	if after := s.entry(t); after.Version != before.Version {
		t.Errorf("the head is %+v", after)
	}
	twice := 0
	for _, n := range s.sink.counts {
		twice += n - 1
	}
	if twice != 10 {
		t.Errorf("%d events came again, want 10", twice)
	}
}

// What cannot be ordered says so, and changes nothing.
func TestOrdersThatFail(t *testing.T) {
	foreign := end()
	foreign.Chain = "444455556666/us-east-1/main"
	for _, row := range []struct {
		name  string
		order func(*site) operate.Order
		usage bool
		want  string
	}{
		{
			"an unknown chain", func(*site) operate.Order { return foreign }, true,
			"name one of chain/s3:%2F%2Ftrail-bucket/-/" + account,
		},
		{"no reason", func(s *site) operate.Order { o := skip(s.digest(3)); o.Reason = ""; return o }, true, "reason"},
		{"a digest that is done", func(s *site) operate.Order { return skip(s.digest(2)) }, false, "has passed it"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t, 5)
			synctest.Test(t, func(t *testing.T) {
				w, _, stop := s.begin(t)
				defer stop()
				time.Sleep(time.Second)
				before := s.entry(t).Version
				_, err := w.Order(t.Context(), row.order(s))
				if err == nil || errors.Is(err, operate.ErrUsage) != row.usage ||
					!strings.Contains(err.Error(), row.want) {
					t.Errorf("error %v", err)
				}
				if s.entry(t).Version != before || len(s.found.all) > 0 {
					t.Error("something changed")
				}
			})
		})
	}
}

// A chain that is at work on a digest does not take an order. One that gives up waiting is
// not carried out later. At the end of the worker the operator is told.
func TestOrderMeetsAChainAtWork(t *testing.T) {
	s := newSite(t, 5)
	synctest.Test(t, func(t *testing.T) {
		blocked := true
		s.cfg.Sink = sinkFunc(func(ctx context.Context, _ sink.Batch) error {
			if blocked {
				<-ctx.Done()
			}
			return ctx.Err()
		})
		w, _, stop := s.begin(t)
		time.Sleep(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if _, err := w.Order(ctx, skip(s.digest(3))); err == nil ||
			!strings.Contains(err.Error(), "nothing was changed") {
			t.Errorf("error %v", err)
		}
		failed := make(chan error)
		go func() {
			_, err := w.Order(t.Context(), end())
			failed <- err
		}()
		synctest.Wait()
		stop()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		if h := s.entry(t).Head; len(h.Skips) > 0 || h.Ended || len(s.found.all) > 0 {
			t.Errorf("something changed: %+v, %+v", h, s.found.all)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if _, err := w.Order(ended, skip(s.digest(3))); err == nil {
			t.Error("a worker that has ended takes an order")
		}
	})
}

// A run with an end emits the events of the digests whose hours touch the asked time, and
// compares the digest after them.
func TestUntil(t *testing.T) {
	logs := func(s *site, except ...int) (all []trail.Object) {
		for n, d := range s.c.Issued {
			if !slices.Contains(except, n) {
				all = append(all, d.Logs...)
			}
		}
		return all
	}
	for _, row := range []struct {
		name       string
		since      func(*site) time.Time
		until      func(*site) time.Time
		tamper     func(*site)
		hours      []int // digests that are emitted
		want       []string
		isUnproven bool
	}{
		{
			"some hours", func(s *site) time.Time { return s.c.Issued[3].End.Add(-time.Minute) },
			func(s *site) time.Time { return s.c.Issued[4].End.Add(time.Minute) }, func(*site) {}, []int{3, 4, 5},
			nil, false,
		},
		{
			"between two digests", func(s *site) time.Time { return s.c.Issued[3].End.Add(1) },
			func(s *site) time.Time { return s.c.Issued[4].End }, func(*site) {}, []int{4}, nil, false,
		},
		{
			"up to now", func(s *site) time.Time { return s.c.Issued[101].End.Add(1) },
			func(s *site) time.Time { return s.c.Now() },
			func(*site) {}, []int{102, 103, 104}, nil, false,
		},
		{
			"the last digest is gone", func(s *site) time.Time { return s.c.Issued[3].End.Add(1) },
			func(s *site) time.Time { return s.c.Issued[5].End }, func(s *site) { s.Delete(bucket, s.c.Issued[5].Key) },
			[]int{4}, []string{"digest-missing"}, false,
		},
		{
			"a log file is gone", func(s *site) time.Time { return s.c.Issued[3].End.Add(1) },
			func(s *site) time.Time { return s.c.Issued[4].End }, func(s *site) {
				s.Delete(bucket, s.c.Issued[4].Logs[0].Key)
				s.c.Issued[4].Logs = s.c.Issued[4].Logs[1:]
			}, []int{4}, []string{"log-missing"}, false,
		},
		{
			"tampering after the next digest is not seen", func(s *site) time.Time { return s.c.Issued[3].End.Add(1) },
			func(s *site) time.Time { return s.c.Issued[4].End }, func(s *site) {
				s.Delete(bucket, s.c.Issued[8].Key)
			}, []int{4}, nil, false,
		},
		{
			"before the chain began", func(*site) time.Time { return day.Add(-48 * time.Hour) },
			func(*site) time.Time { return day.Add(-24 * time.Hour) }, func(*site) {}, nil, nil, true,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t, 104) // more than a frontier keeps
			row.tamper(s)
			s.cfg.Since, s.cfg.Until = row.since(s), row.until(s)
			g := s.count()
			s.cfg.Metrics = prometheus.NewRegistry()
			w, err := ingest.New(t.Context(), s.cfg)
			if err != nil {
				t.Fatal(err)
			}
			o, err := w.Run(t.Context())
			if err != nil || o.Waiting != 0 {
				t.Errorf("%+v, %v", o, err)
			}
			s.expect(t, s.want(logs(s, row.hours...)...), row.want...)
			s.once(t)
			if n := g.all.Load(); n > int64(2*len(row.hours)+2) {
				t.Errorf("%d log files were read", n)
			}
			for _, c := range w.Status().Chains {
				if c.VerifiedUntil.IsZero() != row.isUnproven || c.VerifiedUntil.After(row.until(s).Add(time.Hour)) {
					t.Errorf("%+v", c)
				}
			}
		})
	}
}

// An order does not wait for the chains of others, although as many run as may.
func TestOrderAmongManyChains(t *testing.T) {
	s := newSite(t, 2)
	for n := range 70 {
		s.trail.Chain(fmt.Sprintf("4444%08d", n), region, day).Hours(1)
	}
	s.cfg.Sources[0].Objects = hungUp{s.World}
	synctest.Test(t, func(t *testing.T) {
		w, _, stop := s.begin(t)
		defer stop()
		time.Sleep(time.Minute)
		for n := range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			_, err := w.Order(ctx, reset(s.c.Issued[n].End))
			if cancel(); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
	})
	if got := s.eventsOf(account); got < 5 {
		t.Errorf("%d events of the chain", got)
	}
}

// hungUp is a world in which the objects of all accounts but one never come.
type hungUp struct{ *testtrail.World }

func (h hungUp) Get(ctx context.Context, o trail.Object) (io.ReadCloser, map[string]string, error) {
	if !strings.Contains(o.Key, account) {
		<-ctx.Done()
		return nil, nil, ctx.Err()
	}
	return h.World.Get(ctx, o)
}
