package dir

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/trailseal/trailseal/pkg/trail"
)

// List yields the objects whose key begins with prefix and sorts after after,
// in byte order of the keys. It holds the entries of one folder a level and
// reads no folder that lies wholly before after or outside prefix. A folder
// that cannot be read ends the listing with an error.
func (d *Dir) List(ctx context.Context, bucket, prefix, after string) iter.Seq2[trail.Object, error] {
	return func(yield func(trail.Object, error) bool) {
		l := listing{dir: d, ctx: ctx, bucket: bucket, prefix: prefix, after: after, yield: yield}
		l.folder(parent(prefix))
	}
}

// listing is one call of List.
type listing struct {
	dir           *Dir
	ctx           context.Context
	bucket        string
	prefix, after string
	yield         func(trail.Object, error) bool
}

// folder yields what lies below a folder and reports whether to go on.
func (l *listing) folder(folder string) bool {
	entries, err := l.dir.read(l.ctx, folder)
	if err != nil {
		l.yield(trail.Object{}, listError(l.bucket, folder, err))
		return false
	}
	for _, e := range entries {
		key := folder + e.name
		// What lies below a broken link could come after after, though its own
		// name does not: opening it as a folder gives the error.
		if e.broken && strings.HasPrefix(l.after, key+"/") {
			return l.folder(key + "/")
		}
		switch {
		case e.folder():
			if l.reaches(key) && !l.folder(key) {
				return false
			}
		case strings.HasPrefix(key, l.prefix) && key > l.after:
			if !l.yield(l.object(key, e), nil) {
				return false
			}
		}
		if err := l.ctx.Err(); err != nil {
			l.yield(trail.Object{}, listError(l.bucket, folder, err))
			return false
		}
	}
	return true
}

// reaches reports whether keys below folder can be among those asked for.
func (l *listing) reaches(folder string) bool {
	return (strings.HasPrefix(folder, l.prefix) || strings.HasPrefix(l.prefix, folder)) &&
		(folder > l.after || strings.HasPrefix(l.after, folder))
}

func (l *listing) object(key string, e entry) trail.Object {
	o := trail.Object{Bucket: l.bucket, Key: key}
	// Size and time are a help, not evidence: an entry that cannot be looked at
	// is still an object, and Get says what is wrong with it.
	if info, err := e.info(); err == nil && info.Mode().IsRegular() {
		o.Size, o.Modified = info.Size(), info.ModTime()
	}
	return o
}

// Children yields what lies one level below prefix, in order: objects, and
// folders that hold an object. A link that cannot be followed counts as a
// folder.
func (d *Dir) Children(ctx context.Context, bucket, prefix string) iter.Seq2[trail.Object, error] {
	return func(yield func(trail.Object, error) bool) {
		folder := parent(prefix)
		entries, err := d.read(ctx, folder)
		if err != nil {
			yield(trail.Object{}, listError(bucket, folder, err))
			return
		}
		l := listing{bucket: bucket}
		var found []trail.Object
		for _, e := range entries {
			o := l.object(folder+e.name, e)
			if e.folder() || e.broken {
				o = trail.Object{Bucket: bucket, Key: folder + strings.TrimSuffix(e.name, "/") + "/"}
			}
			if strings.HasPrefix(o.Key, prefix) {
				found = append(found, o)
			}
		}
		// A broken link had no slash in the order of entries.
		slices.SortFunc(found, func(a, b trail.Object) int { return cmp.Compare(a.Key, b.Key) })
		for _, o := range found {
			if err := ctx.Err(); err != nil {
				yield(trail.Object{}, listError(bucket, folder, err))
				return
			}
			if (!strings.HasSuffix(o.Key, "/") || d.holds(ctx, o.Key)) && !yield(o, nil) {
				return
			}
		}
	}
}

// holds reports whether a folder holds an object, however deep: a bucket has
// no empty folders, a copy whose objects were deleted has. What cannot be read
// counts: whoever looks into it gets the error.
func (d *Dir) holds(ctx context.Context, folder string) bool {
	for range d.List(ctx, "", folder, "") {
		return true
	}
	return false
}

// entry is what a folder holds under one name.
type entry struct {
	name   string // ends in a slash: a folder
	broken bool   // a link that cannot be followed
	info   func() (fs.FileInfo, error)
}

func (e entry) folder() bool { return strings.HasSuffix(e.name, "/") }

// read returns the entries of a folder, "" or a key that ends in a slash, in
// the order of the keys: a folder sorts as its name and a slash, so "a.b" comes
// before "a/c". Sidecars are left out. An absent folder is empty.
func (d *Dir) read(ctx context.Context, folder string) ([]entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	name := "."
	if folder != "" {
		var ok bool
		if name, ok = local(strings.TrimSuffix(folder, "/")); !ok {
			return nil, nil
		}
	}
	found, err := d.readDir(name)
	if errors.Is(err, fs.ErrNotExist) && name != "." {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	entries := make([]entry, len(found))
	files := make(map[string]bool, len(found))
	for i, f := range found {
		entries[i] = d.entry(name, f)
		files[entries[i].name] = !entries[i].folder()
	}
	entries = slices.DeleteFunc(entries, func(e entry) bool { return isSidecar(e.name, files) })
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.name, b.name) })
	return entries, nil
}

func (d *Dir) readDir(name string) ([]fs.DirEntry, error) {
	if err := d.checkFolder(name); err != nil {
		return nil, err
	}
	f, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, d.explain(name, err)
	}
	defer f.Close()
	found, err := f.ReadDir(-1)
	if err != nil {
		return nil, d.explain(name, err)
	}
	return found, nil
}

// entry looks where a link leads to; other entries are taken as they are.
func (d *Dir) entry(folder string, f fs.DirEntry) entry {
	e := entry{name: f.Name(), info: f.Info}
	isDir := f.IsDir()
	if f.Type()&fs.ModeSymlink != 0 {
		name := filepath.Join(folder, f.Name())
		info, err := d.root.Stat(name)
		e.info = func() (fs.FileInfo, error) { return info, err }
		e.broken = err != nil || info.IsDir() && d.circles(name, info)
		isDir = !e.broken && info.IsDir()
	}
	if isDir {
		e.name += "/"
	}
	return e
}

// parent returns the folder that holds every key with this prefix.
func parent(prefix string) string { return prefix[:strings.LastIndexByte(prefix, '/')+1] }

func listError(bucket, folder string, err error) error {
	if folder == "" {
		folder = "."
	}
	return fmt.Errorf("list %s: %w", trail.Object{Bucket: bucket, Key: folder}, err)
}
