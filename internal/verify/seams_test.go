package verify_test

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/ended"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// remove deletes digests and the logs that they list.
func (s *site) remove(digests []*testtrail.Issued) {
	for _, d := range digests {
		s.Delete(bucket, d.Key)
		for _, l := range d.Logs {
			s.Delete(l.Bucket, l.Key)
		}
	}
}

// second adds a trail beside the first.
func (s *site) second(o testtrail.Options, from time.Time, hours int) *testtrail.Chain {
	if o.Name == "" {
		o.Name = "second"
	}
	c := s.Trail(o).Chain(account, region, from)
	c.Hours(hours)
	return c
}

// hoursOf returns the sum of the hours in a chain's row.
func hoursOf(c report.Chain) (sum time.Duration) {
	for _, s := range c.Covered {
		sum += s.End.Sub(s.Start)
	}
	return sum
}

// A trail of which everything from its beginning to beyond the range is gone is
// proven by its later digests, also beside another trail and junk. One that began
// after the range is not wrong.
func TestTrailKnownByLaterDigestsOnly(t *testing.T) {
	rows := []struct {
		name string
		do   func(*site)
		want string
	}{
		{"control", func(*site) {}, ""},
		{"gone", func(s *site) { s.remove(s.c.Issued[:14]) }, "coverage 02:00-08:00"},
		{"gone, and junk below the range", func(s *site) {
			s.remove(s.c.Issued[:14])
			s.junk(s.c.Name(), day.Add(-5*time.Hour))
		}, "coverage 02:00-08:00"},
		{"gone, and junk above the range", func(s *site) {
			s.remove(s.c.Issued[:14])
			s.junk(s.c.Name(), day.Add(11*time.Hour))
		}, "coverage 02:00-08:00"},
		{"a trail that began after the range", func(s *site) { s.second(testtrail.Options{Name: "aaa"}, day.Add(20*time.Hour), 5) }, ""},
		{"junk of a trail long after the range", func(s *site) {
			name := s.c.Name()
			name.Trail = "aaa"
			s.junk(name, day.AddDate(0, 1, 0))
		}, ""},
	}
	for _, row := range rows {
		for _, sidecar := range []func(string) bool{nil, signed} {
			s := newSite(testtrail.Options{}, 24)
			s.second(testtrail.Options{Offset: 31 * time.Minute}, day, 24)
			s.cfg.Start, s.cfg.End, s.cfg.Now = day.Add(2*time.Hour), day.Add(8*time.Hour), day.Add(60*time.Hour)
			row.do(s)
			if sidecar != nil {
				s.toFolder(t, sidecar)
			}
			r := s.run(t)
			if got := s.summary(r); got != row.want {
				t.Errorf("%s, copy %t: %s", row.name, sidecar != nil, got)
			}
			for _, c := range r.Chains {
				if got := hoursOf(c); got != 6*time.Hour {
					t.Errorf("%s: hours %s", row.name, got)
				}
			}
		}
	}
}

// An acknowledged end is no end where later digests prove that the chain went on, or
// began anew.
func TestAcknowledgedEndThatWasNone(t *testing.T) {
	for _, isNew := range []bool{true, false} {
		s := newSite(testtrail.Options{}, 3)
		last, want := s.c.Now(), ""
		if isNew { // so it was a stop
			want = "gap 03:08-09:08"
			s.c.Skip(30 * time.Hour)
			s.c.Restart(s.c.Now())
			s.c.Hours(20)
		} else {
			s.c.Hours(50)
			s.remove(s.c.Issued[4:40])
			for i := 14; i <= 23; i++ { // 13:08 to 23:08
				want += fmt.Sprintf("digest-missing d%d\n", i)
			}
		}
		s.cfg.Ended = ended.List{ended.EntryOf(s.c.Name(), last)}
		s.cfg.Start, s.cfg.End, s.cfg.Now = last.Add(10*time.Hour), last.Add(20*time.Hour), s.c.Now().Add(48*time.Hour)
		s.expect(t, strings.TrimSuffix(want, "\n"))
	}
}

