package ingest_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

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
	check := func(s *site) {
		s.expect(classes...)
		heads := 0
		for range s.state.Store.List(s.t.Context(), "chain/") {
			heads++
		}
		if heads != 2 {
			s.t.Errorf("%d heads", heads)
		}
	}
	withSite(t, "in a run that ends by itself", 2, func(s *site) {
		s.plantNames(planted)
		s.addLast()
		s.run()
		check(s)
	})
	withSite(t, "in a worker that goes on", 2, func(s *site) {
		s.plantNames(planted)
		s.addLast()
		s.during(time.Minute)
		check(s)
	})
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

// backlog is a bucket with a digest for each hour of many chains and days. Its objects cannot be
// read.
type backlog struct {
	accounts, days int
	listed         atomic.Int64       // accounts
	at             func(listed int64) // called after each
}

// Children implements fetch.Objects.
func (b *backlog) Children(_ context.Context, _, prefix string) iter.Seq2[trail.Object, error] {
	return func(yield func(trail.Object, error) bool) {
		below := map[int]string{0: "AWSLogs/", 21: "CloudTrail-Digest/", 39: region + "/"}[len(prefix)]
		if below != "" {
			yield(trail.Object{Key: prefix + below}, nil)
		}
		for i := 0; prefix == "AWSLogs/" && i < b.accounts; i++ {
			if !yield(trail.Object{Key: fmt.Sprintf("%s%012d/", prefix, i)}, nil) {
				return
			}
		}
	}
}

// List implements fetch.Objects.
func (b *backlog) List(_ context.Context, bucket, prefix, after string) iter.Seq2[trail.Object, error] {
	return func(yield func(trail.Object, error) bool) {
		var account string
		if n, _ := fmt.Sscanf(prefix, "AWSLogs/%12s/CloudTrail-Digest/", &account); n != 1 {
			return
		}
		c := trail.Chain{Place: trail.Place{Account: account, Region: region}, Trail: "main", HomeRegion: region}
		for h := range b.days * 24 {
			key := c.Digest(day.Add(time.Duration(h) * time.Hour)).String()
			if key > after && !yield(trail.Object{Bucket: bucket, Key: key, Size: 1000}, nil) {
				return
			}
		}
		b.at(b.listed.Add(1))
	}
}

// Get implements fetch.Objects.
func (b *backlog) Get(context.Context, trail.Object) (io.ReadCloser, map[string]string, error) {
	return nil, nil, fs.ErrPermission
}

// A backlog of many chains takes a bounded part of the memory, however long it is, and the
// operator's pages answer meanwhile.
func TestBacklogIsBounded(t *testing.T) {
	b := &backlog{accounts: 300, days: 20}
	s := newSite(t, 1)
	s.cfg.Sources[0].Objects, s.cfg.Poll = b, time.Hour
	s.at(day.AddDate(0, 0, b.days))
	midway, done := make(chan struct{}), make(chan struct{})
	b.at = func(n int64) {
		switch n {
		case int64(b.accounts / 2):
			close(midway)
		case int64(b.accounts):
			close(done)
		}
	}
	before := heap()
	w, registry, stop := s.begin()
	defer stop()
	<-midway
	values(t, registry)
	if n := len(w.Status().Chains); n == 0 {
		t.Error("no chain is shown")
	}
	<-done
	all := b.accounts * b.days * 24
	if used := heap() - before; used > 24<<20 {
		t.Errorf("%d digests take %d MiB", all, used>>20)
	} else {
		t.Logf("%d digests take %d MiB", all, used>>20)
	}
	if n := len(w.Status().Chains); n != b.accounts {
		t.Errorf("%d chains", n)
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
