package fetch

import (
	"context"
	"errors"

	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/pkg/trail"
)

// smallDigest is the most inflated bytes of a digest that is read ahead. It is
// that of about a thousand log files an hour, so hardly any is larger, but
// whoever may write to the bucket can plant thousands that are: many wait in
// memory for their turn, and only one of the large ones may.
const smallDigest = 512 << 10

// DigestAhead is Digest for a digest whose turn has not come. A large one is
// not read to its end: later is then true, and Turn reads it.
func (f *Fetcher) DigestAhead(ctx context.Context, o trail.Object) (file File, later bool, err error) {
	file, err = f.digest(ctx, o, min(smallDigest, f.MaxDigest))
	if errors.Is(err, inflate.ErrTooLarge) && f.MaxDigest > smallDigest {
		return File{}, true, nil
	}
	return file, false, err
}

// Turn reads a large digest whose turn has come. At most one is held at once:
// the caller calls done when it has let go of it.
func (f *Fetcher) Turn(ctx context.Context, o trail.Object) (file File, done func(), err error) {
	select {
	case f.large <- struct{}{}:
	case <-ctx.Done():
		return File{}, func() {}, ctx.Err()
	}
	file, err = f.Digest(ctx, o)
	return file, func() { <-f.large }, err
}
