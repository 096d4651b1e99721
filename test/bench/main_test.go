// Package bench measures both programs: the inner loops next to bare ones, the
// drop-in next to the program it stands in for, whole organizations, long
// chains, ingest from S3 and from a queue, and memory. Benchmarks report speed
// and assert only that the work was done; the bound on memory and the ratios
// to bare loops (baseline.txt) are tests. `go run ./test/bench/book` makes
// docs/benchmarks.md of what `make bench` prints.
//
// The fake AWS runs in a process of its own, so that no client is measured
// with a server inside it; all of them share the machine's processors.
package bench

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// role is set for the processes that the test binary starts of itself.
const role = "TRAILSEAL_BENCH_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "server":
		os.Exit(exit(serve(os.Stdin, os.Stdout)))
	case "stopwatch":
		os.Exit(exit(stopwatch(os.Stdin, os.Stdout)))
	}
	dir, err := os.MkdirTemp("", "trailseal-bench-")
	if err != nil {
		os.Exit(exit(err))
	}
	build = sync.OnceValues(func() (string, error) { return dir, buildInto(dir) })
	flag.Parse()
	if flag.Lookup("test.bench").Value.String() != "" {
		describe()
	}
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil && code == 0 {
		code = exit(err)
	}
	os.Exit(code)
}

func exit(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// build builds the programs once, as they are released: without -race.
var build func() (dir string, err error)

// program returns the path of a built program.
func program(tb testing.TB, name string) string {
	tb.Helper()
	dir, err := build()
	if err != nil {
		tb.Fatal(err)
	}
	return filepath.Join(dir, name)
}

func buildInto(dir string) error {
	// The go command keeps a test's result until a file changes that the test
	// has looked at, and it does not see what go build looks at.
	if err := filepath.WalkDir("../..", func(path string, _ os.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".go" {
			_, err = os.Stat(path)
		}
		return err
	}); err != nil {
		return err
	}
	out, err := exec.Command("go", "build", "-o", dir, "github.com/trailseal/trailseal/cmd/verifier", "github.com/trailseal/trailseal/cmd/ingest").CombinedOutput()
	if err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// describe prints what the figures depend on, as lines of the format of Go
// benchmarks; "cpu:" comes from package testing.
func describe() {
	say := func(key, value string) { fmt.Printf("%s: %s\n", key, strings.TrimSpace(value)) }
	say("date", time.Now().UTC().Format(time.DateOnly))
	say("commit", commit())
	say("cores", fmt.Sprint(runtime.NumCPU()))
	say("go", runtime.Version())
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		say("load", strings.Join(strings.Fields(string(b))[:3], " "))
	}
	if out, err := exec.Command("aws", "--version").CombinedOutput(); err == nil {
		fields := strings.Fields(string(out))
		say("aws", strings.Join(fields[:min(2, len(fields))], " ")) // itself and its Python
	}
	list := exec.Command("go", "list", "-m", "github.com/redpanda-data/benthos/v4")
	list.Dir = "../peer"
	if out, err := list.Output(); err == nil {
		say("peer", string(out))
	}
	if v := libdeflateVersion(); v != "" {
		say("libdeflate", v)
	}
	// A test binary does not say what it was built with.
	if out, err := exec.Command("go", "list", "-m", "github.com/aws/aws-sdk-go-v2", "github.com/klauspost/compress").Output(); err == nil {
		for module := range strings.Lines(string(out)) {
			say("module", module)
		}
	}
}

func commit() string {
	out, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	text := strings.TrimSpace(string(out))
	changed, err := exec.Command("git", "status", "--porcelain", "--untracked-files=no", "../../cmd", "../../internal", "../../pkg", "../../go.mod").Output()
	if err != nil || len(changed) > 0 {
		text += " with changes"
	}
	return text
}
