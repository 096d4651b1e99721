package fetch

import (
	"context"
	"errors"
	"io"

	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/pkg/digest"
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
	file, err = f.digest(ctx, o, min(smallDigest, f.MaxDigest), 0)
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
	file, err = f.largeDigest(ctx, o)
	return file, func() { <-f.large }, err
}

// largeDigest parses a digest while it is inflated, so that only what it says
// comes to lie in memory and a bomb costs none. One that is no digest is read
// again, for its bytes.
func (f *Fetcher) largeDigest(ctx context.Context, o trail.Object) (file File, err error) {
	var (
		size int64
		bad  error // what is wrong with the content
	)
	err = f.read(ctx, o, func(r io.Reader, m metadata) (err error) {
		file = File{Meta: m.values, MetaErr: m.err}
		inflated, w := io.Pipe()
		parsed := make(chan struct{})
		go func() {
			defer close(parsed)
			file.Digest, bad = digest.Read(inflated)
			_, _ = io.Copy(io.Discard, inflated) // the container is judged first, and to its end
		}()
		file.Sum, size, err = inflate.Copy(w, r, inflate.Options{Limit: f.MaxDigest, Plain: f.Plain})
		if file.Hashed = file.Sum != (digest.Sum{}); file.Hashed {
			w.Close()
		} else {
			_ = w.CloseWithError(err)
		}
		<-parsed
		return err
	})
	switch {
	case !file.Hashed:
		file.Digest = nil
		return file, err
	case bad != nil:
		return f.digest(ctx, o, size, size)
	}
	return file, err
}
