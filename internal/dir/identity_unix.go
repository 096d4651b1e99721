//go:build unix

package dir

import (
	"io/fs"
	"syscall"
)

// identity names a folder as os.SameFile does, so all paths to it have one identity.
type identity struct {
	device, inode any // unsigned or signed, as the system has it
}

func identify(_ tree, _ string, info fs.FileInfo) identity {
	s := info.Sys().(*syscall.Stat_t)
	return identity{s.Dev, s.Ino}
}
