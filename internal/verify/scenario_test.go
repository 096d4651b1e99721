package verify_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/dir"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/internal/verify"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// expect runs the site and compares the summary.
func (s *site) expect(t *testing.T, want string) *report.Report {
	t.Helper()
	r := s.run(t)
	if got := s.summary(r); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	return r
}

// until moves the end of the question to the chain's newest digest.
func (s *site) until(end time.Time) *site {
	s.cfg.End, s.cfg.Now = end, end.Add(time.Hour)
	return s
}

// toFolder copies the bucket as `aws s3 sync` does and puts the question to
// the copy.
func (s *site) toFolder(t *testing.T, sidecar func(string) bool) string {
	t.Helper()
	folder := t.TempDir()
	if err := s.WriteFolder(bucket, folder, sidecar); err != nil {
		t.Fatal(err)
	}
	s.openFolder(t, folder)
	return folder
}

func (s *site) openFolder(t *testing.T, folder string) {
	t.Helper()
	d, err := dir.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	src, err := source.Parse(folder)
	if err != nil {
		t.Fatal(err)
	}
	src.Name = "copy"
	s.cfg.Source = src
	s.cfg.Fetcher = fetch.New(d, 8)
	s.cfg.Fetcher.Plain = true
}

func TestGapIsExplained(t *testing.T) {
	for _, explained := range []bool{true, false} {
		s := newSite(testtrail.Options{}, 3)
		if explained {
			s.c.Hour(testtrail.LogOf(s.StopLogging(s.c.Now().Add(30*time.Minute), s.trail.ARN(account).String())))
		} else {
			s.c.Hour(s.Log(1))
		}
		stopped := s.c.Now()
		s.c.Skip(5 * time.Hour)
		s.c.Restart(s.c.Now())
		s.c.Hours(2)
		r := s.until(s.c.Now()).expect(t, "gap 04:08-09:08")
		e := r.Findings[0].Evidence
		if !e.From.Equal(stopped) || (e.Event != nil) != explained {
			t.Errorf("explained %v: from %s, event %+v", explained, e.From, e.Event)
		}
		if explained && (e.Event.Name != "StopLogging" || !strings.HasSuffix(e.Event.Actor, "user/mallory") || e.Event.From != "198.51.100.7") {
			t.Errorf("event %+v", e.Event)
		}
	}
}

func TestGapOfAnotherRegionBorrowsTheExplanation(t *testing.T) {
	s := newSite(testtrail.Options{}, 3)
	other := s.trail.Chain(account, "eu-west-1", day)
	other.Hours(4)
	s.c.Hour(testtrail.LogOf(s.StopLogging(s.c.Now().Add(30*time.Minute), "main")))
	for _, c := range []*testtrail.Chain{s.c, other} {
		c.Skip(5 * time.Hour)
		c.Restart(c.Now())
		c.Hours(2)
	}
	r := s.until(s.c.Now()).expect(t, "gap 04:08-09:08\ngap 04:08-09:08")
	for _, f := range r.Findings {
		if f.Evidence.Event == nil {
			t.Errorf("%s has no explanation", f.Region)
		}
	}
}

func TestGapBeforeTheRange(t *testing.T) {
	s := newSite(testtrail.Options{}, 3)
	s.c.Skip(6 * time.Hour)
	s.c.Restart(s.c.Now())
	s.c.Hours(2)
	s.cfg.Start = s.c.Issued[3].End.Add(2 * time.Hour) // inside the gap
	s.until(s.c.Now()).expect(t, "gap 03:08-09:08")
}

