package state_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/trailseal/trailseal/internal/state"
)

// A folder without the right to write in it is a refusal, not damage. Root may
// write everywhere, so the thread becomes somebody else's for file access.
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
	f, err := state.OpenFile(path)
	if !errors.Is(err, fs.ErrPermission) || errors.Is(err, state.ErrCorrupt) || !strings.Contains(err.Error(), path) {
		t.Errorf("opened %v, %v", f, err)
	}
}
