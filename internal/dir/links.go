package dir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// refusal is why something that is there is not read.
type refusal string

func (r refusal) Error() string { return string(r) }

// Unwrap makes it an fs.ErrPermission: not an absence.
func (r refusal) Unwrap() error { return fs.ErrPermission }

const errCircle = refusal("a link to a folder that holds it")

// explain says why name could not be opened. Only what is truly not there is
// fs.ErrNotExist: where a link on the way is to blame, someone may have put
// it there.
func (d *Dir) explain(name string, err error) error {
	err = bare(err)
	if errors.Is(err, fs.ErrPermission) {
		return err
	}
	if link := d.brokenLink(name); link != "" {
		return refusal(fmt.Sprintf("link %q cannot be followed inside the folder: %v", filepath.ToSlash(link), err))
	}
	if errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG) {
		return fmt.Errorf("%v: %w", err, fs.ErrNotExist)
	}
	return err
}

// brokenLink returns the first link on the way to name that cannot be
// followed, "" where there is none.
func (d *Dir) brokenLink(name string) string {
	for i := range len(name) + 1 {
		if i < len(name) && name[i] != filepath.Separator {
			continue
		}
		info, err := d.root.Lstat(name[:i])
		if err != nil {
			return ""
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			continue
		}
		if _, err := d.root.Stat(name[:i]); err != nil {
			return name[:i]
		}
	}
	return ""
}

// checkFolder demands that name is a folder, and not a link back to one that
// holds it.
func (d *Dir) checkFolder(name string) error {
	info, err := d.root.Stat(name)
	switch {
	case err != nil:
		return d.explain(name, err)
	case !info.IsDir():
		return fmt.Errorf("not a folder: %w", fs.ErrNotExist)
	case d.circles(name, info):
		return errCircle
	}
	return nil
}

// circles reports whether the folder info, found as name, is one of those that
// hold name: following it would never end.
func (d *Dir) circles(name string, info fs.FileInfo) bool {
	if found, err := d.root.Lstat(name); err != nil || found.Mode()&fs.ModeSymlink == 0 {
		return false // only a link can
	}
	for name != "." {
		name = filepath.Dir(name)
		if holder, err := d.root.Stat(name); err == nil && os.SameFile(holder, info) {
			return true
		}
	}
	return false
}

// bare takes the operation and the path off an error of package os: ours name
// the object.
func bare(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}

func kind(m fs.FileMode) string {
	switch {
	case m&fs.ModeNamedPipe != 0:
		return "named pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeDevice != 0:
		return "device"
	}
	return "mode " + m.Type().String()
}
