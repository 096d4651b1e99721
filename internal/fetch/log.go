package fetch

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// LogSum is what was read of a log file.
type LogSum struct {
	Sum      digest.Sum
	Inflated int64 // bytes
}

// Log reads a listed log file and compares its hash with the signed one. The
// error is a fact or a reason.
func (f *Fetcher) Log(ctx context.Context, l digest.Log) (LogSum, error) {
	return f.CopyLog(ctx, nil, l)
}

// CopyLog is Log that also writes the inflated bytes. Each try writes from the start, to a
// writer that open returns for it. The bytes are proven only when CopyLog returns without
// an error.
func (f *Fetcher) CopyLog(ctx context.Context, open func() io.Writer, l digest.Log) (LogSum, error) {
	read := LogRead{MaxInflated: f.MaxLog}
	if open != nil {
		read.Open = func(context.Context) (io.Writer, error) { return open(), nil }
	}
	s, err := f.ReadLog(ctx, l.Location(), read)
	if err != nil {
		return s, err
	}
	return s, l.Check(s.Sum)
}

// LogRead says how ReadLog reads. The zero LogRead inflates nothing.
type LogRead struct {
	Early       *Request // sent before, or nil
	Slot        *Slot    // the right to read; nil: the read is one of the fetcher's
	MaxInflated int64    // bytes
	// Open returns where the inflated bytes go. It is called when the object's first
	// bytes are there, and again for each further try. It may be nil.
	Open func(ctx context.Context) (io.Writer, error)
}

// ReadLog reads and inflates a log file and returns its hash, which it does not
// compare. The error is a fact or a reason, or that of Open.
func (f *Fetcher) ReadLog(ctx context.Context, o trail.Object, how LogRead) (s LogSum, err error) {
	err = f.readBy(ctx, o, how.Early, how.Slot, func(r io.Reader, _ metadata) (err error) {
		var w io.Writer
		if how.Open != nil {
			if r, err = awaitBytes(r); err != nil {
				return err
			}
			open := func(ctx context.Context) (err error) { w, err = how.Open(ctx); return err }
			if err := how.Slot.whileWaiting(ctx, open); err != nil {
				return openError{err}
			}
		}
		s.Sum, s.Inflated, err = inflate.Copy(w, r, inflate.Options{Limit: how.MaxInflated, Plain: f.Plain})
		return err
	})
	if failed, ok := errors.AsType[openError](err); ok {
		return s, failed.err
	}
	return s, err
}

// openError is an error of LogRead.Open: to read the object again does not help.
type openError struct{ err error }

func (e openError) Error() string { return e.err.Error() }

// awaitBytes waits for the first bytes of r or for its end, and returns a reader of all that
// r has. A server can send the headers of a response long before its body. The error is
// that of r, where bytes did not come.
func awaitBytes(r io.Reader) (io.Reader, error) {
	first := make([]byte, 512)
	n, err := 0, error(nil)
	for n == 0 && err == nil {
		n, err = r.Read(first)
	}
	switch {
	case n == 0 && err != io.EOF:
		return nil, err
	case err != nil:
		r = readerFunc(func([]byte) (int, error) { return 0, err })
	}
	return io.MultiReader(bytes.NewReader(first[:n]), r), nil
}
