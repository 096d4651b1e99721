package ingest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/internal/ledger"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// What comes while no worker runs is emitted from its start on, whatever --since says: the
// chain was absent when its account folder was last listed in full.
func TestNewWhileDown(t *testing.T) {
	var lives []life
	chain := func(account, region string) func(*site, time.Time) *testtrail.Chain {
		return func(s *site, at time.Time) *testtrail.Chain { return s.trail.Chain(account, region, at) }
	}
	of := func(o testtrail.Options) func(*site, time.Time) *testtrail.Chain {
		return func(s *site, at time.Time) *testtrail.Chain { return s.World.Trail(o).Chain(account, region, at) }
	}
	for name, add := range map[string]func(*site, time.Time) *testtrail.Chain{
		"account": chain(other, region), "region": chain(account, "eu-west-1"), "trail": of(testtrail.Options{Name: "aaa"}),
		"account whose digests are older": func(s *site, _ time.Time) *testtrail.Chain {
			return s.trail.Chain(other, region, day)
		},
		"organization":         of(testtrail.Options{Organization: "o-abcdefghij"}),
		"trail below a prefix": of(testtrail.Options{Name: "bbb", Prefix: "p"}),
	} {
		for _, days := range []int{0, 1, 40, 100} {
			lives = append(lives, life{fmt.Sprintf("%s, %d days", name, days), 3, steps(nothing, func(s *site) {
				s.c.Hours(2)
				c := s.add(add(s, s.c.Now().Add(time.Hour)))
				c.Hours(30)
				for _, d := range c.Issued {
					s.Edit(bucket, d.Key, func(o *testtrail.Stored) { o.Modified = c.Now() })
				}
				s.at(c.Now().AddDate(0, 0, days))
				s.cfg.Since = s.cfg.Now().Add(-2 * time.Hour)
			}), nil})
		}
	}
	live(t, lives)
}

// A chain goes on after its head, however old that is, and begins at --since where its account
// folder was never listed in full, or where the chain was there then.
func TestWhereAChainBegins(t *testing.T) {
	// since makes the last five hours the asked time.
	since := func(s *site) { s.cfg.Since = s.c.Now().Add(-5 * time.Hour) }
	// early makes all digests so far ones that end before the asked time.
	early := func(s *site) {
		s.cfg.Since = s.c.Now().Add(10 * time.Minute)
		for i := range s.c.Issued {
			s.lose(i)
		}
	}
	missing := func(hours, n int) func(*site) {
		return func(s *site) { s.c.Hours(hours); since(s); gone(n)(s) }
	}
	bad := func(s *site) { s.c.Hours(30); since(s); s.lose(20); s.Put(bucket, s.digest(20).Key, junk()) }
	later := func(days int) func(*site) { return func(s *site) { s.at(day.AddDate(0, 0, days)) } }
	denied := func(s *site) { s.c.Hours(3); s.deny(s.digest(4), fs.ErrPermission); later(50)(s) }
	again := func(s *site) { s.deny(s.digest(4), nil) }
	var stands trail.Object
	lives := []life{
		{"down for long", 2, steps(nothing, func(s *site) { s.c.Hours(30); since(s) }), nil},
		{"down for long, and a digest is gone", 2, steps(nothing, missing(30, 20)), found("digest-missing")},
		{"down for long, and a digest is bad", 2, steps(nothing, bad), found("digest-corrupt")},
		{"down for a week, and a digest is gone", 2, steps(nothing, missing(24*7+30, 190)), found("digest-missing")},
		{"all were before the asked time, and it goes on", 30, steps(early, hours(2)), nil},
		{"all were before the asked time, and it begins anew", 30, steps(early, func(s *site) {
			stops(s, 50*24*time.Hour)
			s.c.Hours(2)
		}), nil},
		{"new, and its first digests are gone", 2, steps(nothing, func(s *site) {
			c := s.chain(other, region, day)
			c.Hours(6)
			s.Delete(bucket, c.Issued[0].Key)
			s.Delete(bucket, c.Issued[1].Key)
			s.lost = append(s.lost, c.Issued[1].Logs...)
		}), found("digest-missing")},
		{"two trails of one name", 3, steps(func(s *site) {
			s.add(s.World.Trail(testtrail.Options{Organization: "o-abcdefghij"}).Chain(account, region, day)).Hours(3)
		}, func(s *site) { s.c.Hours(1); s.others[0].Hours(1) }), nil},
		{"the source has another text", 3, steps(nothing, func(s *site) {
			s.c.Hours(1)
			s.sources("s3://" + bucket + "//")
		}), nil},
		// Another chain of the place has a head that is days newer.
		{"a trail without a head that was denied at first", 3, steps(func(s *site) {
			old := s.add(s.World.Trail(testtrail.Options{Name: "old"}).Chain(account, region, day))
			old.Hours(3)
			s.c.Hours(24 * 10) // more than a frontier keeps
			stands = trail.Object{Bucket: bucket, Key: old.Issued[1].Key}
			s.deny(stands, errReset)
		}, func(s *site) { s.deny(stands, nil) }), nil},
		{"a chain that waited for long", 3, steps(nothing, denied, later(100), again), nil},
		{"a chain that waited for long, and whose head is loaded late", 3, steps(nothing, denied, later(100), func(s *site) {
			again(s)
			s.state.get = func(string) error { time.Sleep(time.Second); return nil }
		}), nil},
	}
	for name, err := range map[string]error{"": nil, ", and listing fails once": errReset} {
		// failsOnce makes the first listing of a digest folder of an account fail.
		failsOnce := func(s *site, account string) {
			fails := once(err)
			s.hooks.list = func(_ context.Context, prefix string) error {
				if strings.HasPrefix(prefix, "AWSLogs/"+account+"/CloudTrail-Digest/"+region) {
					return fails()
				}
				return nil
			}
		}
		var organization *testtrail.Trail
		lives = append(lives, life{"came and ended while no worker ran" + name, 3, steps(nothing, func(s *site) {
			s.chain(other, region, day.AddDate(0, 0, 10)).Hours(20)
			later(100)(s)
			failsOnce(s, other)
		}), nil}, life{"came beside a folder of the account itself" + name, 3, steps(func(s *site) {
			organization = s.World.Trail(testtrail.Options{Organization: "o-abcdefghij", Name: "two"})
			organization.Chain(account, "eu-west-1", day)
			s.cfg.Since = day.Add(90 * time.Minute)
			s.lose(1)
		}, func(s *site) {
			c := s.add(organization.Chain(account, region, day)) // with a history that was copied
			c.Hours(10)
			for _, d := range c.Issued {
				s.Edit(bucket, d.Key, func(o *testtrail.Stored) { o.Modified = c.Now() })
			}
			failsOnce(s, account)
		}), nil})
	}
	live(t, lives)
}

