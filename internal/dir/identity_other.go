//go:build !unix

package dir

import (
	"io/fs"
	"path/filepath"
)

// identity names a folder by its path without links.
type identity struct {
	path string
}

func identify(t tree, name string, _ fs.FileInfo) identity {
	path, err := filepath.EvalSymlinks(filepath.Join(t.root.Name(), name))
	if err != nil {
		path = name
	}
	return identity{path}
}
