package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/ledger"
	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// eventsOf counts the emitted events of an account.
func (s *site) eventsOf(account string) (n int) {
	for _, line := range s.sink.lines {
		if strings.Contains(line, "AWSLogs/"+account+"/") {
			n++
		}
	}
	return n
}

// A chain that was absent when its account folder was last listed in full begins at its
// oldest digest, whatever --since says. One whose folder was never listed begins there.
func TestWhereAChainBegins(t *testing.T) {
	const other = "444455556666"
	perHour := 5
	for _, row := range []struct {
		name    string
		before  func(*site) // what the first run finds beside the chain of the site
		account string
		region  string
		hours   int // that the new chain has when the second run comes
		want    int // hours that are emitted
	}{
		{"a new account", func(*site) {}, other, region, 30, 31},
		{"a new region of a known account", func(*site) {}, account, "eu-west-1", 30, 31},
		{"the control: it was listed the first time", func(s *site) {
			s.trail.Chain(other, region, day).Hours(2)
		}, "", "", 0, 3},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t, 2)
			s.cfg.Since = day.Add(-time.Hour)
			row.before(s)
			s.run(t)
			before := len(s.sink.lines)
			if row.account != "" {
				c := s.trail.Chain(row.account, row.region, day)
				c.Hours(row.hours)
				for _, d := range c.Issued { // they come now
					s.Edit(d.Bucket, d.Key, func(o *testtrail.Stored) { o.Modified = c.Now() })
				}
				s.cfg.Now = func() time.Time { return c.Now().Add(time.Hour) }
				s.cfg.Since = c.Now().Add(-3 * time.Hour) // a relative --since of a later run
				s.run(t)
				if n := len(s.sink.lines) - before; n != (row.want-1)*perHour {
					t.Errorf("%d events, want %d", n, (row.want-1)*perHour)
				}
			} else if n := s.eventsOf(other); n != (row.want-1)*perHour {
				t.Errorf("%d events, want %d", n, (row.want-1)*perHour)
			}
			if len(s.found.all) > 0 {
				t.Errorf("findings %v", s.found.all)
			}
			s.once(t)
		})
	}
}

// A chain that begins after digests that are gone tells the first of them.
func TestBeginsAfterAHole(t *testing.T) {
	s := newSite(t, 2)
	s.run(t)
	c := s.trail.Chain("444455556666", region, day)
	c.Hours(6)
	s.Delete(bucket, c.Issued[0].Key)
	s.Delete(bucket, c.Issued[1].Key)
	s.cfg.Now = func() time.Time { return c.Now().Add(time.Hour) }
	s.run(t)
	if len(s.found.all) != 1 || s.found.all[0].Class != "digest-missing" || s.found.all[0].Key != c.Issued[1].Key {
		t.Errorf("findings %+v", s.found.all)
	}
	if n := s.eventsOf("444455556666"); n != 5*5 {
		t.Errorf("%d events", n)
	}
}

// Two trails of one name, of an account and of its organization, have heads of their own.
func TestTwoTrailsOfOneName(t *testing.T) {
	s := newSite(t, 3)
	org := s.World.Trail(testtrail.Options{Organization: "o-abcdefghij"})
	c := org.Chain(account, region, day)
	c.Hours(3)
	s.run(t)
	s.c.Hours(1)
	c.Hours(1)
	s.run(t)
	if n := len(s.sink.lines); n != 2*4*5 {
		t.Errorf("%d events", n)
	}
	if len(s.found.all) > 0 {
		t.Errorf("findings %v", s.found.all)
	}
	s.once(t)
	var names []string
	for e, err := range s.cfg.State.List(t.Context(), "chain/") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, e.Name)
	}
	if len(names) != 2 {
		t.Errorf("heads %q", names)
	}
}

// Texts that mean one source find the same heads.
func TestHeadsOfOneSource(t *testing.T) {
	s := newSite(t, 3)
	s.run(t)
	s.c.Hours(1)
	src, err := source.Parse("s3://" + bucket + "//")
	if err != nil {
		t.Fatal(err)
	}
	s.cfg.Sources = []ingest.Source{{Source: src, Objects: s.World}}
	s.run(t)
	s.expect(t, s.want())
	s.once(t)
}

// A head that belongs to no source is told.
func TestUnmatchedHead(t *testing.T) {
	s := newSite(t, 1)
	name := ledger.Name("s3://another", trail.Chain{Place: trail.Place{Account: account, Region: region}, Trail: "main", HomeRegion: region})
	if _, err := s.cfg.State.Put(t.Context(), name, []byte(`{"version":2}`), ""); err != nil {
		t.Fatal(err)
	}
	if got := s.runFor(t)["unmatched_heads{}"]; got != 1 {
		t.Errorf("%v heads", got)
	}
}

