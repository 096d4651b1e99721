package ingest_test

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// vanish makes the world seem to have nothing of the site's account.
func vanish(s *site) {
	isOthers := func(key string) bool { return !strings.Contains(key, account) }
	s.hooks.shows = isOthers
	s.hooks.get = func(_ context.Context, o trail.Object) error {
		if isOthers(o.Key) {
			return nil
		}
		return fmt.Errorf("get: %w", fs.ErrNotExist)
	}
	s.others[0].Hours(4)
}

// A chain is late if a poll that listed all its folders shows no digest after its head. That is
// reported once for the head.
func TestLate(t *testing.T) {
	withOther := func(s *site) { s.chain(other, region, day).Hours(3) }
	// down is a worker that did not run for some hours. Everything is there.
	down := func(hours int) func(*site) {
		return func(s *site) {
			s.c.Hours(hours)
			s.at(s.c.Now().Add(10 * time.Minute))
		}
	}
	// slow makes listings below a prefix take a while.
	slow := func(s *site, below string) {
		s.hooks.list = func(ctx context.Context, prefix string) error {
			if strings.HasPrefix(prefix, below) {
				time.Sleep(300 * time.Millisecond)
			}
			return ctx.Err()
		}
	}
	// emptied removes the folders of the site's account. Another folder cannot be listed.
	emptied := func(denied string) func(*site) {
		return func(s *site) {
			keys, _ := s.Keys(bucket, "AWSLogs/"+account)
			for _, key := range keys {
				s.Delete(bucket, key)
			}
			clear(s.sink.lines) // nothing else is wanted
			s.Put(bucket, denied+"x", junk())
			s.hooks.list = failAt(denied, fs.ErrPermission)
			s.hooks.below = s.hooks.list
			s.at(s.c.Now().Add(10 * time.Hour))
		}
	}
	// during makes digests come while a poll lists the folder of another account. The poll begins
	// a while after the chain is due.
	during := func(after time.Duration, come func(*site)) func(*site) {
		return func(s *site) {
			s.chain(other, region, day).Hours(6)
			at, began := s.c.Now().Add(s.cfg.Grace+time.Hour+after), time.Now()
			s.cfg.Now = func() time.Time { return at.Add(time.Since(began)) }
			comes := sync.OnceFunc(func() { come(s) })
			s.hooks.list = func(ctx context.Context, prefix string) error {
				if strings.Contains(prefix, other+"/CloudTrail-Digest") {
					time.Sleep(5 * time.Second)
					comes()
					time.Sleep(5 * time.Second)
				}
				return ctx.Err()
			}
		}
	}
	// planted is a name that an organization's chain would have within the grace. It cannot be read.
	planted := func(err error) func(*site) {
		return func(s *site) {
			s.at(s.c.Now().Add(10 * time.Hour))
			asOrganization(s)
			o := s.nameAfter(3, 9*time.Hour)
			s.Put(bucket, o.Key, junk())
			s.deny(o, err)
		}
	}
	for _, tt := range []struct {
		name   string
		before func(*site) // the first run
		after  func(*site)
		want   []string
	}{
		{"nothing comes", nothing, func(s *site) { s.at(s.c.Now().Add(10 * time.Hour)) }, found("coverage")},
		{"the folders were emptied", withOther, vanish, found("coverage")},
		{"the folders were emptied, of an account that is not asked for", withOther, func(s *site) {
			vanish(s)
			s.cfg.Accounts = []string{other}
		}, nil},
		{"the folders were emptied, and the first listing fails", withOther, func(s *site) {
			vanish(s)
			fails := once(errReset)
			s.hooks.below = func(context.Context, string) error { return fails() }
		}, found("coverage")},
		{"the folders are gone, and another one is denied", nothing, emptied("zz/"), found("coverage")},
		{
			"the folders are gone, and one of another account is denied", nothing,
			emptied("AWSLogs/" + other + "/CloudTrail-Digest/" + region + "/"), found("coverage"),
		},
		{"nothing comes during a poll", nothing, during(-time.Second, nothing), found("coverage")},
		{"it comes late, and during a poll", nothing, during(time.Second, hours(3)), nil},
		{"it comes during a poll, below another prefix", nothing, during(-time.Second, func(s *site) {
			s.trail.Prefix = "elsewhere"
			s.c.Hours(3)
		}), nil},
		{"it went on and ended before the asked time", nothing, func(s *site) {
			s.c.Hours(3)
			s.at(s.c.Now().AddDate(0, 0, 10))
			s.cfg.Since = s.cfg.Now().Add(-time.Hour)
		}, found("coverage")},
		{"its source is listed after another one", nothing, func(s *site) {
			down(5)(s)
			s.World.Trail(testtrail.Options{Bucket: "second"}).Chain(other, region, s.c.Now().Truncate(time.Hour))
			s.sources("s3://"+bucket, "s3://second")
			slow(s, "AWSLogs/"+account)
		}, nil},
		{"its prefix is listed after another one", func(s *site) {
			s.c = s.World.Trail(testtrail.Options{Prefix: "b"}).Chain(account, region, day)
			s.add(s.World.Trail(testtrail.Options{Prefix: "a", Name: "one"}).Chain(other, region, day))
			s.sources("s3://"+bucket+"/a", "s3://"+bucket+"/b")
		}, func(s *site) {
			down(10)(s)
			s.others[0].Hours(10)
			slow(s, "b/")
		}, nil},
		{"an organization's chain that continues it waits for its proof", nothing, func(s *site) {
			asOrganization(s)
			down(6)(s)
		}, nil},
		{"an organization's chain that continues it has no head for now", nothing, func(s *site) {
			asOrganization(s)
			down(6)(s)
			for i := range 6 {
				s.lose(4 + i)
			}
			s.state.get = func(name string) error {
				return map[bool]error{true: errReset}[strings.Contains(name, s.trail.Organization)]
			}
		}, nil},
		{"a planted name of an organization is denied", nothing, planted(fs.ErrPermission), found("coverage")},
		{"a planted name of an organization is gone again", nothing, planted(fs.ErrNotExist), found("coverage")},
		{"it was reset", nothing, func(s *site) {
			s.carry(reset(s.c.Now().Add(time.Hour)))
			s.at(s.c.Now().Add(10 * time.Hour))
		}, found("coverage", "coverage")},
		{"its folders cannot be listed", nothing, func(s *site) {
			down(5)(s)
			for i := range 5 {
				s.lose(4 + i)
			}
			s.hooks.list = func(context.Context, string) error { return errReset }
		}, nil},
	} {
		withSite(t, tt.name, 3, func(s *site) {
			tt.before(s)
			s.run()
			tt.after(s)
			s.during(time.Minute)
			s.expect(tt.want...)
			for _, f := range s.found.all {
				if f.Account != account || f.Region != region || f.Trail != "main" {
					s.t.Errorf("%+v", f)
				}
			}
			s.during(time.Minute)
			s.expect(tt.want...)
		})
	}
}

