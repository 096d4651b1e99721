package bench

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// BenchmarkReference runs the built validate-logs and, where it is installed,
// the AWS CLI's over the same trail, one after the other. x_aws_cli is the
// ratio of the two walls. Both also run over a range without digests, which is
// what starting costs; x_aws_cli_net is the ratio without that.
func BenchmarkReference(b *testing.B) {
	for _, s := range []site{
		{Chains: 1, Hours: 240, Logs: 12, LogSize: 20 << 10},
		{Chains: 1, Hours: 24, Logs: 12, LogSize: 500 << 10},
		{Chains: 1, Hours: 25, Logs: 12, LogSize: 20 << 10, Latency: 30 * time.Millisecond},
		{Chains: 1, Hours: 200, Logs: 12, LogSize: 20 << 10, Latency: 30 * time.Millisecond},
	} {
		b.Run(fmt.Sprintf("%s/%dKB/%dlogs", s.Latency, s.LogSize>>10, s.logs()), s.compare)
	}
}

func (s site) compare(b *testing.B) {
	program, err := verifier()
	if err != nil {
		b.Fatal(err)
	}
	env := s.start(b)
	ours := rival{args: []string{program, "validate-logs"}}
	theirs := rival{args: []string{"aws", "cloudtrail", "validate-logs"}}
	_, err = exec.LookPath("aws")
	for b.Loop() {
		ours.run(b, env, s)
		if err == nil {
			theirs.run(b, env, s)
		}
	}
	b.ReportMetric(float64(s.logs()*b.N)/ours.wall.Seconds(), "logs/s")
	b.ReportMetric(float64(ours.cpu.Microseconds())/float64(s.logs()*b.N), "cpu-us/log")
	b.ReportMetric(0, "ns/op") // of both together, which means nothing
	if err != nil {
		b.Log("the aws command is not on the PATH: nothing to compare with")
		return
	}
	wall, net := ratio(theirs.wall, ours.wall), ratio(theirs.wall-theirs.idle, ours.wall-ours.idle)
	b.ReportMetric(float64(s.logs()*b.N)/theirs.wall.Seconds(), "aws_logs/s")
	b.ReportMetric(float64(theirs.cpu.Microseconds())/float64(s.logs()*b.N), "aws_cpu-us/log")
	b.ReportMetric(wall, "x_aws_cli")
	b.ReportMetric(net, "x_aws_cli_net")
	b.Logf("%d logs of %d KB at %s: aws %s (%s to start), ours %s (%s to start): %.1f times as fast, %.1f without the start", s.logs(), s.LogSize>>10, s.Latency,
		round(theirs.wall, b.N), round(theirs.idle, b.N), round(ours.wall, b.N), round(ours.idle, b.N), wall, net)
}

func ratio(a, b time.Duration) float64 { return a.Seconds() / b.Seconds() }

func round(d time.Duration, n int) time.Duration {
	return (d / time.Duration(n)).Round(time.Millisecond)
}

// rival is a program with the time it took so far.
type rival struct {
	args       []string
	wall, idle time.Duration
	cpu        time.Duration // within wall
}

func (r *rival) run(b *testing.B, env []string, s site) {
	// An empty range long before the first digest: start, keys and a listing.
	m := measure(b, env, 0, r.command(begin.AddDate(-1, 0, 0), begin.AddDate(-1, 0, 0).Add(time.Hour))...)
	r.idle += m.Wall
	m = measure(b, env, 0, r.command(begin.Add(offset), s.end())...)
	r.wall += m.Wall
	r.cpu += m.CPU
	if want := fmt.Sprintf("%d/%d log files valid", s.logs(), s.logs()); !strings.Contains(m.Output, want) {
		b.Fatalf("%v: no %q in\n%s", r.args, want, m.Output)
	}
}

func (r *rival) command(from, to time.Time) []string {
	return append(r.args[:len(r.args):len(r.args)],
		"--trail-arn=arn:aws:cloudtrail:us-east-1:"+owner+":trail/main", "--s3-bucket="+bucket, "--region=us-east-1",
		"--start-time="+from.Format(time.RFC3339), "--end-time="+to.Format(time.RFC3339))
}
