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

	"github.com/trailseal/trailseal/pkg/trail"
)

// List yields the objects whose key begins with prefix and sorts after after,
// in byte order of the keys. It holds the entries of one folder a level. It does
// not read a folder that lies wholly before after or outside prefix. A folder
// that cannot be read ends the listing with an error, unless the folder is
// litter.
func (d *Dir) List(ctx context.Context, bucket, prefix, after string) iter.Seq2[trail.Object, error] {
	return func(yield func(trail.Object, error) bool) {
		l := listing{dir: d, ctx: ctx, bucket: bucket, prefix: prefix, after: after, yield: yield}
		l.begin(parent(prefix))
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

// begin yields what lies below a folder that no listing has come to so far, and
// reports whether to go on.
func (l *listing) begin(folder string) bool {
	ok, err := l.dir.listed(l.ctx, folder)
	if err != nil {
		l.yield(trail.Object{}, listError(l.bucket, folder, err))
		return false
	}
	return !ok || l.folder(folder)
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
			if !l.begin(key + "/") {
				return false
			}
			continue
		}
		switch {
		case e.folder():
			if l.reaches(key) && !l.folder(key) {
				return false
			}
		case strings.HasPrefix(key, l.prefix) && key > l.after && l.dir.isObject(key, e):
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
	if info, err := l.dir.info(key, e); err == nil && info.Mode().IsRegular() {
		o.Size, o.Modified = info.Size(), info.ModTime()
	}
	return o
}

// Children yields what lies one level below prefix, in order: objects, and
// folders that hold an object. A link that cannot be followed and a folder that
// cannot be read count as folders: only a call that looks into one of them
// returns the error.
func (d *Dir) Children(ctx context.Context, bucket, prefix string) iter.Seq2[trail.Object, error] {
	return func(yield func(trail.Object, error) bool) {
		folder := parent(prefix)
		ok, err := d.listed(ctx, folder)
		var entries []entry
		if ok {
			entries, err = d.read(ctx, folder)
		}
		if err != nil {
			yield(trail.Object{}, listError(bucket, folder, err))
			return
		}
		for i := range entries {
			if entries[i].broken { // it sorts as a folder here, and as a file in read
				entries[i].name += "/"
			}
		}
		slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.name, b.name) })
		l := listing{dir: d, bucket: bucket}
		for _, e := range entries {
			if err := ctx.Err(); err != nil {
				yield(trail.Object{}, listError(bucket, folder, err))
				return
			}
			key := folder + e.name
			if !strings.HasPrefix(key, prefix) {
				continue
			}
			o, found := trail.Object{Bucket: bucket, Key: key}, true
			if e.folder() {
				found = e.broken || d.holds(ctx, key)
			} else if found = d.isObject(key, e); found {
				o = l.object(key, e)
			}
			if found && !yield(o, nil) {
				return
			}
		}
	}
}

// holds reports whether a folder holds an object, however deep: a bucket has
// no empty folders, a copy whose objects were deleted has. A folder that cannot
// be read holds one, because a listing of it yields the error.
func (d *Dir) holds(ctx context.Context, folder string) (found bool) {
	if name, ok := folderName(folder); ok && !inLitter(folder) && d.tree.showsFile(name) {
		return true // without reading all of a folder that holds very many
	}
	l := listing{dir: d, ctx: ctx, prefix: folder, yield: func(trail.Object, error) bool {
		found = true
		return false
	}}
	l.folder(folder)
	return found
}

// isObject reports whether a file is listed: litter and sidecars are not. It
// reads the file only if its name says that it can be one of both.
func (d *Dir) isObject(key string, e entry) bool {
	name := filepath.FromSlash(key)
	if e.litter && !mayBeEvidence(d.tree, name) {
		d.litter.add(key)
		return false
	}
	return !e.sidecar || !d.tree.isSidecar(name)
}

