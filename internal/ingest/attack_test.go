package ingest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/ledger"
	"github.com/trailseal/trailseal/internal/notify"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// wantOf returns all events of some chains, in the form of want.
func (s *site) wantOf(chains ...*testtrail.Chain) map[string]bool {
	all := map[string]bool{}
	for _, c := range chains {
		of := *s
		of.c = c
		maps.Copy(all, of.want())
	}
	return all
}

// sources makes the site read some prefixes of its bucket.
func (s *site) sources(t *testing.T, texts ...string) {
	t.Helper()
	s.cfg.Sources = nil
	for _, text := range texts {
		src, err := source.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		s.cfg.Sources = append(s.cfg.Sources, ingest.Source{Source: src, Objects: s.World})
	}
}

// later lets the clock of the site stand at an hour after the newest of some chains.
func (s *site) later(chains ...*testtrail.Chain) {
	var newest time.Time
	for _, c := range chains {
		if c.Now().After(newest) {
			newest = c.Now()
		}
	}
	s.cfg.Now = func() time.Time { return newest.Add(time.Hour) }
}

// Sources of one bucket that have each a prefix of their own, or that overlap, leave
// nothing out and emit nothing twice, whatever came while no worker ran.
func TestSourcesOfOneBucket(t *testing.T) {
	for name, texts := range map[string][]string{
		"the control: one source": {"s3://" + bucket},
		"two prefixes":            {"s3://" + bucket + "/a", "s3://" + bucket + "/b"},
		"a prefix of the other":   {"s3://" + bucket, "s3://" + bucket + "/b"},
		"one twice":               {"s3://" + bucket, "s3://" + bucket + "/"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, 0)
			s.Delete(bucket, s.c.Issued[0].Key)
			a := s.World.Trail(testtrail.Options{Prefix: "a", Name: "one"}).Chain(account, region, day)
			b := s.World.Trail(testtrail.Options{Prefix: "b", Name: "two"}).Chain("444455556666", region, day)
			s.sources(t, texts...)
			for _, hours := range []int{2, 120} {
				a.Hours(hours)
				b.Hours(hours)
				s.later(a, b)
				if o := s.run(t); o.Waiting != 0 {
					t.Errorf("%+v", o)
				}
				s.expect(t, s.wantOf(a, b))
			}
			s.once(t)
		})
	}
}

