package verify_test

import (
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Whatever lies in a log folder and not in the folder of a day is found.
func TestOddFolders(t *testing.T) {
	name := account + "_CloudTrail_" + region + "_20260301T0240Z_abcdefghijklmnop.json.gz"
	base := "AWSLogs/" + account + "/CloudTrail/"
	for _, key := range []string{
		base + region + "/2026/3/1/" + name, base + region + "/2026/03/1/" + name, base + region + "/2026/03/01x/" + name,
		base + region + "/restored/" + name, base + region + "/restored/2026/03/01/" + name, base + region + "/26/03/01/" + name,
		base + region + "/" + name, base + region + "/2026/" + name, base + region + "/2026/03/" + name,
		base + name, base + "note.txt", base + region + "/2026/03/01/sub/" + name,
		base + region + "/2026/02/31/" + name,
		base + region + "/2026/03/01/" + name + ".metadata.json",
	} {
		for _, copied := range []bool{false, true} {
			s := newSite(testtrail.Options{}, 6)
			s.cfg.Now = s.c.Now().Add(48 * time.Hour)
			s.Put(bucket, key, testtrail.Stored{Body: []byte(`{"Records":[]}`)})
			if copied {
				s.toFolder(t, signed)
			}
			if got := s.summary(s.run(t)); got != "foreign-object "+key {
				t.Errorf("copy %t, %s: %s", copied, key, got)
			}
		}
	}
}

// An object with a stamp more than a day after its folder's day is foreign; one
// with an older stamp may have been delivered late.
func TestFoldersOfOtherDays(t *testing.T) {
	for days, want := range map[int]string{-2: "foreign-object", -1: "log-unlisted", 0: "log-unlisted", 1: "log-unlisted", 9: "log-unlisted"} {
		s := newSite(testtrail.Options{}, 24*12)
		stamp := day.Add(30 * time.Hour)
		k := trail.LogKey{Place: s.c.Place(), Stamp: stamp, Day: stamp.Truncate(24*time.Hour).AddDate(0, 0, days), Unique: "abcdefghijklmnop"}
		s.Put(bucket, k.String(), testtrail.Stored{Body: testtrail.Gzip(s.Log(1))})
		s.cfg.Now = s.c.Now().Add(48 * time.Hour)
		if got := s.summary(s.run(t)); got != want+" "+k.String() {
			t.Errorf("%d days: %s", days, got)
		}
	}
}

// A log that was delivered days after its time lies in the folder of that day, and
// the digest of that day lists it. A run that asks for either time alone knows it.
func TestLateDelivery(t *testing.T) {
	for _, listed := range []bool{true, false} {
		s := newSite(testtrail.Options{}, 24*4)
		now := s.c.Now()
		k := trail.LogKey{Place: s.c.Place(), Stamp: day.Add(30 * time.Hour), Day: now.Add(30 * time.Minute).Truncate(24 * time.Hour), Unique: "abcdefghijklmnop"}
		o, entry := s.c.Deliver(now.Add(30*time.Minute), s.Log(1))
		body, _ := s.Stored(o.Bucket, o.Key)
		s.Delete(o.Bucket, o.Key)
		s.Put(o.Bucket, k.String(), body)
		entry.Object = k.String()
		s.c.Hours(1)
		if listed {
			s.c.ReissueFrom(len(s.c.Issued)-1, func(d *testtrail.Doc) { d.Logs = append(d.Logs, entry) })
		}
		s.c.Hours(30)
		s.cfg.Now = s.c.Now().Add(48 * time.Hour)
		for name, at := range map[string]time.Time{"by its day": now.Truncate(24 * time.Hour), "whole": day.Add(25 * time.Hour)} {
			s.cfg.Start, s.cfg.End = at, now.Add(20*time.Hour)
			want := ""
			if !listed {
				want = "log-unlisted " + k.String()
			}
			if got := s.summary(s.run(t)); got != want {
				t.Errorf("%s, listed %t: %s", name, listed, got)
			}
		}
	}
}

// A trail's prefix may be anything.
func TestPrefixes(t *testing.T) {
	for _, prefix := range []string{"AWSLogs", "a/b/c/d/e/f", "AWSLogs/x", "x/AWSLogs/AWSLogs"} {
		for _, copied := range []bool{false, true} {
			s := newSite(testtrail.Options{}, 6)
			far := s.Trail(testtrail.Options{Prefix: prefix, Name: "far", Offset: 31 * time.Minute}).Chain("444455556666", region, day)
			far.Hours(6)
			s.cfg.Now = s.c.Now().Add(48 * time.Hour)
			s.cfg.Start = day.Add(2 * time.Hour)
			s.cfg.End = day.Add(5 * time.Hour)
			if copied {
				s.toFolder(t, signed)
			}
			if r := s.expect(t, ""); len(r.Chains) != 2 || r.Verdict != report.Intact {
				t.Errorf("%s, copy %t: %d chains, %s", prefix, copied, len(r.Chains), r.Verdict)
			}
			if copied {
				continue
			}
			s.Edit(bucket, far.Issued[3].Logs[0].Key, func(o *testtrail.Stored) { o.Body = testtrail.Gzip([]byte("{}")) })
			s.expect(t, "log-modified "+far.Issued[3].Logs[0].Key)
		}
	}
}

// Two trails of one account and region whose digests arrive at different times are
// normal at every minute.
func TestTwoTrailsAtEveryMinute(t *testing.T) {
	s := newSite(testtrail.Options{}, 12)
	second := s.Trail(testtrail.Options{Name: "second", Offset: 31 * time.Minute}).Chain(account, region, day)
	second.Hours(12)
	for i, d := range second.Issued { // four minutes later than those of the first
		s.Edit(bucket, second.Issued[i].Key, func(o *testtrail.Stored) { o.Modified = d.End.Add(31 * time.Minute) })
	}
	for minute := range 60 {
		now := day.Add(10*time.Hour + time.Duration(minute)*time.Minute)
		at := s.seenAt(now)
		at.cfg.Start, at.cfg.End, at.cfg.Now = now.Add(-8*time.Hour), now, now
		if r := at.run(t); r.Verdict != report.Intact {
			t.Errorf("minute %d: %s", minute, at.summary(r))
		}
	}
}

// A member's own trail without validation, beside an organization's trail with it,
// is one coverage finding, and its logs are not called planted.
func TestMembersTrailWithoutValidation(t *testing.T) {
	for _, copied := range []bool{false, true} {
		s := newSite(testtrail.Options{Organization: "o-0123456789"}, 6)
		s.cfg.Now = s.c.Now().Add(48 * time.Hour)
		own := s.Trail(testtrail.Options{Name: "own"}).Chain(account, region, day)
		own.Hours(6)
		for _, d := range own.Issued {
			s.Delete(bucket, d.Key)
		}
		if copied {
			s.toFolder(t, signed)
		}
		r := s.run(t)
		if got := s.summary(r); got != "coverage 00:08-06:08" || !strings.Contains(r.Findings[0].Detail, "log file validation") {
			t.Errorf("copy %t: %s", copied, got)
		}
		folder := "AWSLogs/" + account + "/"
		s.cfg.Except = []string{folder}
		if r := s.run(t); r.Verdict != report.Intact || len(r.Skipped) != 1 || !strings.Contains(r.Skipped[0], folder) {
			t.Errorf("copy %t, excepted: %s, %q\n%s", copied, r.Verdict, r.Skipped, s.summary(r))
		}
	}
}

// A trail that changes its prefix or bucket in the middle of an hour leaves some of
// the hour's logs in the old place. A copy has all of it below other roots.
func TestMoveWithinAnHour(t *testing.T) {
	for _, what := range []string{"prefix", "bucket"} {
		for _, copied := range []bool{false, true} {
			s := newSite(testtrail.Options{Prefix: "old"}, 3)
			_, entry := s.c.Deliver(s.c.Now().Add(20*time.Minute), s.Log(1))
			if what == "prefix" {
				s.trail.Prefix = "new"
			} else {
				s.trail.Bucket = "new-bucket"
				s.AddBucket("new-bucket")
			}
			s.c.Hours(1)
			s.c.ReissueFrom(len(s.c.Issued)-1, func(d *testtrail.Doc) { d.Logs = append(d.Logs, entry) })
			s.c.Hours(2)
			s.until(s.c.Now())
			s.cfg.Now = s.c.Now().Add(48 * time.Hour)
			s.cfg.Source = source.Source{Bucket: s.trail.Bucket, Name: "s3://" + s.trail.Bucket}
			if copied {
				folder := t.TempDir()
				for _, b := range s.Buckets() {
					if err := s.WriteFolder(b, filepath.Join(folder, b), signed); err != nil {
						t.Fatal(err)
					}
				}
				s.openFolder(t, folder)
			}
			if r := s.expect(t, ""); r.Counts.Logs.Valid != 13 || len(r.Chains) != 1 {
				t.Errorf("%s, copy %t: %+v, %d chains", what, copied, r.Counts, len(r.Chains))
			}
		}
	}
}

// A log that only a backfill digest lists is proven by it, in a copy too.
func TestListedByBackfillAlone(t *testing.T) {
	for _, copied := range []bool{false, true} {
		s := newSite(testtrail.Options{}, 8)
		s.cfg.Now = s.c.Now().Add(48 * time.Hour)
		b := s.c.Backfill(day.Add(2 * time.Hour))
		b.Hour(s.Log(1), s.Log(2))
		if copied {
			s.toFolder(t, signed)
		}
		s.expect(t, "")
	}
}

// A chain whose newest forty days are gone is not hidden by a second, live trail.
func TestEndBesideALiveTrail(t *testing.T) {
	s := newSite(testtrail.Options{}, 24)
	second := s.Trail(testtrail.Options{Name: "second", Offset: 31 * time.Minute}).Chain(account, region, day)
	second.Hours(24 * 41)
	for _, copied := range []bool{false, true} {
		s.cfg.Start, s.cfg.End, s.cfg.Now = second.Now().Add(-24*time.Hour), second.Now(), second.Now().Add(30*time.Hour)
		if copied {
			s.toFolder(t, signed)
		}
		r := s.run(t)
		if got := s.summary(r); got != fmt.Sprintf("coverage %s-%s", hour(s.cfg.Start), hour(s.cfg.End)) || r.Findings[0].Trail != "main" {
			t.Errorf("copy %t: %s", copied, got)
		}
	}
}

// CloudTrail may deliver again: a log that two digests list with one hash is told
// once, as a note.
func TestListedTwice(t *testing.T) {
	s := newSite(testtrail.Options{}, 6)
	again := s.c.Issued[3].Doc.Logs[1]
	s.c.ReissueFrom(4, func(d *testtrail.Doc) { d.Logs = append(d.Logs, again) })
	r := s.expect(t, "")
	if len(r.Notes) != 1 || r.Notes[0].Kind != finding.ListedTwice || len(r.Notes[0].Digests) != 2 || r.Counts.Logs.Valid != 12 {
		t.Errorf("%+v, %+v", r.Notes, r.Counts)
	}
	again.Hash = strings.Repeat("ab", 32)
	s = newSite(testtrail.Options{}, 6)
	again.Object = s.c.Issued[3].Doc.Logs[1].Object
	s.c.ReissueFrom(4, func(d *testtrail.Doc) { d.Logs = append(d.Logs, again) })
	s.expect(t, "log-misplaced l3.1\nlog-modified l3.1")
}

// A digest that ends later than now is not believed before the clock says so.
func TestClock(t *testing.T) {
	s := newSite(testtrail.Options{}, 6)
	s.cfg.Now = s.c.Issued[4].End.Add(30 * time.Minute)
	s.expect(t, "UNVERIFIED clock d5\nUNVERIFIED clock d6")
}

// The log folders of days outside of the range are listed on request.
func TestAllFolders(t *testing.T) {
	for _, all := range []bool{false, true} {
		s := newSite(testtrail.Options{}, 24*12)
		s.cfg.Now = s.c.Now().Add(48 * time.Hour)
		s.cfg.Start, s.cfg.End, s.cfg.AllFolders = day.Add(30*time.Hour), day.Add(34*time.Hour), all
		k := trail.LogKey{Place: s.c.Place(), Stamp: day.Add(32 * time.Hour), Day: day.AddDate(0, 0, 8), Unique: "abcdefghijklmnop"}
		s.Put(bucket, k.String(), testtrail.Stored{Body: testtrail.Gzip(s.Log(1))})
		odd := s.c.Place().Folder(trail.LogFolder) + "2025/7/x"
		s.Put(bucket, odd, testtrail.Stored{Body: []byte("x")})
		want := ""
		if all {
			want = "foreign-object " + odd + "\nlog-unlisted " + k.String()
		}
		if got := s.summary(s.run(t)); got != want {
			t.Errorf("all folders %t: %s", all, got)
		}
	}
}

// A file with the name of a sidecar that cannot be read is not called foreign.
func TestUnreadSidecar(t *testing.T) {
	s := newSite(testtrail.Options{}, 3)
	folder := s.toFolder(t, signed)
	l := s.c.Issued[1].Logs[0]
	side := l.Key + ".metadata.json"
	path := filepath.Join(folder, filepath.FromSlash(side))
	for _, put := range []func() error{
		func() error { return os.Remove(path) },
		func() error { return os.Symlink("../none", path) },
	} {
		if err := put(); err != nil {
			t.Fatal(err)
		}
		want := ""
		if _, err := os.Lstat(path); err == nil {
			want = "UNVERIFIED access-denied " + side
		}
		s.expect(t, want)
	}
}

// listings counts listings.
type listings struct {
	*testtrail.World
	count *atomic.Int64
}

func (l listings) List(ctx context.Context, bucket, prefix, after string) iter.Seq2[trail.Object, error] {
	l.count.Add(1)
	return l.World.List(ctx, bucket, prefix, after)
}

func (l listings) Children(ctx context.Context, bucket, prefix string) iter.Seq2[trail.Object, error] {
	l.count.Add(1)
	return l.World.Children(ctx, bucket, prefix)
}

// A range of centuries costs no more listings than what is there.
func TestRangeOfCenturies(t *testing.T) {
	s := newSite(testtrail.Options{}, 3)
	lists := func() int64 {
		l := listings{s.World, new(atomic.Int64)}
		s.cfg.Fetcher = fetch.New(l, 8)
		s.run(t)
		return l.count.Load()
	}
	few := lists()
	s.cfg.Start, s.cfg.Now = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), s.c.Now().Add(48*time.Hour)
	s.cfg.End = s.c.Now().Add(24 * time.Hour)
	if many := lists(); many > few+2 {
		t.Errorf("%d listings for centuries, %d for hours", many, few)
	}
}

