// Package inflate is the only reader of gzip. It hands out inflated bytes and
// their SHA-256 together, so that what is parsed is what was hashed, and it
// accepts exactly one gzip member with nothing after it: other readers either
// go on into appended members or silently ignore them, and both let an
// attacker hide bytes behind a good hash.
//
// It never buffers a log file: memory does not depend on the input. It never
// looks into the bytes it inflates.
//
// The inflater is its own, since inflating is most of what verification costs
// (docs/benchmarks.md). Data flows through it file by file:
//
//	ahead.go    the beginning of the object, before an inflater is taken
//	input.go    bytes of the object, and their bits
//	gzip.go     header and trailer of the member
//	table.go    tables of prefix codes
//	deflate.go  blocks and symbols, with every check
//	fast.go     the same symbols where input and room are plenty
//	inflate.go  sum, limit, and whose error it is
//
// It uses no unsafe code. Should it ever inflate a byte wrongly, the CRC-32 of
// the member or the SHA-256 that CloudTrail signed would not fit: a defect can
// make a good log file look bad, and no bad one good.
package inflate

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"sync"

	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
)

// What can be wrong with a container. These are facts about the bytes; an
// error of the reader itself is returned as it is and never wraps one of them.
var (
	ErrNotGzip   error = &kind{"not gzip", finding.ErrContainer}
	ErrTruncated error = &kind{"gzip stream cut off", finding.ErrContainer}
	ErrCorrupt   error = &kind{"gzip stream corrupt", finding.ErrContainer}
	ErrChecksum  error = &kind{"gzip checksum or length wrong", finding.ErrContainer}
	ErrTrailing  error = &kind{"unexpected data after end of compressed stream", finding.ErrContainer}
	// ErrTooLarge: more inflated bytes than the limit. The content was not read
	// to its end, so the error is not a verdict on it.
	ErrTooLarge error = &kind{"inflates to more than the limit", finding.ErrTooLarge}
)

// kind is an error that is one of pkg/finding's kinds.
type kind struct {
	text string
	is   error
}

func (k *kind) Error() string { return k.text }
func (k *kind) Unwrap() error { return k.is }

// Options say what to accept.
type Options struct {
	// Limit is the most inflated bytes that are read.
	Limit int64
	// Plain accepts bytes that are no gzip as if they were inflated already:
	// browsers leave such files under a .json.gz name.
	Plain bool
}

// Copy inflates r to w and returns the SHA-256 and the number of the inflated
// bytes. w sees bytes before they are proven: the caller must not act on them
// until Copy has returned without error and the sum was compared. w may be
// nil.
//
// With ErrTrailing and ErrChecksum the sum is returned too: it is that of the
// member's own bytes, which were inflated to their end.
func Copy(w io.Writer, r io.Reader, o Options) (digest.Sum, int64, error) {
	a := readAhead(r)
	defer a.release()
	i := pool.Get().(*inflater)
	defer i.release()
	i.reset(a)
	n, err := i.copy(w, o)
	switch {
	case i.src.err != nil: // whatever came of it
		return digest.Sum{}, n, i.src.err
	case err != nil && !errors.Is(err, ErrTrailing) && !errors.Is(err, ErrChecksum):
		return digest.Sum{}, n, err
	}
	var sum digest.Sum
	i.hash.Sum(sum[:0])
	return sum, n, err
}

// Bytes inflates r into memory.
func Bytes(r io.Reader, o Options) ([]byte, digest.Sum, error) {
	var b bytes.Buffer
	sum, _, err := Copy(&b, r, o)
	if err != nil {
		return nil, digest.Sum{}, err
	}
	return b.Bytes(), sum, nil
}

// inflater is the reusable state of one inflation: about 170 KB.
type inflater struct {
	deflate
	hash hash.Hash
}

var pool = sync.Pool{New: func() any { return &inflater{hash: sha256.New()} }}

func (i *inflater) reset(r io.Reader) {
	i.input.reset(r)
	i.deflate.reset()
	i.hash.Reset()
}

func (i *inflater) release() {
	i.src = source{}
	pool.Put(i)
}

// copy reads the whole object.
func (i *inflater) copy(w io.Writer, o Options) (int64, error) {
	magic := i.peek()
	gzip := string(magic) == "\x1f\x8b"
	switch {
	case gzip:
		h := header{input: &i.input}
		if err := h.read(); err != nil {
			return 0, err
		}
	case !o.Plain || len(magic) == 0:
		return 0, ErrNotGzip
	}
	var (
		n   int64
		crc uint32
		err error
	)
	for err == nil {
		var piece []byte
		if gzip {
			piece, err = i.guarded()
			crc = crc32.Update(crc, crc32.IEEETable, piece)
		} else {
			piece, err = i.plain()
		}
		if n += int64(len(piece)); n > o.Limit {
			return n, fmt.Errorf("%d bytes: %w", o.Limit, ErrTooLarge)
		}
		i.hash.Write(piece)
		if w != nil && len(piece) > 0 {
			if _, err := w.Write(piece); err != nil {
				i.src.err = err // not the container's fault
				return n, err
			}
		}
	}
	if err != io.EOF {
		return n, err
	}
	if !gzip {
		return n, nil
	}
	if err := trailer(&i.input, crc, n); err != nil {
		return n, err
	}
	if i.more() {
		return n, ErrTrailing // other readers go on into it, or ignore it
	}
	return n, nil
}

// guarded is next, with a defect of this package as an error that is no fact:
// the object was not judged, and others are.
func (i *inflater) guarded() (piece []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			i.src.err = fmt.Errorf("defect of the inflater: %v", p)
			err = i.src.err
		}
	}()
	return i.next()
}

// source remembers why reading stopped, since a decompressor hides it.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	switch {
	case s.err != nil:
		return 0, s.err // whatever the reader would say if asked again
	case s.r == nil:
		return 0, io.EOF
	}
	for range emptyReads {
		n, err := s.r.Read(p)
		if err != nil && err != io.EOF {
			s.err = err
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
	s.err = io.ErrNoProgress // or a decompressor would ask for ever
	return 0, s.err
}
