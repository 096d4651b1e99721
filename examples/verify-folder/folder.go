package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// folder is a copy that holds each object under its key, from AWSLogs on.
type folder struct{ fs.FS }

// read returns the inflated bytes of a file. Exactly one gzip member is accepted:
// bytes after it would be hidden behind a good hash.
func (f folder) read(key string) ([]byte, error) {
	stored, err := fs.ReadFile(f, key)
	if err != nil {
		return nil, err
	}
	rest := bytes.NewReader(stored)
	z, err := gzip.NewReader(rest)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", finding.ErrContainer, err)
	}
	z.Multistream(false)
	body, err := io.ReadAll(z)
	if err != nil || rest.Len() > 0 {
		return nil, fmt.Errorf("%w: cut off, altered, or followed by more: %v", finding.ErrContainer, err)
	}
	return body, nil
}

// ReadDigest implements chain.Fetcher. A file KEY.metadata.json keeps what
// `aws s3api head-object` says of the object, its signature among that.
func (f folder) ReadDigest(_ context.Context, r chain.Ref) []chain.Found {
	found := chain.Found{At: r.Object()}
	body, err := f.read(found.At.Key)
	if found.Err = err; err == nil {
		found.File.Sum, found.File.Hashed = sha256.Sum256(body), true
		found.File.Digest, found.Err = digest.Parse(body)
	}
	var head struct{ Metadata map[string]string }
	if side, err := fs.ReadFile(f, found.At.Key+".metadata.json"); err == nil && json.Unmarshal(side, &head) == nil {
		found.File.Meta = head.Metadata
	}
	return []chain.Found{found}
}

// HashDigest implements chain.Fetcher. ReadDigest never says that a file is too
// large, so a walk does not ask for it.
func (f folder) HashDigest(context.Context, trail.Object) (digest.Sum, error) {
	return digest.Sum{}, finding.ErrTooLarge
}

// names returns the names of all digests, newest first.
func (f folder) names() (all []chain.Ref) {
	_ = fs.WalkDir(f, ".", func(path string, _ fs.DirEntry, _ error) error {
		if k, err := trail.ParseDigestKey(path); err == nil {
			all = append(all, chain.Ref{DigestKey: k})
		}
		return nil
	})
	slices.SortFunc(all, func(a, b chain.Ref) int { return b.End.Compare(a.End) })
	return all
}

// exitOf tells a fact about a file (1) from a reason for not having read it (3).
func exitOf(err error) int {
	switch {
	case err == nil:
		return 0
	case finding.IsFact(err):
		return 1
	}
	return 3
}
