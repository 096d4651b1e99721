package fetch

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Limits and habits of a Fetcher whose fields are left zero.
const (
	DefaultMaxDigest = 64 << 20 // inflated bytes
	DefaultMaxLog    = 4 << 30
	bodyTries        = 3
	bodyPause        = 200 * time.Millisecond // doubled after each try
)

// Fetcher reads evidence from Objects. Its methods are safe for concurrent
// use; at most the number of places in its limit run at once.
type Fetcher struct {
	Objects   Objects
	MaxDigest int64 // most inflated bytes of a digest file; they are held in memory
	MaxLog    int64 // most inflated bytes of a log file; none are held
	Plain     bool  // accept files that are inflated already (a folder)

	// Early, unless nil, is what was asked for before its turn: the next read of
	// its object begins with it.
	Early *Answer

	places chan struct{}
	early  chan struct{} // places of what Ask asked for
	asking *Workers
	large  chan struct{} // held by the one large digest in memory
}

// New returns a Fetcher that runs at most concurrency reads at once, one where
// that is less.
func New(o Objects, concurrency int) *Fetcher {
	concurrency = max(concurrency, 1)
	return &Fetcher{
		Objects: o, MaxDigest: DefaultMaxDigest, MaxLog: DefaultMaxLog,
		places: make(chan struct{}, concurrency), early: make(chan struct{}, concurrency), asking: NewWorkers(concurrency),
		large: make(chan struct{}, 1),
	}
}

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
	file, later, err := f.DigestAhead(ctx, o)
	if later {
		var done func()
		file, done, err = f.Turn(ctx, o)
		done() // the inflated bytes are gone; what is parsed is the caller's
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

// LogSum is what was read of a log file.
type LogSum struct {
	Sum      digest.Sum
	Inflated int64 // bytes
}

// Log reads a listed log file and compares its hash with the signed one. The
// error is a fact or a reason.
func (f *Fetcher) Log(ctx context.Context, l digest.Log) (LogSum, error) {
	return f.CopyLog(ctx, nil, l)
}

// CopyLog is Log that also writes the inflated bytes to w. They are proven
// only when CopyLog returns without error; each try writes from the start, so
// w is made anew by open for each.
func (f *Fetcher) CopyLog(ctx context.Context, open func() io.Writer, l digest.Log) (LogSum, error) {
	var s LogSum
	err := f.read(ctx, l.Location(), func(r io.Reader, _ metadata) (err error) {
		var w io.Writer
		if open != nil {
			w = open()
		}
		s.Sum, s.Inflated, err = inflate.Copy(w, r, inflate.Options{Limit: f.MaxLog, Plain: f.Plain})
		return err
	})
	if err != nil {
		return s, err
	}
	return s, l.Check(s.Sum)
}

// metadata is an object's user metadata, or why it could not be read.
type metadata struct {
	values map[string]string
	err    error
}

// useBody reads the body of an object.
type useBody func(io.Reader, metadata) error

// read opens o and calls use with its body, again when the body breaks off. It
// holds one of the fetcher's places while bytes flow.
func (f *Fetcher) read(ctx context.Context, o trail.Object, use useBody) error {
	if settled, err := f.Early.read(ctx, o, use); settled {
		return err
	}
	pause := bodyPause
	for try := 1; ; try++ {
		opened, err := f.readOnce(ctx, o, use)
		if err == nil || !opened || try == bodyTries || !worthRetrying(ctx, err) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
			pause *= 2
		}
	}
}

func (f *Fetcher) readOnce(ctx context.Context, o trail.Object, use useBody) (opened bool, err error) {
	select {
	case f.places <- struct{}{}:
		defer func() { <-f.places }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	body, m, err := f.open(ctx, o)
	if err != nil {
		return false, err
	}
	defer body.Close()
	return true, use(body, m)
}

// open gets o. The error is that of the content alone.
func (f *Fetcher) open(ctx context.Context, o trail.Object) (io.ReadCloser, metadata, error) {
	body, values, err := f.Objects.Get(ctx, o)
	if body != nil && errors.Is(err, finding.ErrMetadata) {
		return body, metadata{err: err}, nil
	}
	return body, metadata{values: values}, err
}

// worthRetrying reports whether reading the object again may go better: its
// body broke off on the way.
func worthRetrying(ctx context.Context, err error) bool {
	return ctx.Err() == nil && !finding.IsFact(err) && finding.ReasonOf(err) == finding.Network
}
