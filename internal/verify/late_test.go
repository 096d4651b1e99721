package verify_test

import (
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// late delivers a log file whose stamp lies shortly after the i-th digest, and
// which the j-th lists: CloudTrail tried for hours.
func (s *site) late(i, j int) trail.Object {
	o, entry := s.c.Deliver(s.c.Issued[i].End.Add(12*time.Minute), s.Log(1))
	s.Edit(o.Bucket, o.Key, func(st *testtrail.Stored) { st.Modified = s.c.Issued[j].End.Add(-10 * time.Minute) })
	s.c.ReissueFrom(j, func(d *testtrail.Doc) { d.Logs = append(d.Logs, entry) })
	return o
}

// between asks for the time between two digests, a day later.
func (s *site) between(i, j int) {
	s.cfg.Start, s.cfg.End, s.cfg.Now = s.c.Issued[i].End, s.c.Issued[j].End, s.c.Now().Add(24*time.Hour)
}

// A log file that came hours late lies in the folder of its own day. A digest after
// the range lists it.
func TestLateOnItsDay(t *testing.T) {
	rows := []struct {
		name   string
		change func(t *testing.T, s *site, late trail.Object)
		want   string // LATE is the log file
	}{
		{"listed after the range", func(*testing.T, *site, trail.Object) {}, ""},
		{"the digest that would list it is gone", func(_ *testing.T, s *site, _ trail.Object) {
			s.Delete(bucket, s.c.Issued[8].Key)
		}, "UNVERIFIED no-signature LATE"},
		{"no digest lists it", func(_ *testing.T, s *site, _ trail.Object) {
			s.c.ReissueFrom(8, func(d *testtrail.Doc) { d.Logs = d.Logs[:2] })
		}, "log-unlisted LATE"},
		{"its digest is not there yet", func(_ *testing.T, s *site, _ trail.Object) {
			for _, d := range s.c.Issued[8:] {
				s.Delete(bucket, d.Key)
			}
			s.cfg.Now = s.c.Issued[8].End
		}, "UNVERIFIED no-signature LATE"},
		{"a copy", func(t *testing.T, s *site, _ trail.Object) { s.toFolder(t, nil) }, ""},
		{"a copy whose newest digest lists it and is not proven", func(t *testing.T, s *site, _ trail.Object) {
			for _, d := range s.c.Issued[9:] {
				s.Delete(bucket, d.Key)
			}
			s.toFolder(t, nil)
		}, "UNVERIFIED no-signature LATE"},
		{"the same, and that digest is asked for", func(t *testing.T, s *site, _ trail.Object) {
			for _, d := range s.c.Issued[9:] {
				s.Delete(bucket, d.Key)
			}
			s.toFolder(t, nil)
			s.cfg.End = s.c.Issued[8].End
		}, "UNVERIFIED no-signature d8"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(testtrail.Options{}, 10)
			o := s.late(2, 8)
			s.between(2, 4)
			row.change(t, s, o)
			if got := s.summary(s.run(t)); got != strings.ReplaceAll(row.want, "LATE", o.Key) {
				t.Errorf("got\n%s\nwant\n%s", got, row.want)
			}
		})
	}
}

// What is read for the sake of one log file changes no other report.
func TestDigestsReadForOneLogFile(t *testing.T) {
	stopped := func() *site {
		s := newSite(testtrail.Options{}, 6)
		s.c.Skip(5 * time.Hour)
		s.c.Restart(s.c.Now())
		s.c.Hours(2)
		return s
	}
	t.Run("a stop after the range", func(t *testing.T) {
		s := stopped()
		s.late(2, 8)
		s.between(2, 4)
		s.expect(t, "")
	})
	t.Run("the range ends while logging is off", func(t *testing.T) {
		s := stopped()
		s.between(2, 6)
		s.cfg.End = s.cfg.End.Add(time.Hour)
		s.expect(t, "coverage 06:08-07:08")
		planted, _ := s.c.Deliver(s.c.Issued[3].End.Add(10*time.Minute), s.Log(1))
		s.expect(t, "coverage 06:08-07:08\nlog-unlisted "+planted.Key)
	})
	t.Run("a trail that moves into the bucket after the range", func(t *testing.T) {
		s := newSite(testtrail.Options{}, 3)
		s.trail.Bucket = "new-bucket"
		s.c.Hours(6)
		s.cfg.Source = source.Source{Bucket: "new-bucket", Name: "s3://new-bucket"}
		s.late(2, 8)
		main := s.c
		s.c = s.Trail(testtrail.Options{Bucket: "new-bucket", Name: "second", Offset: 31 * time.Minute}).Chain(account, "eu-west-1", day)
		s.c.Hours(9)
		s.cfg.Start, s.cfg.End, s.cfg.Now = main.Issued[2].End, main.Issued[3].End, main.Now().Add(24*time.Hour)
		s.expect(t, "")
	})
}

// The digest before a starting digest can lie in a bucket that the trail has left.
func TestStopBeforeTheBucketMove(t *testing.T) {
	s := newSite(testtrail.Options{Bucket: "old-bucket"}, 3)
	s.c.Skip(5 * time.Hour)
	s.c.Restart(s.c.Now())
	s.c.Hours(2)
	s.trail.Bucket = bucket
	s.c.Hours(3)
	s.cfg.Source = source.Source{Bucket: bucket, Name: "s3://" + bucket}
	s.cfg.Start = s.c.Issued[3].End.Add(2 * time.Hour)
	s.until(s.c.Now()).expect(t, "gap 03:08-08:08")
	s.Fail("old-bucket", "", &testtrail.Fault{Err: fs.ErrPermission})
	s.expect(t, "UNVERIFIED access-denied AWSLogs/111122223333/CloudTrail-Digest/us-east-1/")
}

// After the end of a chain, a log file is judged or the end is reported.
func TestPlantedAfterTheEnd(t *testing.T) {
	t.Run("of a trail that was not asked for", func(t *testing.T) {
		s := newSite(testtrail.Options{}, 9)
		other := s.Trail(testtrail.Options{Name: "other", Prefix: "other"}).Chain(account, region, day)
		other.Hours(2)
		s.cfg.Trails = []string{"main"}
		s.expect(t, "")
		other.Deliver(other.Now().Add(2*time.Hour), s.Log(1))
		s.expect(t, "coverage 00:08-09:08")
	})
	t.Run("in the hour of a digest that is not proven", func(t *testing.T) {
		s := newSite(testtrail.Options{}, 6)
		s.cfg.Now = s.c.Now().Add(5 * time.Hour)
		planted, _ := s.c.Deliver(s.c.Issued[5].End.Add(30*time.Minute), s.Log(1))
		s.toFolder(t, nil)
		s.expect(t, "UNVERIFIED no-signature "+planted.Key+"\nUNVERIFIED no-signature d6")
	})
	t.Run("junk does not divide the time", func(t *testing.T) {
		s := newSite(testtrail.Options{}, 6)
		s.cfg.End, s.cfg.Now = s.c.Now().Add(8*time.Hour), s.c.Now().Add(24*time.Hour)
		s.expect(t, "coverage 06:08-14:08")
		key := s.c.Name().Digest(s.c.Now().Add(4 * time.Hour)).String()
		s.Put(bucket, key, testtrail.Stored{Body: testtrail.Gzip([]byte("{}"))})
		s.expect(t, "coverage 06:08-14:08\ndigest-corrupt "+key)
	})
}
