package dir

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/trailseal/trailseal/pkg/trail"
)

// Dir is a folder that stands for a bucket. Its methods are those of
// fetch.Objects and safe for concurrent use.
type Dir struct {
	root *os.Root // resolves every name: a path that leaves the folder cannot be opened through it
}

// Open opens the folder at path. Close it after the last body is closed.
func Open(path string) (*Dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open folder %s: %w", path, bare(err))
	}
	return &Dir{root: root}, nil
}

// Close lets go of the folder.
func (d *Dir) Close() error { return d.root.Close() }

// Get opens the file that stands for o. Errors wrap fs.ErrNotExist where there
// is none, or where no file could have such a key; fs.ErrPermission where
// something is there that may not or must not be read. o.Size is not looked
// at. The body ends in ctx's error once ctx is done.
func (d *Dir) Get(ctx context.Context, o trail.Object) (io.ReadCloser, map[string]string, error) {
	b, meta, err := d.get(ctx, o.Key)
	if err != nil {
		return nil, nil, fmt.Errorf("get %s: %w", o, err)
	}
	return b, meta, nil
}

func (d *Dir) get(ctx context.Context, key string) (io.ReadCloser, map[string]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	name, ok := local(key)
	if !ok {
		return nil, nil, fmt.Errorf("no file can have this key: %w", fs.ErrNotExist)
	}
	f, size, err := d.open(name)
	if err != nil {
		return nil, nil, err
	}
	meta, err := d.metadata(name)
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return &body{ctx: ctx, file: f, left: size}, meta, nil
}

// open opens a regular file and returns its size. It looks before it opens,
// since opening a device can already act on it, and again after, since the
// file may have been swapped; a pipe swapped in does not block it.
func (d *Dir) open(name string) (*os.File, int64, error) {
	info, err := d.root.Stat(name)
	if err != nil {
		return nil, 0, d.explain(name, err)
	}
	if err := d.checkRegular(name, info); err != nil {
		return nil, 0, err
	}
	f, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, d.explain(name, err)
	}
	info, err = f.Stat()
	if err == nil {
		err = d.checkRegular(name, info)
	}
	if err != nil {
		f.Close()
		return nil, 0, bare(err)
	}
	return f, info.Size(), nil
}

func (d *Dir) checkRegular(name string, info fs.FileInfo) error {
	switch {
	case info.Mode().IsRegular():
		return nil
	case !info.IsDir():
		return refusal("not a regular file (" + kind(info.Mode()) + ")")
	case d.circles(name, info):
		return errCircle
	}
	return fmt.Errorf("a folder, not an object: %w", fs.ErrNotExist)
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

// body is an open file that is expected to keep the size it had.
type body struct {
	ctx  context.Context // of the Get that opened it
	file *os.File
	left int64 // bytes until its size is reached
}

func (b *body) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.file.Read(p)
	b.left -= int64(n)
	if err == io.EOF && b.left > 0 {
		return n, fmt.Errorf("read %s: shorter than when it was opened: %w", b.file.Name(), io.ErrUnexpectedEOF)
	}
	return n, err
}

func (b *body) Close() error { return b.file.Close() }
