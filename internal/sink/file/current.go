package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/trailseal/trailseal/internal/durable"
)

func openAppend(path string) (handle, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o640)
}

// ready makes sure that f is the file at the path, as this sink left it.
// Another program may have moved it away, removed it or emptied it (logrotate
// does each): lines that went into the old one would be lost unseen.
func (s *Sink) ready() error {
	if s.f != nil {
		at, err := os.Stat(s.path)
		is, failed := s.f.Stat()
		if err == nil && failed == nil && os.SameFile(at, is) && is.Size() == s.size {
			return nil
		}
		s.drop()
	}
	if at, err := os.Stat(s.path); err == nil && !at.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	f, err := s.open(s.path)
	if err != nil {
		return err
	}
	if err := s.use(f); err != nil {
		f.Close()
		return err
	}
	s.f = f
	return nil
}

// use finds where the whole lines of f end and cuts off what follows.
func (s *Sink) use(f handle) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	end, err := lastLine(f, info.Size())
	if err != nil {
		return err
	}
	if end < info.Size() {
		if err := checkTorn(f, end); err != nil {
			return err
		}
		if err := f.Truncate(end); err != nil {
			return err
		}
	}
	// A crashed process may have left lines that are not on disk yet.
	if err := f.Sync(); err != nil {
		return err
	}
	s.size, s.synced, s.written = end, end, info.ModTime()
	return durable.SyncDir(filepath.Dir(s.path))
}

// lastLine returns the offset behind the last line feed, 0 without one.
func lastLine(f io.ReaderAt, size int64) (int64, error) {
	b := make([]byte, 64<<10)
	for end := size; end > 0; {
		from := max(0, end-int64(len(b)))
		part := b[:end-from]
		if _, err := f.ReadAt(part, from); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(part, '\n'); i >= 0 {
			return from + int64(i) + 1, nil
		}
		end = from
	}
	return 0, nil
}

// checkTorn refuses to cut anything off that no sink left: a torn line begins
// like an event, or with the zeros of a block that never reached the disk.
func checkTorn(f io.ReaderAt, at int64) error {
	var first [1]byte
	if _, err := f.ReadAt(first[:], at); err != nil {
		return err
	}
	if first[0] != '{' && first[0] != 0 {
		return errors.New("its last line is neither whole nor an event's: not a file of events")
	}
	return nil
}

// rotate gives the file, which is synced, its last name. The name is taken by
// an empty file first, so that none is ever written over; a crash between the
// two leaves that one.
func (s *Sink) rotate() error {
	if s.f == nil {
		return errLost // it was not synced
	}
	name, err := s.reserve()
	if err != nil {
		return err
	}
	if err := os.Rename(s.path, name); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	s.drop()
	if err := durable.SyncDir(filepath.Dir(s.path)); err != nil {
		return err
	}
	return s.ready()
}

func (s *Sink) reserve() (string, error) {
	stamp := s.o.Now().UTC().Format(stampFormat)
	for {
		s.sequence++
		name := rotated(s.path, stamp, s.sequence)
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		return name, f.Close()
	}
}

const stampFormat = "20060102T150405Z"

// rotated returns the name of a rotated file.
func rotated(path, stamp string, n int) string {
	ext := filepath.Ext(path)
	return fmt.Sprintf("%s-%s-%06d%s", path[:len(path)-len(ext)], stamp, n, ext)
}

// sequenceOf returns the number in the name of a rotated file of base, 0 for
// any other name.
func sequenceOf(base, name string) int {
	ext := filepath.Ext(base)
	rest, ok := strings.CutPrefix(name, base[:len(base)-len(ext)]+"-")
	if !ok {
		return 0
	}
	stamp, rest, _ := strings.Cut(rest, "-")
	n, err := strconv.Atoi(strings.TrimSuffix(rest, ext))
	if err != nil || rotated(base, stamp, n) != name {
		return 0
	}
	return n
}
