package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/internal/state/sqlite"
)

// A folder without the right to write in it is a refusal, not damage. Root may
// write everywhere, so the thread takes another user's id for file access.
func TestReadOnlyFolder(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o555); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(d, 0o700)
	}
	if os.Geteuid() == 0 {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := syscall.Setfsuid(65534); err != nil {
			t.Fatal(err)
		}
		defer syscall.Setfsuid(0)
	}
	path := filepath.Join(dir, "state")
	s, err := sqlite.Open(path)
	if !errors.Is(err, fs.ErrPermission) || errors.Is(err, state.ErrCorrupt) || !strings.Contains(err.Error(), path) {
		t.Errorf("opened %v, %v", s, err)
	}
}

// A commit that the disk does not take fails for each of its changes, and what
// was stored before is still there, in this process and in the next.
func TestFailingSync(t *testing.T) {
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skip("the filter of system calls is written for amd64 and arm64")
	}
	path := filepath.Join(t.TempDir(), "state")
	out, err := command(t, "fsync", path).Output()
	if err != nil || string(out) != "done\n" {
		t.Fatalf("%s%v", out, err)
	}
	s := open(t, path)
	defer closed(t, s)
	// What the log has was perhaps never synced. Open writes it into the file.
	if log, err := os.Stat(path + "-wal"); err != nil || log.Size() != 0 {
		t.Errorf("the log has %d bytes, %v", log.Size(), err)
	}
	for w := range 8 {
		name := fmt.Sprint("chain/", w)
		v, err := s.Get(t.Context(), name)
		if n := number(v.Bytes); err != nil || n != 1 && n != 2 {
			t.Errorf("%s is %d, %v", name, n, err)
		}
		put(t, s, name, string(numbered(3)), v.Version)
	}
}

// failingSync runs in a process of its own, whose syncs fail from some point on.
func failingSync(path string) error {
	ctx := context.Background()
	s, err := sqlite.Open(path)
	if err != nil {
		return err
	}
	var versions [8]state.Version
	for w := range versions {
		if versions[w], err = s.Put(ctx, fmt.Sprint("chain/", w), numbered(1), ""); err != nil {
			return err
		}
	}
	if err := failSyncs(); err != nil {
		return err
	}
	for range 3 {
		var wg sync.WaitGroup
		errs := make(chan error, len(versions))
		for w, version := range versions {
			wg.Go(func() {
				name := fmt.Sprint("chain/", w)
				if _, err := s.Put(ctx, name, numbered(2), version); err == nil || errors.Is(err, state.ErrConflict) {
					errs <- fmt.Errorf("put %s: %v", name, err)
				}
				if v, err := s.Get(ctx, name); err != nil || number(v.Bytes) != 1 || v.Version != version {
					errs <- fmt.Errorf("get %s: %.20q, %v", name, v.Bytes, err)
				}
			})
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			return err
		}
	}
	fmt.Println("done")
	return nil // and not closed, as by a crash
}

// failSyncs makes fsync and fdatasync of this process fail with EIO, by a
// seccomp filter.
func failSyncs() error {
	const (
		load, equal, give   = 0x20, 0x15, 0x06 // BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
		fail, allow         = 0x00050000 | uint32(syscall.EIO), 0x7fff0000
		noNewPrivs          = 38
		setFilter, allTasks = 1, 1
	)
	seccomp := map[string]uintptr{"amd64": 317, "arm64": 277}[runtime.GOARCH]
	filter := []syscall.SockFilter{
		{Code: load, K: 0}, // the number of the call
		{Code: equal, Jt: 2, K: syscall.SYS_FSYNC},
		{Code: equal, Jt: 1, K: syscall.SYS_FDATASYNC},
		{Code: give, K: allow},
		{Code: give, K: fail},
	}
	program := syscall.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, _, e := syscall.RawSyscall6(syscall.SYS_PRCTL, noNewPrivs, 1, 0, 0, 0, 0); e != 0 {
		return fmt.Errorf("no new privileges: %w", e)
	}
	if _, _, e := syscall.RawSyscall(seccomp, setFilter, allTasks, uintptr(unsafe.Pointer(&program))); e != 0 {
		return fmt.Errorf("filter: %w", e)
	}
	return nil
}
