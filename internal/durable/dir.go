package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// SyncDir makes the names in a folder last: a file that was created or renamed
// there can be lost with a power cut before this, however often the file itself
// was synced.
func SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}

// Bare returns the cause of an error without its paths, for errors that
// name the file in their own way.
func Bare(err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		return p.Err
	case errors.As(err, &l):
		return fmt.Errorf("%s: %w", l.Op, l.Err)
	}
	return err
}
