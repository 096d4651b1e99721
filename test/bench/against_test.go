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
// processor time of each, the ratios of processor time, time and peak memory, and the spread
// of the processor time: how far the middle half of the runs lies apart, as a part of the
// median. A ratio that is nearer to 1 than a third of the spread says nothing.
func BenchmarkAgainst(b *testing.B) {
	dir := os.Getenv(other)
	if dir == "" {
		b.Skipf("%s does not name the programs to compare with", other)
	}
	for _, s := range []site{
		{Chains: 40, Hours: 20, Logs: 12, LogSize: 20 << 10},
		{Chains: 10, Hours: 5, Logs: 12, LogSize: 470 << 10},
		{Chains: 1, Hours: 100, Logs: 12, LogSize: 20 << 10, Latency: 30 * time.Millisecond},
		{Chains: 850, Hours: 4, Logs: 1, LogSize: 20 << 10, Latency: 30 * time.Millisecond},
	} {
		for name, flags := range map[string][]string{
			"ingest": s.ingestFlags("--state", "memory", "--once"), "verifier": s.verifyFlags(),
		} {
			b.Run(fmt.Sprintf("%s/%s/%dKB/%dlogs/%dchains", name, s.Latency, s.LogSize>>10, s.logs(), s.Chains), func(b *testing.B) {
				srv := s.start(b)
				ours := errand{Args: append([]string{program(b, name)}, flags...), Env: srv.env, Discard: true}
				others := ours
				others.Args = append([]string{filepath.Join(dir, name)}, flags...)
				var own, other []measured
				for b.Loop() {
					own, other = append(own, ours.measure(b, 0)), append(other, others.measure(b, 0))
				}
				for unit, of := range map[string]func(measured) float64{
					"cpu":  func(m measured) float64 { return m.CPU.Seconds() },
					"wall": func(m measured) float64 { return m.Wall.Seconds() },
					"peak": func(m measured) float64 { return float64(m.Peak) },
				} {
					median, spread := middle(own, of)
					otherMedian, otherSpread := middle(other, of)
					b.ReportMetric(median/otherMedian, "x-"+unit)
					if unit == "cpu" {
						b.ReportMetric(median, "cpu-s")
						b.ReportMetric(otherMedian, "other-cpu-s")
						b.ReportMetric(max(spread, otherSpread), "spread")
					}
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// middle returns the median, and the width of the middle half as a part of it.
func middle(all []measured, of func(measured) float64) (median, spread float64) {
	values := make([]float64, len(all))
	for i, m := range all {
		values[i] = of(m)
	}
	slices.Sort(values)
	n := len(values)
	median = values[n/2]
	return median, (values[3*n/4] - values[n/4]) / median
}
