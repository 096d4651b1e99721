package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/trailseal/trailseal/pkg/trail"
)

const awsLogs = "AWSLogs"

// Folder returns the folder to open for a copy at path, and the Prefix of its
// source. The two differ from path and "" where path lies in an AWSLogs folder
// of a trail, or is one: keys begin above that folder.
//
//	DIR                              root DIR, prefix ""
//	DIR/AWSLogs                      root DIR, prefix AWSLogs/
//	DIR/AWSLogs/o-ID/ACCOUNT         root DIR, prefix AWSLogs/o-ID/ACCOUNT/
//
// A folder for cases can be called AWSLogs, too. So the last AWSLogs in path
// counts only where [o-ID/]ACCOUNT[/KIND[/REGION[/...]]] follows it. Where path
// ends earlier than KIND, Folder looks whether folders of these names follow in
// the file system. A folder that it cannot read counts as one that holds them.
// Folder does not resolve links: root and prefix are parts of the path itself.
//
// An error says that path is not a folder.
func Folder(path string) (root, prefix string, err error) {
	given, err := os.Stat(path)
	if err == nil && !given.IsDir() {
		err = errors.New("not a folder")
	}
	if err != nil {
		return "", "", fmt.Errorf("open folder %s: %w", path, bare(err))
	}
	full, err := filepath.Abs(path)
	if err != nil {
		return "", "", fmt.Errorf("open folder %s: %w", path, err)
	}
	// Abs shortens a/.. to nothing. Where a is a link, that is another folder.
	if same, err := os.Stat(full); err != nil || !os.SameFile(given, same) {
		return path, "", nil
	}
	parts := strings.Split(full, "/")
	i := len(parts) - 1
	for i >= 0 && parts[i] != awsLogs {
		i--
	}
	if i < 0 || !isTrails(full, parts[i+1:]) {
		return path, "", nil
	}
	return filepath.Clean(strings.Join(parts[:i], "/") + "/"), strings.Join(parts[i:], "/") + "/", nil
}

// isTrails reports whether CloudTrail can have made folder, which lies at the
// path below in a folder called AWSLogs.
func isTrails(folder string, below []string) bool {
	inOrganization := len(below) > 0 && trail.ValidOrganization(below[0])
	if inOrganization {
		below = below[1:]
	}
	switch {
	case len(below) == 0 && inOrganization:
		return holds(folder, isAccount)
	case len(below) == 0:
		return holds(folder, isAccount) || holds(folder, isOrganization)
	case !trail.ValidAccount(below[0]):
		return false
	case len(below) == 1:
		return holds(folder, isKind)
	}
	return isKind("", below[1]) && (len(below) == 2 || trail.ValidRegion(below[2]))
}

func isOrganization(folder, name string) bool {
	return trail.ValidOrganization(name) && holds(filepath.Join(folder, name), isAccount)
}

// isAccount asks for more than the name: a folder for cases can hold one folder
// for each account, with a copy in each.
func isAccount(folder, name string) bool {
	return trail.ValidAccount(name) && holds(filepath.Join(folder, name), isKind)
}

// isKind reports whether name is CloudTrail, CloudTrail-Digest or the like.
func isKind(_, name string) bool {
	return name == trail.LogFolder || strings.HasPrefix(name, trail.LogFolder+"-")
}

// holds reports whether folder holds a folder for which is returns true.
func holds(folder string, is func(folder, name string) bool) bool {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return true
	}
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		isFolder := e.IsDir()
		if e.Type()&fs.ModeSymlink != 0 {
			info, err := os.Stat(filepath.Join(folder, e.Name()))
			isFolder = err == nil && info.IsDir()
		}
		return isFolder && is(folder, e.Name())
	})
}

// bare returns the cause of an error of package os, without operation and path.
func bare(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}
