package dir

import (
	"cmp"
	"context"
	"io/fs"
	"path/filepath"
	"slices"
)

// linkTable has, for each folder that links lead to, the path of the link that
// listings follow.
type linkTable map[identity]string

// links says which links listings follow. It is safe for concurrent use.
type links struct {
	tree    tree
	table   chan linkTable // holds the table while no call of follows uses it
	repeats *tally         // links that listings left out
}

func newLinks(t tree) links {
	l := links{tree: t, table: make(chan linkTable, 1), repeats: newTally()}
	l.table <- nil
	return l
}

// follows reports whether listings follow the link at name to the folder
// target. The first call walks the whole tree. A later call walks it again only
// if the tree has changed: target is new, or its link is gone.
//
// A caller takes the table out of its channel, so only one caller walks.
func (l links) follows(ctx context.Context, name string, target fs.FileInfo) (bool, error) {
	var table linkTable
	select {
	case table = <-l.table:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer func() { l.table <- table }()
	id := identify(l.tree, name, target)
	if link, known := table[id]; !known || link != name && !l.tree.leads(link, target) {
		walked, err := l.walk(ctx)
		if err != nil {
			return false, err
		}
		table = walked
		if _, known := table[id]; !known { // the link is newer than the walk
			table[id] = name
		}
	}
	if table[id] != name {
		l.repeats.add(name)
		return false, nil
	}
	return true, nil
}

// walk enters every folder in the order of the keys, and each target of a link
// once. It passes over folders that it cannot read, because a listing that comes
// to one of them returns the error.
func (l links) walk(ctx context.Context) (linkTable, error) {
	table := linkTable{}
	var enter func(folder string) error
	enter = func(folder string) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		var found []fs.DirEntry
		err := l.tree.readDir(folder, func(some []fs.DirEntry) error {
			found = append(found, foldersAndLinks(some)...)
			return nil
		})
		if err != nil {
			return nil
		}
		var holders []fs.FileInfo
		for _, f := range foldersAndLinks(found) {
			name := filepath.Join(folder, f.Name())
			if !f.IsDir() {
				if holders == nil {
					holders = l.tree.holders(folder)
				}
				target, broken := l.tree.target(name, holders)
				if broken || !target.IsDir() {
					continue
				}
				id := identify(l.tree, name, target)
				if _, entered := table[id]; entered {
					continue
				}
				table[id] = name
			}
			if err := enter(name); err != nil {
				return err
			}
		}
		return nil
	}
	return table, enter(".")
}

// foldersAndLinks returns the entries that can lead on, in the order of the keys.
func foldersAndLinks(found []fs.DirEntry) []fs.DirEntry {
	found = slices.DeleteFunc(found, func(f fs.DirEntry) bool { return !f.IsDir() && f.Type()&fs.ModeSymlink == 0 })
	slices.SortFunc(found, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name()+"/", b.Name()+"/") })
	return found
}

// reached reports whether a listing of the whole tree comes to the folder name:
// it follows every link on the way. A link that is not followed because it is
// broken is not reported here: reading the folder returns that error.
func (l links) reached(ctx context.Context, name string) (bool, error) {
	for i := range len(name) + 1 {
		if i < len(name) && name[i] != filepath.Separator {
			continue
		}
		part := name[:i]
		found, err := l.tree.root.Lstat(part)
		if err != nil {
			return true, nil
		}
		if found.Mode()&fs.ModeSymlink == 0 {
			continue
		}
		target, broken := l.tree.target(part, l.tree.holders(filepath.Dir(part)))
		switch {
		case broken && target != nil:
			return false, errCircle
		case broken || !target.IsDir():
			return true, nil
		}
		if ok, err := l.follows(ctx, part, target); !ok {
			return false, err
		}
	}
	return true, nil
}
