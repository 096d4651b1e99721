package fetch

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Held is an object's stored bytes in memory, in pieces: growing one buffer
// would take up to twice what it comes to hold.
type Held [][]byte

// pieceBytes is how large the pieces of a Held are.
const pieceBytes = 1 << 20

// Reader reads the bytes from their start. Each reader is for one goroutine.
func (h Held) Reader() io.Reader {
	pieces := make([]io.Reader, len(h))
	for i, p := range h {
		pieces[i] = bytes.NewReader(p)
	}
	return io.MultiReader(pieces...)
}

// Stored reads an object's stored bytes, at most most of them: for a log file
// that is too large to be held inflated and is inflated twice. More is
// inflate.ErrTooLarge.
func (f *Fetcher) Stored(ctx context.Context, o trail.Object, most int64) (h Held, err error) {
	err = f.read(ctx, o, func(r io.Reader, _ metadata) error {
		h = nil // again from the start
		for left := most; ; {
			piece := make([]byte, pieceBytes)
			n, err := io.ReadFull(r, piece)
			if n > 0 {
				h = append(h, piece[:n])
			}
			switch left -= int64(n); {
			case left < 0:
				return fmt.Errorf("more than %d stored bytes: %w", most, inflate.ErrTooLarge)
			case err == io.EOF, err == io.ErrUnexpectedEOF && n > 0 && ended(r):
				return nil
			case err != nil:
				return err
			}
		}
	})
	return h, err
}

// ended tells the end of r from a body that breaks off with the error that
// io.ReadFull has for both.
func ended(r io.Reader) bool {
	_, err := io.ReadFull(r, make([]byte, 1))
	return err == io.EOF
}
