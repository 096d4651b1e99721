//go:build unix

package dir

import (
	"os"
	"path/filepath"
	"syscall"
)

// toRead returns a second descriptor of an open folder, to read its entries from.
// Of a folder that was opened through an os.Root, ReadDir looks at every entry,
// which takes a call to the system and a hundred bytes for each: a day folder can
// hold very many. The caller closes both.
func (t tree) toRead(f *os.File, name string) (*os.File, error) {
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), filepath.Join(t.root.Name(), name)), nil
}
