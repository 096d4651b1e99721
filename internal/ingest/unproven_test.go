package ingest_test

import (
	"context"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// plantNames puts something under the names of so many trails.
func (s *site) plantNames(n int) (all []trail.Object) {
	for i := range n {
		name := s.c.Name()
		name.Trail = fmt.Sprintf("planted-%05d", i)
		o := trail.Object{Bucket: bucket, Key: name.Digest(s.c.Now()).String()}
		s.Put(bucket, o.Key, junk())
		all = append(all, o)
	}
	return all
}

// denyNames makes objects that cannot be read of the names of so many trails.
func (s *site) denyNames(n int) {
	for _, o := range s.plantNames(n) {
		s.deny(o, fs.ErrPermission)
	}
}

// addLast adds a chain whose names come after planted ones.
func (s *site) addLast() {
	s.add(s.World.Trail(testtrail.Options{Name: "zzz"}).Chain(account, region, day)).Hours(2)
}

// Names that are planted leave no head, and hide no chain, however many they are.
func TestPlantedNames(t *testing.T) {
	const planted = 2100
	classes := slices.Repeat(found("digest-corrupt"), planted)
	for name, run := range map[string]func(*site){
		"in a run that ends by itself": func(s *site) { s.run() },
		"in a worker that goes on":     func(s *site) { s.during(time.Minute) },
	} {
		withSite(t, name, 2, func(s *site) {
			s.plantNames(planted)
			s.addLast()
			run(s)
			s.expect(classes...)
			heads := 0
			for range s.state.Store.List(s.t.Context(), "chain/") {
				heads++
			}
			if heads != 2 {
				s.t.Errorf("%d heads", heads)
			}
		})
	}
	withSite(t, "of one chain, more than a head remembers", 2, func(s *site) {
		for i := range 150 {
			s.plant(2, time.Duration(i+1)*time.Second)
		}
		s.run()
		s.expect(classes[:150]...)
		s.c.Hours(2)
		s.run()
		s.expect(classes[:len(s.found.all)]...)
	})
}

// Names that cannot be judged hide no chain, cost the same for ever, and a run that ends by
// itself says that it did not judge them.
func TestDeniedNames(t *testing.T) {
	for _, n := range []int{0, 500, 2500} {
		withSite(t, fmt.Sprint(n), 2, func(s *site) {
			s.denyNames(n)
			s.addLast()
			o, _, err := s.try()
			if isIncomplete := err != nil || o.Waiting > 0; isIncomplete != (n > 0) {
				s.t.Errorf("%+v, %v", o, err)
			}
			s.expect()
		})
	}
	withSite(t, "in a worker that goes on", 2, func(s *site) {
		s.denyNames(1500)
		var gets atomic.Int64
		s.hooks.get = func(context.Context, trail.Object) error { gets.Add(1); return nil }
		s.cfg.Poll = time.Minute
		_, _, stop := s.begin()
		defer stop()
		time.Sleep(2 * time.Minute)
		first := gets.Swap(0)
		time.Sleep(5 * time.Minute)
		gets.Store(0)
		time.Sleep(2 * time.Minute)
		if last := gets.Load(); last > 2*first {
			s.t.Errorf("%d reads in the first two minutes, %d in two later ones", first, last)
		}
		s.expect()
	})
}

// A backlog of many chains takes a bounded part of the memory, however long it is, and the
// operator's pages answer meanwhile.
func TestBacklogIsBounded(t *testing.T) {
	const accounts, days = 300, 20
	withSite(t, "", 1, func(s *site) {
		for i := range accounts {
			c := s.c.Name()
			c.Account = fmt.Sprintf("2222%08d", i)
			for h := range days * 24 {
				s.Put(bucket, c.Digest(day.Add(time.Duration(h)*time.Hour)).String(), junk())
			}
		}
		s.at(day.AddDate(0, 0, days))
		s.cfg.Poll = time.Hour
		s.hooks.get = func(context.Context, trail.Object) error { return fs.ErrPermission }
		var w *ingest.Worker
		var registry *prometheus.Registry
		var listed atomic.Int64
		s.hooks.list = func(context.Context, string) error {
			if time.Sleep(time.Second); listed.Add(1) == accounts/2 {
				values(s.t, registry)
				if n := len(w.Status().Chains); n == 0 {
					s.t.Error("no chain is shown")
				}
			}
			return nil
		}
		before := heap()
		var stop func()
		w, registry, stop = s.begin()
		defer stop()
		time.Sleep(10 * time.Minute)
		used := heap() - before
		if s.t.Logf("%d digests take %d KiB", accounts*days*24, used>>10); used > 20<<20 {
			s.t.Error("that is too much")
		}
	})
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
