package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trailseal/trailseal/internal/ledger"
	"github.com/trailseal/trailseal/internal/operate"
	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

func order(o operate.Order) operate.Order {
	o.Chain, o.By, o.Reason = account+"/"+region+"/main", "alice@desk", "lost"
	return o
}

func skip(o trail.Object) operate.Order {
	return order(operate.Order{Verb: operate.Skip, Object: o.String()})
}

func reset(at time.Time) operate.Order { return order(operate.Order{Verb: operate.Reset, Since: at}) }
func end() operate.Order               { return order(operate.Order{Verb: operate.End}) }

// carry carries out an order while no worker runs.
func (s *site) carry(o operate.Order) {
	s.t.Helper()
	_, _, err := operate.Carry(s.t.Context(), ledger.New(s.state), s.found.Find, s.entry(), o, s.cfg.Now())
	if err != nil {
		s.t.Fatal(err)
	}
}

// An order is carried out between two digests: at once by a worker that runs, although its chain
// pauses after a failure, and by the next one if none runs.
func TestOrders(t *testing.T) {
	type objects []func(*site) trail.Object
	digest := func(n int) func(*site) trail.Object { return func(s *site) trail.Object { return s.digest(n) } }
	log := func(n, i int) func(*site) trail.Object {
		return func(s *site) trail.Object { return s.c.Issued[n].Logs[i] }
	}
	planted := func(s *site) trail.Object {
		o := s.nameAfter(3, 20*time.Minute)
		s.Put(bucket, o.Key, junk())
		return o
	}
	for _, tt := range []struct {
		name    string
		denied  objects // that cannot be read
		skipped objects
		reset   int  // the first digest after a reset, 0: the chain is not reset
		isFirst bool // the chain is not proven
		isAgain bool // the objects can be read again
	}{
		{"skip a digest", objects{digest(3)}, objects{digest(3)}, 0, false, false},
		{"skip two digests", objects{digest(3), digest(4)}, objects{digest(4), digest(3)}, 0, false, false},
		{"skip a digest of log files", objects{log(3, 0), log(3, 1)}, objects{digest(3)}, 0, false, false},
		{"skip a planted digest", objects{planted}, objects{planted}, 0, false, false},
		{"skip a log file", objects{log(3, 1)}, objects{log(3, 1)}, 0, false, false},
		{"skip a log file that can be read again", objects{log(3, 0)}, objects{log(3, 0)}, 0, false, true},
		{"skip a log file of the first digest", objects{log(1, 0)}, objects{log(1, 0)}, 0, true, false},
		{"reset to later", objects{digest(3)}, nil, 4, false, false},
		{"reset to later a chain without a proof", objects{digest(1)}, nil, 2, true, false},
	} {
		// orders returns the orders, and loses what they leave out.
		orders := func(s *site) (all []operate.Order) {
			for _, of := range tt.denied {
				if tt.isAgain {
					s.deny(of(s), nil)
				}
			}
			for _, of := range tt.skipped {
				o := of(s)
				all, s.lost = append(all, skip(o)), append(s.lost, o)
				if n := slices.Index(s.digests(0), o); n >= 0 {
					s.lose(n)
				}
			}
			if tt.reset > 0 {
				all = append(all, reset(s.c.Issued[tt.reset].End))
				s.lose(tt.reset - 1)
			}
			return all
		}
		running := func(s *site) {
			w, _, stop := s.begin()
			defer stop()
			time.Sleep(10 * time.Second)
			if st := w.Status().Chains; len(st) != 1 || st[0].State != "waiting" {
				s.t.Errorf("%+v", st)
			}
			began := time.Now()
			for _, o := range orders(s) {
				if text, err := w.Order(s.t.Context(), o); err != nil || text == "" || time.Since(began) > 0 {
					s.t.Errorf("%q, %v after %s", text, err, time.Since(began))
				}
			}
			time.Sleep(time.Millisecond) // the pauses of the chain are longer
			if st := w.Status().Chains; len(st) != 1 || st[0].State != "current" || len(st[0].Skips) > 0 {
				s.t.Errorf("%+v", st)
			}
		}
		between := func(s *site) {
			s.repeat = true // the other log file of a digest
			s.run()
			for _, o := range orders(s) {
				s.carry(o)
			}
			if o, _ := s.run(); o.Waiting > 0 {
				s.t.Errorf("%+v", o)
			}
		}
		for name, give := range map[string]func(*site){"to a worker": running, "between two": between} {
			if tt.isFirst && name == "between two" {
				continue // the state does not know the chain
			}
			withSite(t, tt.name+", "+name, 5, func(s *site) {
				s.cfg.Halt = true // an order does not halt the run
				if tt.isFirst {
					s.cfg.Since = s.c.Issued[1].End
				}
				for _, of := range tt.denied {
					s.deny(of(s), fs.ErrPermission)
				}
				give(s)
				classes := slices.Repeat(found("coverage"), max(1, len(tt.skipped)))
				s.expect(classes...)
				s.c.Hours(1) // the successor has nothing to say about it
				s.run()
				s.expect(classes...)
				if left := s.entry().Head.Skips; len(left) > 0 {
					s.t.Errorf("not passed: %+v", left)
				}
			})
		}
	}
}