func TestFolder(t *testing.T) {
	newest := func(s *site) func(string) bool {
		return func(key string) bool { return key == s.c.Issued[6].Key }
	}
	t.Run("without metadata only the newest is open", func(t *testing.T) {
		s := newSite(testtrail.Options{}, 6)
		s.toFolder(t, nil)
		r := s.expect(t, "UNVERIFIED no-signature d6")
		if c := r.Chains[0]; r.Verdict != report.Incomplete || c.Digests != (report.Count{Valid: 5, Unverified: 1}) || c.Logs != (report.Count{Valid: 10, Unverified: 2}) {
			t.Errorf("%s, %+v", r.Verdict, c)
		}
	})
	t.Run("a sidecar proves the newest", func(t *testing.T) {
		s := newSite(testtrail.Options{}, 6)
		s.toFolder(t, newest(s))
		s.expect(t, "")
	})
	t.Run("below a prefix", func(t *testing.T) {
		s := newSite(testtrail.Options{Prefix: "x/y"}, 6)
		s.toFolder(t, newest(s))
		s.expect(t, "")
	})
	t.Run("with the prefix stripped", func(t *testing.T) {
		s := newSite(testtrail.Options{Prefix: "x/y"}, 6)
		folder := s.toFolder(t, newest(s))
		s.openFolder(t, filepath.Join(folder, "x"))
		s.expect(t, "")
	})
	t.Run("tampered log and digest", func(t *testing.T) {
		s := newSite(testtrail.Options{}, 6)
		s.Edit(bucket, s.c.Issued[2].Logs[0].Key, func(o *testtrail.Stored) { o.Body = testtrail.Gzip([]byte("{}")) })
		s.Edit(bucket, s.c.Issued[4].Key, func(o *testtrail.Stored) {
			o.Body = testtrail.Gzip(bytes.Replace(s.c.Issued[4].Body, []byte(`"SHA-256"`), []byte(`"SHA-256" `), 1))
		})
		s.toFolder(t, newest(s))
		s.expect(t, "UNVERIFIED no-signature l4.0\nchain-mismatch d4\nlog-modified l2.0")
	})
	t.Run("newest but one tampered, newest without signature", func(t *testing.T) {
		s := newSite(testtrail.Options{}, 6)
		s.Edit(bucket, s.c.Issued[5].Key, func(o *testtrail.Stored) {
			o.Body = testtrail.Gzip(bytes.Replace(s.c.Issued[5].Body, []byte(`"SHA-256"`), []byte(`"SHA-256" `), 1))
		})
		s.toFolder(t, nil)
		s.expect(t, "UNVERIFIED no-signature d5\nUNVERIFIED no-signature d6\nchain-mismatch d6")
	})
	t.Run("inflated by a browser", func(t *testing.T) {
		s := newSite(testtrail.Options{}, 6)
		s.Edit(bucket, s.c.Issued[3].Key, func(o *testtrail.Stored) { o.Body = s.c.Issued[3].Body })
		s.toFolder(t, newest(s))
		s.expect(t, "")
	})
	t.Run("deleted", func(t *testing.T) {
		s := newSite(testtrail.Options{}, 6)
		folder := s.toFolder(t, newest(s))
		if err := os.Remove(filepath.Join(folder, s.c.Issued[3].Key)); err != nil {
			t.Fatal(err)
		}
		// d3 is named by d4; nothing repeats the signature of d2 any more.
		s.expect(t, "UNVERIFIED no-signature d2\nUNVERIFIED no-signature l3.0\ndigest-missing d3")
	})
	t.Run("symlink out of the tree", func(t *testing.T) {
		s := newSite(testtrail.Options{}, 6)
		folder := s.toFolder(t, newest(s))
		at := filepath.Join(folder, s.c.Issued[3].Logs[0].Key)
		moved := filepath.Join(t.TempDir(), "log")
		if err := os.Rename(at, moved); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(moved, at); err != nil {
			t.Fatal(err)
		}
		s.expect(t, "UNVERIFIED access-denied l3.0")
	})
	t.Run("two buckets side by side", func(t *testing.T) {
		s := newSite(testtrail.Options{}, 3)
		s.trail.Bucket = "new-bucket"
		s.AddBucket("new-bucket")
		s.c.Hours(3)
		s.until(s.c.Now())
		folder := t.TempDir()
		for _, b := range s.Buckets() {
			if err := s.WriteFolder(b, filepath.Join(folder, b), newest(s)); err != nil {
				t.Fatal(err)
			}
		}
		s.openFolder(t, folder)
		s.expect(t, "")
	})
}

