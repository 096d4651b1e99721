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
	HugeLog: 50 << 20, LogBomb: 1 << 30, DigestBomb: 1 << 30,
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
	digests.Hours, digests.Logs, digests.HugeLog, digests.LogBomb, digests.DigestBomb = 1, 1, 0, 0, 0
	reference := func(s site) []string {
		var r rival
		return append([]string{"validate-logs"}, r.command(begin.Add(offset), s.end())...)
	}
	for _, c := range []struct {
		name string
		site site
		args []string
		exit int
	}{
		{"verify, large logs and bombs", logs, logs.verifyFlags(), 1},
		{"validate-logs, large logs and bombs", logs, reference(logs), 1},
		{"verify, large digests", digests, digests.verifyFlags("--no-logs"), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := measure(t, c.site.start(t), c.exit, append([]string{program}, c.args...)...)
			t.Logf("peak %d MiB, %s\n%s", m.Peak>>20, m.Wall.Round(time.Millisecond), m.Output)
			if m.Peak > memoryCap {
				t.Errorf("peak of %d MiB, more than %d", m.Peak>>20, memoryCap>>20)
			}
		})
	}
}
