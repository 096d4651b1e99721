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

// The bound holds whatever a bucket holds: who can write to it must not be
// able to end the program that reads it.
func TestMemory(t *testing.T) {
	if raced {
		t.Skip("what is measured is a program without the race detector: not with -race")
	}
	verifier := program(t, "verifier")
	logs, digests := heavy, heavy
	logs.HugeDigests = 0
	digests.Hours, digests.Logs, digests.HugeLog, digests.Bomb = 1, 1, 0, 0
	busy := digests
	busy.HugeDigests, busy.Entries = 120, 900 // almost as large as one that is read in its turn
	for _, c := range []struct {
		name      string
		site      site
		reference bool
		flags     []string
		exit      int
	}{
		{"large logs and bombs", logs, true, nil, 1},
		{"large digests", digests, false, []string{"--no-logs"}, 0},
		{"many digests of a busy trail", busy, true, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := c.site.start(t)
			runs := []errand{{Args: append([]string{verifier}, c.site.verifyFlags(c.flags...)...), Env: srv.env}}
			if c.reference {
				r := rival{args: []string{verifier, "validate-logs"}}
				runs = append(runs, r.errand(srv, c.site.begin(), newest))
			}
			for _, run := range runs {
				m := run.measure(t, c.exit)
				t.Logf("%s: peak %d MiB, %s", run.Args[1], m.Peak>>20, m.Wall.Round(time.Millisecond))
				if m.Peak > memoryCap {
					t.Errorf("%s: peak of %d MiB, more than %d\n%s", run.Args[1], m.Peak>>20, memoryCap>>20, m.Output)
				}
			}
		})
	}
}

// memoryRows read everything of a heavy trail, a hundred thousand logs in one
// hour among it.
func memoryRows(full bool) []row {
	s := heavy
	s.HugeDigests = 1
	if !full {
		s.LogSize, s.HugeLog, s.Bomb, s.Entries = 20<<10, 1<<20, 8<<20, 1_000
	}
	return []row{{"heavy", func(m meter) {
		run := errand{Args: append([]string{program(m, "verifier")}, s.verifyFlags()...), Env: s.start(m).env}
		var t total
		for m.Loop() {
			t.add(run.measure(m, 1))
		}
		t.report(m, "")
	}}}
}