func TestBucketMove(t *testing.T) {
	moved := func() *site {
		s := newSite(testtrail.Options{}, 4)
		s.trail.Bucket = "new-bucket"
		s.AddBucket("new-bucket")
		s.c.Hours(4)
		s.cfg.Source = source.Source{Bucket: "new-bucket", Name: "s3://new-bucket"}
		return s.until(s.c.Now())
	}
	s := moved()
	if r := s.expect(t, ""); r.Counts.Digests.Valid != 8 || r.Counts.Logs.Valid != 16 {
		t.Errorf("counts %+v", r.Counts)
	}
	s = moved()
	s.Edit(bucket, s.c.Issued[2].Logs[0].Key, func(o *testtrail.Stored) { o.Body = testtrail.Gzip([]byte("{}")) })
	s.Delete(bucket, s.c.Issued[3].Key)
	s.expect(t, "digest-missing d3\nlog-modified l2.0")
	s = moved()
	s.cfg.StayInside = true
	s.expect(t, "UNVERIFIED access-denied d4")
}

func TestPrefixMove(t *testing.T) {
	s := newSite(testtrail.Options{Prefix: "old"}, 4)
	s.trail.Prefix = "new"
	s.c.Hours(4)
	if r := s.until(s.c.Now()).expect(t, ""); len(r.Chains) != 1 || r.Counts.Digests.Valid != 8 {
		t.Errorf("chains %+v", r.Chains)
	}
}

func TestBackfill(t *testing.T) {
	with := func() (*site, *testtrail.Chain) {
		s := newSite(testtrail.Options{}, 6)
		b := s.c.Backfill(day.Add(2 * time.Hour))
		b.Hour(s.Log(1))
		b.Hour(s.Log(1))
		return s, b
	}
	s, _ := with()
	r := s.expect(t, "")
	if len(r.Chains) != 2 || r.Counts.Digests.Valid != 8 || r.Counts.Logs.Valid != 14 {
		t.Errorf("%+v", r.Counts)
	}
	s, b := with()
	s.Edit(bucket, b.Issued[1].Logs[0].Key, func(o *testtrail.Stored) { o.Body = nil })
	s.Delete(bucket, b.Issued[0].Key)
	r = s.run(t)
	if got := s.summary(r); strings.Count(got, "digest-missing") != 1 || strings.Count(got, "log-corrupt") != 1 || strings.Count(got, "log-unlisted") != 1 {
		t.Errorf("got\n%s", got) // what the deleted digest listed is in none now
	}
}

func TestManyChains(t *testing.T) {
	s := newSite(testtrail.Options{}, 6)
	for _, a := range []string{account, "444455556666"} {
		for _, region := range []string{"us-east-1", "eu-west-1"} {
			if a != account || region != "us-east-1" {
				s.trail.Chain(a, region, day).Hours(6)
			}
		}
	}
	second := s.Trail(testtrail.Options{Name: "main_us-east-1_x", Offset: 31 * time.Minute})
	second.Chain(account, "us-east-1", day).Hours(7)
	s.cfg.Start, s.cfg.End = day.Add(time.Hour), day.Add(6*time.Hour)
	if r := s.expect(t, ""); len(r.Chains) != 5 {
		t.Errorf("%d chains", len(r.Chains))
	}
	s.cfg.Accounts, s.cfg.Trails = []string{account}, []string{"main"}
	if r := s.expect(t, ""); len(r.Chains) != 2 {
		t.Errorf("%d chains", len(r.Chains))
	}
	s.cfg.ExpectAccounts, s.cfg.ExpectRegions = []string{account, "999999999999"}, []string{"eu-west-1", "ap-south-1"}
	r := s.expect(t, "coverage 01:00-06:00\ncoverage 01:00-06:00")
	if f := r.Findings; f[0].Account+f[0].Region != account+"ap-south-1" || f[1].Account != "999999999999" {
		t.Errorf("%+v", f)
	}
}

