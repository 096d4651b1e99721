package validatelogs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/internal/validatelogs"
)

const account = "111122223333"

var begin = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// scene is a world with a starting digest and n hours of two log files each.
type scene struct {
	*testtrail.World
	trail   *testtrail.Trail
	chain   *testtrail.Chain
	request validatelogs.Request
}

func newScene(hours int) *scene {
	s := &scene{World: testtrail.New()}
	s.trail = s.World.Trail(testtrail.Options{})
	s.chain = s.trail.Chain(account, "us-east-1", begin)
	s.chain.Hours(hours)
	s.request = validatelogs.Request{
		ARN: s.trail.ARN(account).String(), Bucket: s.trail.Bucket, Chain: s.chain.Name(),
		Start: begin, End: begin.Add(time.Duration(hours+1) * time.Hour), Concurrency: 4,
	}
	return s
}

func (s *scene) run(t *testing.T) (stdout, stderr string, r validatelogs.Result, err error) {
	t.Helper()
	var out, diag bytes.Buffer
	r, err = validatelogs.Run(t.Context(), s.World, s.World, s.request, &out, &diag)
	return out.String(), diag.String(), r, err
}

// The comparison with the AWS CLI itself is in cmd/verifier; these rows hold
// where there is none.
func TestRun(t *testing.T) {
	const found = "Results found for 2026-03-01T00:00:00Z to 2026-03-01T03:08:11Z:\n\n"
	denied := fmt.Errorf("get: %w", fs.ErrPermission)
	for _, c := range []struct {
		name    string
		tamper  func(*scene)
		verbose bool
		out     string // after the two lines on what was asked for
		err     string // {N} is digest N, {N.M} its log file M
	}{
		{name: "untouched", out: found + "4/4 digest files valid\n6/6 log files valid\n"},
		{
			name: "untouched, verbose", verbose: true, tamper: func(s *scene) { s.request.Start = begin.Add(3 * time.Hour) },
			out: "Results found for 2026-03-01T03:00:00Z to 2026-03-01T03:08:11Z:\n\n1/1 digest files valid\n2/2 log files valid\n",
		},
		{name: "no digests", tamper: func(s *scene) { s.request.Chain.Trail = "another" }, out: "No digests found\n"},
		{
			name: "log modified", tamper: func(s *scene) {
				s.EditLog(s.chain.Issued[2].Logs[0], func(b []byte) []byte { return append(b, ' ') })
			},
			out: found + "4/4 digest files valid\n5/6 log files valid, 1/6 log files INVALID\n",
			err: "Log file\t{2.0}\tINVALID: hash value doesn't match\n\n",
		},
		{
			name: "log deleted", tamper: func(s *scene) { s.Delete(s.request.Bucket, s.chain.Issued[2].Logs[0].Key) },
			out: found + "4/4 digest files valid\n5/6 log files valid, 1/6 log files INVALID\n",
			err: "Log file\t{2.0}\tINVALID: not found\n\n",
		},
		{
			name: "data after a log", tamper: func(s *scene) {
				s.Edit(s.request.Bucket, s.chain.Issued[2].Logs[0].Key, func(o *testtrail.Stored) { o.Body = append(o.Body, 0) })
			},
			out: found + "4/4 digest files valid\n5/6 log files valid, 1/6 log files INVALID\n",
			err: "Log file\t{2.0}\tINVALID: unexpected data after end of compressed stream\n\n",
		},
		{
			name: "log without its trailer", tamper: func(s *scene) {
				s.Edit(s.request.Bucket, s.chain.Issued[2].Logs[0].Key, func(o *testtrail.Stored) { o.Body = o.Body[:len(o.Body)-1] })
			},
			out: found + "4/4 digest files valid\n5/6 log files valid, 1/6 log files INVALID\n",
			err: "Log file\t{2.0}\tINVALID: invalid format\n\n",
		},
		{
			name: "data after a digest", tamper: func(s *scene) {
				s.Edit(s.request.Bucket, s.chain.Issued[2].Key, func(o *testtrail.Stored) { o.Body = append(o.Body, "more"...) })
			},
			out: found + "3/4 digest files valid, 1/4 digest files INVALID\n4/4 log files valid\n",
			err: "Digest file\t{2}\tINVALID: invalid format\n\n",
		},
		{
			name: "digest deleted", tamper: func(s *scene) { s.Delete(s.request.Bucket, s.chain.Issued[2].Key) },
			out: found + "3/4 digest files valid, 1/4 digest files INVALID\n4/4 log files valid\n",
			err: "Digest file\t{2}\tINVALID: not found\n\n",
		},
		{
			name: "newest and oldest digests deleted", tamper: func(s *scene) {
				s.Delete(s.request.Bucket, s.chain.Issued[3].Key)
				s.Delete(s.request.Bucket, s.chain.Issued[0].Key)
			},
			out: "Results found for 2026-03-01T00:08:11Z to 2026-03-01T02:08:11Z:\n\n2/3 digest files valid, 1/3 digest files INVALID\n4/4 log files valid\n",
			err: "Digest file\t{0}\tINVALID: not found\n\n",
		},
		{
			name: "all unsigned", tamper: func(s *scene) {
				for _, d := range s.chain.Issued {
					s.Edit(d.Bucket, d.Key, func(o *testtrail.Stored) { o.Meta = nil })
				}
			},
			out: "No valid digests found in range\n\n0/4 digest files valid, 4/4 digest files INVALID\n",
			err: "Digest file\t{3}\tINVALID: signature verification failed\n\nDigest file\t{2}\tINVALID: signature verification failed\n\n" +
				"Digest file\t{1}\tINVALID: signature verification failed\n\nDigest file\t{0}\tINVALID: signature verification failed\n\n",
		},
		{
			name: "objects planted beside the digests", tamper: func(s *scene) {
				for _, key := range []string{"_!", "_99999999T999999Z", "_x_us-east-1"} {
					s.Put(s.request.Bucket, strings.Replace(s.chain.Issued[1].Key, "_2026", key+"_2026", 1), testtrail.Stored{})
				}
			},
			out: found + "4/4 digest files valid\n6/6 log files valid\n",
		},
		{
			name: "reads denied", tamper: func(s *scene) {
				s.Fail(s.request.Bucket, s.chain.Issued[2].Key, &testtrail.Fault{Err: denied})
				s.Fail(s.request.Bucket, s.chain.Issued[3].Logs[1].Key, &testtrail.Fault{Err: denied})
			},
			out: found + "3/4 digest files valid, 1/4 digest files UNVERIFIED\n3/4 log files valid, 1/4 log files UNVERIFIED\n",
			err: "Log file\t{3.1}\tUNVERIFIED: access-denied\n\nDigest file\t{2}\tUNVERIFIED: access-denied\n\n",
		},
		{
			name: "body cut off once", tamper: func(s *scene) {
				s.Fail(s.request.Bucket, s.chain.Issued[3].Logs[1].Key, &testtrail.Fault{Err: io.ErrUnexpectedEOF, Cut: 30, Times: 1})
			},
			out: found + "4/4 digest files valid\n6/6 log files valid\n",
		},
		{
			name: "gap", tamper: func(s *scene) {
				s.chain.Skip(2 * time.Hour)
				s.chain.Restart(s.chain.Now())
				s.request.End = begin.Add(6 * time.Hour)
			},
			out: "Results found for 2026-03-01T00:00:00Z to 2026-03-01T05:08:11Z:\n\n5/5 digest files valid\n6/6 log files valid\n",
			err: "No log files were delivered by CloudTrail between 2026-03-01T03:08:11Z and 2026-03-01T04:08:11Z\n\n",
		},
		{
			name: "bucket changed", tamper: func(s *scene) {
				s.trail.Bucket, s.request.Bucket = "new-bucket", "new-bucket"
				s.chain.Hours(1)
				s.Delete("trail-bucket", s.chain.Issued[1].Key)
				s.request.End = begin.Add(6 * time.Hour)
			},
			out: "Results found for 2026-03-01T00:00:00Z to 2026-03-01T04:08:11Z:\n\n4/5 digest files valid, 1/5 digest files INVALID\n6/6 log files valid\n",
			err: "Digest file\t{1}\tINVALID: not found\n\n",
		},
		{
			name: "backfill", tamper: func(s *scene) {
				b := s.chain.Backfill(begin)
				b.Hour(s.Log(1))
				b.Hour(s.Log(1))
				s.Delete(s.request.Bucket, b.Issued[0].Key)
			},
			out: found + "4/4 digest files valid\n1/2 backfill digest files valid, 1/2 backfill digest files INVALID\n7/7 log files valid\n",
			err: "(backfill) Digest file\t{1b}\tINVALID: not found\n\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(3)
			if c.tamper != nil {
				c.tamper(s)
			}
			s.request.Verbose = c.verbose
			out, diag, _, err := s.run(t)
			if err != nil {
				t.Fatal(err)
			}
			asked := stamp(s.request.Start) + " to " + stamp(s.request.End) + "\n"
			want := "Validating log files for trail " + s.request.ARN + " between " + strings.Replace(asked, " to ", " and ", 1) + "\n"
			if c.verbose {
				want += s.fill("Digest file\t{3}\tvalid\nLog file\t{3.0}\tvalid\nLog file\t{3.1}\tvalid\n\n")
			}
			if want += "Results requested for " + asked + c.out; out != want {
				t.Errorf("stdout %q\nwant   %q", out, want)
			}
			if want := s.fill(c.err); diag != want {
				t.Errorf("stderr %q\nwant   %q", diag, want)
			}
		})
	}
}