// A skipped digest whose file can be hashed is compared with what its successor says.
func TestSkippedIsCompared(t *testing.T) {
	for _, tt := range []struct {
		name   string
		tamper func(*site)
		want   []string
	}{
		{"the control", nothing, found("coverage")},
		{"another content", func(s *site) { s.EditLog(s.digest(3), space) }, found("chain-mismatch", "coverage")},
	} {
		withSite(t, tt.name, 3, func(s *site) { // the newest digest of a copy waits for its successor
			genuine, _ := s.Stored(bucket, s.digest(3).Key)
			tt.tamper(s)
			folder := s.t.TempDir()
			s.copied(folder, "")
			s.run()
			s.carry(skip(trail.Object{Key: filepath.Join(folder, s.digest(3).Key)}))
			s.run()
			s.Put(bucket, s.digest(3).Key, genuine)
			s.c.Hours(2)
			s.copied(s.t.TempDir(), "") // under another path: the state is that of the first
			s.cfg.Sources[0].Name = folder
			s.run()
			s.lose(3)
			s.lose(5)
			s.expect(tt.want...)
		})
	}
}

// A chain that was reset is followed again with equal ids, and must contain the old head.
func TestReset(t *testing.T) {
	for _, tt := range []struct {
		name   string
		hours  int // before the chain is reset to its third hour
		tamper func(*site)
		again  int // events
		want   []string
	}{
		{"the control", 5, nothing, 3 * 5, found("coverage")},
		{"of more hours than a frontier keeps", 120, nothing, 118 * 5, found("coverage")},
		{"another history", 5, func(s *site) {
			s.c.ReissueFrom(4, func(d *testtrail.Doc) { d.Newest = nil })
			s.c.Hours(1)
		}, 3 * 5, found("coverage", "rollback")},
	} {
		withSite(t, tt.name, tt.hours, func(s *site) {
			s.repeat = true
			s.run()
			tt.tamper(s)
			s.carry(reset(s.c.Issued[3].End))
			s.run()
			s.expect(tt.want...)
			if n := s.repeats(); n != tt.again {
				s.t.Errorf("%d events came again, want %d", n, tt.again)
			}
			s.c.Hours(1)
			s.run()
			if h := s.entry().Head; !h.Witness.End.IsZero() || !h.Link.End.Equal(s.c.Now()) {
				s.t.Errorf("head %+v", h)
			}
		})
	}
}

// A running worker follows a chain again from where it is reset to: what was restored is emitted.
// An order about what is done changes nothing.
func TestResetOfAWorker(t *testing.T) {
	withSite(t, "", 5, func(s *site) {
		genuine, _ := s.Stored(bucket, s.digest(4).Key)
		s.EditLog(s.digest(4), space)
		s.at(s.c.Now().Add(3 * time.Hour)) // after the grace
		w, _, stop := s.begin()
		defer stop()
		time.Sleep(10 * time.Second)
		_, err := w.Order(s.t.Context(), skip(s.digest(2)))
		if err == nil || !strings.Contains(err.Error(), "has passed it") {
			s.t.Errorf("error %v", err)
		}
		s.expectFound("digest-signature")
		s.Put(bucket, s.digest(4).Key, genuine)
		if _, err := w.Order(s.t.Context(), reset(s.c.Issued[2].End)); err != nil {
			s.t.Error(err)
		}
		time.Sleep(10 * time.Second)
		s.repeat = true
		s.expect("coverage", "digest-signature")
	})
}