// A plain copy cannot prove the last digest of an ended chain: that is no sign that
// digests are gone.
func TestAcknowledgedEndInAPlainCopy(t *testing.T) {
	for _, sidecar := range []func(string) bool{signed, nil} {
		s := newSite(testtrail.Options{}, 6)
		live := s.second(testtrail.Options{Offset: 31 * time.Minute}, day, 40)
		s.cfg.Ended = ended.List{ended.EntryOf(s.c.Name(), s.c.Now())}
		s.cfg.Start, s.cfg.End, s.cfg.Now = day.Add(20*time.Hour), day.Add(30*time.Hour), live.Now().Add(time.Hour)
		s.toFolder(t, sidecar)
		want := ""
		if sidecar == nil {
			want = "UNVERIFIED no-signature d6"
		}
		s.expect(t, want)
	}
}

// With --trail, what other trails of a place can have written is not looked at as
// planted, and not passed over either.
func TestPlantedBesideTrailsNotAskedFor(t *testing.T) {
	rows := map[string]func(s *site, own *testtrail.Chain){
		"ended": func(*site, *testtrail.Chain) {},
		"off": func(_ *site, own *testtrail.Chain) {
			own.Skip(7 * time.Hour)
			own.Restart(own.Now())
			own.Hours(3)
		},
	}
	for name, do := range rows {
		for _, planted := range []bool{false, true} {
			s := newSite(testtrail.Options{Organization: "o-0123456789"}, 12)
			own := s.second(testtrail.Options{Name: "own"}, day, 3)
			do(s, own)
			s.cfg.Trails = []string{"main"}
			s.cfg.Start, s.cfg.Now = s.c.Issued[6].End, s.c.Now().Add(48*time.Hour)
			want := ""
			if planted {
				k := trail.LogKey{Place: own.Place(), Stamp: day.Add(8 * time.Hour), Day: day, Unique: "abcdefghijklmnop"}
				s.Put(bucket, k.String(), testtrail.Stored{Body: testtrail.Gzip(s.Log(1))})
				if want = "UNVERIFIED no-signature " + k.String(); name == "ended" {
					want = "coverage 06:08-12:08"
				}
			}
			if got := s.summary(s.run(t)); got != want {
				t.Errorf("%s, planted %t: %s", name, planted, got)
			}
		}
	}
}

// A digest that cannot be read is not a neighbour: planted in a gap, it does not
// turn the gap into something that was not read.
func TestUnreadNamesInAGap(t *testing.T) {
	for _, junk := range []bool{false, true} {
		s := newSite(testtrail.Options{}, 3)
		s.c.Skip(10 * time.Hour)
		s.c.Restart(s.c.Now())
		s.c.Hours(3)
		s.until(s.c.Now())
		s.cfg.Start = s.c.Issued[4].End.Add(-2 * time.Hour)
		end := s.c.Issued[3].End.Add(2 * time.Hour)
		if junk {
			s.junk(s.c.Name(), end)
			s.Fail(bucket, s.c.Name().Digest(end).String(), &testtrail.Fault{Err: fmt.Errorf("get: %w", finding.ErrArchived)})
		}
		r := s.expect(t, "gap 03:08-13:08")
		if strings.Contains(r.Findings[0].Detail, end.Format(time.RFC3339)) != junk {
			t.Errorf("junk %t: %s", junk, r.Findings[0].Detail)
		}
	}
}

// What was not read is not called missing: neither the digests in a bucket that only
// an unread one names, nor those in a folder that was not listed.
func TestNotReadIsNotMissing(t *testing.T) {
	moved := func() *site {
		s := newSite(testtrail.Options{Prefix: "old"}, 4)
		s.trail.Bucket = "new-bucket"
		s.AddBucket("new-bucket")
		s.c.Hours(4)
		s.trail.Bucket = bucket
		s.c.Hours(4)
		return s.until(s.c.Now())
	}
	s := moved()
	s.expect(t, "")
	s.cfg.StayInside = true
	s.expect(t, "UNVERIFIED access-denied d8")
	s = moved()
	s.Fail(bucket, s.c.Issued[9].Key, &testtrail.Fault{Err: fmt.Errorf("get: %w", fs.ErrPermission)})
	s.expect(t, "UNVERIFIED access-denied d9\nUNVERIFIED no-signature l9.0")

	s = newSite(testtrail.Options{Prefix: "old"}, 4)
	s.trail.Prefix = "new"
	s.c.Hours(4)
	s.until(s.c.Now())
	s.cfg.Now = s.c.Now().Add(48 * time.Hour)
	s.expect(t, "")
	for _, folder := range []string{"new/AWSLogs/" + account + "/CloudTrail-Digest/us-east-1/", "new/AWSLogs/" + account + "/CloudTrail-Digest/"} {
		s.cfg.Fetcher = fetch.New(denied{s.World, folder}, 8)
		r := s.run(t)
		if r.Verdict != report.Incomplete || !strings.Contains(s.summary(r), "access-denied "+folder) || hoursOf(r.Chains[0]) != s.cfg.End.Sub(s.cfg.Start) {
			t.Errorf("%s: %s %v", s.summary(r), r.Verdict, r.Chains)
		}
	}
}