// A chain of a second source in one bucket is not late because the first was listed.
func TestLateInTwoSourcesOfOneBucket(t *testing.T) {
	s := newSite(t, 0)
	s.Delete(bucket, s.c.Issued[0].Key)
	a := s.World.Trail(testtrail.Options{Prefix: "a", Name: "one"}).Chain(account, region, day)
	b := s.World.Trail(testtrail.Options{Prefix: "b", Name: "two"}).Chain("444455556666", region, day)
	s.sources(t, "s3://"+bucket+"/a", "s3://"+bucket+"/b")
	s.later(a, b)
	s.run(t)
	a.Hours(10)
	b.Hours(10)
	s.later(a, b)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	slow := hooked{World: s.World, list: func(ctx context.Context, prefix string) error {
		if strings.HasPrefix(prefix, "a/") {
			return nil
		}
		select {
		case <-time.After(300 * time.Millisecond):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
	s.cfg.Sources[0].Objects, s.cfg.Sources[1].Objects = slow, slow
	s.forever(ctx)
	s.expect(t, s.wantOf(a, b))
}

// removal runs the worker again with a message about an object that was deleted, and
// returns the series of the metrics.
func (s *site) removal(t *testing.T, o trail.Object) (series map[string]float64, a *announcer) {
	t.Helper()
	a = newAnnouncer([]trail.Object{})
	a.gone, a.sent = []notify.Removal{{Object: o, Cause: notify.Deleted}}, s.cfg.Now()
	s.cfg.Announcers = []ingest.Announcer{a}
	return s.runFor(t), a
}

// lists makes the i-th digest of the chain list one more log file, delivered a minute before
// the digest ends. Where key is not "", the file has that name.
func (s *site) lists(i int, key string) trail.Object {
	o, entry := s.c.Deliver(s.c.Issued[i].End.Add(-time.Minute), s.Log(2))
	if key != "" {
		stored, _ := s.Stored(o.Bucket, o.Key)
		s.Delete(o.Bucket, o.Key)
		s.Put(o.Bucket, key, stored)
		o.Key, entry.Object = key, key
	}
	s.c.ReissueFrom(i, func(d *testtrail.Doc) { d.Logs = append(d.Logs, entry) })
	return o
}

// The deletion of a log file that a proven digest lists is a finding, wherever that digest
// is in the chain.
func TestRemovalOfAnyListedLog(t *testing.T) {
	for _, row := range []struct {
		name string
		make func(*site) trail.Object
	}{
		{"the control", func(s *site) trail.Object { return s.c.Issued[2].Logs[0] }},
		{"delivered just before the end of its hour", func(s *site) trail.Object { return s.lists(2, "") }},
		{"in the newest digest, delivered just before its end", func(s *site) trail.Object { return s.lists(4, "") }},
		{"published days after its stamp", func(s *site) trail.Object {
			s.c.Hours(60)
			d := s.c.Issued[60]
			k := trail.LogKey{Place: s.c.Place(), Stamp: day.Add(30 * time.Minute), Unique: "abcdefgh12345678"}
			k.Day = d.End.Truncate(24 * time.Hour)
			return s.lists(60, k.String())
		}},
		{"before a gap, with another minute of the hour", func(s *site) trail.Object {
			s.c.Skip(5*time.Hour + 17*time.Minute)
			s.c.Restart(s.c.Now())
			s.c.Hours(3)
			return s.c.Issued[2].Logs[0]
		}},
		{"before the trail changed its prefix", func(s *site) trail.Object {
			s.trail.Prefix = "elsewhere"
			s.c.Hours(3)
			return s.c.Issued[2].Logs[0]
		}},
		{"of one trail of two, and the other's digest is gone", func(s *site) trail.Object {
			other := s.World.Trail(testtrail.Options{Name: "aaa"}).Chain(account, region, day)
			other.Hours(4)
			s.Delete(bucket, other.Issued[2].Key)
			return s.c.Issued[2].Logs[0]
		}},
		{"in a backfill digest", func(s *site) trail.Object {
			return s.c.Backfill(day.Add(time.Hour)).Hour(s.Log(4)).Logs[0]
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t, 4)
			o := row.make(s)
			s.run(t)
			s.found.all = nil
			s.Delete(bucket, o.Key)
			series, a := s.removal(t, o)
			if len(s.found.all) != 1 || s.found.all[0].Class != "log-missing" || s.found.all[0].Key != o.Key {
				t.Errorf("findings %v, ended with %v", s.found.all, a.ends)
			}
			if series["removals_total{result=listed}"] != 1 {
				t.Errorf("not counted as listed: %v", results(series))
			}
		})
	}
}

// results returns the counts of removals that are not 0.
func results(series map[string]float64) (counts []string) {
	for name, n := range series {
		if strings.HasPrefix(name, "removals_total") && n > 0 {
			counts = append(counts, fmt.Sprint(name, n))
		}
	}
	return counts
}

// Messages about a source that is an access point name the bucket behind it.
func TestMessagesOfAnAccessPoint(t *testing.T) {
	for _, text := range []string{"s3://" + bucket, "arn:aws:s3:us-east-1:111122223333:accesspoint/audit"} {
		t.Run(text, func(t *testing.T) {
			s := newSite(t, 4)
			s.sources(t, text)
			if src := &s.cfg.Sources[0]; src.IsAccessPoint() {
				src.Objects = behind{s.World}
				src.Learn(bucket)
			}
			s.run(t)
			s.c.Hours(1)
			s.later(s.c)
			o := s.c.Issued[2].Logs[0]
			s.Delete(bucket, o.Key)
			a := newAnnouncer(s.digests(5))
			a.gone, a.sent = []notify.Removal{{Object: o, Cause: notify.Deleted}}, s.cfg.Now()
			s.cfg.Announcers = []ingest.Announcer{a}
			s.run(t)
			if len(a.ends) != 1 || a.ends[0] != nil {
				t.Errorf("ended with %v", a.ends)
			}
			if len(s.found.all) != 1 || s.found.all[0].Class != "log-missing" {
				t.Errorf("findings %v", s.found.all)
			}
		})
	}
}

// behind is a world behind an access point.
type behind struct{ *testtrail.World }

func (b behind) List(ctx context.Context, _, prefix, after string) iter.Seq2[trail.Object, error] {
	return b.World.List(ctx, bucket, prefix, after)
}

func (b behind) Children(ctx context.Context, _, prefix string) iter.Seq2[trail.Object, error] {
	return b.World.Children(ctx, bucket, prefix)
}

func (b behind) Get(ctx context.Context, o trail.Object) (io.ReadCloser, map[string]string, error) {
	o.Bucket = bucket
	return b.World.Get(ctx, o)
}

// Backfill digests since the asked time are emitted once each, however old they are: those
// of a copy are not announced.
func TestOldBackfill(t *testing.T) {
	for _, row := range []struct {
		name  string
		age   time.Duration // of the evidence
		first bool          // the main chain was followed before the backfill came
	}{
		{"the control", time.Hour, false},
		{"old evidence", 200 * 24 * time.Hour, false},
		{"down for 100 days", 100 * 24 * time.Hour, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t, 4)
			if row.first {
				s.run(t)
			}
			b := s.c.Backfill(day.Add(time.Hour))
			for range 200 {
				b.Hour(s.Log(1))
			}
			s.c.Hours(200)
			at := s.c.Now().Add(row.age)
			s.cfg.Now = func() time.Time { return at }
			s.run(t)
			s.run(t)
			s.expect(t, s.wantOf(s.c, b))
			s.once(t)
		})
	}
}

