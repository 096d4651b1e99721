package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Candidates are the files that can be one digest file, as they were prefetched.
// Large ones were not read to their end: Take reads them.
type Candidates []candidate

type candidate struct {
	found    chain.Found
	deferred bool // it is large
}

// ReadAhead prefetches the files at the given places, each of which can be the same
// digest file. It leaves out places without a file, but returns at least one candidate.
func (f *Fetcher) ReadAhead(ctx context.Context, places []trail.Object) Candidates {
	var all Candidates
	for i, at := range places {
		file, deferred, err := f.PrefetchDigest(ctx, at)
		absent := errors.Is(err, fs.ErrNotExist)
		if absent && (i > 0 || len(all) > 0) {
			continue
		}
		if len(all) == 1 && errors.Is(all[0].found.Err, fs.ErrNotExist) {
			all = all[:0]
		}
		all = append(all, candidate{chain.Found{At: at, File: file.Evidence(), Err: err}, deferred})
	}
	return all
}

// Take returns the candidates, and reads the large ones, when they are needed. At most one
// large digest is in memory at once: its Release must be called. Of a second large one
// Take reads only the hash.
func (f *Fetcher) Take(ctx context.Context, all Candidates) []chain.Found {
	found := make([]chain.Found, len(all))
	hasLarge := false
	for i, c := range all {
		switch {
		case !c.deferred:
		case !hasLarge:
			hasLarge = true
			file, release, err := f.ReadLarge(ctx, c.found.At)
			c.found = chain.Found{At: c.found.At, File: file.Evidence(), Err: err, Release: release}
		default:
			sum, err := f.HashDigest(ctx, c.found.At)
			if err == nil {
				c.found.File, err = chain.File{Sum: sum, Hashed: true}, fmt.Errorf("a second large copy: %w", finding.ErrTooLarge)
			}
			c.found.Err = err
		}
		found[i] = c.found
	}
	return found
}

// HashDigest returns the hash of the inflated bytes of a digest file of any size. It does
// not keep the bytes.
func (f *Fetcher) HashDigest(ctx context.Context, o trail.Object) (sum digest.Sum, err error) {
	err = f.read(ctx, o, func(r io.Reader, _ metadata) (err error) {
		sum, _, err = inflate.Copy(nil, r, inflate.Options{Limit: f.MaxLog, Plain: f.Plain})
		return err
	})
	return sum, err
}

// Evidence returns what Judge needs of a file.
func (f File) Evidence() chain.File {
	return chain.File{Digest: f.Digest, Sum: f.Sum, Hashed: f.Hashed, Meta: f.Meta, MetaErr: f.MetaErr}
}

// IsAbsent reports whether all places are without a file.
func (all Candidates) IsAbsent() bool {
	return len(all) > 0 && errors.Is(all[0].found.Err, fs.ErrNotExist)
}

// IsLarge reports whether some file is large: Take reads it.
func (all Candidates) IsLarge() bool {
	return slices.ContainsFunc(all, func(c candidate) bool { return c.deferred })
}

// Found returns the files as they were prefetched.
func (all Candidates) Found() []chain.Found {
	found := make([]chain.Found, len(all))
	for i, c := range all {
		found[i] = c.found
	}
	return found
}

// Refused returns the candidates of an object that is not read, with the reason.
func Refused(o trail.Object, why error) Candidates {
	return Candidates{{found: chain.Found{At: o, Err: why}}}
}
