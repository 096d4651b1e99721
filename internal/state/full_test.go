//go:build unix

package state_test

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
)

// A file that cannot grow: the old values stay, reading goes on, and so does
// writing once there is room.
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
	f, err := state.OpenFile(path)
	if err != nil {
		return err
	}
	if err := f.Replace(ctx, "a", nil, []byte("old")); err != nil {
		return err
	}
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	large := []byte(strings.Repeat("x", 500_000))
	for _, room := range []int64{0, 1, 100, 4096} {
		full := syscall.Rlimit{Cur: uint64(info.Size() + room), Max: was.Max}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &full); err != nil {
			return err
		}
		if err := f.Replace(ctx, "a", []byte("old"), large); err == nil || errors.Is(err, state.ErrConflict) || errors.Is(err, state.ErrCorrupt) {
			return fmt.Errorf("with %d bytes of room: %v", room, err)
		}
		if v, err := f.Load(ctx, "a"); string(v) != "old" {
			return fmt.Errorf("after the failure: %q, %v", v, err)
		}
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		return err
	}
	if err := f.Replace(ctx, "a", []byte("old"), large); err != nil {
		return fmt.Errorf("with room: %w", err)
	}
	if err := f.Close(); err != nil {
		return err
	}
	if f, err = state.OpenFile(path); err != nil {
		return err
	}
	if v, err := f.Load(ctx, "a"); string(v) != string(large) {
		return fmt.Errorf("opened again: %.20q, %v", v, err)
	}
	fmt.Println("done")
	return f.Close()
}
