package main

import (
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
)

// Rows about what the walk comes upon: ranges, gaps, missing digests, bucket
// changes, foreign keys.
var chainRows = []parity{
	{name: "untouched"},
	{name: "untouched, not verbose", drop: []string{"--verbose"}},
	{name: "range without digests", args: []string{"--start-time=2026-04-01", "--end-time=2026-04-02"}},
	{name: "range before the trail", args: []string{"--start-time=2025-04-01", "--end-time=2025-04-02"}},
	{name: "start in the middle of an hour", args: []string{"--start-time=2026-03-01T01:30:00Z"}},
	{name: "start at a digest's end", args: []string{"--start-time=2026-03-01T02:08:11Z"}},
	{name: "start one second later", args: []string{"--start-time=2026-03-01T02:08:12Z"}},
	{name: "start a fraction later", args: []string{"--start-time=2026-03-01T02:08:11.5Z"}},
	{name: "end in the middle of an hour", args: []string{"--end-time=2026-03-01T02:30:00Z"}},
	{name: "end one hour before a digest's end", args: []string{"--end-time=2026-03-01T02:08:11Z"}},
	{name: "end one second earlier", args: []string{"--end-time=2026-03-01T02:08:10Z"}},
	{name: "start is end", args: []string{"--start-time=2026-03-01T02:20:00Z", "--end-time=2026-03-01T02:20:00Z"}},
	{name: "a range of one hour", args: []string{"--start-time=2026-03-01T02:00:00Z", "--end-time=2026-03-01T03:00:00Z"}},
	{name: "over a change of days and of keys", tamper: func(s *scene) {
		s.chain.Hours(1)
		s.chain.Skip(0)
		other := s.trail.Chain(owner, "us-east-1", begin.Add(20*24*time.Hour-3*time.Hour))
		other.Hours(30)
	}, args: []string{"--end-time=2026-03-25"}},
	{name: "hours without events", tamper: func(s *scene) { s.chain.Hour(); s.chain.Hour(); s.chain.Hours(1) }, args: []string{"--end-time=2026-03-01T10:00:00Z"}},

	{name: "digest deleted", tamper: func(s *scene) { s.deleteDigest(2) }},
	{name: "two adjacent digests deleted", tamper: func(s *scene) { s.deleteDigest(2); s.deleteDigest(3) }},
	{name: "two digests deleted apart", tamper: func(s *scene) { s.deleteDigest(1); s.deleteDigest(3) }},
	{name: "newest digest deleted", tamper: func(s *scene) { s.deleteDigest(4) }},
	{name: "oldest digest deleted", tamper: func(s *scene) { s.deleteDigest(0) }},
	{name: "only the newest digest left", tamper: func(s *scene) {
		for i := range 4 {
			s.deleteDigest(i)
		}
	}},
	{name: "all digests deleted", tamper: func(s *scene) {
		for i := range 5 {
			s.deleteDigest(i)
		}
	}},
	{name: "digest deleted, not verbose", tamper: func(s *scene) { s.deleteDigest(2) }, drop: []string{"--verbose"}},

	{name: "gap", tamper: func(s *scene) { s.chain.Skip(3 * time.Hour); s.chain.Restart(s.chain.Now()); s.chain.Hours(2) }, args: []string{"--end-time=2026-03-01T12:00:00Z"}},
	{name: "gap, not verbose", tamper: func(s *scene) { s.chain.Skip(3 * time.Hour); s.chain.Restart(s.chain.Now()); s.chain.Hours(2) },
		args: []string{"--end-time=2026-03-01T12:00:00Z"}, drop: []string{"--verbose"}},
	{name: "gap with nothing older in range", tamper: func(s *scene) { s.chain.Skip(3 * time.Hour); s.chain.Restart(s.chain.Now()); s.chain.Hours(2) },
		args: []string{"--start-time=2026-03-01T05:00:00Z", "--end-time=2026-03-01T12:00:00Z"}},
	{name: "gap before a deleted digest", tamper: func(s *scene) {
		s.chain.Skip(3 * time.Hour)
		s.chain.Restart(s.chain.Now())
		s.chain.Hours(2)
		s.deleteDigest(4)
	}, args: []string{"--end-time=2026-03-01T12:00:00Z"}},
	{name: "gap after a bad digest", tamper: func(s *scene) {
		s.chain.Skip(3 * time.Hour)
		s.chain.Restart(s.chain.Now())
		s.chain.Hours(2)
		s.editDigest(5, func(o *testtrail.Stored) { o.Meta = nil })
	}, args: []string{"--end-time=2026-03-01T12:00:00Z"}},
	{name: "many gaps", tamper: func(s *scene) {
		for range 3 {
			s.chain.Skip(2 * time.Hour)
			s.chain.Restart(s.chain.Now())
			s.chain.Hour(s.Log(1))
		}
	}, args: []string{"--end-time=2026-03-01T20:00:00Z"}},

	{name: "bucket changed", tamper: moveBucket, args: []string{"--s3-bucket=new-bucket", "--end-time=2026-03-01T10:00:00Z"}},
	{name: "bucket changed, digest deleted in the old one", tamper: func(s *scene) { moveBucket(s); s.deleteDigest(3) },
		args: []string{"--s3-bucket=new-bucket", "--end-time=2026-03-01T10:00:00Z"}},
	{name: "bucket changed, last of the old one deleted", tamper: func(s *scene) { moveBucket(s); s.deleteDigest(4) },
		args: []string{"--s3-bucket=new-bucket", "--end-time=2026-03-01T10:00:00Z"}},
	{name: "bucket changed, first of the new one deleted", tamper: func(s *scene) { moveBucket(s); s.deleteDigest(5) },
		args: []string{"--s3-bucket=new-bucket", "--end-time=2026-03-01T10:00:00Z"}},
	{name: "bucket changed, digest of the old one unsigned", tamper: func(s *scene) {
		moveBucket(s)
		s.editDigest(2, func(o *testtrail.Stored) { o.Meta = nil })
	}, args: []string{"--s3-bucket=new-bucket", "--end-time=2026-03-01T10:00:00Z"}},
	{name: "old bucket only", tamper: moveBucket, args: []string{"--end-time=2026-03-01T10:00:00Z"}},
	{name: "prefix changed with the bucket", tamper: func(s *scene) { s.trail.Prefix = "new"; moveBucket(s); s.deleteDigest(3) },
		args: []string{"--s3-bucket=new-bucket", "--s3-prefix=new", "--end-time=2026-03-01T10:00:00Z"}},

	{name: "prefix", options: testtrail.Options{Prefix: "a/b"}, args: []string{"--s3-prefix=a/b"}},
	{name: "wrong prefix", args: []string{"--s3-prefix=a"}},
	{name: "prefix with a slash at its end", options: testtrail.Options{Prefix: "a/"}, args: []string{"--s3-prefix=a/"}},
	{name: "prefix with all sorts of letters", options: testtrail.Options{Prefix: "a b/ü+(1)"}, args: []string{"--s3-prefix=a b/ü+(1)"}},
	{name: "pages of a listing", tamper: func(s *scene) { s.aws.PageSize = 2; s.chain.Hours(6) }, args: []string{"--end-time=2026-03-02"}},
	{name: "another region", tamper: func(s *scene) { s.trail.Chain(owner, "eu-west-1", begin).Hours(2) }, args: []string{"--region=eu-west-1"}},
	{name: "a region whose name begins with this one's", tamper: func(s *scene) { s.trail.Chain(owner, "us-east-10", begin).Hours(2) }},
	{name: "another account", args: []string{"--account-id=" + member}},
	{name: "two trails in one bucket", tamper: func(s *scene) {
		s.World.Trail(testtrail.Options{Name: "other", Offset: time.Minute}).Chain(owner, "us-east-1", begin).Hours(2)
		s.World.Trail(testtrail.Options{Name: "main", HomeRegion: "eu-west-1", Offset: 2 * time.Minute}).Chain(owner, "us-east-1", begin).Hours(2)
	}},
	{name: "folder markers and other objects", tamper: func(s *scene) {
		folder := "AWSLogs/" + owner + "/CloudTrail-Digest/us-east-1/"
		for _, key := range []string{folder, folder + "2026/03/01/", folder + "2026/03/01/notes.txt", folder + "2026/03/01/z"} {
			s.Put("trail-bucket", key, testtrail.Stored{})
		}
	}},

	{name: "planted key ends the listing", tamper: func(s *scene) {
		key := s.digest(1).Key
		s.Put("trail-bucket", strings.Replace(key, "_2026", "_!.json.gzz9999", 1), testtrail.Stored{})
		s.Put("trail-bucket", strings.Replace(key, "main_us-east-1_", "main_us-east-1_!99990101T000000Z_", 1)+"/99990101T000000Z.json.gz", testtrail.Stored{})
	}, ours: func(s *scene) said {
		return said{out: s.summary("04:08:11", "5/5 digest files valid", "8/8 log files valid")}
	},
		why: "an object that only looks like a digest's key neither ends nor steers the listing"},
	{name: "a trail whose name begins with this one's", tamper: func(s *scene) {
		s.World.Trail(testtrail.Options{Name: "main_us-east-1_x", Offset: 20 * time.Minute}).Chain(owner, "us-east-1", begin).Hours(4)
	}, ours: func(s *scene) said {
		return said{out: s.summary("04:08:11", "5/5 digest files valid", "8/8 log files valid")}
	},
		why: "that is another trail: its digests are not mixed in"},

	{name: "no such bucket", args: []string{"--s3-bucket=nowhere"}, anyText: true},
	{name: "listing denied", tamper: func(s *scene) { f := testaws.AccessDenied(); f.Bucket = "trail-bucket"; s.aws.Fail(f) }, anyText: true},
}

// moveBucket sends two more hours to new-bucket.
func moveBucket(s *scene) {
	s.trail.Bucket = "new-bucket"
	s.AddBucket("new-bucket")
	s.chain.Hours(2)
}