// A chain with more backfill digests than its head remembers repeats none: those that are
// listed again are remembered, and those that are older are not listed.
func TestManyBackfillDigests(t *testing.T) {
	const remembered, added = 2000, 150
	s := newSite(t, 4)
	s.run(t)
	b := s.c.Backfill(day.Add(remembered * time.Hour))
	head := follow.Head{Version: follow.HeadVersion}
	for i := range remembered { // they are done: to read one again would be a finding
		end := b.Now().Add(time.Duration(i-remembered+1) * time.Hour)
		head.Backfills = append(head.Backfills, end)
		s.Put(bucket, b.Name().Digest(end).String(), testtrail.Stored{Body: []byte("x")})
	}
	text, err := json.Marshal(head)
	if err == nil {
		_, err = s.cfg.State.Put(t.Context(), ledger.Name("s3://"+bucket, b.Name()), text, "")
	}
	if err != nil {
		t.Fatal(err)
	}
	for range added {
		b.Hour(s.Log(1))
	}
	s.later(b)
	at := s.cfg.Now
	s.cfg.Now = func() time.Time { return day.AddDate(0, 0, 40) } // so that a listing in full is no older
	s.run(t)
	s.cfg.Now = at
	s.run(t)
	s.run(t)
	s.expect(t, s.wantOf(s.c, b))
	s.once(t)
}

// deny makes objects that cannot be read of so many names of trails.
func (s *site) deny(n int) {
	for i := range n {
		name := s.c.Name()
		name.Trail = fmt.Sprintf("denied-%05d", i)
		key := name.Digest(s.c.Now()).String()
		s.Put(bucket, key, testtrail.Stored{Body: []byte("x")})
		s.Fail(bucket, key, &testtrail.Fault{Err: fmt.Errorf("get: %w", fs.ErrPermission)})
	}
}

