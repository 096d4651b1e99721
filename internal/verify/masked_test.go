package verify_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// junk puts an object that is not a digest under a digest's name.
func (s *site) junk(name trail.Chain, end time.Time) {
	s.Put(bucket, name.Digest(end).String(), testtrail.Stored{Body: testtrail.Gzip([]byte("{}"))})
}

// signed says of every object of a bucket that its copy keeps the metadata.
func signed(string) bool { return true }

// A planted log file is reported whatever else someone plants, deletes or spoils to
// mask it: as planted where its hour is proven, else as unverified.
func TestMasked(t *testing.T) {
	const (
		planted = "log-unlisted"
		inDoubt = "UNVERIFIED no-signature"
	)
	spoil := func(s *site, i int) {
		s.Edit(bucket, s.c.Issued[i].Key, func(o *testtrail.Stored) { o.Body = testtrail.Gzip([]byte("{}")) })
	}
	cut := func(s *site, i int) {
		s.Edit(bucket, s.c.Issued[i].Key, func(o *testtrail.Stored) { o.Body = o.Body[:len(o.Body)/2] })
	}
	other := func(s *site) *testtrail.Chain {
		c := s.Trail(testtrail.Options{Name: "other", Offset: 31 * time.Minute}).Chain(account, region, day)
		c.Hours(9)
		return c
	}
	rows := []struct {
		name string
		mask func(*site)
		want string // what the planted log is reported as
		more string // what else is reported
	}{
		{"nothing", func(*site) {}, planted, ""},
		{"junk inside the hour", func(s *site) { s.junk(s.c.Name(), s.c.Issued[4].End.Add(-time.Minute)) }, planted, "digest-corrupt"},
		{"junk in the hour before", func(s *site) { s.junk(s.c.Name(), s.c.Issued[3].End.Add(-time.Minute)) }, planted, "digest-corrupt"},
		{"junk after the range", func(s *site) { s.junk(s.c.Name(), s.cfg.End.Add(90*time.Minute)) }, planted, ""},
		{"junk long after the range", func(s *site) { s.junk(s.c.Name(), s.cfg.End.AddDate(0, 0, 3)) }, planted, ""},
		{"junk before the range", func(s *site) { s.junk(s.c.Name(), s.cfg.Start.Add(-time.Minute)) }, planted, ""},
		{"junk long before the range", func(s *site) { s.junk(s.c.Name(), s.cfg.Start.AddDate(0, -2, 0)) }, planted, ""},
		{"junk of a trail that does not exist", func(s *site) {
			name := s.c.Name()
			name.Trail = "third"
			for i := range 9 {
				s.junk(name, s.c.Issued[i].End)
			}
		}, planted, "digest-corrupt"},
		{"junk of a backfill chain", func(s *site) {
			name := s.c.Name()
			name.Backfill = true
			s.junk(name, s.c.Issued[4].End)
		}, planted, "digest-corrupt"},
		{"the hour's digest deleted", func(s *site) { s.Delete(bucket, s.c.Issued[4].Key) }, inDoubt, "digest-missing"},
		{"the hour's digest cut", func(s *site) { cut(s, 4) }, inDoubt, "digest-corrupt"},
		{"the hour's digest spoilt", func(s *site) { spoil(s, 4) }, inDoubt, "chain-mismatch"},
		{"the hour's digest without its signature", func(s *site) {
			s.Edit(bucket, s.c.Issued[4].Key, func(o *testtrail.Stored) { o.Meta = nil })
		}, planted, "log-unlisted"},
		{"the next digest deleted", func(s *site) { s.Delete(bucket, s.c.Issued[5].Key) }, inDoubt, "digest-missing"},
		{"the digest before spoilt", func(s *site) { spoil(s, 3) }, inDoubt, "chain-mismatch"},
		{"the newest digests deleted", func(s *site) {
			for i := 5; i < len(s.c.Issued); i++ {
				s.Delete(bucket, s.c.Issued[i].Key)
			}
		}, inDoubt, "coverage"},
		{"the newest digests spoilt", func(s *site) {
			for i := 5; i < len(s.c.Issued); i++ {
				spoil(s, i)
			}
		}, inDoubt, "digest-corrupt d5\ndigest-corrupt d6"},
		{"another trail, whole", func(s *site) { other(s) }, planted, ""},
		{"another trail in doubt", func(s *site) { s.Delete(bucket, other(s).Issued[4].Key) }, inDoubt, "digest-missing"},
		{"another trail in doubt that is not asked for", func(s *site) {
			s.Delete(bucket, other(s).Issued[4].Key)
			s.cfg.Trails = []string{"main"}
		}, inDoubt, inDoubt},
		{"another trail that is not asked for, and junk in its name", func(s *site) {
			s.junk(other(s).Name(), s.c.Issued[4].End)
			s.cfg.Trails = []string{"main"}
		}, planted, ""},
	}
	for _, row := range rows {
		for _, copied := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, copy %t", row.name, copied), func(t *testing.T) {
				t.Parallel()
				s := newSite(testtrail.Options{}, 8)
				s.cfg.Start, s.cfg.End = s.c.Issued[2].End, s.c.Issued[6].End
				s.cfg.Now = s.c.Now().Add(48 * time.Hour)
				at, _ := s.c.Deliver(s.c.Issued[4].End.Add(-30*time.Minute), s.Log(1))
				row.mask(s)
				if copied {
					s.toFolder(t, signed)
				}
				got := s.summary(s.run(t))
				hasIt := strings.Contains(got, row.want+" "+at.Key)
				if row.want == inDoubt { // the entry names the first object of the hour
					hasIt = strings.Contains(got, inDoubt)
				}
				if copied && strings.Contains(row.name, "without its signature") {
					hasIt = strings.Contains(got, planted)
				}
				if !hasIt || !strings.Contains(got, row.more) {
					t.Errorf("got\n%s\nwant %s %s, %s", got, row.want, at.Key, row.more)
				}
				if row.more == "" && strings.Count(got, "\n") > 0 {
					t.Errorf("more than the planted log:\n%s", got)
				}
			})
		}
	}
}