// Where the listing shows only the newest digest, the others are found by the names that they
// give each other.
func TestHiddenByTheListing(t *testing.T) {
	for _, tt := range []struct {
		isKnown bool // the chain has a head
		gone    int  // digest, 0: none
	}{{false, 0}, {true, 0}, {false, 27}, {false, 7}, {true, 27}, {true, 7}} {
		withSite(t, fmt.Sprintf("head %t, gone %d", tt.isKnown, tt.gone), 2, func(s *site) {
			if tt.isKnown {
				s.run()
			}
			s.c.Hours(26)
			newest := s.digest(28).Key
			s.hooks.shows = func(key string) bool { return key == newest }
			var classes []string
			if tt.gone > 0 {
				gone(tt.gone)(s)
				classes = found("digest-missing")
			}
			for i := 0; i < tt.gone && !tt.isKnown; i++ { // nothing names what lies before
				s.lose(i)
			}
			s.run()
			s.expect(classes...)
		})
	}
}

// Backfill digests since the asked time are emitted once each, in any order and however old they
// are.
func TestBackfill(t *testing.T) {
	many := func(s *site) {
		b := s.add(s.c.Backfill(day.Add(time.Hour)))
		for range 120 {
			b.Hour(s.Log(1))
		}
		s.c.Hours(120)
	}
	late := map[string]testtrail.Stored{}
	live(t, []life{
		{"the control", 4, steps(many), nil},
		{"old evidence", 4, steps(func(s *site) { many(s); s.at(s.c.Now().AddDate(0, 0, 200)) }), nil},
		{"down for 100 days", 4, steps(nothing, func(s *site) { many(s); s.at(s.c.Now().AddDate(0, 0, 100)) }), nil},
		{"in no order, and one is planted", 6, steps(nothing, func(s *site) {
			b := s.add(s.c.Backfill(day.Add(time.Hour)))
			for i := range 3 {
				d := b.Hour(s.Log(4))
				if i != 1 {
					late[d.Key], _ = s.Stored(bucket, d.Key)
					s.Delete(bucket, d.Key)
				}
			}
			s.run()
			for key, o := range late {
				s.Put(bucket, key, o)
				s.run()
			}
			s.Put(bucket, b.Name().Digest(s.c.Now().Add(time.Hour)).String(), junk())
		}), found("digest-corrupt")},
	})
}

// A chain with more backfill digests than its head remembers repeats none: those that are listed
// again are remembered, and those that are older are not listed.
func TestManyBackfillDigests(t *testing.T) {
	withSite(t, "", 4, func(s *site) {
		const remembered, added = 2000, 150
		s.run()
		b := s.add(s.c.Backfill(day.Add(remembered * time.Hour)))
		head := follow.Head{Version: follow.HeadVersion}
		for i := range remembered { // they are done: to read one again would be a finding
			end := b.Now().Add(time.Duration(i-remembered+1) * time.Hour)
			head.Backfills = append(head.Backfills, end)
			s.Put(bucket, b.Name().Digest(end).String(), junk())
		}
		text, err := json.Marshal(head)
		if err == nil {
			_, err = s.state.Store.Put(s.t.Context(), ledger.Name("s3://"+bucket, b.Name()), text, "")
		}
		if err != nil {
			s.t.Fatal(err)
		}
		for range added {
			b.Hour(s.Log(1))
		}
		end := b.Now().Add(time.Hour)
		s.at(day.AddDate(0, 0, 40)) // so that a listing in full is not older
		s.run()
		s.at(end)
		s.run()
		s.expect()
	})
}

