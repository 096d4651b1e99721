package dir

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// tree opens the files and folders below a folder, by their paths.
type tree struct {
	root *os.Root // a path that leaves the folder cannot be opened through it
}

// open opens a regular file and returns its size. It checks the file before,
// because opening a device can act on it, and after, because the file may have
// been replaced. A pipe in its place does not block it.
func (t tree) open(name string) (*os.File, int64, error) {
	info, err := t.root.Stat(name)
	if err != nil {
		return nil, 0, t.explain(name, err)
	}
	if err := t.checkRegular(name, info); err != nil {
		return nil, 0, err
	}
	f, err := t.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, t.explain(name, err)
	}
	info, err = f.Stat()
	if err == nil {
		err = t.checkRegular(name, info)
	}
	if err != nil {
		f.Close()
		return nil, 0, bare(err)
	}
	return f, info.Size(), nil
}

func (t tree) checkRegular(name string, info fs.FileInfo) error {
	switch {
	case info.Mode().IsRegular():
		return nil
	case !info.IsDir():
		return refusal("not a regular file (" + kind(info.Mode()) + ")")
	case t.circles(name, info):
		return errCircle
	}
	return fmt.Errorf("a folder, not an object: %w", fs.ErrNotExist)
}

// readDir calls visit with what a folder holds, some entries at a time and in any
// order. The caller has made sure that no link on the way leads to a folder that
// holds it.
func (t tree) readDir(name string, visit func([]fs.DirEntry) error) error {
	switch info, err := t.root.Stat(name); {
	case err != nil:
		return t.explain(name, err)
	case !info.IsDir():
		return fmt.Errorf("not a folder: %w", fs.ErrNotExist)
	}
	f, err := t.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return t.explain(name, err)
	}
	defer f.Close()
	entries, err := t.toRead(f, name)
	if err != nil {
		return t.explain(name, err)
	}
	defer entries.Close()
	for {
		found, err := entries.ReadDir(batch)
		if len(found) > 0 {
			if err := visit(found); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return t.explain(name, err)
		}
	}
}

// batch is how many entries of a folder are read at once.
const batch = 4096

// showsFile reports whether one of the first entries of a folder is a regular file
// that is an object by its name alone. A folder for which it is false may hold
// objects all the same.
func (t tree) showsFile(name string) bool {
	f, err := t.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	entries, err := t.toRead(f, name)
	if err != nil {
		return false
	}
	defer entries.Close()
	found, _ := entries.ReadDir(64)
	return slices.ContainsFunc(found, func(e fs.DirEntry) bool {
		return e.Type().IsRegular() && !isLitterName(e.Name()) && !strings.HasSuffix(e.Name(), sidecarEnd)
	})
}

// local returns the path of the file that has this key. A bucket's keys may
// be anything ("../x", "/etc/passwd", "a//b"); most of what a folder cannot
// hold is cleaned silently by path functions into something that it can, so
// each part is looked at.
func local(key string) (string, bool) {
	if strings.IndexByte(key, 0) >= 0 || filepath.Separator != '/' && strings.ContainsRune(key, filepath.Separator) {
		return "", false
	}
	for part := range strings.SplitSeq(key, "/") {
		if part == "" || part == "." || part == ".." {
			return "", false
		}
	}
	name := filepath.FromSlash(key)
	return name, filepath.IsLocal(name)
}

// folderName returns the path of a folder, "" or a key that ends in a slash;
// false where there can be no such folder.
func folderName(folder string) (string, bool) {
	if folder == "" {
		return ".", true
	}
	return local(strings.TrimSuffix(folder, "/"))
}
