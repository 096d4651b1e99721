package testaws_test

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
)

// aws runs the real command against srv.
func aws(t *testing.T, srv *testaws.Server, args ...string) (stdout, stderr string, exit int) {
	t.Helper()
	path, err := exec.LookPath("aws")
	if err != nil {
		if os.Getenv("TRAILSEAL_REQUIRE_AWS") == "1" {
			t.Fatal("TRAILSEAL_REQUIRE_AWS=1, but the aws command is not on the PATH")
		}
		t.Skip("the aws command is not on the PATH; TRAILSEAL_REQUIRE_AWS=1 makes this a failure")
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, srv.Env()...)
	var out, diag bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diag
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), diag.String(), cmd.ProcessState.ExitCode()
}

var start = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// What the reference calls valid here, the server serves as AWS does.
func TestValidateLogsOfTheCLI(t *testing.T) {
	const owner, member, org = "111122223333", "444455556666", "o-0123456789"
	for _, c := range []struct {
		name     string
		options  testtrail.Options
		region   string
		backfill bool
		tamper   bool
		args     []string // none: --s3-bucket
		want     []string
		exit     int
	}{
		{
			name: "a plain trail", region: "us-east-1",
			want: []string{"Digest file\ts3://trail-bucket/AWSLogs/111122223333/CloudTrail-Digest/us-east-1/", "4/4 digest files valid\n", "6/6 log files valid\n"},
		},
		{
			name: "tampered", region: "us-east-1", tamper: true, exit: 1,
			want: []string{"4/4 digest files valid\n", "5/6 log files valid, 1/6 log files INVALID\n"},
		},
		{
			name: "a prefix, another region, described", region: "eu-west-1",
			options: testtrail.Options{Prefix: "a/b", Bucket: "eu-bucket", Name: "x_us-east-1_y"},
			args:    []string{"--account-id=" + owner},
			want:    []string{"Log file\ts3://eu-bucket/a/b/AWSLogs/", "4/4 digest files valid\n", "6/6 log files valid\n"},
		},
		{
			name: "an organization", region: "us-east-1",
			options: testtrail.Options{Organization: org},
			args:    []string{"--account-id=" + member},
			want:    []string{"s3://trail-bucket/AWSLogs/o-0123456789/444455556666/CloudTrail/us-east-1/", "4/4 digest files valid\n", "6/6 log files valid\n"},
		},
		{
			name: "a backfill", region: "us-east-1", backfill: true,
			want: []string{"(backfill) Digest file\t", "4/4 digest files valid\n", "2/2 backfill digest files valid\n", "8/8 log files valid\n"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := testtrail.New()
			trail := w.Trail(c.options)
			account := owner
			if c.options.Organization != "" {
				account = member
			}
			chain := trail.Chain(account, c.region, start)
			chain.Hours(3)
			if c.backfill {
				b := chain.Backfill(start)
				b.Hour(w.Log(1))
				b.Hour(w.Log(1))
			}
			if c.tamper {
				o := chain.Issued[2].Logs[0]
				w.Edit(o.Bucket, o.Key, func(s *testtrail.Stored) { s.Body = testtrail.Gzip([]byte(`{"Records":[]}`)) })
			}
			srv := testaws.New(t, w)
			srv.PageSize, srv.KeyPage = 2, 1
			srv.Regions["eu-bucket"] = "eu-west-1"
			srv.Organization = org
			srv.Trails = []testaws.Trail{testaws.Describe(trail, owner)}

			args := []string{"cloudtrail", "validate-logs", "--verbose", "--region", c.region,
				"--trail-arn", trail.ARN(owner).String(),
				"--start-time", start.Format(time.RFC3339), "--end-time", start.Add(5 * time.Hour).Format(time.RFC3339)}
			if len(c.args) == 0 {
				args = append(args, "--s3-bucket", trail.Bucket)
			}
			args = append(args, c.args...)
			out, diag, exit := aws(t, srv, args...)
			if exit != c.exit || (c.exit == 0 && diag != "") {
				t.Errorf("exit %d, stderr %q", exit, diag)
			}
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
		})
	}
}
