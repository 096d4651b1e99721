package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/finding"
)

// site is a world with digests of trail main in two accounts, ending from
// 00:08:11 to 06:08:11, with two log files in each but the first, and a
// server for it. chain is that of owner.
type site struct {
	*testtrail.World
	trail *testtrail.Trail
	chain *testtrail.Chain
	other *testtrail.Chain // of account member
	aws   *testaws.Server
	now   time.Time
	end   time.Time // of the question; zero: 06:08:11

	endpoint string // of AWS; "": that of aws
	json     string // the last report
}

// The objects of a site whose hours touch its question.
const (
	siteDigests = 2 * 6
	siteLogs    = 2 * 12
)

// newSite needs the environment of signIn.
func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{World: testtrail.New(), now: begin.Add(7 * time.Hour)}
	s.trail = s.World.Trail(testtrail.Options{})
	s.chain, s.other = s.trail.Chain(owner, "us-east-1", begin), s.trail.Chain(member, "us-east-1", begin)
	s.chain.Hours(6)
	s.other.Hours(6)
	s.aws = testaws.New(t, s.World)
	return s
}

// signIn gives the process credentials and nothing else of AWS; subtests may
// be parallel.
func signIn(t *testing.T) {
	t.Helper()
	for _, name := range []string{"AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN", "AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE"} {
		t.Setenv(name, "")
	}
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIATESTTESTTESTTEST", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
}

// verifier runs the program in this process against the site's AWS.
func (s *site) verifier(t *testing.T, args ...string) said {
	t.Helper()
	var out, diag bytes.Buffer
	a := &app{stdout: &out, stderr: &diag, now: func() time.Time { return s.now }, aws: awsapi.Options{
		Endpoint: cmp.Or(s.endpoint, s.aws.URL), MaxBackoff: 5 * time.Millisecond, IdleTimeout: 300 * time.Millisecond,
	}}
	code := a.run(t.Context(), args)
	return said{out.String(), diag.String(), code}
}

// verify asks for all hours of the site and returns the report, too; it holds
// every report to what must be true of all.
func (s *site) verify(t *testing.T, source string, args ...string) (said, *report.Report) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.json")
	end := s.end
	if end.IsZero() {
		end = begin.Add(6*time.Hour + 8*time.Minute + 11*time.Second)
	}
	args = append([]string{"verify", "--start-time=2026-03-01T00:08:11Z", "--end-time=" + end.Format(time.RFC3339), "--report", file, source}, args...)
	got := s.verifier(t, args...)
	b, err := os.ReadFile(file)
	if err != nil {
		return got, nil
	}
	s.json = string(b)
	r := readReport(t, b)
	checkReport(t, r, got.exit)
	return got, r
}

func readReport(t *testing.T, b []byte) *report.Report {
	t.Helper()
	var r report.Report
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		t.Fatalf("report: %v\n%s", err, b)
	}
	return &r
}

// checkReport demands that counts, verdict and exit code say the same, and that the
// hours of each chain add up to those that were asked for.
func checkReport(t *testing.T, r *report.Report, exit int) {
	t.Helper()
	var digests, logs report.Count
	for _, c := range r.Chains {
		digests.Add(c.Digests)
		logs.Add(c.Logs)
	}
	findings, unverified := len(r.Findings), len(r.Unverified)
	for _, o := range r.Omitted {
		if o.Class != "" {
			findings += o.Count
		} else {
			unverified += o.Count
		}
	}
	if r.Counts.Digests != digests || r.Counts.Logs != logs || r.Counts.Chains != len(r.Chains) ||
		r.Counts.Findings != findings || r.Counts.Unverified != unverified {
		t.Errorf("counts %+v do not add up: digests %+v, logs %+v, %d chains, %d findings, %d unverified",
			r.Counts, digests, logs, len(r.Chains), len(r.Findings), len(r.Unverified))
	}
	for _, c := range r.Chains {
		var sum time.Duration
		for _, s := range c.Covered {
			sum += s.End.Sub(s.Start)
		}
		if asked := r.Requested.End.Sub(r.Requested.Start); !c.Backfill && sum != asked {
			t.Errorf("%s %s %s: %v adds up to %s, not to %s", c.Account, c.Region, c.Trail, c.Covered, sum, asked)
		}
	}
	want, code := report.Intact, exitOK
	switch {
	case len(r.Findings) > 0:
		want, code = report.Findings, exitFindings
	case len(r.Unverified) > 0:
		want, code = report.Incomplete, exitIncomplete
	}
	if r.Verdict != want || exit != code {
		t.Errorf("%d findings, %d unverified: verdict %s, exit %d; want %s, %d", len(r.Findings), len(r.Unverified), r.Verdict, exit, want, code)
	}
	if r.Verdict == report.Intact && (digests.Invalid+digests.Unverified+logs.Invalid > 0) {
		t.Errorf("intact with digests %+v and logs %+v", digests, logs)
	}
}

// lines returns what a report tells as sorted lines: class and key, reason and
// key. Keys are shortened to d3 and l3.1 for the site's chain and m-d3 for the
// other one.
func (s *site) lines(r *report.Report) string {
	names := map[string]string{}
	for prefix, c := range map[string]*testtrail.Chain{"": s.chain, "m-": s.other} {
		if c == nil {
			continue
		}
		for i, d := range c.Issued {
			names[d.Key] = fmt.Sprintf("%sd%d", prefix, i)
			for j, l := range d.Logs {
				names[l.Key] = fmt.Sprintf("%sl%d.%d", prefix, i, j)
			}
		}
	}
	line := func(what string, u finding.Subject) string {
		if name := names[u.Key]; name != "" {
			return what + " " + name
		}
		return strings.TrimSpace(what + " " + u.Key)
	}
	var all []string
	for _, f := range r.Findings {
		all = append(all, line(string(f.Class), f.Subject))
	}
	for _, u := range r.Unverified {
		all = append(all, line("UNVERIFIED "+string(u.Reason), u.Subject))
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}
