// Package s3 emits events as objects of a bucket: one for each log file, or
// part of a large one, under a name made of the log's own. A repeat writes the
// same bytes to the same name, so that it leaves one copy. It knows no AWS: who
// uploads is given to it, and retries by itself.
package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/trailseal/trailseal/internal/sink"
)

// Putter uploads an object whole and replaces one of the same key. It is safe
// for concurrent use and retries transient errors itself; the object is durable
// when Put returns nil. It keeps no body.
type Putter interface {
	Put(ctx context.Context, bucket, key string, body []byte, contentType, encoding string) error
}

// Options say where the objects go.
type Options struct {
	Bucket string
	Prefix string // of the keys, without a slash at its end; "" is none
	Zstd   bool   // instead of gzip
	Format sink.Format
}

// Sink puts objects. It is safe for concurrent use.
type Sink struct {
	o      Options
	put    Putter
	gzips  sync.Pool     // of *gzipper
	zstd   *zstd.Encoder // its EncodeAll is safe for concurrent use
	closed atomic.Bool
}

// New returns a sink that uploads with p.
func New(p Putter, o Options) (*Sink, error) {
	o.Prefix = strings.Trim(o.Prefix, "/")
	s := &Sink{o: o, put: p}
	if o.Bucket == "" {
		return nil, errors.New("s3 sink: no bucket")
	}
	if o.Zstd {
		var err error
		if s.zstd, err = zstd.NewWriter(nil); err != nil {
			return nil, fmt.Errorf("s3 sink: %w", err)
		}
	}
	return s, nil
}

// Emit puts the object of b. A batch without events has none.
func (s *Sink) Emit(ctx context.Context, b sink.Batch) error {
	key := s.Key(b)
	if err := s.emit(ctx, key, b); err != nil {
		return fmt.Errorf("emit to s3://%s/%s: %w", s.o.Bucket, key, err)
	}
	return nil
}

func (s *Sink) emit(ctx context.Context, key string, b sink.Batch) error {
	if s.closed.Load() {
		return sink.ErrClosed
	}
	if err := ctx.Err(); err != nil || len(b.Events) == 0 {
		return err
	}
	body, encoding, err := s.compress(b)
	if err != nil {
		return err
	}
	return s.put.Put(ctx, s.o.Bucket, key, body, "application/x-ndjson", encoding)
}

// Flush returns nil: what Emit took is uploaded.
func (s *Sink) Flush(context.Context) error { return nil }

// Close refuses further batches.
func (s *Sink) Close() error {
	s.closed.Store(true)
	return nil
}

// logSuffix ends the names of log files; ours take its place.
const logSuffix = ".json.gz"

// Key returns the key of a batch's object: the log's bucket and key below the
// prefix, so that no two logs share one, with "-0001" for the second part. A
// log from a folder may have no bucket.
func (s *Sink) Key(b sink.Batch) string {
	parts := []string{s.o.Prefix, b.Log.Bucket, strings.TrimSuffix(b.Log.Key, logSuffix)}
	var key strings.Builder
	for _, p := range parts {
		if p == "" {
			continue
		}
		if key.Len() > 0 {
			key.WriteByte('/')
		}
		key.WriteString(p)
	}
	if b.Part > 0 {
		fmt.Fprintf(&key, "-%04d", b.Part)
	}
	if s.o.Zstd {
		return key.String() + ".ndjson.zst"
	}
	return key.String() + ".ndjson.gz"
}

// compress returns bytes that depend on the events alone: no time, no name and
// no number of threads goes into them.
func (s *Sink) compress(b sink.Batch) (body []byte, encoding string, err error) {
	if s.zstd != nil {
		return s.zstd.EncodeAll(s.o.Format.AppendLines(nil, &b), nil), "zstd", nil
	}
	z, _ := s.gzips.Get().(*gzipper)
	if z == nil {
		z = &gzipper{w: gzip.NewWriter(nil)}
	}
	var out bytes.Buffer
	z.w.Reset(&out)
	defer func() {
		z.w.Reset(nil) // or it would keep the object in memory
		s.gzips.Put(z)
	}()
	e := s.o.Format.Encoder(&b)
	for i := range b.Events {
		z.line = append(e.Append(z.line[:0], &b.Events[i]), '\n')
		if _, err := z.w.Write(z.line); err != nil {
			return nil, "", err
		}
	}
	if err := z.w.Close(); err != nil {
		return nil, "", err
	}
	return out.Bytes(), "gzip", nil
}

// gzipper compresses one object after the other.
type gzipper struct {
	w    *gzip.Writer
	line []byte // the last one
}
