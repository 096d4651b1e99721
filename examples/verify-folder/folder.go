package main

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// folder holds the paths of a copy's files by their keys from AWSLogs on: a copy
// can lie in any folder, and twice. It implements chain.Fetcher.
type folder map[string][]string

// open finds the files below dir and the names of its digests, newest first.
func open(dir string) (f folder, names []chain.Ref, err error) {
	f = folder{}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		key := trail.Tail(filepath.ToSlash(path))
		f[key] = append(f[key], path)
		if k, err := trail.ParseDigestKey(key); err == nil && len(f[key]) == 1 {
			names = append(names, chain.Ref{DigestKey: k})
		}
		return nil
	})
	slices.SortFunc(names, func(a, b chain.Ref) int {
		return cmp.Or(b.End.Compare(a.End), cmp.Compare(a.DigestKey.String(), b.DigestKey.String()))
	})
	return f, names, err
}

// ReadDigest implements chain.Fetcher.
func (f folder) ReadDigest(_ context.Context, r chain.Ref) (found []chain.Found) {
	key := r.DigestKey.String()
	for _, path := range f[key] {
		found = append(found, readDigest(path))
	}
	if len(found) == 0 {
		found = []chain.Found{{At: trail.Object{Key: key}, Err: fs.ErrNotExist}}
	}
	return found
}

// HashDigest implements chain.Fetcher. ReadDigest reads digests of any size.
func (folder) HashDigest(context.Context, trail.Object) (digest.Sum, error) {
	return digest.Sum{}, finding.ErrTooLarge
}

func readDigest(path string) chain.Found {
	g := chain.Found{At: trail.Object{Key: path}}
	b, err := inflate(path)
	if err != nil {
		g.Err = err
		return g
	}
	g.File.Sum, g.File.Hashed = sha256.Sum256(b), true
	g.File.Digest, g.Err = digest.Parse(b)
	g.File.Meta, g.File.MetaErr = metadata(path)
	return g
}

// metadata reads what `aws s3api head-object` printed of a digest. A plain copy
// does not have it.
func metadata(path string) (map[string]string, error) {
	var head struct{ Metadata map[string]string }
	b, err := os.ReadFile(path + ".metadata.json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &head)
	}
	return head.Metadata, err
}

// inflate returns the content of a file. A failure to read it says nothing about
// the file; a broken container is the file's own fault.
func inflate(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err == nil {
		b, err = io.ReadAll(z)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", finding.ErrContainer, err)
	}
	return b, nil
}

// checkLogs compares the log files that a trusted digest lists with their hashes.
func (f folder) checkLogs(r *report, d *digest.Digest) {
	for _, l := range d.Logs {
		paths := f[trail.Tail(l.Object)]
		if len(paths) == 0 {
			r.judge(l.Object, fs.ErrNotExist)
		}
		for _, path := range paths {
			b, err := inflate(path)
			if err == nil {
				err = l.Check(sha256.Sum256(b))
			}
			r.judge(path, err)
		}
	}
}
