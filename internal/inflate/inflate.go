// Package inflate is the only reader of gzip. It hands out inflated bytes and
// their SHA-256 together, so that what is parsed is what was hashed, and it
// accepts exactly one gzip member with nothing after it: other readers either
// go on into appended members or silently ignore them, and both let an
// attacker hide bytes behind a good hash.
//
// It never buffers a log file: memory does not depend on the input. It never
// looks into the bytes it inflates.
package inflate

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"

	"github.com/trailseal/trailseal/pkg/digest"
)

// What can be wrong with a container. These are facts about the bytes; an
// error of the reader itself is returned as it is and never wraps one of them.
var (
	ErrNotGzip   = errors.New("not gzip")
	ErrTruncated = errors.New("gzip stream cut off")
	ErrCorrupt   = errors.New("gzip stream corrupt")
	ErrChecksum  = errors.New("gzip checksum or length wrong")
	ErrTrailing  = errors.New("unexpected data after end of compressed stream")
	// ErrTooLarge: more inflated bytes than the limit. It is no verdict on the
	// content, which was not read to its end.
	ErrTooLarge = errors.New("inflates to more than the limit")
)

// IsContainer reports whether err says that the container is broken.
func IsContainer(err error) bool {
	for _, e := range []error{ErrNotGzip, ErrTruncated, ErrCorrupt, ErrChecksum, ErrTrailing} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

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
func Copy(w io.Writer, r io.Reader, o Options) (digest.Sum, int64, error) {
	i := pool.Get().(*inflater)
	defer i.release()
	i.reset(r)
	src, err := i.open(o.Plain)
	if err != nil {
		return digest.Sum{}, 0, i.explain(err)
	}
	n, err := i.copy(w, src, o.Limit)
	if err != nil {
		return digest.Sum{}, n, i.explain(err)
	}
	if err := i.end(); err != nil {
		return digest.Sum{}, n, i.explain(err)
	}
	var sum digest.Sum
	i.hash.Sum(sum[:0])
	return sum, n, nil
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

// inflater is the reusable state of one inflation: about 150 KB.
type inflater struct {
	src  source
	in   *bufio.Reader
	gz   gzip.Reader
	hash hash.Hash
	buf  []byte
}

var pool = sync.Pool{New: func() any {
	i := &inflater{hash: sha256.New(), buf: make([]byte, 64<<10)}
	i.in = bufio.NewReaderSize(&i.src, 32<<10)
	return i
}}

func (i *inflater) reset(r io.Reader) {
	i.src = source{r: r}
	i.in.Reset(&i.src)
	i.hash.Reset()
}

func (i *inflater) release() {
	i.src = source{}
	i.in.Reset(&i.src)
	pool.Put(i)
}

// open returns the reader of the inflated bytes.
func (i *inflater) open(plain bool) (io.Reader, error) {
	magic, err := i.in.Peek(2)
	if len(magic) < 2 || magic[0] != 0x1f || magic[1] != 0x8b {
		if plain && (len(magic) > 0 || err == nil) {
			return i.in, nil
		}
		return nil, ErrNotGzip
	}
	if err := i.gz.Reset(i.in); err != nil {
		return nil, err
	}
	i.gz.Multistream(false)
	return &i.gz, nil
}

func (i *inflater) copy(w io.Writer, src io.Reader, limit int64) (n int64, err error) {
	for {
		k, err := src.Read(i.buf)
		n += int64(k)
		if n > limit {
			return n, fmt.Errorf("%d bytes: %w", limit, ErrTooLarge)
		}
		i.hash.Write(i.buf[:k])
		if w != nil && k > 0 {
			if _, err := w.Write(i.buf[:k]); err != nil {
				i.src.err = err // not the container's fault
				return n, err
			}
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// end demands that nothing follows the member.
func (i *inflater) end() error {
	_, err := i.in.ReadByte()
	switch err {
	case io.EOF:
		return nil
	case nil:
		return ErrTrailing
	}
	return err
}

// explain tells an error of the source, which is passed on, from one of the
// container.
func (i *inflater) explain(err error) error {
	switch {
	case i.src.err != nil:
		return i.src.err
	case errors.Is(err, ErrNotGzip), errors.Is(err, ErrTrailing), errors.Is(err, ErrTooLarge):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return ErrTruncated
	case errors.Is(err, gzip.ErrChecksum):
		return ErrChecksum
	}
	return fmt.Errorf("%v: %w", err, ErrCorrupt)
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
	for range 100 {
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
