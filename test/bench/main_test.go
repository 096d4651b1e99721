// Package bench measures the verifier: its inner loop next to the bare one, a
// whole verification, the drop-in next to the program it stands in for, and
// the memory that the program takes. Speed is reported and never asserted; the
// bound on memory is a test. What came out is in docs/benchmarks.md.
//
// The fake AWS runs in a process of its own, so that no client is measured
// with a server inside it; all of them share the machine's processors.
package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
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
	verifier = sync.OnceValues(func() (string, error) { return build(dir) })
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

// verifier builds the program once, as it is released: without -race.
var verifier func() (string, error)

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
	path := filepath.Join(dir, "verifier")
	out, err := exec.Command("go", "build", "-o", path, "github.com/trailseal/trailseal/cmd/verifier").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}