// Someone who changes an hour between two daily runs is found by the second one:
// it asks again for what was not yet due in the first.
func TestDailyRunsLeaveNoSeam(t *testing.T) {
	for hour := 20; hour < 28; hour++ {
		s := newSite(testtrail.Options{}, 48)
		ask := func(now time.Time) *report.Report { // as the program asks with its defaults
			at := s.seenAt(now)
			at.cfg.Now, at.cfg.End = now, now
			at.cfg.Start = now.Add(-24 * time.Hour).Add(-s.cfg.Grace - time.Hour)
			return at.run(t)
		}
		if r := ask(day.Add(24*time.Hour + 40*time.Minute)); r.Verdict != report.Intact || r.AskAgain == nil {
			t.Fatalf("first run: %s, %v\n%s", r.Verdict, r.AskAgain, s.summary(r))
		}
		s.Edit(bucket, s.c.Issued[hour].Logs[1].Key, func(o *testtrail.Stored) { o.Body = testtrail.Gzip([]byte("{}")) })
		planted, _ := s.c.Deliver(s.c.Issued[hour].End.Add(-30*time.Minute), s.Log(1))
		got := s.summary(ask(day.Add(48*time.Hour + 40*time.Minute)))
		if hour > 21 && got != fmt.Sprintf("log-modified l%d.1\nlog-unlisted %s", hour, planted.Key) {
			t.Errorf("hour %d: %s", hour, got)
		}
	}
}

// Where a digest is altered, its other faults are in the detail.
func TestSignedHashOutranksEverything(t *testing.T) {
	rows := map[string]func(d *testtrail.Issued, o *testtrail.Stored){
		"names an unknown key": func(d *testtrail.Issued, o *testtrail.Stored) {
			o.Body = testtrail.Gzip(bytes.Replace(d.Body, []byte(d.Doc.Fingerprint), []byte(strings.Repeat("ab", 16)), 1))
		},
		"names another account": func(d *testtrail.Issued, o *testtrail.Stored) {
			o.Body = testtrail.Gzip(bytes.Replace(d.Body, []byte(account), []byte("999999999999"), 1))
		},
		"not JSON":  func(_ *testtrail.Issued, o *testtrail.Stored) { o.Body = testtrail.Gzip([]byte("hello")) },
		"too large": func(_ *testtrail.Issued, o *testtrail.Stored) { o.Body = testtrail.Gzip(make([]byte, 3<<20)) },
		"unsigned": func(d *testtrail.Issued, o *testtrail.Stored) {
			o.Body, o.Meta = testtrail.Gzip(append(bytes.Clone(d.Body), ' ')), nil
		},
	}
	for name, change := range rows {
		s := newSite(testtrail.Options{}, 6)
		d := s.c.Issued[3]
		s.Edit(bucket, d.Key, func(o *testtrail.Stored) { change(d, o) })
		s.cfg.Fetcher = s.cfgWithFetcher().Fetcher
		s.cfg.Fetcher.MaxDigest = 1 << 20
		r := s.run(t)
		if got := s.summary(r); got != "UNVERIFIED no-signature l3.0\nchain-mismatch d3" {
			t.Errorf("%s: %s", name, got)
			continue
		}
		if e := r.Findings[0].Evidence; e.Digest != "s3://"+bucket+"/"+s.c.Issued[4].Key || e.Want == "" || e.Got == "" || e.Want == e.Got {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

// A starting digest is known for one even where it is spoilt or gone: the time
// before it stays a gap, and no hour is made up.
func TestSpoiltStartingDigest(t *testing.T) {
	rows := map[string]func(*site, string){
		"spoilt": func(s *site, key string) {
			s.Edit(bucket, key, func(o *testtrail.Stored) { o.Body = testtrail.Gzip([]byte("{}")) })
		},
		"deleted": func(s *site, key string) { s.Delete(bucket, key) },
	}
	for name, do := range rows {
		s := newSite(testtrail.Options{}, 3)
		s.c.Skip(6 * time.Hour)
		start := s.c.Restart(s.c.Now())
		s.c.Hours(3)
		s.until(s.c.Now())
		do(s, start.Key)
		r := s.run(t)
		got := s.summary(r)
		if name == "spoilt" && got != "chain-mismatch d4\ngap 03:08-09:08" || name == "deleted" && got != "digest-missing d4\ngap 03:08-09:08" {
			t.Errorf("%s: %s", name, got)
		}
	}
}