// Log files without a digest are reported when their digest is late, and not before: those of a
// new account come earlier than its first digest.
func TestLogsWithoutDigests(t *testing.T) {
	for _, tt := range []struct {
		name string
		age  time.Duration // of the log file
		more bool          // a file that is not a log file lies before it
		want []string
	}{
		{"young", 3*time.Hour - 10*time.Minute, false, nil},
		{"old", 3*time.Hour + 10*time.Minute, false, found("coverage")},
		{"young, after a file that is not a log file", time.Hour, true, nil},
		{"old, after a young file", 3*time.Hour + 10*time.Minute, true, found("coverage")},
		{"before the asked time", 49 * time.Hour, false, nil},
	} {
		withSite(t, tt.name, 1, func(s *site) {
			c := s.trail.Chain(other, region, day)
			s.Delete(bucket, c.Issued[0].Key)
			at := day.Add(49 * time.Hour)
			o, _ := c.Deliver(at.Add(-tt.age), s.Log(1))
			if tt.more {
				key := strings.Replace(o.Key, "/"+other+"_", "/0_", 1)
				s.Put(bucket, key, testtrail.Stored{Body: []byte("x"), Modified: at})
			}
			s.at(at)
			s.cfg.Since = day.Add(24 * time.Hour)
			s.run()
			s.expectFound(tt.want...)
		})
	}
}
