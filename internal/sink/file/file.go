// Package file emits events to a local file as NDJSON, and rotates it by size
// and time. A batch is acknowledged when it is on disk; batches that come
// together share one sync.
//
// Whatever ends the program, every acknowledged line is there whole. A line
// that was cut by its end, or by a full disk, was never acknowledged; it is cut
// off before anything is added. The package never writes over a file, never
// removes one, and never writes into one that another process writes.
package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/trailseal/trailseal/internal/durable"
	"github.com/trailseal/trailseal/internal/sink"
)

// ErrLocked is wrapped by the error of Open while another sink has the file.
var ErrLocked = errors.New("in use by another process")

// Options say when a file is full. The zero value never rotates.
type Options struct {
	// MaxBytes is how large a file may become. A single batch that is larger
	// has a file of its own.
	MaxBytes int64
	// Every rotates when the clock, in UTC, enters another multiple of it: at
	// one hour a file holds what was written in one hour of the day. It is
	// looked at when something is written.
	Every time.Duration
	// Now is the clock; time.Now where it is nil.
	Now    func() time.Time
	Format sink.Format
}

// Sink writes one file, and the rotated ones beside it: PATH "d/events.ndjson"
// becomes "d/events-20261123T040000Z-000001.ndjson", where the number goes up
// with each. It is safe for concurrent use.
type Sink struct {
	path  string
	o     Options
	lock  *os.File // PATH.lock: PATH itself changes hands when it is rotated
	group *durable.Group[[]byte]
	open  func(path string) (handle, error)

	// Used by one commit at a time.
	f        handle    // nil: has to be opened
	size     int64     // of f: where its last whole batch ends
	synced   int64     // of that, what is on disk
	written  time.Time // when f was written last
	sequence int       // of the last rotated file
}

// handle is what the sink does to an open file.
type handle interface {
	Write([]byte) (int, error)
	ReadAt([]byte, int64) (int, error)
	Stat() (fs.FileInfo, error)
	Sync() error
	Truncate(size int64) error
	Close() error
}

// Open opens the file at path and makes it where there is none, with mode
// 0640. The error wraps ErrLocked while another sink has it.
func Open(path string, o Options) (*Sink, error) {
	return open(path, o, openAppend)
}

func open(path string, o Options, with func(string) (handle, error)) (_ *Sink, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Sink{path: path, o: o, open: with}
	defer func() {
		if err != nil {
			err = fmt.Errorf("open sink %s: %w", path, durable.Bare(err))
			if s.lock != nil {
				s.lock.Close()
			}
		}
	}()
	if s.lock, err = os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o640); err != nil {
		return nil, err
	}
	if err := durable.Lock(s.lock); errors.Is(err, durable.ErrLocked) {
		return nil, ErrLocked
	} else if err != nil {
		return nil, err
	}
	if s.sequence, err = lastSequence(path); err != nil {
		return nil, err
	}
	if err := s.ready(); err != nil {
		return nil, err
	}
	s.group = durable.NewGroup(s.commit)
	return s, nil
}

// Emit adds the events of b to the file and returns when they are on disk.
func (s *Sink) Emit(ctx context.Context, b sink.Batch) error {
	if len(b.Events) == 0 {
		return nil
	}
	// A copy: the commit may outlast Emit, whose ctx may end.
	err := s.group.Do(ctx, s.o.Format.AppendLines(nil, &b))
	if errors.Is(err, durable.ErrClosed) {
		err = sink.ErrClosed
	}
	if err != nil {
		return fmt.Errorf("emit to file %s: %w", s.path, durable.Bare(err))
	}
	return nil
}

// Flush returns nil: what Emit took is on disk.
//
// The sync is not left to Flush. When a sync fails, the kernel may have dropped
// what it could not write, so a Flush that is called again would need all lines
// since the last good sync in memory. Batches that come together share a sync
// as it is.
func (s *Sink) Flush(context.Context) error { return nil }

// Reopen looks whether the file was moved away or removed, as logrotate does, and goes on
// in a new one where it was. Emit looks, too; Reopen is for when nothing is emitted.
func (s *Sink) Reopen() error {
	if err := s.group.Do(context.Background(), nil); err != nil {
		return fmt.Errorf("reopen sink %s: %w", s.path, durable.Bare(err))
	}
	return nil
}

// Close ends the use of the file when the batches before are done.
func (s *Sink) Close() error {
	s.group.Close()
	err := s.lock.Close()
	if s.f != nil {
		err = errors.Join(err, s.f.Close())
		s.f = nil
	}
	if err != nil {
		return fmt.Errorf("close sink %s: %w", s.path, err)
	}
	return nil
}

// commit writes the batches and syncs once, or once more for each rotation.
func (s *Sink) commit(batches [][]byte) []error {
	errs := make([]error, len(batches))
	stop := s.ready() // why nothing more is written in this commit
	settled := 0      // batches whose outcome is known
	for i, b := range batches {
		if stop == nil && s.due(len(b)) {
			s.settle(errs[settled:i])
			settled = i
			stop = s.rotate()
		}
		if errs[i] = stop; stop != nil {
			continue
		}
		errs[i] = s.add(b)
		if s.f == nil {
			stop = errLost
		}
	}
	s.settle(errs[settled:])
	return errs
}

// errLost is for batches of a commit during which the file had to be given up.
// The next commit opens it again.
var errLost = errors.New("the file was given up before it was synced")

// settle syncs what was written since the last time. If that fails, so have
// the batches that it was written for, and they are cut off: the kernel may
// have dropped what it could not write, and would not say so a second time.
func (s *Sink) settle(errs []error) {
	if !slices.Contains(errs, nil) {
		return
	}
	err := errLost
	if s.f != nil {
		if err = s.f.Sync(); err == nil {
			s.synced = s.size
			return
		}
		_ = s.f.Truncate(s.synced) // else the lines stay, and come twice
		s.drop()
	}
	for i := range errs {
		if errs[i] == nil {
			errs[i] = err
		}
	}
}

// add appends one batch, or leaves the file as it was.
func (s *Sink) add(b []byte) error {
	n, err := s.f.Write(b)
	if err == nil && n == len(b) {
		s.size += int64(n)
		s.written = s.o.Now()
		return nil
	}
	if err == nil {
		err = errors.New("short write")
	}
	if cut := s.f.Truncate(s.size); cut != nil {
		s.drop() // the next opening cuts the torn line off
	}
	return err
}

// due reports whether n more bytes belong into a new file.
func (s *Sink) due(n int) bool {
	if s.size == 0 {
		return false
	}
	full := s.o.MaxBytes > 0 && s.size+int64(n) > s.o.MaxBytes
	return full || s.o.Every > 0 && !s.o.Now().UTC().Truncate(s.o.Every).Equal(s.written.UTC().Truncate(s.o.Every))
}

func (s *Sink) drop() {
	s.f.Close()
	s.f = nil
}

// lastSequence returns the highest number of the rotated files, 0 without any.
func lastSequence(path string) (int, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return 0, err
	}
	last := 0
	for _, e := range entries {
		last = max(last, sequenceOf(filepath.Base(path), e.Name()))
	}
	return last, nil
}
