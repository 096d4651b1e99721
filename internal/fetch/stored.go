package fetch

import (
	"context"
	"fmt"
	"io"

	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Stored reads an object's stored bytes, at most most of them: for a log file
// that is too large to be held inflated and is inflated twice. More is
// inflate.ErrTooLarge.
func (f *Fetcher) Stored(ctx context.Context, o trail.Object, most int64) (b []byte, err error) {
	err = f.read(ctx, o, func(r io.Reader, _ map[string]string) (err error) {
		if b, err = io.ReadAll(io.LimitReader(r, most+1)); err == nil && int64(len(b)) > most {
			err = fmt.Errorf("more than %d stored bytes: %w", most, inflate.ErrTooLarge)
		}
		return err
	})
	return b, err
}
