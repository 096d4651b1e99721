package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
)

// site is a fake AWS with one chain of a few hours that have just ended.
func fakeAWS(t *testing.T) (*testaws.Server, *testtrail.Chain) {
	t.Helper()
	w := testtrail.New()
	c := w.Trail(testtrail.Options{}).Chain("111122223333", "us-east-1", time.Now().UTC().Add(-5*time.Hour))
	c.Hours(3)
	s := testaws.New(t, w)
	for _, v := range s.Env() {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	t.Setenv("AWS_PROFILE", "")
	return s, c
}

func TestQueue(t *testing.T) {
	s, c := fakeAWS(t)
	q := s.Queue("trail")
	for _, d := range c.Issued {
		q.Send(`{"s3Bucket":"trail-bucket","s3ObjectKey":["` + d.Key + `"]}`)
	}
	q.Send("CloudTrail validation message.")
	q.Send(`{"Records":[{"eventVersion":"2.1","eventName":"ObjectRemoved:Delete","s3":{"bucket":{"name":"trail-bucket"},"object":{"key":"` + c.Issued[1].Logs[0].Key + `"}}}]}`)
	poison := `{"what":"is this"}`
	q.Send(poison)
	args := []string{"--once", "--source", "s3://trail-bucket", "--queue", q.URL(), "--state", "file:" + filepath.Join(t.TempDir(), "state"), "--since", "6h"}
	var stdout, stderr shared
	if code := run(t.Context(), args, &stdout, &stderr); code != exitOK {
		t.Errorf("exit %d\n%s", code, stderr.String())
	}
	if n := strings.Count(stdout.String(), "\n"); n != 15 {
		t.Errorf("%d events", n)
	}
	if strings.Contains(stderr.String(), `"class"`) { // the log file whose removal is announced is there
		t.Errorf("stderr %s", stderr.String())
	}
	if left := q.Bodies(); len(left) != 1 || left[0] != poison {
		t.Errorf("left %q", left)
	}
}

func TestQueueSettings(t *testing.T) {
	t.Setenv("AWS_REGION", "")
	for name, row := range map[string]struct {
		args []string
		want string
	}{
		"no URL":                     {[]string{"--queue", "trail"}, `queue "trail": not the URL of a queue`},
		"external id, no role":       {[]string{"--external-id", "x"}, "of no use without role-arn"},
		"queue external id, no role": {[]string{"--queue-external-id", "x"}, "of no use without queue-role-arn"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr shared
			args := append([]string{"--once", "--source", t.TempDir(), "--role-arn=", "--queue-role-arn="}, row.args...)
			if code := run(t.Context(), args, &stdout, &stderr); code != exitUsage || !strings.Contains(stderr.String(), row.want) {
				t.Errorf("exit %d: %s", code, stderr.String())
			}
		})
	}
}