// Sources of one bucket with a prefix each, or that overlap, leave nothing out and emit nothing
// twice, whatever came while no worker ran.
func TestSourcesOfOneBucket(t *testing.T) {
	for name, texts := range map[string][]string{
		"the control: one source": {"s3://" + bucket},
		"two prefixes":            {"s3://" + bucket + "/a", "s3://" + bucket + "/b"},
		"a prefix of the other":   {"s3://" + bucket, "s3://" + bucket + "/b"},
		"one twice":               {"s3://" + bucket, "s3://" + bucket + "/"},
	} {
		withSite(t, name, 0, func(s *site) {
			s.Delete(bucket, s.digest(0).Key)
			s.c = s.World.Trail(testtrail.Options{Prefix: "a", Name: "one"}).Chain(account, region, day)
			b := s.add(s.World.Trail(testtrail.Options{Prefix: "b", Name: "two"}).Chain(other, region, day))
			s.sources(texts...)
			for _, hours := range []int{2, 120} {
				s.c.Hours(hours)
				b.Hours(hours)
				s.run()
				s.expect()
			}
		})
	}
}

// A source that cannot be listed, or a folder of one, does not hold up another source, and is the
// error of the run.
func TestBrokenSource(t *testing.T) {
	for _, broken := range []string{"", "AWSLogs/" + other + "/CloudTrail-Digest/"} {
		withSite(t, "folder "+broken, 4, func(s *site) {
			s.World.Trail(testtrail.Options{Bucket: "second"}).Chain(other, region, day).Hours(2)
			s.sources("s3://"+bucket, "s3://second")
			if s.hooks.below = failAt(broken, errReset); broken == "" {
				s.hooks.below = nil
				s.Fail("second", "", &testtrail.Fault{Err: errReset})
			}
			if _, _, err := s.try(); !errors.Is(err, errReset) {
				s.t.Errorf("error %v", err)
			}
			s.expect()
		})
	}
}

// While a folder cannot be listed that may hold another prefix, no account folder counts as
// listed in full. A folder that is denied for good does not matter.
func TestListedWhileAPrefixIsHidden(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want bool
	}{
		{"control", nil, true},
		{"for now", errReset, false},
		{"for good", fs.ErrPermission, true},
	} {
		withSite(t, tt.name, 2, func(s *site) {
			s.Put(bucket, "zz/x", junk())
			s.hooks.below = failAt("zz/", tt.err)
			if _, _, err := s.try(); !errors.Is(err, tt.err) {
				s.t.Errorf("error %v", err)
			}
			all, err := ledger.New(s.state).Listings(s.t.Context(), "s3://"+bucket)
			if isListed := !all.Last(s.c.Place()).IsZero(); err != nil || isListed != tt.want {
				s.t.Errorf("listed: %t, %v", isListed, err)
			}
		})
	}
}

// A run with an end emits the events of the digests whose hours touch the asked time, and
// compares the digest after them.
func TestUntil(t *testing.T) {
	for _, tt := range []struct {
		name         string
		since, until time.Duration // from the chain's starting digest
		tamper       func(*site)
		hours        []int // whose events are emitted
		want         []string
	}{
		{"some hours", 3*time.Hour - 1, 4*time.Hour + 1, nothing, []int{3, 4, 5}, nil},
		{"between two digests", 3*time.Hour + 1, 4 * time.Hour, nothing, []int{4}, nil},
		{"up to now", 101*time.Hour + 1, 104 * time.Hour, nothing, []int{102, 103, 104}, nil},
		{"the last digest is gone", 3*time.Hour + 1, 5 * time.Hour, gone(5), []int{4}, found("digest-missing")},
		{"a log file is gone", 3*time.Hour + 1, 4 * time.Hour, func(s *site) {
			s.Delete(bucket, s.c.Issued[4].Logs[0].Key)
		}, []int{4}, found("log-missing")},
		{"tampering after the next digest is not seen", 3*time.Hour + 1, 4 * time.Hour, gone(8), []int{4}, nil},
		{"before the chain began", -48 * time.Hour, -24 * time.Hour, nothing, nil, nil},
	} {
		withSite(t, tt.name, 104, func(s *site) { // more than a frontier keeps
			tt.tamper(s)
			for n := range s.c.Issued {
				if !slices.Contains(tt.hours, n) {
					s.lose(n)
				}
			}
			start := s.c.Issued[0].End
			s.cfg.Since, s.cfg.Until = start.Add(tt.since), start.Add(tt.until)
			s.hooks.reads = &counter{}
			if o, _ := s.run(); o.Waiting > 0 {
				s.t.Errorf("%+v", o)
			}
			s.expect(tt.want...)
			if n := s.hooks.reads.all.Load(); n > int64(2*len(tt.hours)+2) {
				s.t.Errorf("%d log files were read", n)
			}
		})
	}
}
