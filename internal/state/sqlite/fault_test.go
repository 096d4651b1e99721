//go:build unix

package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/internal/state/sqlite"
)

// A file that cannot grow: the old values stay, and can be read. Once there is
// room, the store takes new ones.
func TestFullDisk(t *testing.T) {
	out, err := command(t, "full", filepath.Join(t.TempDir(), "state")).Output()
	if err != nil || string(out) != "done\n" {
		t.Errorf("%s%v", out, err)
	}
}

// fullDisk runs in a process of its own: a limit on the size of its files
// fails writes as a full disk does, in the middle of one too.
func fullDisk(path string) error {
	signal.Ignore(syscall.SIGXFSZ)
	ctx := context.Background()
	s, err := sqlite.Open(path)
	if err != nil {
		return err
	}
	old, err := s.Put(ctx, "a", []byte("old"), "")
	if err != nil {
		return err
	}
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		return err
	}
	log, err := os.Stat(path + "-wal")
	if err != nil {
		return err
	}
	large := []byte(strings.Repeat("x", 500_000))
	for _, room := range []int64{0, 1, 100, 4096} {
		full := syscall.Rlimit{Cur: uint64(log.Size() + room), Max: was.Max}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &full); err != nil {
			return err
		}
		_, err := s.Put(ctx, "a", large, old)
		if err == nil || errors.Is(err, state.ErrConflict) || errors.Is(err, state.ErrCorrupt) {
			return fmt.Errorf("with %d bytes of room: %v", room, err)
		}
		if v, err := s.Get(ctx, "a"); string(v.Bytes) != "old" || v.Version != old {
			return fmt.Errorf("after the failure: %q, %v", v, err)
		}
	}
	if err := smallDisk(ctx, s, was.Max); err != nil {
		return err
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 100, Max: was.Max}); err != nil {
		return err
	}
	if _, err := sqlite.Open(path + "2"); err == nil || errors.Is(err, state.ErrCorrupt) {
		return fmt.Errorf("a new file: %v", err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		return err
	}
	if _, err = s.Put(ctx, "a", large, old); err != nil {
		return fmt.Errorf("with room: %w", err)
	}
	if err := s.Close(); err != nil {
		return err
	}
	if s, err = sqlite.Open(path); err != nil {
		return err
	}
	if v, err := s.Get(ctx, "a"); string(v.Bytes) != string(large) {
		return fmt.Errorf("opened again: %.20q, %v", v.Bytes, err)
	}
	fmt.Println("done")
	return s.Close()
}

// smallDisk has room for the file and for some of the log only: the store
// empties the log and goes on.
func smallDisk(ctx context.Context, s *sqlite.Store, hard uint64) error {
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 200_000, Max: hard}); err != nil {
		return err
	}
	var version state.Version
	failed := 0
	for n := range 50 {
		v, err := s.Put(ctx, "b", numbered(n), version)
		if err != nil {
			failed++
			v, err = s.Put(ctx, "b", numbered(n), version)
		}
		if err != nil {
			return fmt.Errorf("put %d on a small disk fails twice: %w", n, err)
		}
		version = v
	}
	if failed == 0 {
		return errors.New("the small disk was never full")
	}
	return nil
}

// While another program writes to the file, a change waits for a short time
// and fails, and a caller that goes away does not wait. Afterwards every change
// of a commit has its own result.
func TestBusy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	s := open(t, path)
	defer closed(t, s)
	v := put(t, s, "a", "1", "")
	release := writing(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() {
		_, err := s.Put(ctx, "gone", []byte("x"), "")
		gone <- err
	}()
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := s.Put(t.Context(), "a", []byte("2"), v); err == nil || errors.Is(err, state.ErrConflict) {
		t.Errorf("while another program writes: %v", err)
	}
	if got, err := s.Get(t.Context(), "a"); err != nil || got.Version != v {
		t.Errorf("%q, %v", got, err)
	}
	results := make(chan error)
	const n = 20
	for i := range n {
		go func() {
			prev := state.Version("")
			if i%2 == 1 {
				prev = v // of another name
			}
			_, err := s.Put(t.Context(), fmt.Sprint("n/", i), []byte("x"), prev)
			if errors.Is(err, state.ErrConflict) != (i%2 == 1) || i%2 == 0 && err != nil {
				err = fmt.Errorf("change %d: %v", i, err)
			} else {
				err = nil
			}
			results <- err
		}()
	}
	release()
	for range n {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	put(t, s, "a", "2", v)
}