// A backfill digest that was not read casts doubt, also where another one names it.
func TestUnreadBackfill(t *testing.T) {
	for i := range 2 {
		s := newSite(testtrail.Options{}, 6)
		s.cfg.Now = s.c.Now().Add(48 * time.Hour)
		b := s.c.Backfill(day.Add(2 * time.Hour))
		b.Hour(s.Log(1))
		b.Hour(s.Log(1))
		s.expect(t, "")
		s.Fail(bucket, b.Issued[i].Key, &testtrail.Fault{Err: fmt.Errorf("get: %w", fs.ErrPermission)})
		r := s.run(t)
		if got := s.summary(r); r.Verdict != report.Incomplete || !strings.Contains(got, "access-denied "+b.Issued[i].Key) {
			t.Errorf("%d: %s", i, got)
		}
	}
}

// A trail that is deleted and made anew begins anew at any minute, also where the
// last digest of the old one ends later.
func TestMadeAnewAtAnyMinute(t *testing.T) {
	for minutes := -59; minutes < 90; minutes += 4 {
		s := newSite(testtrail.Options{}, 4)
		stopped := s.c.Now()
		s.c.Skip(time.Duration(minutes) * time.Minute)
		s.c.Restart(s.c.Now())
		s.c.Hours(4)
		s.until(s.c.Now())
		s.cfg.Now = s.c.Now().Add(48 * time.Hour)
		want := ""
		if minutes > 0 {
			want = fmt.Sprintf("gap %s-%s", hour(stopped), hour(stopped.Add(time.Duration(minutes)*time.Minute)))
		}
		got := strings.Split(s.summary(s.run(t)), "\n")
		got = slices.DeleteFunc(got, func(line string) bool {
			return strings.HasPrefix(line, "coverage") && strings.HasSuffix(line, hour(s.cfg.End))
		})
		if strings.Join(got, "\n") != want {
			t.Errorf("%d minutes: %q, want %q", minutes, got, want)
		}
	}
}

// An acknowledged end whose digests are in an archive stays acknowledged. One that
// hides that those before it are gone does not.
func TestAcknowledgedEndInAnArchive(t *testing.T) {
	for _, isPlanted := range []bool{false, true} {
		s := newSite(testtrail.Options{}, 12)
		last := s.c.Issued[12]
		live := s.second(testtrail.Options{Offset: 31 * time.Minute}, day, 50)
		s.cfg.Ended = ended.List{ended.EntryOf(s.c.Name(), last.End)}
		s.cfg.Start, s.cfg.End, s.cfg.Now = day.Add(30*time.Hour), day.Add(40*time.Hour), live.Now().Add(time.Hour)
		want := ""
		if isPlanted {
			s.remove(s.c.Issued[6:])
			s.junk(s.c.Name(), last.End)
			want = "UNVERIFIED archived d12"
		}
		for i, d := range s.c.Issued {
			if !isPlanted || i == 12 {
				s.Fail(bucket, d.Key, &testtrail.Fault{Err: fmt.Errorf("get: %w", finding.ErrArchived)})
			}
		}
		if r := s.expect(t, want); len(r.Ended) == 0 != isPlanted {
			t.Errorf("planted %t: ended %v", isPlanted, r.Ended)
		}
	}
}

