package fetch

import (
	"context"
	"errors"
	"io"

	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// smallDigest is the most inflated bytes of a digest that is prefetched. A digest with about
// a thousand log files has as many, so hardly any is larger. But anyone who may write to
// the bucket can plant thousands that are. Many digests wait in memory to be judged, and
// only one of the large ones may.
const smallDigest = 512 << 10

// PrefetchDigest is Digest for a digest that is needed later. It does not read a large one
// to its end: deferred is then true, and ReadLarge reads it.
func (f *Fetcher) PrefetchDigest(ctx context.Context, o trail.Object) (file File, deferred bool, err error) {
	file, err = f.digest(ctx, o, min(smallDigest, f.MaxDigest), 0)
	if errors.Is(err, inflate.ErrTooLarge) && f.MaxDigest > smallDigest {
		return File{}, true, nil
	}
	return file, false, err
}

// ReadLarge reads a large digest that is needed now. At most one is in memory at once, so
// ReadLarge waits for the one before. The caller calls release when it does not use the
// digest any more.
func (f *Fetcher) ReadLarge(ctx context.Context, o trail.Object) (file File, release func(), err error) {
	select {
	case f.large <- struct{}{}:
	case <-ctx.Done():
		return File{}, func() {}, ctx.Err()
	}
	file, err = f.largeDigest(ctx, o)
	return file, func() { <-f.large }, err
}

// largeDigest parses a digest while it is inflated. So only what it says is in memory, and
// a bomb is not. A file that is not a digest is read again, for its bytes.
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