// A range without any digest is not nothing: the chain began later, or its digests
// are gone.
func TestRangeWithoutDigests(t *testing.T) {
	s := newSite(testtrail.Options{}, 48)
	s.cfg.Start, s.cfg.End, s.cfg.Now = day.AddDate(-6, 0, 0), day.AddDate(-6, 0, 1), s.c.Now().Add(48*time.Hour)
	if r := s.expect(t, ""); len(r.Began) != 1 || !r.Began[0].At.Equal(s.c.Issued[0].End) {
		t.Errorf("began %+v", r.Began)
	}
	s.cfg.Start, s.cfg.End = day.Add(10*time.Hour), day.Add(14*time.Hour)
	for _, d := range s.c.Issued[5:30] {
		s.Delete(bucket, d.Key)
		for _, l := range d.Logs {
			s.Delete(l.Bucket, l.Key)
		}
	}
	if got := s.summary(s.run(t)); got != "digest-missing d10\ndigest-missing d11\ndigest-missing d12\ndigest-missing d13\ndigest-missing d14" {
		t.Errorf("got\n%s", got)
	}
	for _, d := range s.c.Issued[:5] {
		s.Delete(bucket, d.Key)
	}
	if got := s.summary(s.run(t)); got != "coverage 10:00-14:00" {
		t.Errorf("without anything before, got\n%s", got)
	}
}
