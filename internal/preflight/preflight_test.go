package preflight_test

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/preflight"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

const bucket = "trail-bucket"

var begin = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func TestTry(t *testing.T) {
	logOf := func(region, day string) string {
		return "AWSLogs/111122223333/CloudTrail/" + region + "/" + day + "/x.json.gz"
	}
	for name, tt := range map[string]struct {
		change func(*testtrail.World, *testtrail.Chain)
		want   []string // outcome and the beginning of each line
	}{
		"control": {func(*testtrail.World, *testtrail.Chain) {},
			[]string{"ok listed: 1 account, 1 region", "ok read: s3://trail-bucket/AWSLogs/111122223333/CloudTrail-Digest/", "ok read: s3://trail-bucket/AWSLogs/111122223333/CloudTrail/"}},
		"no listing": {func(w *testtrail.World, _ *testtrail.Chain) {
			w.Fail(bucket, "", &testtrail.Fault{Err: fs.ErrPermission})
		}, []string{"s3:ListBucket on trail-bucket: permission denied"}},
		"the newest digest is denied": {func(w *testtrail.World, c *testtrail.Chain) {
			w.Fail(bucket, c.Issued[2].Key, &testtrail.Fault{Err: fs.ErrPermission})
		}, []string{"ok listed", "s3:GetObject on trail-bucket/*: permission denied"}},
		"an older digest is denied": {func(w *testtrail.World, c *testtrail.Chain) {
			w.Fail(bucket, c.Issued[1].Key, &testtrail.Fault{Err: fs.ErrPermission})
		}, []string{"ok listed", "ok read", "ok read"}},
		"its log is denied": {func(w *testtrail.World, c *testtrail.Chain) {
			w.Fail(bucket, c.Issued[2].Logs[0].Key, &testtrail.Fault{Err: finding.ErrKMSDenied})
		}, []string{"ok listed", "ok read", "s3:GetObject on trail-bucket/*: " + finding.ErrKMSDenied.Error()}},
		"its log is gone": {func(w *testtrail.World, c *testtrail.Chain) { w.Delete(bucket, c.Issued[2].Logs[0].Key) },
			[]string{"ok listed", "ok read", "note a log file is gone"}},
		"the newest digest is broken": {func(w *testtrail.World, c *testtrail.Chain) {
			w.Edit(bucket, c.Issued[2].Key, func(o *testtrail.Stored) { o.Body = []byte("x") })
		}, []string{"ok listed", "note the newest digest is broken", "ok read"}},
		"an hour without logs": {func(_ *testtrail.World, c *testtrail.Chain) { c.Hour() },
			[]string{"ok listed", "ok read", "ok read: s3://trail-bucket/AWSLogs/111122223333/CloudTrail/us-east-1/"}},
		"logs without digests": {func(w *testtrail.World, _ *testtrail.Chain) {
			w.Put(bucket, logOf("eu-west-1", "2026/03/01"), testtrail.Stored{Body: []byte("x")})
		}, []string{"ok listed: 1 account, 2 regions", "ok read", "ok read", "missing log files and no digests: 111122223333 eu-west-1: switch validation on"}},
		"logs without digests of long ago": {func(w *testtrail.World, _ *testtrail.Chain) {
			w.Put(bucket, logOf("eu-west-1", "2025/03/01"), testtrail.Stored{Body: []byte("x")})
		}, []string{"ok listed", "ok read", "ok read"}},
		"logs alone": {func(w *testtrail.World, c *testtrail.Chain) {
			for _, d := range c.Issued {
				w.Delete(bucket, d.Key)
			}
		}, []string{"ok listed", "missing no digest found", "missing log files and no digests"}},
		"nothing": {func(w *testtrail.World, c *testtrail.Chain) {
			keys, _ := w.Keys(bucket, "")
			for _, k := range slices.Clone(keys) {
				w.Delete(bucket, k)
			}
		}, []string{"s3:ListBucket on trail-bucket: " + discover.ErrNothing.Error()}},
	} {
		t.Run(name, func(t *testing.T) {
			w := testtrail.New()
			c := w.Trail(testtrail.Options{}).Chain("111122223333", "us-east-1", begin)
			c.Hours(2)
			tt.change(w, c)
			got, _ := preflight.Source{
				Source: source.Source{Bucket: bucket, Name: "s3://" + bucket}, Objects: w, Since: begin, Now: c.Now(),
				Keep: func(trail.Place) bool { return true },
			}.Try(t.Context())
			var lines []string
			for _, r := range got {
				lines = append(lines, line(r))
			}
			if !slices.EqualFunc(lines, tt.want, strings.HasPrefix) {
				t.Errorf("%q\nwant %q", lines, tt.want)
			}
		})
	}
}

func line(r preflight.Result) string {
	switch {
	case r.Err != nil:
		return r.Action + " on " + r.Resource + ": " + r.Err.Error()
	case r.Missing:
		return "missing " + r.Detail
	case r.Note:
		return "note " + r.Detail
	}
	return "ok " + r.Detail
}

// The regions are those of which the source has folders and that are asked for.
func TestRegions(t *testing.T) {
	w := testtrail.New()
	tr := w.Trail(testtrail.Options{})
	for _, region := range []string{"us-east-1", "eu-west-1", "ap-south-1"} {
		tr.Chain("111122223333", region, begin).Hours(1)
	}
	_, got := preflight.Source{
		Source: source.Source{Bucket: bucket}, Objects: w, Now: begin.Add(3 * time.Hour),
		Keep: func(p trail.Place) bool { return p.Region != "ap-south-1" },
	}.Try(t.Context())
	if want := []string{"eu-west-1", "us-east-1"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
