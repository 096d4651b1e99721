package inflate

import (
	"encoding/binary"
	"io"
)

// input is a buffered reader of bits, lowest bit of each byte first (RFC 1951,
// section 3.1.1).
type input struct {
	src  source
	buf  [inputBytes]byte
	pos  int    // of the next byte that is not in bits
	end  int    // of the bytes in buf
	bits uint64 // read ahead; zero above the lowest n
	n    uint64
	done bool // nothing comes any more
}

const (
	inputBytes = 32 << 10
	wordBytes  = 8
)

func (in *input) reset(r io.Reader) {
	in.src = source{r: r}
	in.pos, in.end, in.bits, in.n, in.done = 0, 0, 0, 0, false
}

// more reads on and reports whether there is another byte. The last word
// before pos stays, so that bytes can be given back.
func (in *input) more() bool {
	if in.pos < in.end {
		return true
	}
	if in.done {
		return false
	}
	keep := min(in.pos, wordBytes)
	copy(in.buf[:], in.buf[in.pos-keep:in.end])
	in.pos, in.end = keep, keep
	n, err := in.src.Read(in.buf[keep:])
	in.end += n
	in.done = err != nil
	return n > 0
}

// readByte returns the next byte. It is called between bits and bytes only
// after align.
func (in *input) readByte() (byte, bool) {
	if in.pos == in.end && !in.more() {
		return 0, false
	}
	b := in.buf[in.pos]
	in.pos++
	return b, true
}

// peek returns up to two bytes and leaves them there. It is called first.
func (in *input) peek() []byte {
	for in.end < 2 && !in.done {
		n, err := in.src.Read(in.buf[in.end:])
		in.end += n
		in.done = err != nil
	}
	return in.buf[:min(in.end, 2)]
}

// fill reads bits ahead: at least 48, or all there are.
func (in *input) fill() {
	if in.end-in.pos >= wordBytes {
		in.bits |= binary.LittleEndian.Uint64(in.buf[in.pos:]) << (in.n & 63)
		in.pos += int(63-in.n) >> 3
		in.n |= 56
		in.bits &= 1<<in.n - 1
		return
	}
	for in.n <= 48 && in.more() {
		in.bits |= uint64(in.buf[in.pos]) << (in.n & 63)
		in.pos++
		in.n += 8
	}
}

// take returns the next k bits, at most 16.
func (in *input) take(k uint64) (int, bool) {
	if in.n < k {
		if in.fill(); in.n < k {
			return 0, false
		}
	}
	v := in.bits & (1<<k - 1)
	in.bits >>= k
	in.n -= k
	return int(v), true
}

// align drops the rest of the byte under way and gives back the whole bytes
// that were read ahead.
func (in *input) align() {
	in.pos -= int(in.n / 8)
	in.bits, in.n = 0, 0
}

// plain returns what comes next as it is, and io.EOF with or after the last of
// it.
func (in *input) plain() ([]byte, error) {
	if !in.more() {
		return nil, io.EOF
	}
	piece := in.buf[in.pos:in.end]
	in.pos = in.end
	return piece, nil
}
