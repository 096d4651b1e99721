//go:build unix

package operate

import "syscall"

// restrict sets the mode of a socket that has no name yet.
func restrict(fd uintptr) error { return syscall.Fchmod(int(fd), 0o600) }