// Names that are planted leave no head, and hide no chain, however many they are.
func TestPlantedNames(t *testing.T) {
	s := newSite(t, 2)
	const planted = 2100
	for i := range planted {
		name := s.c.Name()
		name.Trail = fmt.Sprintf("planted-%04d", i)
		s.Put(bucket, name.Digest(s.c.Now()).String(), testtrail.Stored{Body: testtrail.Gzip([]byte("{}"))})
	}
	once := newSite(t, 0)
	once.World, once.c = s.World, s.c
	late := s.World.Trail(testtrail.Options{Name: "zzz"})
	c := late.Chain(account, region, day)
	c.Hours(2)
	s.cfg.Once = false
	s.cfg.Now = func() time.Time { return s.c.Now().Add(time.Hour) }
	once.cfg.Sources, once.cfg.Now = s.cfg.Sources, s.cfg.Now
	once.run(t) // a run that ends by itself looks at all of them, too
	if n := len(once.sink.lines); n != 2*2*5 || len(once.found.all) != planted {
		t.Errorf("%d events, %d findings", n, len(once.found.all))
	}
	s.untilEvents(t, 2*2*5)
	heads := 0
	for _, err := range s.cfg.State.List(t.Context(), "chain/") {
		if err != nil {
			t.Fatal(err)
		}
		heads++
	}
	if heads != 2 {
		t.Errorf("%d heads", heads)
	}
}

// untilEvents runs the worker until so many events are emitted. A worker that never emits
// them ends the test after ten minutes.
func (s *site) untilEvents(t *testing.T, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	s.cfg.Once, s.cfg.Metrics = false, prometheus.NewRegistry()
	s.cfg.Sink = sinkFunc(func(ctx context.Context, b sink.Batch) error {
		err := s.sink.Emit(ctx, b)
		s.sink.mu.Lock()
		defer s.sink.mu.Unlock()
		if len(s.sink.lines) >= n {
			time.AfterFunc(50*time.Millisecond, cancel)
		}
		return err
	})
	if _, err := ingest.Run(ctx, s.cfg); err != nil {
		t.Fatal(err)
	}
	if got := len(s.sink.lines); got != n {
		t.Errorf("%d events, want %d", got, n)
	}
}

// A chain whose digests all were older than --since when its folder was listed was there:
// its next digest does not make it a new one, whose history is emitted.
func TestSinceHoldsForAChainThatWasListed(t *testing.T) {
	for _, row := range []struct {
		name string
		stop time.Duration // logging is off before the next digests
	}{{"goes on", 0}, {"begins anew", 50 * 24 * time.Hour}} {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t, 30)
			s.cfg.Since = s.c.Now().Add(10 * time.Minute)
			s.run(t)
			if n := len(s.sink.lines); n > 0 {
				t.Errorf("%d events before the asked time", n)
			}
			if row.stop > 0 {
				s.c.Skip(row.stop)
				s.c.Restart(s.c.Now())
			}
			s.c.Hours(2)
			s.run(t)
			if n := len(s.sink.lines); n != 2*5 {
				t.Errorf("%d events, want those of 2 hours", n)
			}
			s.once(t)
		})
	}
}

// While a folder cannot be listed that may hold another prefix, no account folder counts as
// listed in full. A folder that is denied for good does not matter.
func TestListedWhileAPrefixIsHidden(t *testing.T) {
	for _, row := range []struct {
		name string
		err  error
		want bool
	}{
		{"control", nil, true},
		{"for now", errors.New("connection reset by peer"), false},
		{"for good", fs.ErrPermission, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t, 2)
			s.Put(bucket, "zz/x", testtrail.Stored{Body: []byte("x")})
			s.cfg.Sources[0].Objects = &partial{World: s.World, folders: func(prefix string) error {
				if prefix == "zz/" {
					return row.err
				}
				return nil
			}}
			s.cfg.Metrics = prometheus.NewRegistry()
			if _, err := ingest.Run(t.Context(), s.cfg); !errors.Is(err, row.err) {
				t.Errorf("error %v", err)
			}
			all, err := ledger.New(s.cfg.State).Listings(t.Context(), "s3://"+bucket)
			if isListed := !all.Last(s.c.Place()).IsZero(); err != nil || isListed != row.want {
				t.Errorf("listed: %t, %v", isListed, err)
			}
		})
	}
}
