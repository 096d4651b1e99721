package validatelogs

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"io/fs"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
)

// checkLog reads one log file and compares it with what was signed.
func checkLog(ctx context.Context, f *fetch.Fetcher, l digest.Log, backfill bool) Outcome {
	o := Outcome{Kind: LogFile, Backfill: backfill, Object: l.Location()}
	_, err := f.Log(ctx, l)
	switch {
	case err == nil:
		return o
	case !finding.IsFact(err):
		return o.unverified(err)
	case errors.Is(err, fs.ErrNotExist):
		return o.invalid(faultMissing)
	case errors.Is(err, digest.ErrModified):
		return o.invalid(faultHash)
	}
	return o.invalid(containerFault(ctx, f, l, err))
}

// containerFault chooses the line for a log file whose container is broken.
// The reference compares the hash of whatever it could inflate before it can
// notice a missing end, and never notices what follows the stream: such files
// are "hash value doesn't match" to it unless all of the content was there.
// So the file, which is INVALID whatever comes of it, is read once more.
func containerFault(ctx context.Context, f *fetch.Fetcher, l digest.Log, err error) string {
	var seen hash.Hash
	switch {
	case errors.Is(err, inflate.ErrTrailing), errors.Is(err, inflate.ErrTruncated):
		_, again := f.CopyLog(ctx, func() io.Writer { seen = sha256.New(); return seen }, l)
		if !errors.Is(again, finding.ErrContainer) || digest.Sum(seen.Sum(nil)) == l.Hash {
			break
		}
		return faultHash
	case errors.Is(err, inflate.ErrNotGzip) && shorterThanMagic(ctx, f.Objects, l):
		return faultHash
	}
	if errors.Is(err, inflate.ErrTrailing) {
		return faultTrailing
	}
	return faultFormat
}

// shorterThanMagic reports whether the object ends before it can be seen to be
// no gzip.
func shorterThanMagic(ctx context.Context, objects fetch.Objects, l digest.Log) bool {
	body, _, err := objects.Get(ctx, l.Location())
	if err != nil {
		return false
	}
	defer body.Close()
	magic, err := io.ReadAll(io.LimitReader(body, 2))
	return err == nil && len(magic) < 2
}