// entry is what a folder holds under one name.
type entry struct {
	name    string      // ends in a slash: a folder
	broken  bool        // a link that cannot be followed
	litter  bool        // a file that is litter, unless it begins like evidence
	sidecar bool        // a file that has a sidecar's name
	target  fs.FileInfo // of a link that can be followed
}

// info returns the size and time of an entry, or of what a link leads to. A folder
// can hold very many entries, so what the system says of each is not kept.
func (d *Dir) info(key string, e entry) (fs.FileInfo, error) {
	switch {
	case e.target != nil:
		return e.target, nil
	case e.broken:
		return nil, fs.ErrNotExist
	}
	return os.Lstat(filepath.Join(d.tree.root.Name(), filepath.FromSlash(key)))
}

func (e entry) folder() bool { return strings.HasSuffix(e.name, "/") }

// listed reports whether a listing of the whole tree comes to a folder, "" or a
// key that ends in a slash. It does not look whether the folder is there.
func (d *Dir) listed(ctx context.Context, folder string) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	name, ok := folderName(folder)
	if !ok || name == "." {
		return ok, nil
	}
	return d.links.reached(ctx, name)
}

// read returns the entries of a folder, "" or a key that ends in a slash, in
// the order of the keys: a folder sorts as its name and a slash, so "a.b" comes
// before "a/c". Links that are not followed, because another one leads there,
// are left out. An absent folder is empty. So is litter that cannot be read.
func (d *Dir) read(ctx context.Context, folder string) ([]entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	name, ok := folderName(folder)
	if !ok {
		return nil, nil
	}
	litter := inLitter(folder)
	var entries []entry
	err := d.tree.readDir(name, func(found []fs.DirEntry) (err error) {
		entries, err = d.entries(ctx, entries, name, found, litter)
		return err
	})
	_, refused := errors.AsType[refusal](err)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, fs.ErrNotExist) && name != ".":
		return nil, nil
	case err != nil && litter && !refused:
		d.litter.add(folder)
		return nil, nil
	case err != nil:
		return nil, err
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.name, b.name) })
	isFile := func(name string) bool {
		_, there := slices.BinarySearchFunc(
			entries,
			name,
			func(e entry, name string) int { return cmp.Compare(e.name, name) },
		)
		return there
	}
	for i, e := range entries {
		entries[i].sidecar = isSidecarName(e.name, isFile)
	}
	return entries, nil
}

// entries appends what was found in a folder to entries. It looks where links lead
// to and takes other entries as they are.
func (d *Dir) entries(
	ctx context.Context,
	entries []entry,
	folder string,
	found []fs.DirEntry,
	litter bool,
) ([]entry, error) {
	var holders []fs.FileInfo // of a link
	for _, f := range found {
		e := entry{name: f.Name(), litter: f.Type().IsRegular() && (litter || isLitterName(f.Name()))}
		isDir := f.IsDir()
		if f.Type()&fs.ModeSymlink != 0 {
			if holders == nil {
				holders = d.tree.holders(folder)
			}
			name := filepath.Join(folder, f.Name())
			target, broken := d.tree.target(name, holders)
			if broken && target != nil { // a folder that holds it: everything there is listed at its own path
				d.links.repeats.add(name)
				continue
			}
			e.broken, isDir = broken, !broken && target.IsDir()
			if !broken {
				e.target = target
			}
			if isDir {
				followed, err := d.links.follows(ctx, name, target)
				if err != nil {
					return nil, err
				}
				if !followed {
					continue
				}
			}
		}
		if isDir {
			e.name += "/"
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// parent returns the folder that holds every key with this prefix.
func parent(prefix string) string { return prefix[:strings.LastIndexByte(prefix, '/')+1] }

func listError(bucket, folder string, err error) error {
	if folder == "" {
		folder = "."
	}
	return fmt.Errorf("list %s: %w", trail.Object{Bucket: bucket, Key: folder}, err)
}