// A chain that has ended is not late, and has no gauge. A new digest makes it go on.
func TestEnd(t *testing.T) {
	withSite(t, "", 3, func(s *site) {
		s.run()
		s.carry(end())
		s.at(s.c.Now().Add(100 * time.Hour))
		w, registry, stop := s.begin()
		defer stop()
		time.Sleep(10 * time.Second)
		gauge := "chain_verified_until_timestamp_seconds{account=" + account + ",region=" + region + ",trail=main}"
		if st := w.Status().Chains; len(st) != 1 || st[0].State != "ended" || st[0].EndedWhy != "alice@desk: lost" {
			s.t.Errorf("%+v", st)
		}
		if v, isThere := values(s.t, registry)[gauge]; isThere {
			s.t.Errorf("gauge %v", v)
		}
		s.expectFound()
		s.c.Hours(1)
		time.Sleep(10 * time.Second)
		st, v := w.Status().Chains[0], values(s.t, registry)[gauge]
		if st.Ended || st.EndedWhy != "" || v != float64(s.c.Now().Unix()) {
			s.t.Errorf("%+v, gauge %v", st, v)
		}
		s.expect("coverage") // it is late again
	})
}

// A chain that is not known, or that is at work on a digest, does not take an order. One whose operator no longer waits
// is not carried out later. At the end of the worker the operator is told.
func TestOrderMeetsAChainAtWork(t *testing.T) {
	withSite(t, "", 5, func(s *site) {
		s.sink.before = func(ctx context.Context, _ sink.Batch) error { <-ctx.Done(); return ctx.Err() }
		w, _, stop := s.begin()
		time.Sleep(time.Minute)
		unknown, forNothing := end(), skip(s.digest(3))
		unknown.Chain, forNothing.Reason = other+"/us-east-1/main", ""
		for want, o := range map[string]operate.Order{"name one of chain/s3:": unknown, "reason": forNothing} {
			_, err := w.Order(s.t.Context(), o)
			if !errors.Is(err, operate.ErrUsage) || !strings.Contains(err.Error(), want) {
				s.t.Errorf("error %v", err)
			}
		}
		ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
		defer cancel()
		if _, err := w.Order(ctx, skip(s.digest(3))); err == nil || !strings.Contains(err.Error(), "nothing was changed") {
			s.t.Errorf("error %v", err)
		}
		failed := make(chan error)
		go func() {
			_, err := w.Order(s.t.Context(), end())
			failed <- err
		}()
		synctest.Wait()
		stop()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			s.t.Errorf("error %v", err)
		}
		if h := s.entry().Head; len(h.Skips) > 0 || h.Ended {
			s.t.Errorf("something changed: %+v", h)
		}
		s.expectFound()
		ended, end := context.WithCancel(s.t.Context())
		end()
		if _, err := w.Order(ended, skip(s.digest(3))); err == nil {
			s.t.Error("a worker that has ended takes an order")
		}
	})
}

// An order does not wait for the chains of others, although as many run as may.
func TestOrderAmongManyChains(t *testing.T) {
	withSite(t, "", 2, func(s *site) {
		for n := range 70 {
			s.trail.Chain(fmt.Sprintf("4444%08d", n), region, day).Hours(1)
		}
		s.hooks.get = func(ctx context.Context, o trail.Object) error {
			if !strings.Contains(o.Key, account) {
				<-ctx.Done()
			}
			return ctx.Err()
		}
		w, _, stop := s.begin()
		defer stop()
		time.Sleep(time.Minute)
		for n := range 3 {
			ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
			_, err := w.Order(ctx, reset(s.c.Issued[n].End))
			if cancel(); err != nil {
				s.t.Error(err)
			}
		}
		synctest.Wait()
		if n := s.eventsOf(account); n < 5 {
			s.t.Errorf("%d events of the chain", n)
		}
	})
}
