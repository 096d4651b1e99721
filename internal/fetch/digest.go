package fetch

import (
	"bytes"
	"context"
	"io"

	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// File is a digest file as it was found.
type File struct {
	Digest  *digest.Digest    // nil where the bytes are not a digest
	Sum     digest.Sum        // of the inflated bytes
	Hashed  bool              // whether Sum is known
	Body    []byte            // inflated bytes; kept only where Digest is nil
	Meta    map[string]string // user metadata
	MetaErr error             // why the metadata could not be read, where the content could
}

// Digest reads and parses a digest file. The error is a fact or a
// reason (pkg/finding). File.Meta or File.MetaErr is set whenever the object could be
// opened, File.Sum where it could be inflated to the end of its gzip member, and then
// File.Digest, or File.Body where it could not be parsed.
func (f *Fetcher) Digest(ctx context.Context, o trail.Object) (File, error) {
	file, deferred, err := f.PrefetchDigest(ctx, o)
	if deferred {
		var release func()
		file, release, err = f.ReadLarge(ctx, o)
		release() // the inflated bytes are gone; what is parsed is the caller's
	}
	return file, err
}

// digest reads a digest file of at most most inflated bytes into a buffer that
// has room for so many.
func (f *Fetcher) digest(ctx context.Context, o trail.Object, most, room int64) (File, error) {
	var file File
	err := f.read(ctx, o, func(r io.Reader, m metadata) error {
		file = File{Meta: m.values, MetaErr: m.err}
		b := bytes.NewBuffer(make([]byte, 0, room))
		sum, _, err := inflate.Copy(b, r, inflate.Options{Limit: most, Plain: f.Plain})
		if file.Hashed = sum != (digest.Sum{}); file.Hashed {
			file.Sum, file.Body = sum, b.Bytes()
		}
		return err
	})
	if !file.Hashed {
		return file, err
	}
	d, malformed := digest.Parse(file.Body)
	if malformed == nil {
		file.Digest, file.Body = d, nil
	}
	if err == nil {
		err = malformed
	}
	return file, err
}
