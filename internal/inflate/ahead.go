package inflate

import (
	"io"
	"sync"
)

// ahead reads the beginning of an object, all of most, before an inflater is
// taken for it. Of many objects that are on their way at once each holds a
// small buffer, and not an inflater, which would be out of the processor's
// caches by the time when it is used.
type ahead struct {
	r    io.Reader
	err  error // of r; it comes after what left holds
	left []byte
	buf  []byte
}

// The buffer is as large as the objects need, up to a log file that inflates
// to some 400 KB.
const (
	aheadLeast = 8 << 10
	aheadMost  = 64 << 10
)

var aheads = sync.Pool{New: func() any { return &ahead{buf: make([]byte, aheadLeast)} }}

// emptyReads is how often a reader may give nothing before it counts as one
// that never will.
const emptyReads = 100

func readAhead(r io.Reader) *ahead {
	a := aheads.Get().(*ahead)
	a.r, a.err = r, nil
	n := 0
	for empty := 0; n < aheadMost && a.err == nil && empty < emptyReads; empty++ {
		if n == len(a.buf) {
			a.buf = append(a.buf, make([]byte, n)...)
		}
		var m int
		if m, a.err = r.Read(a.buf[n:]); m > 0 {
			n, empty = n+m, 0
		}
	}
	a.left = a.buf[:n]
	return a
}

// Read is called until it fails and then no more.
func (a *ahead) Read(p []byte) (int, error) {
	switch {
	case len(a.left) > 0:
		n := copy(p, a.left)
		a.left = a.left[n:]
		return n, nil
	case a.err != nil:
		return 0, a.err
	}
	return a.r.Read(p)
}

func (a *ahead) release() {
	a.r, a.err, a.left = nil, nil, nil
	aheads.Put(a)
}