// What was not read outside the range is said where it leaves time of the range open.
func TestNotReadOutsideTheRange(t *testing.T) {
	archived := func(s *site, digests ...*testtrail.Issued) {
		for _, d := range digests {
			s.Fail(bucket, d.Key, &testtrail.Fault{Err: fmt.Errorf("get: %w", finding.ErrArchived)})
		}
	}
	rows := []struct {
		name          string
		do            func(*site)
		control, want string
	}{
		{"two digests gone below one that was not read", func(s *site) { s.remove(s.c.Issued[9:11]) },
			"digest-missing d10\ndigest-missing d9", "UNVERIFIED archived d11"},
		{"all digests gone below one that was not read", func(s *site) { s.remove(s.c.Issued[:11]) },
			"coverage 04:08-09:08\ndigest-missing d10", "UNVERIFIED archived d11"},
		{"nothing gone", func(*site) {}, "", ""},
	}
	for _, row := range rows {
		for _, isRead := range []bool{true, false} {
			s := newSite(testtrail.Options{}, 24)
			s.second(testtrail.Options{Offset: 31 * time.Minute}, day, 24)
			s.cfg.Start, s.cfg.End, s.cfg.Now = s.c.Issued[4].End, s.c.Issued[10].End, day.Add(60*time.Hour)
			row.do(s)
			want := row.control
			if !isRead {
				archived(s, s.c.Issued[11])
				want = row.want
			}
			if got := s.summary(s.run(t)); got != want {
				t.Errorf("%s, read %t: %s", row.name, isRead, got)
			}
		}
	}

	for _, isRead := range []bool{true, false} {
		s, want := newSite(testtrail.Options{}, 6), "gap 06:08-14:38"
		s.c.Skip(8*time.Hour + 30*time.Minute)
		s.c.Restart(s.c.Now())
		s.c.Hours(6)
		s.second(testtrail.Options{Offset: 31 * time.Minute}, day, 24)
		s.cfg.Start, s.cfg.End, s.cfg.Now = s.c.Issued[6].End.Add(2*time.Hour), s.c.Issued[6].End.Add(7*time.Hour), day.Add(60*time.Hour)
		if !isRead {
			archived(s, s.c.Issued[:7]...)
			want = "UNVERIFIED archived d0"
		}
		if got := s.summary(s.run(t)); got != want {
			t.Errorf("a starting digest above the range, read %t: %s", isRead, got)
		}
	}
}

// A name that nothing proves, between the hour of a planted log and the digest before
// it, changes nothing.
func TestJunkBelowAPlantedLog(t *testing.T) {
	for _, junk := range []bool{false, true} {
		s := newSite(testtrail.Options{}, 12)
		s.cfg.Start, s.cfg.Now = day.Add(6*time.Hour), day.Add(36*time.Hour)
		planted, _ := s.c.Deliver(s.cfg.Start.Add(2*time.Minute), s.Log(1))
		if junk {
			s.junk(s.c.Name(), s.cfg.Start.Add(-90*time.Minute))
		}
		s.expect(t, "log-unlisted "+planted.Key)
	}
}

// The logs of a trail whose digests in the range were not read are not planted, also
// where another trail of the place is proven. Junk does not hide what was not read.
func TestNotReadBesideAnotherTrail(t *testing.T) {
	for _, trails := range [][]string{nil, {"second"}} {
		s := newSite(testtrail.Options{}, 12)
		s.second(testtrail.Options{Offset: 31 * time.Minute}, day, 24)
		s.cfg.Start, s.cfg.End, s.cfg.Now = s.c.Issued[10].End, s.c.Issued[12].End, day.Add(36*time.Hour)
		s.cfg.Trails = trails
		if trails == nil {
			s.expect(t, "")
		}
		for _, d := range s.c.Issued[9:] {
			s.Fail(bucket, d.Key, &testtrail.Fault{Err: fmt.Errorf("get: %w", finding.ErrArchived)})
		}
		if r := s.run(t); r.Verdict != report.Incomplete {
			t.Errorf("%v: %s", trails, s.summary(r))
		}
	}
	for _, junk := range []bool{false, true} {
		s := newSite(testtrail.Options{}, 12)
		s.second(testtrail.Options{Offset: 31 * time.Minute}, day, 24)
		s.cfg.Start, s.cfg.End, s.cfg.Now = s.c.Issued[3].End, s.c.Issued[8].End, day.Add(36*time.Hour)
		s.remove(s.c.Issued[1:])
		s.Fail(bucket, s.c.Issued[0].Key, &testtrail.Fault{Err: fmt.Errorf("get: %w", finding.ErrArchived)})
		want, end := "UNVERIFIED archived d0", s.cfg.Start.Add(90*time.Minute)
		if junk {
			s.junk(s.c.Name(), end)
			want += "\ndigest-corrupt " + s.c.Name().Digest(end).String()
		}
		s.expect(t, want)
	}
}
