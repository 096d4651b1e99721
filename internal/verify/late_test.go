package verify_test

import (
	"io/fs"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/internal/testtrail"
)

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
	t.Run("junk does not divide the time", func(t *testing.T) {
		s := newSite(testtrail.Options{}, 6)
		s.cfg.End, s.cfg.Now = s.c.Now().Add(8*time.Hour), s.c.Now().Add(24*time.Hour)
		s.expect(t, "coverage 06:08-14:08")
		key := s.c.Name().Digest(s.c.Now().Add(4 * time.Hour)).String()
		s.Put(bucket, key, testtrail.Stored{Body: testtrail.Gzip([]byte("{}"))})
		s.expect(t, "coverage 06:08-14:08\ndigest-corrupt "+key)
	})
}
