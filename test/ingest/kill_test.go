package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// site is a world of some chains with a log gone in one and a digest tampered
// with in another.
type site struct {
	*testtrail.World
	chains  []*testtrail.Chain
	gone    trail.Object
	bad     *testtrail.Issued
	classes []string // of its findings
}

func newSite(t *testing.T, hours, logs int) *site {
	t.Helper()
	s := &site{World: testtrail.New(), classes: []string{"digest-signature", "log-missing"}}
	tr := s.Trail(testtrail.Options{})
	for _, account := range []string{"111122223333", "444455556666", "777788889999"} {
		c := tr.Chain(account, "us-east-1", begin)
		for range hours {
			var bodies [][]byte
			for range logs {
				bodies = append(bodies, s.Log(7))
			}
			c.Hour(bodies...)
		}
		s.chains = append(s.chains, c)
	}
	s.gone, s.bad = s.chains[0].Issued[hours/2].Logs[1], s.chains[1].Issued[hours/2]
	s.Delete(bucket, s.gone.Key)
	s.Edit(bucket, s.bad.Key, func(o *testtrail.Stored) { o.Body = testtrail.Gzip(append(slices.Clone(s.bad.Body), ' ')) })
	return s
}

func (s *site) proven() map[string]string {
	return proven(s.World, func(d *testtrail.Issued, l trail.Object) bool { return d == s.bad || l == s.gone }, s.chains...)
}

func (s *site) folder(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	if err := s.WriteFolder(bucket, folder, func(key string) bool { return strings.Contains(key, trail.DigestFolder) }); err != nil {
		t.Fatal(err)
	}
	return folder
}

// check demands that all that is proven is there, nothing else, and every
// finding.
func (s *site) check(t *testing.T, w *worker) (repeats int) {
	t.Helper()
	counts, records := w.emitted(t)
	if want := s.proven(); !maps.Equal(records, want) {
		t.Fatalf("%d events, want %d", len(records), len(want))
	}
	for _, n := range counts {
		repeats += n - 1
	}
	found := map[string]bool{}
	for _, line := range lines(t, w.findings()) {
		for _, class := range s.classes {
			if strings.Contains(line, `"class":"`+class+`"`) {
				found[class] = true
			}
		}
	}
	if len(found) != len(s.classes) {
		t.Fatalf("findings %v", found)
	}
	return repeats
}

// killWithin is how long a worker lives, at most, on a quiet machine. Where it
// takes longer to begin, or to come to its end in the end, it is given longer.
const killWithin = 120 * time.Millisecond

// Killed hundreds of times at any moment and started again, the worker loses
// nothing, tears nothing and says nothing that is not proven. Whenever it has
// come to its end it begins anew.
func TestKill(t *testing.T) {
	s := newSite(t, 20, 6)
	source := s.folder(t)
	most, until := 300, time.Now().Add(40*time.Second)
	if testing.Short() {
		most, until = 40, time.Now().Add(10*time.Second)
	}
	kills, ends, repeats, idle := 0, 0, 0, 0
	within := killWithin
	sink := testtrail.New() // of its own, for the sink that is idempotent
	sink.AddBucket(sinkBucket)
	env := testaws.New(t, sink).Env()
	var w *worker
	for kills < most && time.Now().Before(until) || w != nil {
		if w == nil {
			w = newWorker(t, s.World, source)
			w.env = env
		}
		folder := fmt.Sprintf("run-%d", ends)
		before := size(t, w.events())
		cmd, output := w.command(t, "--once", "--sink", "s3://"+sinkBucket+"/"+folder)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		killer := time.AfterFunc(5*time.Millisecond+rand.N(within), func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		killer.Stop()
		switch code := cmd.ProcessState.ExitCode(); {
		case code == 0 || code == 1: // it came to its end; its findings may be those of one before it
			repeats += s.check(t, w)
			onceEach(t, sink, folder, len(s.proven()))
			ends, w = ends+1, nil
			continue
		case code != -1:
			t.Fatalf("%v\n%s", err, output)
		}
		kills++
		switch nothing := size(t, w.events()) == before; {
		case nothing:
			idle++
			within = within * 9 / 8
		case time.Now().After(until):
			within = within * 9 / 8
		case within > killWithin:
			within = within * 15 / 16
		}
	}
	t.Logf("%d kills, %d of them before anything was emitted, %d times to the end, %d events repeated", kills, idle, ends, repeats)
	if ends == 0 || kills < 20 || idle > kills*9/10 || repeats == 0 {
		t.Error("killed at no moment that matters")
	}
}

const sinkBucket = "sink-bucket"

// onceEach demands that the objects of a folder hold so many events, none of
// them twice: a repeat overwrites itself.
func onceEach(t *testing.T, w *testtrail.World, folder string, want int) {
	t.Helper()
	seen := map[string]bool{}
	keys, _ := w.Keys(sinkBucket, folder+"/")
	for _, key := range keys {
		o, _ := w.Stored(sinkBucket, key)
		b, _, err := inflate.Bytes(bytes.NewReader(o.Body), inflate.Options{Limit: 1 << 30})
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		for line := range strings.Lines(string(b)) {
			var e struct{ Trailseal struct{ ID string } }
			if err := json.Unmarshal([]byte(line), &e); err != nil || e.Trailseal.ID == "" || seen[e.Trailseal.ID] {
				t.Fatalf("%s: %v, seen before: %v: %s", key, err, seen[e.Trailseal.ID], line)
			}
			seen[e.Trailseal.ID] = true
		}
	}
	if len(seen) != want {
		t.Fatalf("%d events in the bucket, want %d", len(seen), want)
	}
}

func size(t *testing.T, name string) int64 {
	t.Helper()
	info, err := os.Stat(name)
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// SIGTERM ends the worker in good order and in good time, wherever it is; what
// it left is dealt with by the next one.
func TestTerm(t *testing.T) {
	s := newSite(t, 20, 6)
	w := newWorker(t, s.World, s.folder(t))
	for i := range 12 {
		before := size(t, w.events())
		cmd, output := w.command(t, "--drain", "10s")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		began(t, w, before)
		time.Sleep(time.Duration(i) * time.Millisecond)
		start := time.Now()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v\n%s", err, output)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("took %s to end", took)
		}
	}
	cmd, output := w.command(t, "--once")
	if err := cmd.Run(); err != nil && cmd.ProcessState.ExitCode() != 1 {
		t.Fatalf("%v\n%s", err, output)
	}
	s.check(t, w)
}

// began waits until the program has done something, or has nothing to do.
func began(t *testing.T, w *worker, before int64) {
	t.Helper()
	for range 100 {
		if size(t, w.events()) > before {
			return
		}
		time.Sleep(3 * time.Millisecond)
	}
}
