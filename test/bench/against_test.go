package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// other names the directory of programs of another commit.
const other = "TRAILSEAL_BENCH_OTHER"

// BenchmarkAgainst says what a change is worth: the programs and those of another commit
// read the same trail in turns, as many as -benchtime says. It reports the median of the
// processor time of each, the ratio of both, and the spread: how far the middle half of the
// runs lies apart, as a part of the median. A ratio that is nearer to 1 than a third of the
// spread says nothing.
func BenchmarkAgainst(b *testing.B) {
	dir := os.Getenv(other)
	if dir == "" {
		b.Skipf("%s does not name the programs to compare with", other)
	}
	for _, s := range []site{
		{Chains: 40, Hours: 20, Logs: 12, LogSize: 20 << 10},
		{Chains: 10, Hours: 5, Logs: 12, LogSize: 470 << 10},
	} {
		for name, flags := range map[string][]string{
			"ingest": s.ingestFlags("--state", "memory", "--once"), "verifier": s.verifyFlags(),
		} {
			b.Run(fmt.Sprintf("%s/%dKB/%dlogs", name, s.LogSize>>10, s.logs()), func(b *testing.B) {
				srv := s.start(b)
				ours := errand{Args: append([]string{program(b, name)}, flags...), Env: srv.env, Discard: true}
				others := ours
				others.Args = append([]string{filepath.Join(dir, name)}, flags...)
				var cpu, otherCPU []time.Duration
				for b.Loop() {
					cpu = append(cpu, ours.measure(b, 0).CPU)
					otherCPU = append(otherCPU, others.measure(b, 0).CPU)
				}
				median, spread := middle(cpu)
				otherMedian, otherSpread := middle(otherCPU)
				b.ReportMetric(median.Seconds(), "cpu-s")
				b.ReportMetric(otherMedian.Seconds(), "other-cpu-s")
				b.ReportMetric(median.Seconds()/otherMedian.Seconds(), "x-cpu")
				b.ReportMetric(max(spread, otherSpread), "spread")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// middle returns the median, and the width of the middle half as a part of it.
func middle(all []time.Duration) (median time.Duration, spread float64) {
	slices.Sort(all)
	n := len(all)
	median = all[n/2]
	return median, float64(all[3*n/4]-all[n/4]) / float64(median)
}