func stamp(t time.Time) string { return t.Format(time.RFC3339) }

// fill puts addresses in the place of their short forms.
func (s *scene) fill(text string) string {
	var pairs []string
	for i, d := range s.chain.Issued {
		uri := "s3://" + d.Bucket + "/" + d.Key
		pairs = append(pairs, fmt.Sprintf("{%d}", i), uri, fmt.Sprintf("{%db}", i), strings.Replace(uri, ".json.gz", "_backfill.json.gz", 1))
		for j, l := range d.Logs {
			pairs = append(pairs, fmt.Sprintf("{%d.%d}", i, j), l.String())
		}
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

func TestRunStops(t *testing.T) {
	boom := errors.New("boom")
	for _, c := range []struct {
		name string
		do   func(*scene)
		want string
	}{
		{"listing fails", func(s *scene) { s.Fail("trail-bucket", "", &testtrail.Fault{Err: boom}) }, "list digests in s3://trail-bucket: boom"},
		{"no bucket", func(s *scene) { s.request.Bucket = "none" }, "list digests in s3://none: list s3://none: file does not exist"},
		{"keys fail", func(s *scene) { s.KeysErr = boom }, "public keys of us-east-1: boom"},
		{"no keys", func(s *scene) { s.NoKeys = true }, "No public keys found between 2026-03-01T00:00:00Z and 2026-03-01T06:00:00Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(3)
			c.do(s)
			out, _, _, err := s.run(t)
			if err == nil || err.Error() != c.want {
				t.Errorf("error %v, want %s", err, c.want)
			}
			if strings.Contains(out, "Results") {
				t.Errorf("a summary of what was not validated: %q", out)
			}
		})
	}
}

// A listing that breaks off is no shorter listing.
func TestListingBreaksOff(t *testing.T) {
	s := newScene(3)
	w := &watched{World: s.World, breakAt: s.chain.Issued[2].Key}
	_, err := validatelogs.Run(t.Context(), w, w, s.request, io.Discard, io.Discard)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

// A chain that leads back into itself must end: the reference would not.
func TestLoop(t *testing.T) {
	s := newScene(3)
	newest := s.chain.Issued[3]
	s.chain.Reissue(1, func(d *testtrail.Doc) { d.PrevObject = &newest.Key })
	_, _, r, err := s.run(t)
	if err == nil || !strings.Contains(err.Error(), "leads back") || r.Digests.Valid != 3 {
		t.Errorf("%+v, %v", r, err)
	}
}

// full fails after so many writes, as a disk that is full does.
type full struct{ left int }

func (f *full) Write(b []byte) (int, error) {
	if f.left == 0 {
		return 0, errors.New("disk full")
	}
	f.left--
	return len(b), nil
}

func TestWriteFails(t *testing.T) {
	for n := range 7 {
		s := newScene(3)
		s.request.Verbose = true
		_, err := validatelogs.Run(context.Background(), s.World, s.World, s.request, &full{n}, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("after %d writes: %v", n, err)
		}
	}
}
