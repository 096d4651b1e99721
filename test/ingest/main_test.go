// Package ingest runs the worker as the program that it is: killed at any
// moment, told to end, on real events, and on what would make it swell. It
// says nothing about speed.
package ingest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

const bucket = "trail-bucket"

var begin = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "trailseal-ingest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	program = sync.OnceValues(func() (string, error) { return build(dir) })
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// program builds the worker once, as it is released: without -race.
var program func() (string, error)

func build(dir string) (string, error) {
	// The go command keeps a test's result until a file changes that the test
	// has looked at, and it does not see what go build looks at.
	if err := filepath.WalkDir("../..", func(path string, _ os.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".go" {
			_, err = os.Stat(path)
		}
		return err
	}); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "ingest")
	out, err := exec.Command("go", "build", "-o", path, "github.com/trailseal/trailseal/cmd/ingest").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}

// worker is the program with its settings and what it leaves behind.
type worker struct {
	source, dir string
	keys        string // a file, or auto
	env         []string
}

func newWorker(t *testing.T, w *testtrail.World, source string) *worker {
	t.Helper()
	set, err := w.KeySet(begin.AddDate(0, 0, -1), begin.AddDate(0, 0, 3)).JSON()
	if err != nil {
		t.Fatal(err)
	}
	p := &worker{source: source, dir: t.TempDir()}
	p.keys = filepath.Join(p.dir, "keys.json")
	if err := os.WriteFile(p.keys, set, 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func (w *worker) events() string   { return filepath.Join(w.dir, "events.ndjson") }
func (w *worker) findings() string { return filepath.Join(w.dir, "findings.ndjson") }

// command returns the program, ready to start; output is what it says.
func (w *worker) command(t *testing.T, more ...string) (cmd *exec.Cmd, output *bytes.Buffer) {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{
		"--source", w.source, "--keys", w.keys, "--since", "2026-02-28", "--poll", "1s", "--listen=", "--log-level", "warn",
		"--state", "file:" + filepath.Join(w.dir, "state"), "--sink", "file:" + w.events(), "--findings", "file:" + w.findings(),
	}, more...)
	cmd, output = exec.Command(path, args...), new(bytes.Buffer)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") || strings.HasPrefix(v, "TRAILSEAL_") }), w.env...)
	cmd.Stdout, cmd.Stderr = output, output
	return cmd, output
}

// once runs the program until it ends, and demands its exit code.
func (w *worker) once(t *testing.T, exit int, more ...string) *os.ProcessState {
	t.Helper()
	cmd, output := w.command(t, append([]string{"--once"}, more...)...)
	err := cmd.Run()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != exit {
		t.Fatalf("%v, want exit %d\n%s", err, exit, output)
	}
	return cmd.ProcessState
}

// lines returns the whole lines of a file; none may be torn.
func lines(t *testing.T, name string) (all []string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if !strings.HasSuffix(line, "\n") || !json.Valid([]byte(line)) {
			t.Fatalf("%s has a torn line: %q", name, line)
		}
		all = append(all, strings.TrimSuffix(line, "\n"))
	}
	return all
}

// emitted returns the events in the sink's file in the form "log record", with
// how often each came. Repeats are equal.
func (w *worker) emitted(t *testing.T) (counts map[string]int, records map[string]string) {
	t.Helper()
	counts, records = map[string]int{}, map[string]string{}
	byID := map[string]string{}
	for _, line := range lines(t, w.events()) {
		var e struct {
			Trailseal struct {
				Status, Log, ID string
				Record          int
			}
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Trailseal.Status != "verified" {
			t.Fatalf("%v: %s", err, line)
		}
		a := e.Trailseal
		name := fmt.Sprintf("%s %d", a.Log, a.Record)
		if old, there := byID[a.ID]; there && old != line || !there && counts[name] > 0 {
			t.Fatalf("one id, two lines:\n%s\n%s", old, line)
		}
		byID[a.ID] = line
		counts[name]++
		records[name] = withoutMember(t, line)
	}
	return counts, records
}

// withoutMember takes the spliced member out of a line again.
func withoutMember(t *testing.T, line string) string {
	t.Helper()
	rest, ok := strings.CutPrefix(line, `{"trailseal":`)
	end := strings.Index(rest, `"}`)
	if !ok || end < 0 {
		t.Fatalf("no member in front: %s", line)
	}
	return "{" + strings.TrimPrefix(rest[end+2:], ",")
}

// proven returns the records of the logs that digests list, without line
// feeds, in the form of emitted. What skip is true of is left out.
func proven(w *testtrail.World, skip func(*testtrail.Issued, trail.Object) bool, chains ...*testtrail.Chain) map[string]string {
	want := map[string]string{}
	for _, c := range chains {
		for _, d := range c.Issued {
			for _, l := range d.Logs {
				if skip != nil && skip(d, l) {
					continue
				}
				o, _ := w.Stored(l.Bucket, l.Key)
				b, _, err := inflate.Bytes(bytes.NewReader(o.Body), inflate.Options{Limit: 1 << 30})
				if err != nil {
					panic(err)
				}
				n := 0
				for r, err := range trail.Records(bufio.NewReader(bytes.NewReader(b))) {
					if err != nil {
						panic(err)
					}
					want[fmt.Sprintf("%s %d", l, n)] = strings.NewReplacer("\n", "", "\r", "").Replace(string(r))
					n++
				}
			}
		}
	}
	return want
}

// fakeAWS starts a server for a world and points the worker there.
func (w *worker) fakeAWS(t *testing.T, world *testtrail.World) *testaws.Server {
	t.Helper()
	s := testaws.New(t, world)
	w.env, w.keys, w.source = s.Env(), "auto", "s3://"+bucket
	return s
}