func TestSourceBelowAWSLogs(t *testing.T) {
	s := newSite(testtrail.Options{Prefix: "p"}, 6)
	s.trail.Chain("444455556666", "us-east-1", day).Hours(6)
	for prefix, want := range map[string]int{"": 2, "p/": 2, "p/AWSLogs/": 2, "p/AWSLogs/" + account + "/": 1, "p/AWSLogs/" + account + "/CloudTrail-Digest/us-east-1/": 1} {
		s.cfg.Source.Prefix = prefix
		if r := s.expect(t, ""); len(r.Chains) != want {
			t.Errorf("%s: %d chains", prefix, len(r.Chains))
		}
	}
	s.cfg.Source.Prefix = "q/"
	if _, err := verify.Run(context.Background(), s.cfg); err == nil {
		t.Error("an empty prefix is no error")
	}
}

func TestLogsWithoutDigests(t *testing.T) {
	s := newSite(testtrail.Options{}, 6)
	other := s.trail.Chain(account, "eu-west-1", day)
	for _, d := range other.Issued {
		s.Delete(bucket, d.Key)
	}
	other.Deliver(day.Add(3*time.Hour), s.Log(1))
	other.Deliver(day.Add(4*time.Hour), s.Log(1))
	r := s.expect(t, "coverage 00:08-06:08")
	if r.Findings[0].Region != "eu-west-1" || r.Findings[0].Class != finding.Coverage {
		t.Errorf("%+v", r.Findings[0])
	}
}

func TestChainThatEndedLongAgo(t *testing.T) {
	s := newSite(testtrail.Options{}, 6)
	s.cfg.Start = day.AddDate(0, 2, 0)
	s.until(s.cfg.Start.Add(24*time.Hour)).expect(t, "coverage 00:00-23:00")
}

func TestKeyRotation(t *testing.T) {
	s := newSite(testtrail.Options{}, 24*31)
	r := s.expect(t, "")
	if len(r.Keys) < 2 {
		t.Errorf("%d keys used", len(r.Keys))
	}
}

func TestNewestDigestIsLate(t *testing.T) {
	s := newSite(testtrail.Options{}, 6)
	s.cfg.End = s.c.Now().Add(5 * time.Hour)
	s.cfg.Now = s.c.Now().Add(110 * time.Minute)
	s.expect(t, "")
	s.cfg.Now = s.c.Now().Add(3 * time.Hour)
	s.expect(t, "coverage 06:08-07:08")
}

