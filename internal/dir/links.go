package dir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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
func (t tree) explain(name string, err error) error {
	err = bare(err)
	if errors.Is(err, fs.ErrPermission) {
		return err
	}
	if link := t.brokenLink(name); link != "" {
		return refusal(fmt.Sprintf("link %q cannot be followed inside the folder: %v", filepath.ToSlash(link), err))
	}
	if errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG) {
		return fmt.Errorf("%v: %w", err, fs.ErrNotExist)
	}
	return err
}

// brokenLink returns the first link on the way to name that cannot be
// followed, "" where there is none.
func (t tree) brokenLink(name string) string {
	for i := range len(name) + 1 {
		if i < len(name) && name[i] != filepath.Separator {
			continue
		}
		info, err := t.root.Lstat(name[:i])
		if err != nil {
			return ""
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			continue
		}
		if _, err := t.root.Stat(name[:i]); err != nil {
			return name[:i]
		}
	}
	return ""
}

// circles reports whether name is a link to info, a folder that holds name:
// following the link would never end.
func (t tree) circles(name string, info fs.FileInfo) bool {
	found, err := t.root.Lstat(name)
	return err == nil && found.Mode()&fs.ModeSymlink != 0 && isOneOf(t.holders(filepath.Dir(name)), info)
}

// holders returns a folder and all folders above it, along the links of its
// path.
func (t tree) holders(folder string) []fs.FileInfo {
	var infos []fs.FileInfo
	for {
		if info, err := t.root.Stat(folder); err == nil {
			infos = append(infos, info)
		}
		if folder == "." {
			return infos
		}
		folder = filepath.Dir(folder)
	}
}

func isOneOf(infos []fs.FileInfo, info fs.FileInfo) bool {
	return slices.ContainsFunc(infos, func(i fs.FileInfo) bool { return os.SameFile(i, info) })
}

// target returns what the link at name leads to. The link is broken if it leads
// nowhere or out of the folder, and then info is nil. It is broken, too, if it
// leads to one of holders.
func (t tree) target(name string, holders []fs.FileInfo) (info fs.FileInfo, broken bool) {
	info, err := t.root.Stat(name)
	if err != nil {
		return nil, true
	}
	return info, info.IsDir() && isOneOf(holders, info)
}

// leads reports whether there is a link at name that leads to target.
func (t tree) leads(name string, target fs.FileInfo) bool {
	found, err := t.root.Lstat(name)
	if err != nil || found.Mode()&fs.ModeSymlink == 0 {
		return false
	}
	info, err := t.root.Stat(name)
	return err == nil && os.SameFile(info, target)
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
