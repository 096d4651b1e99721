package ingest_test

import (
	"cmp"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/notify"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// listLate makes the n-th digest of the chain list one more log file, delivered a minute before
// the digest ends. Where key is not "", the file has that name.
func (s *site) listLate(n int, key string) trail.Object {
	o, entry := s.c.Deliver(s.c.Issued[n].End.Add(-time.Minute), s.Log(2))
	if key != "" {
		stored, _ := s.Stored(o.Bucket, o.Key)
		s.Delete(o.Bucket, o.Key)
		s.Put(o.Bucket, key, stored)
		o.Key, entry.Object = key, key
	}
	s.c.ReissueFrom(n, func(d *testtrail.Doc) { d.Logs = append(d.Logs, entry) })
	return o
}

// An announced deletion is looked at: it is a finding only where the object is gone and a trusted
// digest lists it, wherever that digest is in the chain.
func TestRemovals(t *testing.T) {
	log := func(s *site) trail.Object { return s.c.Issued[2].Logs[0] }
	digest := func(n int) func(*site) trail.Object { return func(s *site) trail.Object { return s.digest(n) } }
	const missing = "log-missing"
	type row struct {
		name    string
		object  func(*site) trail.Object // before the first run
		result  string                   // of the metric, "" where the message comes back
		class   string
		removal notify.Removal
		isThere bool          // it is not deleted
		unread  bool          // the digest cannot be read
		age     time.Duration // of the message
	}
	rows := []row{
		{name: "a listed log file", object: log, result: "listed", class: missing},
		{name: "its version", object: log, removal: notify.Removal{VersionID: "v"}, result: "listed", class: missing},
		{
			name: "a listed log file, hidden by a delete marker", object: log, result: "listed", class: missing,
			removal: notify.Removal{Cause: notify.Marked, VersionID: "v"},
		},
		{name: "a log file that is there", object: log, isThere: true, result: "present"},
		{name: "expired", object: log, removal: notify.Removal{Cause: notify.Expired}, result: "expired"},
		{name: "a log file that no digest lists", object: func(s *site) trail.Object {
			key := log(s).Key
			return trail.Object{Bucket: bucket, Key: key[:len(key)-len("abcd.json.gz")] + "zzzz.json.gz"}
		}, result: "unlisted"},
		{name: "a digest that its successor names", object: digest(2), result: "listed", class: "digest-missing"},
		{name: "the newest digest", object: digest(4), result: "ahead"},
		{name: "a digest that never was", object: func(s *site) trail.Object {
			return s.nameAfter(2, time.Minute)
		}, result: "unlisted"},
		{name: "a digest below another prefix", object: func(s *site) trail.Object {
			return trail.Object{Bucket: bucket, Key: "other/" + s.digest(2).Key}
		}},
		{name: "of another account", object: func(s *site) trail.Object {
			return trail.Object{Bucket: bucket, Key: strings.ReplaceAll(log(s).Key, account, other)}
		}},
		{name: "of another bucket", object: func(s *site) trail.Object {
			return trail.Object{Bucket: "other", Key: log(s).Key}
		}},
		{name: "the digest cannot be read", object: log, unread: true},
		{name: "nor within the grace", object: log, unread: true, age: 4 * time.Hour, result: "unverified"},
	}
	for name, object := range map[string]func(*site) trail.Object{
		"delivered just before the end of its hour": func(s *site) trail.Object { return s.listLate(2, "") },
		"in the newest digest":                      func(s *site) trail.Object { return s.listLate(4, "") },
		"published days after its stamp": func(s *site) trail.Object {
			s.c.Hours(60)
			k := trail.LogKey{Place: s.c.Place(), Stamp: day.Add(30 * time.Minute), Unique: "abcdefgh12345678"}
			k.Day = s.c.Issued[60].End.Truncate(24 * time.Hour)
			return s.listLate(60, k.String())
		},
		"before a gap, with another minute of the hour": func(s *site) trail.Object {
			stops(s, 5*time.Hour+17*time.Minute)
			s.c.Hours(3)
			return log(s)
		},
		"before the trail changed its prefix": func(s *site) trail.Object {
			s.trail.Prefix = "elsewhere"
			s.c.Hours(3)
			return log(s)
		},
		"of one trail of two, and the other's digest is gone": func(s *site) trail.Object {
			c := s.World.Trail(testtrail.Options{Name: "aaa"}).Chain(account, region, day)
			c.Hours(4)
			s.Delete(bucket, c.Issued[2].Key)
			return log(s)
		},
		"in a backfill digest": func(s *site) trail.Object {
			return s.c.Backfill(day.Add(time.Hour)).Hour(s.Log(4)).Logs[0]
		},
	} {
		rows = append(rows, row{name: "a log file " + name, object: object, result: "listed", class: missing})
	}
	for _, tt := range rows {
		withSite(t, tt.name, 4, func(s *site) {
			o := tt.object(s)
			s.run()
			s.found.all = nil
			if _, isThere := s.Stored(o.Bucket, o.Key); isThere && !tt.isThere {
				s.Delete(o.Bucket, o.Key)
			}
			if tt.unread {
				s.deny(s.digest(2), errReset)
			}
			tt.removal.Object, tt.removal.Cause = o, cmp.Or(tt.removal.Cause, notify.Deleted)
			a := s.announce(notify.Delivery{Removed: []notify.Removal{tt.removal}, Sent: s.cfg.Now().Add(-tt.age)})
			_, series := s.run()
			if tt.class == "" {
				s.expectFound()
			} else if s.expectFound(tt.class); !s.t.Failed() && s.found.all[0].Key != o.Key {
				s.t.Errorf("finding %+v", s.found.all[0])
			}
			if len(a.ends) != 1 || (a.failed() > 0) != (tt.result == "") {
				s.t.Errorf("the message ended with %v", a.ends)
			}
			want := map[string]float64{
				"removals_total{result=" + tt.result + "}": 1,
				"announced_total{result=refused}":          map[bool]float64{true: 1}[o.Bucket != bucket],
				"unverified_total{reason=network}":         map[bool]float64{true: 1}[tt.result == "unverified"],
			}
			for name, n := range series {
				_, isOf := want[name]
				if isOf = isOf || strings.HasPrefix(name, "removals_total"); isOf && n != want[name] {
					s.t.Errorf("%s is %v, want %v", name, n, want[name])
				}
			}
		})
	}
}

// Messages about a source that is an access point name the bucket behind it.
func TestMessagesOfAnAccessPoint(t *testing.T) {
	for _, text := range []string{"s3://" + bucket, "arn:aws:s3:us-east-1:111122223333:accesspoint/audit"} {
		withSite(t, text, 4, func(s *site) {
			s.sources(text)
			if src := &s.cfg.Sources[0]; src.IsAccessPoint() {
				s.hooks.bucket = bucket
				src.Learn(bucket)
			}
			s.run()
			s.c.Hours(1)
			o := s.c.Issued[2].Logs[0]
			s.Delete(bucket, o.Key)
			a := s.announce(notify.Delivery{Created: s.digests(5), Removed: []notify.Removal{{Object: o}}})
			if s.run(); len(a.ends) != 1 || a.failed() > 0 {
				s.t.Errorf("ended with %v", a.ends)
			}
			s.expectFound("log-missing")
		})
	}
}
