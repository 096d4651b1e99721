package ingest_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/ledger"
	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/state"
)

// Drain ends the worker as soon as the digest in work is done, whatever the worker does.
func TestDrain(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(*site)
		most    time.Duration
	}{
		{"while the state is locked", func(s *site) {
			s.state.list = func() error { time.Sleep(2 * time.Second); return errors.New("locked") } // the busy timeout
		}, 3 * time.Second},
		{"within a year of digests", func(s *site) { s.cfg.Poll = time.Minute }, 4 * time.Second},
		{"while the names before a digest are followed back", func(s *site) {
			s.hooks.list = func(context.Context, string) error { return errReset }
			s.announce(each(s.digest(400))...)
		}, 3 * time.Second},
	} {
		withSite(t, tt.name, 400, func(s *site) {
			s.Latency = time.Second
			tt.prepare(s)
			w, _, stop := s.begin()
			time.Sleep(20 * time.Second)
			w.Drain()
			began := time.Now()
			if stop(); time.Since(began) > tt.most {
				s.t.Errorf("ended after %s", time.Since(began))
			}
			if len(s.sink.all()) >= 400*5 {
				s.t.Error("all digests are done")
			}
			s.expectFound()
		})
	}
}

// What the sinks have of a digest whose head could not be stored is not emitted again after an
// older digest came between.
func TestFullDiskRepeatsNothing(t *testing.T) {
	withSite(t, "", 3, func(s *site) {
		late := s.digest(1).Key
		kept, _ := s.Stored(bucket, late)
		s.Delete(bucket, late)
		s.at(s.c.Issued[2].End.Add(3 * time.Hour)) // the second digest is absent for longer than the grace
		s.cfg.Poll = time.Minute
		var full, back time.Time // while the disk is full
		s.state.put = func(_ context.Context, _ string, put func() (state.Version, error)) (state.Version, error) {
			if now := time.Now(); now.After(full) && now.Before(back) {
				return "", errors.New("no space left on device")
			}
			return put()
		}
		var once sync.Once
		s.sink.before = func(_ context.Context, b sink.Batch) error {
			if b.Proof.Digest.Key == s.digest(2).Key {
				once.Do(func() {
					full, back = time.Now().Add(-1), time.Now().Add(20*time.Minute)
					time.AfterFunc(10*time.Minute, func() { s.Put(bucket, late, kept) })
				})
			}
			return nil
		}
		s.during(time.Hour)
		s.expect("digest-missing")
	})
}

// A state that hangs does not keep a worker from ending, also while it reports a late chain.
func TestEndsWhileTheStateHangs(t *testing.T) {
	withSite(t, "", 3, func(s *site) {
		s.run()
		s.state.put = func(ctx context.Context, _ string, _ func() (state.Version, error)) (state.Version, error) {
			<-ctx.Done()
			return "", ctx.Err()
		}
		s.at(s.c.Now().Add(6 * time.Hour))
		began := time.Now()
		if s.during(time.Minute); time.Since(began) > 2*time.Minute {
			s.t.Errorf("ended after %s", time.Since(began))
		}
		s.expect("coverage")
	})
}

// A head that cannot be read holds its own chain and no other.
func TestOneBadHead(t *testing.T) {
	withSite(t, "", 3, func(s *site) {
		c := s.chain(other, region, day)
		c.Hours(3)
		name := ledger.Name("s3://"+bucket, c.Name())
		if _, err := s.state.Store.Put(s.t.Context(), name, []byte(`{"version":2}`), ""); err != nil {
			s.t.Fatal(err)
		}
		s.c.Hours(2)
		s.during(10 * time.Second)
		if n := s.eventsOf(account); n != 5*5 {
			s.t.Errorf("%d events of the healthy chain", n)
		}
	})
}