func TestSameInputSameReport(t *testing.T) {
	text := func() string {
		s := newSite(testtrail.Options{}, 6)
		for _, region := range []string{"eu-west-1", "ap-south-1", "us-west-2"} {
			c := s.trail.Chain(account, region, day)
			c.Hours(6)
			s.Delete(bucket, c.Issued[3].Key)
			s.Edit(bucket, c.Issued[2].Logs[0].Key, func(o *testtrail.Stored) { o.Body = nil })
			s.Put(bucket, c.Place().Day(trail.LogFolder, day)+"x", testtrail.Stored{Body: []byte("x")})
		}
		var b bytes.Buffer
		if err := s.run(t).JSON(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	first := text()
	for range 3 {
		if text() != first {
			t.Fatal("reports differ")
		}
	}
}

func TestOneTrailOfASharedFolder(t *testing.T) {
	s := newSite(testtrail.Options{}, 6)
	other := s.Trail(testtrail.Options{Name: "other", Offset: 31 * time.Minute}).Chain(account, region, day)
	other.Hours(7)
	s.cfg.Trails = []string{"main"}
	if r := s.expect(t, ""); len(r.Chains) != 1 || len(r.Skipped) > 0 || r.Counts.Digests.Valid != 6 {
		t.Errorf("%d chains, skipped %v, %+v", len(r.Chains), r.Skipped, r.Counts)
	}
	planted, _ := s.c.Deliver(s.c.Issued[3].End.Add(-20*time.Minute), s.Log(1))
	s.expect(t, "log-unlisted "+planted.Key)
	// A name that looks like another trail's digest hides nothing.
	name := s.c.Name()
	name.Trail = "third"
	s.Put(bucket, name.Digest(s.c.Issued[3].End).String(), testtrail.Stored{Body: []byte("x")})
	s.expect(t, "log-unlisted "+planted.Key)
	// Nor does another trail's damage pass unsaid.
	s.Delete(bucket, other.Issued[3].Key)
	if r := s.run(t); r.Verdict != report.Incomplete || r.Counts.UnverifiedObjects != 3 { // what it listed, and what was planted
		t.Errorf("%s, %d objects unverified\n%s", r.Verdict, r.Counts.UnverifiedObjects, s.summary(r))
	}
}

func TestUnknownNamesAreNoSuccess(t *testing.T) {
	s := newSite(testtrail.Options{}, 6)
	s.cfg.Trails = []string{"mian"}
	s.expect(t, "coverage 00:08-06:08")
	s.cfg.Trails = nil
	s.cfg.Accounts = []string{account, "444455556666"}
	s.expect(t, "coverage 00:08-06:08")
	s.cfg.Accounts = nil
	s.cfg.Start, s.cfg.End, s.cfg.Now = s.c.Now().Add(2*time.Hour), s.c.Now().Add(3*time.Hour), s.c.Now().Add(3*time.Hour)
	if _, err := verify.Run(context.Background(), s.cfg); !errors.Is(err, verify.ErrNotDue) {
		t.Errorf("error %v", err)
	}
}

func TestOneAccountCannotBeListed(t *testing.T) {
	s := newSite(testtrail.Options{}, 6)
	s.trail.Chain("444455556666", region, day).Hours(6)
	s.cfg.Fetcher = fetch.New(denied{s.World, "AWSLogs/444455556666/CloudTrail-Digest/"}, 8)
	// Its logs are there, and nothing says whether they belong: one entry an hour.
	got := s.summary(s.run(t))
	if !strings.HasPrefix(got, "UNVERIFIED access-denied AWSLogs/444455556666/CloudTrail-Digest/\nUNVERIFIED access-denied AWSLogs/444455556666/CloudTrail-Digest/us-east-1/\n") ||
		strings.Count(got, "no-signature AWSLogs/444455556666/CloudTrail/us-east-1/") != 5 || strings.Count(got, "\n") != 6 {
		t.Errorf("got\n%s", got)
	}
}

// denied refuses to list below a prefix.
type denied struct {
	*testtrail.World
	prefix string
}

func (d denied) List(ctx context.Context, bucket, prefix, after string) iter.Seq2[trail.Object, error] {
	if strings.HasPrefix(prefix, d.prefix) {
		return func(yield func(trail.Object, error) bool) { yield(trail.Object{}, fs.ErrPermission) }
	}
	return d.World.List(ctx, bucket, prefix, after)
}

func (d denied) Children(ctx context.Context, bucket, prefix string) iter.Seq2[trail.Object, error] {
	if strings.HasPrefix(prefix, d.prefix) {
		return func(yield func(trail.Object, error) bool) { yield(trail.Object{}, fs.ErrPermission) }
	}
	return d.World.Children(ctx, bucket, prefix)
}

func TestListingFails(t *testing.T) {
	s := newSite(testtrail.Options{}, 6)
	s.Fail(bucket, "", &testtrail.Fault{Err: os.ErrPermission})
	if _, err := verify.Run(context.Background(), s.cfgWithFetcher()); err == nil {
		t.Error("no error")
	}
}

func (s *site) cfgWithFetcher() verify.Config {
	s.cfg.Fetcher = fetch.New(s.World, 8)
	return s.cfg
}