// Names that cannot be judged cost the same for ever.
func TestDeniedNamesCostTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 2)
		s.deny(2500)
		var gets atomic.Int64
		s.cfg.Sources[0].Objects = hooked{World: s.World, get: func(trail.Object) error {
			gets.Add(1)
			return nil
		}}
		s.cfg.Once, s.cfg.Poll, s.cfg.Metrics = false, time.Minute, prometheus.NewRegistry()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error)
		go func() {
			_, err := ingest.Run(ctx, s.cfg)
			ended <- err
		}()
		time.Sleep(2 * time.Minute)
		first := gets.Swap(0)
		time.Sleep(5 * time.Minute)
		gets.Store(0)
		time.Sleep(2 * time.Minute)
		if last := gets.Load(); last > 2*first {
			t.Errorf("%d reads in the first two minutes, %d in two later ones", first, last)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		s.expect(t, s.want())
	})
}

// Names that cannot be judged keep no chain from being followed, and a run that ends by
// itself says that it did not look at all.
func TestDeniedNamesHideNoChain(t *testing.T) {
	for _, n := range []int{0, 500, 3500} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, 2)
				s.deny(n)
				late := s.World.Trail(testtrail.Options{Name: "zzz"}).Chain(account, region, day)
				late.Hours(2)
				s.cfg.Metrics = prometheus.NewRegistry()
				o, err := ingest.Run(t.Context(), s.cfg)
				if isIncomplete := err != nil || o.Waiting > 0; isIncomplete != (n > 0) {
					t.Errorf("%+v, %v", o, err)
				}
				s.expect(t, s.wantOf(s.c, late))
			})
		})
	}
}

// slowHeads is a store that takes a while to load a head.
type slowHeads struct{ state.Store }

func (s slowHeads) Get(ctx context.Context, name string) (state.Value, error) {
	if strings.HasPrefix(name, "chain/") {
		time.Sleep(time.Second)
	}
	return s.Store.Get(ctx, name)
}

// A chain that waited for long goes on where it was, though its newest digest is older than
// polls reach back, and though its head is loaded late.
func TestOldChainThatWaited(t *testing.T) {
	for _, isSlow := range []bool{false, true} {
		t.Run(fmt.Sprint(isSlow), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, 3)
				s.run(t)
				s.c.Hours(3)
				key := s.c.Issued[4].Key
				s.Fail(bucket, key, &testtrail.Fault{Err: fmt.Errorf("get: %w", fs.ErrPermission)})
				for _, days := range []int{50, 100} { // runs that list in full
					s.cfg.Now = func() time.Time { return day.AddDate(0, 0, days) }
					if o := s.run(t); o.Waiting != 1 {
						t.Errorf("%+v", o)
					}
				}
				s.Fail(bucket, key, nil)
				if isSlow {
					s.cfg.State = slowHeads{s.cfg.State}
				}
				o := s.run(t)
				if got, want := s.got(t), s.wantOf(s.c); !contains(got, want) {
					t.Errorf("events are missing, and the run says %+v", o)
				}
			})
		})
	}
}

func contains(all, some map[string]bool) bool {
	for k := range some {
		if !all[k] {
			return false
		}
	}
	return true
}

// A run that ends by itself reaches as far back when it lists again what failed first.
func TestListingFailsOnceAfterLong(t *testing.T) {
	for _, fails := range []bool{false, true} {
		t.Run(fmt.Sprint(fails), func(t *testing.T) {
			s := newSite(t, 3)
			s.run(t)
			at := s.c.Now().AddDate(0, 0, 100)
			s.cfg.Now = func() time.Time { return at }
			c := s.trail.Chain("444455556666", region, day.AddDate(0, 0, 10)) // came and ended meanwhile
			c.Hours(20)
			failed := !fails
			s.cfg.Sources[0].Objects = hooked{World: s.World, list: func(_ context.Context, prefix string) error {
				if strings.Contains(prefix, "444455556666/CloudTrail-Digest") && !failed {
					failed = true
					return errors.New("connection reset by peer")
				}
				return nil
			}}
			o := s.run(t)
			if got, want := s.got(t), s.wantOf(s.c, c); !maps.Equal(got, want) {
				t.Errorf("%d events of %d, and the run says %+v", len(got), len(want), o)
			}
		})
	}
}

