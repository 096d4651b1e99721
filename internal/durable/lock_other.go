//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package durable

import (
	"errors"
	"fmt"
	"os"
)

// ErrLocked is wrapped by the errors of Lock when somebody else has the lock.
var ErrLocked = errors.New("in use by another process")

// Lock fails: two processes that believe they write alone would lose events.
func Lock(f *os.File) error {
	return fmt.Errorf("lock %s: %w", f.Name(), errors.ErrUnsupported)
}

// Unlock has nothing to do where nothing was locked.
func Unlock(*os.File) error { return nil }
