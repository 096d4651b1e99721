package file_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/trailseal/trailseal/internal/sink/file"
)

// childEnv tells the test binary to be another process; its value is what to do.
const childEnv = "SINK_FILE_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		goleak.VerifyTestMain(m)
	case "emit":
		fmt.Println("error:", emitAlways(os.Args[1], os.Args[2]))
	case "full":
		fmt.Println(fullDisk(os.Args[1]))
	}
}

func command(do string, args ...string) *exec.Cmd {
	c := exec.Command("/proc/self/exe", args...)
	c.Env = append(os.Environ(), childEnv+"="+do)
	c.Stderr = os.Stderr
	return c
}

// emitAlways emits from several goroutines and prints the ids of each batch
// once it is acknowledged. It never ends well.
func emitAlways(path, round string) error {
	s, err := file.Open(path, file.Options{MaxBytes: 100_000})
	if err != nil {
		return err
	}
	failed := make(chan error)
	for w := range 4 {
		go func() {
			for n := 0; ; n++ {
				b := batch(w, n)
				var ids []string
				for i := range b.Events {
					e := &b.Events[i]
					e.ID += "-" + round
					e.Record = append(fmt.Appendf(nil, `{"id":%q,`, e.ID), e.Record[strings.Index(string(e.Record), `"pad"`):]...)
					ids = append(ids, e.ID)
				}
				if err := s.Emit(context.Background(), b); err != nil {
					failed <- err
					return
				}
				fmt.Println(strings.Join(ids, " "))
			}
		}()
	}
	return <-failed
}

// Killed at any moment, a sink has every line that it acknowledged, whole, and
// after the next start there is no torn one.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "events.ndjson")
	var acknowledged []string
	torn := 0
	for round := range 50 {
		c := command("emit", path, fmt.Sprint(round))
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		kill := sync.OnceFunc(func() {
			time.AfterFunc(time.Duration(5+round*1373%41)*time.Millisecond, func() { c.Process.Kill() })
		})
		if round%2 == 0 { // at its start; otherwise at work, however slow the machine
			kill()
		}
		for r := bufio.NewScanner(out); r.Scan(); {
			kill()
			if strings.HasPrefix(r.Text(), "error:") {
				t.Fatal(r.Text())
			}
			acknowledged = append(acknowledged, strings.Fields(r.Text())...)
		}
		_ = c.Wait() // killed
		if b, _ := os.ReadFile(path); len(b) > 0 && b[len(b)-1] != '\n' {
			torn++
		}
		if round%10 != 9 {
			continue // the next child opens what this one left
		}
		s, err := file.Open(path, file.Options{})
		if err != nil {
			t.Fatal(err)
		}
		closed(t, s)
		if lost := missing(t, lines(t, dir), acknowledged); len(lost) > 0 {
			t.Fatalf("round %d: %d of %d acknowledged ids are lost: %q", round, len(lost), len(acknowledged), lost[0])
		}
	}
	t.Logf("%d ids acknowledged, %d files, %d of the kills left a torn line", len(acknowledged), len(files(t, dir)), torn)
	if len(acknowledged) < 500 || len(files(t, dir)) < 3 {
		t.Errorf("%d ids in %d files: the children were killed too early to show anything", len(acknowledged), len(files(t, dir)))
	}
}

// A second process is refused.
func TestLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "e")
	s, err := file.Open(path, file.Options{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := command("emit", path, "0").Output()
	if want := "error: open sink " + path + ": in use by another process\n"; err != nil || string(out) != want {
		t.Errorf("%q, %v", out, err)
	}
	closed(t, s)
}

func TestFullDisk(t *testing.T) {
	if out, err := command("full", t.TempDir()).Output(); err != nil || string(out) != "<nil>\n" {
		t.Errorf("%s%v", out, err)
	}
}

// fullDisk runs in a process of its own: a limit on the size of its files cuts
// writes as a full disk does.
func fullDisk(dir string) error {
	signal.Ignore(syscall.SIGXFSZ)
	path := filepath.Join(dir, "e")
	s, err := file.Open(path, file.Options{})
	if err != nil {
		return err
	}
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		return err
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 100_000, Max: was.Max}); err != nil {
		return err
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	acknowledged, failed := 0, 0
	for w := range 4 {
		wg.Go(func() {
			for n := range 60 {
				b := batch(w, n)
				err := s.Emit(context.Background(), b)
				mu.Lock()
				if err == nil {
					acknowledged += len(b.Events)
				} else {
					failed++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if acknowledged == 0 || failed == 0 {
		return fmt.Errorf("%d lines acknowledged, %d batches failed", acknowledged, failed)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if n := strings.Count(string(b), "\n"); n != acknowledged || b[len(b)-1] != '\n' || len(b) > 100_000 {
		return fmt.Errorf("%d bytes with %d lines, %d were acknowledged", len(b), n, acknowledged)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		return err
	}
	if err := s.Emit(context.Background(), batch(9, 59)); err != nil {
		return fmt.Errorf("with room again: %w", err)
	}
	return s.Close()
}
