package fetch

import (
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
	b := &begun{rest: r}
	n := 0
	for n == 0 && b.err == nil {
		n, b.err = r.Read(b.buffer[:])
	}
	if n == 0 && b.err != io.EOF {
		return nil, b.err
	}
	b.first = b.buffer[:n]
	return b, nil
}

// begun is a reader whose first bytes are there.
type begun struct {
	buffer [512]byte
	first  []byte // in buffer, not read yet
	err    error  // that came with them
	rest   io.Reader
}

// Read implements io.Reader.
func (b *begun) Read(p []byte) (int, error) {
	switch {
	case len(b.first) > 0:
		n := copy(p, b.first)
		b.first = b.first[n:]
		return n, nil
	case b.err != nil:
		return 0, b.err
	}
	return b.rest.Read(p)
}
