package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/trailseal/trailseal/internal/durable"
)

// lockPatience is bbolt's, for the lock that we have already.
const lockPatience = time.Second

// OpenFile opens the file at path and makes it where there is none. It reads
// the whole of it, changes nothing, and never waits. The error wraps ErrLocked
// while another process has it open, ErrCorrupt where it is not what a File
// left behind, ErrVersion where a newer program wrote it.
//
// A crash in the middle of a commit leaves the values before it or after it. A
// page of the file that was damaged later is ErrCorrupt but for one case: with
// the newest of bbolt's two meta pages gone, all values are those before the
// last commit.
func OpenFile(path string) (*File, error) {
	f, err := openFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = create(path); err == nil {
			f, err = openFile(path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open state %s: %w", path, err)
	}
	return f, nil
}

func openFile(path string) (*File, error) {
	f := &File{path: path}
	open := func(name string, _ int, _ os.FileMode) (_ *os.File, err error) {
		f.file, err = openChecked(name)
		return f.file, err
	}
	err := f.guard(func() (err error) {
		f.db, err = bolt.Open(path, 0, &bolt.Options{Timeout: lockPatience, PageSize: pageSize, OpenFile: open, NoStatistics: true})
		return err
	})
	if err != nil {
		if f.file != nil {
			f.file.Close() // bbolt did, unless it panicked
		}
		return nil, err
	}
	f.commits = durable.NewGroup(f.commit)
	return f, nil
}

// openChecked opens, locks and reads the file before bbolt touches it.
func openChecked(path string) (_ *os.File, err error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, durable.Bare(err)
	}
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	if err := durable.Lock(file); errors.Is(err, durable.ErrLocked) {
		return nil, ErrLocked
	} else if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, durable.Bare(err)
	}
	if err := checkContent(file, info.Size()); err != nil {
		return nil, err
	}
	return file, nil
}

// checkContent holds the pages to bbolt's format and the values to their
// hashes and total.
func checkContent(file *os.File, size int64) error {
	var is total
	about := map[string]string{}
	err := readPages(file, size, func(bucket, name string, sealed []byte) error {
		value, sum, ok := unseal(bucket, name, sealed)
		if !ok {
			return fmt.Errorf("value %q in %q is damaged", name, bucket)
		}
		switch {
		case bucket == valueBucket:
			is.count, is.sum = is.count+1, is.sum+sum
		case bucket == aboutBucket && name == formatName && string(value) != format:
			return fmt.Errorf("%w: format %.20q, known is %s", ErrVersion, value, format)
		case bucket == aboutBucket:
			about[name] = string(value)
		}
		return nil
	})
	if err == nil {
		stored, ok := decodeTotal([]byte(about[totalName]))
		if !ok || stored != is || about[formatName] == "" {
			err = fmt.Errorf("holds %d values, %d were stored", is.count, stored.count)
		}
	}
	var disk *fs.PathError
	if err == nil || errors.Is(err, ErrVersion) || errors.As(err, &disk) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}

// create makes a file without values. It gets its name when it is complete, so
// that a crash never leaves half of one, and never that of a file which is
// there.
func create(path string) error {
	made, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*")
	if err != nil {
		return durable.Bare(err)
	}
	name := made.Name()
	defer os.Remove(name)
	if err := made.Close(); err != nil {
		return durable.Bare(err)
	}
	db, err := bolt.Open(name, 0o600, &bolt.Options{Timeout: lockPatience, PageSize: pageSize})
	if err != nil {
		return durable.Bare(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		about, err := tx.CreateBucket([]byte(aboutBucket))
		if err != nil {
			return err
		}
		if _, err := tx.CreateBucket([]byte(valueBucket)); err != nil {
			return err
		}
		if err := put(about, aboutBucket, formatName, []byte(format)); err != nil {
			return err
		}
		return put(about, aboutBucket, totalName, total{}.encode())
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Link(name, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return durable.Bare(err)
	}
	return durable.SyncDir(filepath.Dir(path))
}
