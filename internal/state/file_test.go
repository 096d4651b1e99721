//go:build unix

package state_test

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
	"github.com/trailseal/trailseal/internal/state/statetest"
)

// childEnv tells the test binary to be a worker instead; its value is what to do.
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
		var last *state.File
		t.Cleanup(func() {
			if err := last.Close(); err != nil {
				t.Error(err)
			}
		})
		return func() state.Store {
			if last != nil {
				if err := last.Close(); err != nil {
					t.Fatal(err)
				}
			}
			last = open(t, path)
			return last
		}
	})
}

func TestMemoryIsAStore(t *testing.T) {
	statetest.Run(t, func(*testing.T) func() state.Store {
		m := state.NewMemory()
		return func() state.Store { return m }
	})
}

func open(t *testing.T, path string) *state.File {
	t.Helper()
	f, err := state.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func closed(t *testing.T, f *state.File) {
	t.Helper()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
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

// child is the other process: it counts up values and says after each which
// one is stored, holds the file open, or opens it.
func child(do, path string) error {
	if do == "full" {
		return fullDisk(path)
	}
	f, err := state.OpenFile(path)
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
			wg.Go(func() { fmt.Println("error:", count(f, fmt.Sprint("chain/", w))) })
		}
		wg.Wait()
	}
	return f.Close()
}

// count never ends well.
func count(f *state.File, name string) error {
	old, err := f.Load(context.Background(), name)
	if err != nil {
		return err
	}
	for n := number(old) + 1; ; n++ {
		new := numbered(n)
		if err := f.Replace(context.Background(), name, old, new); err != nil {
			return err
		}
		fmt.Println(name, n)
		old = new
	}
}

// numbered returns a value whose length and every byte say which one it is, so
// that a mixture of two shows.
func numbered(n int) []byte {
	return []byte(strings.Repeat(strconv.Itoa(n)+" ", 1+n%2000))
}

func number(value []byte) int {
	first, _, _ := strings.Cut(string(value), " ")
	n, err := strconv.Atoi(first)
	if err != nil || string(numbered(n)) != string(value) {
		return -1
	}
	return n
}

// A worker that is killed at any moment leaves what it was told is stored, or
// a value that it had just begun to store.
func TestKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	stored := map[string]int{}
	for round := range 40 {
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
		if round%2 == 0 { // at its start; otherwise at work, however slow the machine
			kill()
		}
		for s := bufio.NewScanner(out); s.Scan(); {
			kill()
			name, n, _ := strings.Cut(s.Text(), " ")
			if name == "error:" {
				t.Fatal(s.Text())
			}
			stored[name], _ = strconv.Atoi(n)
		}
		_ = c.Wait() // killed
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			continue // before it could make one
		}
		f := open(t, path)
		for w := range 3 {
			name := fmt.Sprint("chain/", w)
			value, err := f.Load(t.Context(), name)
			n := 0
			if value != nil {
				n = number(value)
			}
			if err != nil || n < stored[name] || n > stored[name]+1 {
				t.Fatalf("round %d: %s is %d (%.40q), %v; stored was %d", round, name, n, value, err, stored[name])
			}
			stored[name] = n
		}
		closed(t, f)
	}
	if stored["chain/0"] < 10 {
		t.Errorf("only %v: the children were killed too early to show anything", stored)
	}
}

// A second process is refused at once, and gets the file when the first ends,
// however that ends.
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
	begin := time.Now()
	_, err = state.OpenFile(path)
	if !errors.Is(err, state.ErrLocked) || !strings.Contains(err.Error(), path) || time.Since(begin) > 5*time.Second {
		t.Errorf("while another process has it: %v after %v", err, time.Since(begin))
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	f := open(t, path)
	if _, err := state.OpenFile(path); !errors.Is(err, state.ErrLocked) {
		t.Errorf("while this process has it: %v", err)
	}
	if err := command(t, "open", path).Run(); err == nil {
		t.Error("a child opened what this process has open")
	}
	closed(t, f)
	closed(t, open(t, path))
}

func TestNewFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	closed(t, open(t, path))
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 1 {
		t.Errorf("left %v, %v", names, err)
	}
	for name, bad := range map[string]string{"in no folder": filepath.Join(dir, "absent", "state"), "a folder": dir} {
		if f, err := state.OpenFile(bad); err == nil {
			t.Errorf("%s: opened", name)
			closed(t, f)
		} else if errors.Is(err, state.ErrCorrupt) || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
