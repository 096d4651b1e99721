package bench

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/testtrail"
)

var writeBaseline = flag.Bool("write-baseline", false, "TestRatios writes baseline.txt instead of comparing with it")

const (
	baselineFile = "baseline.txt"
	baselineHead = `# Processor time of ours divided by that of the other, which reads the same: less is better.
# go test ./test/bench -run Ratios -v compares with it and fails where a ratio is worse by more than a third.
# go test ./test/bench -run Ratios -v -write-baseline writes it.
`
	tolerance = 4.0 / 3
)

// contest is ours beside another that does the same work. Each runs once and
// returns the processor time that it took: that of the wall clock would count
// whatever else the machine does.
type contest struct {
	name        string
	ours, other func() time.Duration
	rounds      int           // at least
	lasts       time.Duration // at least

	least [2]time.Duration
}

// ratio lets both take turns and returns the ratio of the least that each has
// taken so far. Whatever disturbs makes a run longer and none shorter, so that
// the least of many short ones stays the same on a busy machine.
func (c *contest) ratio() float64 {
	end := time.Now().Add(c.lasts)
	for i := 0; i < c.rounds || time.Now().Before(end); i++ {
		for k, run := range []func() time.Duration{c.ours, c.other} {
			if d := run(); c.least[k] == 0 || d < c.least[k] {
				c.least[k] = d
			}
		}
	}
	return c.least[0].Seconds() / c.least[1].Seconds()
}

// Our own speed is compared with what cannot become slower by our doing, and
// that ratio with what it was. What is worse is measured again before it is
// believed.
func TestRatios(t *testing.T) {
	if raced {
		t.Skip("the race detector makes our code slower and assembly not: not with -race")
	}
	was := readBaseline(t)
	var now strings.Builder
	for _, c := range contests(t) {
		before, known := was[c.name]
		if !known && !*writeBaseline {
			t.Errorf("%s: not in %s; write it with -write-baseline", c.name, baselineFile)
			continue
		}
		r := c.ratio()
		for try := 0; try < 3 && !*writeBaseline && r > before*tolerance; try++ {
			r = c.ratio()
		}
		t.Logf("%-22s %.3f (baseline %.3f, limit %.3f)", c.name, r, before, before*tolerance)
		if !*writeBaseline && r > before*tolerance {
			t.Errorf("%s takes %.3f times as long as the other, %.3f before: worse by more than a third", c.name, r, before)
		}
		fmt.Fprintf(&now, "%s %.3f\n", c.name, r)
	}
	if *writeBaseline {
		if err := os.WriteFile(baselineFile, []byte(baselineHead+now.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func contests(t *testing.T) (all []*contest) {
	cores := runtime.GOMAXPROCS(1) // one core against one core
	t.Cleanup(func() { runtime.GOMAXPROCS(cores) })
	timed := func(times int, f func()) func() time.Duration {
		return func() time.Duration {
			began := processorTime(t)
			for range times {
				f()
			}
			return processorTime(t) - began
		}
	}
	w := testtrail.New()
	for _, size := range logSizes {
		stored := testtrail.Gzip(w.SizedLog(size))
		read := func(l loop) func() {
			return func() {
				if _, err := l.read(stored, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		times := max(1, (1<<20)/size) // a millisecond or more, since the kernel's count has steps
		all = append(all, &contest{
			name: fmt.Sprintf("inflate+hash/%dKB", size>>10), rounds: 8, lasts: time.Second,
			ours: timed(times, read(loop{read: ours})), other: timed(times, read(loop{read: new(klauspost).hash})),
		})
	}
	for _, size := range logSizes {
		trail := newIngestTrail(size, max(4<<20, 24*size))
		bare := trail.bare(loop{read: new(klauspost).hash}, true)
		all = append(all, &contest{
			name: fmt.Sprintf("ingest/%dKB", size>>10), rounds: 8, lasts: 3 * time.Second,
			ours:  func() time.Duration { return trail.steady(t) },
			other: func() time.Duration { return timed(1, func() { bare(t) })() / time.Duration(len(trail.logs)) },
		})
	}
	if aws := awsCLI(t); aws != "" {
		all = append(all, validateLogsContest(t, aws))
	}
	return all
}

// validateLogsContest is with the AWS CLI, both from start to exit.
func validateLogsContest(t *testing.T, aws string) *contest {
	s := site{Chains: 1, Hours: 50, Logs: 12, LogSize: 20 << 10}
	srv := s.start(t)
	run := func(args ...string) func() time.Duration {
		r := rival{args: args}
		return func() time.Duration {
			m := r.errand(srv, s.begin(), newest).measure(t, 0)
			if want := fmt.Sprintf("%d/%d log files valid", s.logs(), s.logs()); !strings.Contains(m.Output, want) {
				t.Fatalf("%v: no %q in\n%s", args, want, m.Output)
			}
			return m.CPU
		}
	}
	return &contest{
		name: "validate-logs/aws-cli", rounds: 3,
		ours: run(program(t, "verifier"), "validate-logs"), other: run(aws, "cloudtrail", "validate-logs"),
	}
}

func readBaseline(t *testing.T) map[string]float64 {
	b, err := os.ReadFile(baselineFile)
	if err != nil && !*writeBaseline {
		t.Fatal(err)
	}
	was := map[string]float64{}
	for line := range bytes.Lines(b) {
		var name string
		var ratio float64
		if bytes.HasPrefix(line, []byte("#")) {
			continue
		}
		if n, err := fmt.Sscanf(string(line), "%s %g", &name, &ratio); n != 2 || !(ratio > 0) {
			t.Fatalf("%s: %q: no name and ratio: %v", baselineFile, line, err)
		}
		was[name] = ratio
	}
	return was
}
