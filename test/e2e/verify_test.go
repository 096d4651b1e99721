package e2e

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"

	"github.com/trailseal/trailseal/internal/testtrail"
)

// The verifier of the image proves a bucket, and finds what was done to it.
func TestVerifier(t *testing.T) {
	t.Parallel()
	s := newSite(t, newS3(t))
	s.hours(12)
	s.deliver()
	s.verify(0)
	changed, gone := s.chains[0].Issued[5], s.chains[1].Issued[7]
	s.EditLog(changed.Logs[1], func([]byte) []byte { return s.Log(eventsPerLog) })
	s.server.putAll(s.Store, s.bucket, []string{changed.Logs[1].Key})
	if _, err := s.server.client().DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &s.bucket, Key: &gone.Key}); err != nil {
		t.Fatal(err)
	}
	planted := testtrail.Stored{Body: testtrail.Gzip(s.Log(1)), Encoding: "gzip"}
	s.Put(s.bucket, changed.Logs[0].Key[:len(changed.Logs[0].Key)-len("abcdefghijklmnop.json.gz")]+"PLANTEDplanted00.json.gz", planted)
	s.deliver()
	s.verify(1, "digest-missing", "log-modified", "log-unlisted")
}

// verify runs the verifier over the site's bucket and demands its exit code and
// the classes of its findings.
func (s *site) verify(exit int, classes ...string) {
	s.t.Helper()
	b := run(s.t, image(s.t, ours), "verifier-"+plainName(s.t), nil, testcontainers.WithEntrypoint("verifier"),
		testcontainers.WithCmd("verify", "s3://"+s.bucket, "--keys", keysPath, "--report", home+"/report.json",
			"--start-time", s.chains[0].Issued[0].End.Format(time.RFC3339), "--end-time", s.chains[0].Now().Format(time.RFC3339)),
		testcontainers.WithEnv(environment(s.t, s.server.inside, "")), hosted(hardened), withFile(s.t, keysPath, s.keysFile()),
		testcontainers.WithWaitStrategyAndDeadline(patience, wait.ForExit()))
	b.ended(exit)
	var r struct {
		Verdict  string
		Findings []struct{ Class string }
		Counts   struct {
			Logs struct{ Valid, Invalid, Unverified int }
		}
	}
	if err := json.Unmarshal(b.files(home)["report.json"], &r); err != nil {
		s.t.Fatalf("%v\n%s", err, b.said())
	}
	found := []string{}
	for _, f := range r.Findings {
		found = append(found, f.Class)
	}
	slices.Sort(found)
	found = slices.Compact(found)
	if want := append([]string{}, classes...); !slices.Equal(found, want) || (r.Verdict == "intact") != (exit == 0) {
		s.t.Errorf("verdict %s, found %q, want %q\n%s", r.Verdict, found, want, b.said())
	}
	if n := r.Counts.Logs; exit == 0 && n.Valid != s.logs() || n.Unverified > 0 {
		s.t.Errorf("logs %+v, want %d", n, s.logs())
	}
}
