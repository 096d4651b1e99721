//go:build unix

package sqlite_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/internal/state/sqlite"
	"github.com/trailseal/trailseal/internal/state/statetest"
)

// childEnv makes the test binary another process. Its value says which.
const childEnv = "STATE_TEST_CHILD"

func TestMain(m *testing.M) {
	if do := os.Getenv(childEnv); do != "" {
		if err := child(do, os.Args[1]); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func TestIsAStore(t *testing.T) {
	statetest.Run(t, func(t *testing.T) func() state.Store {
		path := filepath.Join(t.TempDir(), "state")
		var last *sqlite.Store
		t.Cleanup(func() { closed(t, last) })
		return func() state.Store {
			if last != nil {
				closed(t, last)
			}
			last = open(t, path)
			return last
		}
	})
}

func open(t testing.TB, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closed(t testing.TB, s *sqlite.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, s state.Store, name, value string, prev state.Version) state.Version {
	t.Helper()
	v, err := s.Put(t.Context(), name, []byte(value), prev)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func command(t *testing.T, do, path string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(exe, path)
	c.Env = append(os.Environ(), childEnv+"="+do)
	c.Stderr = os.Stderr
	return c
}

// child is the other process.
func child(do, path string) error {
	switch do {
	case "full":
		return fullDisk(path)
	case "fsync":
		return failingSync(path)
	}
	s, err := sqlite.Open(path)
	if err != nil {
		return err
	}
	switch do {
	case "hold":
		fmt.Println("open")
		time.Sleep(time.Hour)
	case "count":
		var wg sync.WaitGroup
		for w := range 3 {
			wg.Go(func() { fmt.Println("error:", count(s, fmt.Sprint("chain/", w))) })
		}
		wg.Wait()
	}
	return s.Close()
}

// count stores one number after the other, and says after each that it is
// stored.
func count(s *sqlite.Store, name string) error {
	v, err := s.Get(context.Background(), name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for n := number(v.Bytes) + 1; ; n++ {
		if v.Version, err = s.Put(context.Background(), name, numbered(n), v.Version); err != nil {
			return err
		}
		fmt.Println(name, n)
	}
}

// numbered returns a value whose length and every byte depend on n, so that a
// mixture of two values shows.
func numbered(n int) []byte {
	return []byte(strings.Repeat(strconv.Itoa(n)+" ", 1+n%2000))
}

// number returns 0 for no value, and -1 for a mixture.
func number(value []byte) int {
	if value == nil {
		return 0
	}
	first, _, _ := strings.Cut(string(value), " ")
	n, err := strconv.Atoi(first)
	if err != nil || string(numbered(n)) != string(value) {
		return -1
	}
	return n
}

// A process that is killed at any moment leaves every value that it said is
// stored, or one that it had just begun to store.
func TestKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	stored := map[string]int{}
	for round := range 30 {
		c := command(t, "count", path)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		kill := sync.OnceFunc(func() {
			time.AfterFunc(time.Duration(round*1373%37)*time.Millisecond, func() { c.Process.Kill() })
		})
		if round%3 == 0 { // while it opens the file, or soon after
			kill()
		}
		for lines := bufio.NewScanner(out); lines.Scan(); {
			kill()
			name, n, _ := strings.Cut(lines.Text(), " ")
			if name == "error:" {
				t.Fatal(lines.Text())
			}
			stored[name], _ = strconv.Atoi(n)
		}
		_ = c.Wait() // killed
		s := open(t, path)
		for w := range 3 {
			name := fmt.Sprint("chain/", w)
			v, err := s.Get(t.Context(), name)
			n := number(v.Bytes)
			if err != nil && !errors.Is(err, fs.ErrNotExist) || n < stored[name] || n > stored[name]+1 {
				t.Fatalf("round %d: %s is %d (%.40q), %v; stored was %d", round, name, n, v.Bytes, err, stored[name])
			}
			stored[name] = n
		}
		closed(t, s)
	}
	if stored["chain/0"] < 10 {
		t.Errorf("only %v: the children were killed too early to show anything", stored)
	}
}

// A second process learns at once who has the file, and gets it when the first
// ends, however that ends.
func TestLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	c := command(t, "hold", path)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "open\n" {
		t.Fatalf("child: %q, %v", line, err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, link} {
		_, err = sqlite.Open(name)
		who := fmt.Sprintf("%s: in use by another process (pid %d on %s)", name, c.Process.Pid, host)
		if !errors.Is(err, state.ErrLocked) || !strings.Contains(err.Error(), who) {
			t.Errorf("while another process has it: %v, want %s", err, who)
		}
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	s := open(t, path)
	if _, err := sqlite.Open(path); !errors.Is(err, state.ErrLocked) {
		t.Errorf("while this process has it: %v", err)
	}
	if err := command(t, "open", path).Run(); err == nil {
		t.Error("a child opened what this process has open")
	}
	closed(t, s)
	closed(t, open(t, path))
}

func TestNewFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a folder?mode=memory&%20#")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "state")
	s := open(t, path)
	put(t, s, "a", "1", "")
	checkModes(t, dir, "state", "state-shm", "state-wal", "state.lock")
	closed(t, s)
	checkModes(t, dir, "state", "state.lock")
	if err := s.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
	absent := filepath.Join(dir, "absent", "state")
	for name, bad := range map[string]string{"in no folder": absent, "a folder": dir, "a device": "/dev/full"} {
		if s, err := sqlite.Open(bad); err == nil {
			t.Errorf("%s: opened", name)
			closed(t, s)
		} else if errors.Is(err, state.ErrCorrupt) || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// checkModes checks that a folder has these files alone, for their owner alone.
func checkModes(t *testing.T, dir string, want ...string) {
	t.Helper()
	var got []string
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		got = append(got, f.Name())
		if info, err := f.Info(); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s has mode %v, %v", f.Name(), info.Mode(), err)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("files %v, want %v", got, want)
	}
}

func TestClosed(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "state"))
	v := put(t, s, "a", "1", "")
	closed(t, s)
	_, get := s.Get(t.Context(), "a")
	_, put := s.Put(t.Context(), "a", []byte("2"), v)
	errs := []error{get, put, s.Delete(t.Context(), "a", v)}
	for _, err := range s.List(t.Context(), "") {
		errs = append(errs, err)
	}
	if len(errs) != 4 {
		t.Error("the listing ended without an error")
	}
	for _, err := range errs {
		if !errors.Is(err, state.ErrClosed) {
			t.Error(err)
		}
	}
}
