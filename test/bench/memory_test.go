package bench

import (
	"testing"
	"time"
)

// memoryCap is what the program may take, whatever a bucket holds.
const memoryCap = 150 << 20

// heavy is a trail with everything that could make a reader swell: large logs
// and a larger one, a log that inflates to a gigabyte of zeros, a digest that
// does, and some digests in a row with very many entries.
var heavy = site{
	Chains: 1, Hours: 4, Logs: 8, LogSize: 5 << 20,
	HugeLog: 50 << 20, Bomb: 1 << 30,
	HugeDigests: 3, Entries: 100_000,
}

func (s site) verifyFlags(more ...string) []string {
	return append([]string{
		"verify", "s3://" + bucket, "--start-time", begin.Add(offset).Format(time.RFC3339), "--end-time", s.end().Format(time.RFC3339),
	}, more...)
}

// The bound holds whatever a bucket holds: who can write to it must not be
// able to end the program that reads it.
func TestMemory(t *testing.T) {
	program, err := verifier()
	if err != nil {
		t.Fatal(err)
	}
	logs, digests := heavy, heavy
	logs.HugeDigests = 0
	digests.Hours, digests.Logs, digests.HugeLog, digests.Bomb = 1, 1, 0, 0
	reference := func(s site) []string {
		var r rival
		return append([]string{"validate-logs"}, r.command(begin.Add(offset), s.end())...)
	}
	for _, c := range []struct {
		name string
		site site
		runs []errand
		exit int
	}{
		{"large logs and bombs", logs, []errand{{Args: logs.verifyFlags()}, {Args: reference(logs)}}, 1},
		{"large digests", digests, []errand{{Args: digests.verifyFlags("--no-logs")}}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			env := c.site.start(t)
			for _, run := range c.runs {
				m := measure(t, env, c.exit, append([]string{program}, run.Args...)...)
				t.Logf("%s: peak %d MiB, %s", run.Args[0], m.Peak>>20, m.Wall.Round(time.Millisecond))
				if m.Peak > memoryCap {
					t.Errorf("%s: peak of %d MiB, more than %d\n%s", run.Args[0], m.Peak>>20, memoryCap>>20, m.Output)
				}
			}
		})
	}
}

// BenchmarkMemory reads everything of a heavy trail, a hundred thousand logs
// in one hour among it.
func BenchmarkMemory(b *testing.B) {
	program, err := verifier()
	if err != nil {
		b.Fatal(err)
	}
	s := heavy
	s.HugeDigests = 1
	env := s.start(b)
	var most int64
	for b.Loop() {
		most = max(most, measure(b, env, 1, append([]string{program}, s.verifyFlags()...)...).Peak)
	}
	b.ReportMetric(float64(most)/(1<<20), "peak_MiB")
}
