package bench

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// referenceRows run validate-logs, verify and, where it is installed, the AWS
// CLI's validate-logs over the same trail, one after the other. x-aws-cli is
// the ratio of the walls of the two validate-logs, x-aws-cli-net without what
// each takes for a range without digests, which is what starting costs,
// verify-x-aws-cli that of the AWS CLI and verify.
func referenceRows(full bool) (rows []row) {
	small := func(n int) int { return pick(full, n, 1) }
	sizes := []struct {
		size  int
		hours map[time.Duration]int // of 12 logs, so that the AWS CLI takes a minute or two at most
	}{
		{2 << 10, map[time.Duration]int{0: 240, 10: 50, 30: 50, 100: 50}},
		{20 << 10, map[time.Duration]int{0: 240, 10: 50, 30: 400, 100: 50}},
		{500 << 10, map[time.Duration]int{0: 24, 10: 24, 30: 24, 100: 24}},
		{5 << 20, map[time.Duration]int{0: 4, 10: 4, 30: 4, 100: 4}},
	}
	for _, at := range sizes {
		for _, ms := range pick(full, []time.Duration{0, 10, 30, 100}, []time.Duration{0}) {
			s := site{Chains: 1, Hours: small(at.hours[ms]), Logs: 12, LogSize: at.size, Latency: ms * time.Millisecond}
			rows = append(rows, row{fmt.Sprintf("%s/%dKB/%dlogs", s.Latency, s.LogSize>>10, s.logs()), s.compare})
		}
		if !full {
			break
		}
	}
	return rows
}

// awsCLI returns the path of the AWS CLI, "" where it is not, and fails where it
// must be. It is the program itself, and not what pyenv puts in front of it,
// which takes as long to start as the program does.
func awsCLI(tb testing.TB) string {
	tb.Helper()
	path, err := exec.LookPath("aws")
	if err == nil {
		if behind, err := exec.Command("pyenv", "which", "aws").Output(); err == nil {
			path = strings.TrimSpace(string(behind))
		}
		return path
	}
	if os.Getenv("TRAILSEAL_REQUIRE_AWS") == "1" {
		tb.Fatal("TRAILSEAL_REQUIRE_AWS=1, but the aws command is not on the PATH")
	}
	tb.Log("the aws command is not on the PATH: nothing to compare with; TRAILSEAL_REQUIRE_AWS=1 makes this a failure")
	return ""
}

func (s site) compare(m meter) {
	srv := s.start(m)
	ours := rival{args: []string{program(m, "verifier"), "validate-logs"}}
	verify := errand{Args: append([]string{program(m, "verifier")}, s.verifyFlags()...), Env: srv.env}
	aws := awsCLI(m)
	theirs := rival{args: []string{aws, "cloudtrail", "validate-logs"}}
	var whole total
	for m.Loop() {
		ours.run(m, srv, s)
		whole.add(verify.measure(m, 0))
		if aws != "" {
			theirs.run(m, srv, s)
		}
	}
	ours.report(m, "")
	whole.report(m, "verify-")
	if aws == "" {
		return
	}
	theirs.report(m, "aws-")
	m.ReportMetric(theirs.wall.Seconds()/ours.wall.Seconds(), "x-aws-cli")
	m.ReportMetric(theirs.wall.Seconds()/whole.wall.Seconds(), "verify-x-aws-cli")
	// Of a trail as small as that of a test nothing may be left without the start.
	if net := (theirs.wall - theirs.idle).Seconds() / (ours.wall - ours.idle).Seconds(); net > 0 {
		m.ReportMetric(net, "x-aws-cli-net")
	}
}

// rival is a program with what it took so far.
type rival struct {
	args []string
	total
	idle time.Duration // of total.wall, to start
}

func (r *rival) run(tb testing.TB, srv *server, s site) {
	tb.Helper()
	// An empty range long before the first digest: start, keys and a listing.
	before := s.begin().AddDate(-1, 0, 0)
	r.idle += r.errand(srv, before, before.Add(time.Hour)).measure(tb, 0).Wall
	m := r.errand(srv, s.begin(), newest).measure(tb, 0)
	r.add(m)
	if want := fmt.Sprintf("%d/%d log files valid", s.logs(), s.logs()); !strings.Contains(m.Output, want) {
		tb.Fatalf("%v: no %q in\n%s", r.args, want, m.Output)
	}
}

func (r *rival) errand(srv *server, from, to time.Time) errand {
	return errand{Env: srv.env, Args: append(r.args[:len(r.args):len(r.args)],
		"--trail-arn=arn:aws:cloudtrail:us-east-1:"+owner+":trail/main", "--s3-bucket="+bucket, "--region=us-east-1",
		"--start-time="+from.Format(time.RFC3339), "--end-time="+to.Format(time.RFC3339))}
}
