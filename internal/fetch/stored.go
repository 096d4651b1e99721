package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Chunks are an object's stored bytes in memory, in pieces. One buffer that grows would
// take up to twice as much.
type Chunks [][]byte

// pieceBytes is how large the pieces of Chunks are.
const pieceBytes = 1 << 20

// Reader returns a reader of the bytes from their start. One goroutine uses it.
func (c Chunks) Reader() io.Reader {
	pieces := make([]io.Reader, len(c))
	for i, p := range c {
		pieces[i] = bytes.NewReader(p)
	}
	return io.MultiReader(pieces...)
}

// StoredRead says how Stored reads.
type StoredRead struct {
	Slot *Slot // the right to read; nil: one of the fetcher's
	Max  int64 // stored bytes; more are inflate.ErrTooLarge
	// Open is called when the object's first bytes are there, and again for each further
	// try, unless it is nil. Its error ends the read.
	Open func(ctx context.Context) error
}

// Stored reads an object's stored bytes: for a log file that is too large to be held
// inflated and is inflated twice. The error is a reason, or that of Open.
func (f *Fetcher) Stored(ctx context.Context, o trail.Object, how StoredRead) (c Chunks, err error) {
	err = f.readBy(ctx, o, nil, how.Slot, func(r io.Reader, _ metadata) error {
		if how.Open != nil {
			var err error
			if r, err = awaitBytes(r); err != nil {
				return err
			}
			if err := how.Slot.whileWaiting(ctx, how.Open); err != nil {
				return openError{err}
			}
		}
		c = nil // again from the start
		for left := how.Max; ; {
			piece := make([]byte, pieceBytes)
			n, err := io.ReadFull(r, piece)
			if n > 0 {
				c = append(c, piece[:n])
			}
			switch left -= int64(n); {
			case left < 0:
				return fmt.Errorf("more than %d stored bytes: %w", how.Max, inflate.ErrTooLarge)
			case err == io.EOF, err == io.ErrUnexpectedEOF && n > 0 && ended(r):
				return nil
			case err != nil:
				return err
			}
		}
	})
	if failed, ok := errors.AsType[openError](err); ok {
		return nil, failed.err
	}
	return c, err
}

// ended reports whether r is at its end. io.ReadFull has the same error for a body that
// ends and for one that breaks off with io.ErrUnexpectedEOF.
func ended(r io.Reader) bool {
	_, err := io.ReadFull(r, make([]byte, 1))
	return err == io.EOF
}