// What comes while the worker is down is emitted from its start on.
func TestNewWhileDown(t *testing.T) {
	for name, make := range map[string]func(*site, time.Time) *testtrail.Chain{
		"account": func(s *site, at time.Time) *testtrail.Chain { return s.trail.Chain("444455556666", region, at) },
		"region":  func(s *site, at time.Time) *testtrail.Chain { return s.trail.Chain(account, "eu-west-1", at) },
		"trail": func(s *site, at time.Time) *testtrail.Chain {
			return s.World.Trail(testtrail.Options{Name: "aaa"}).Chain(account, region, at)
		},
		"organization": func(s *site, at time.Time) *testtrail.Chain {
			return s.World.Trail(testtrail.Options{Organization: "o-abcdefghij"}).Chain(account, region, at)
		},
		"trail below a prefix": func(s *site, at time.Time) *testtrail.Chain {
			return s.World.Trail(testtrail.Options{Name: "bbb", Prefix: "p"}).Chain(account, region, at)
		},
	} {
		for _, days := range []int{0, 1, 40, 100} {
			t.Run(fmt.Sprintf("%s, %d days", name, days), func(t *testing.T) {
				s := newSite(t, 3)
				s.run(t)
				s.c.Hours(2)
				c := make(s, s.c.Now().Add(time.Hour))
				c.Hours(30)
				now := c.Now().AddDate(0, 0, days)
				s.cfg.Now, s.cfg.Since = func() time.Time { return now }, now.Add(-2*time.Hour)
				s.run(t)
				s.run(t)
				s.expect(t, s.wantOf(s.c, c))
				s.once(t)
			})
		}
	}
}

// A chain that another one continues is not late, though the worker was killed between the
// two, or a head that was stored seemed not to be.
func TestContinuedChainIsNotLate(t *testing.T) {
	for _, kill := range []string{"", "after the first head", "put fails but took effect"} {
		t.Run(kill, func(t *testing.T) {
			s := newSite(t, 3)
			s.run(t)
			s.trail.Organization = "o-abcdefghij"
			s.c.Hours(3)
			s.later(s.c)
			failing := &tookEffect{Store: s.cfg.State, of: "o-abcdefghij", fails: kill != ""}
			s.cfg.State = failing
			s.cfg.Metrics = prometheus.NewRegistry()
			ctx, cancel := context.WithCancel(t.Context())
			if kill == "after the first head" {
				failing.after = cancel
			}
			if _, err := ingest.Run(ctx, s.cfg); err != nil {
				t.Error(err)
			}
			cancel()
			s.run(t)
			s.c.Hours(10)
			s.later(s.c)
			ctx, cancel = context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			s.forever(ctx)
			s.expect(t, s.want())
		})
	}
}

// tookEffect is a store whose first Put of some heads fails although it took effect.
type tookEffect struct {
	state.Store
	of    string
	fails bool
	after func()
}

func (s *tookEffect) Put(ctx context.Context, name string, b []byte, v state.Version) (state.Version, error) {
	next, err := s.Store.Put(ctx, name, b, v)
	if s.fails && err == nil && strings.Contains(name, s.of) {
		s.fails = false
		if s.after != nil {
			s.after()
		}
		return "", errors.New("disk full")
	}
	return next, err
}

// Two workers on one state emit all events, and end.
func TestTwoWorkersOnOneState(t *testing.T) {
	s := newSite(t, 30)
	other := s.trail.Chain("444455556666", region, day)
	other.Hours(30)
	var group sync.WaitGroup
	for range 2 {
		cfg := s.cfg
		cfg.Metrics = prometheus.NewRegistry()
		group.Go(func() {
			if o, err := ingest.Run(t.Context(), cfg); err != nil || o.Waiting > 0 {
				t.Errorf("%+v, %v", o, err)
			}
		})
	}
	group.Wait()
	s.expect(t, s.wantOf(s.c, other))
}
