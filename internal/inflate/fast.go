package inflate

import "encoding/binary"

// How much of input and room the fast loop needs, at most, for one turn: two
// words of input; two pairs of literals, a match of 258 bytes and what copying
// blocks writes beyond it.
const (
	fastInput = 2 * wordBytes
	fastRoom  = 2*2 + 258 + 2*blockBytes

	blockBytes = 16
)

const _ = uint(slackBytes - fastRoom) // not negative: a turn may begin at the last byte of room, and nothing follows it

// fast reads literals and matches while there is plenty of input and room, and
// stops before whatever else comes. It is symbol without its check of every
// bit: of the 56 bits of a refill two entries of literals take at most 10 each
// and a length 15+5, or three of literals 10 each, and the look at what comes
// next 10; an offset takes at most 15+13, and the look 10, for which it refills
// when there are less.
//
// What comes next is looked up before what is at hand is done: before a match
// is copied, and before the refill, which leaves alone the bits that are there.
func (d *deflate) fast() error {
	d.fill()
	var (
		in, out        = &d.buf, &d.out
		litLen, offset = &d.litLen, &d.offset
		bits, n        = d.bits, d.n
		pos, at        = d.pos, d.at
		last           = d.end - fastInput
		err            error
	)
	e := litLen[bits&(1<<litLenBits-1)]
	for pos <= last && at < roomBytes {
		bits |= binary.LittleEndian.Uint64(in[pos:]) << (n & 63)
		pos += int(63-n) >> 3
		n |= 56

		// This is no loop: the third is predicted apart from the first.
		if e&isLiteral != 0 {
			at = put(out, at, e)
			bits, n = drop(bits, n, e)
			e = litLen[bits&(1<<litLenBits-1)]
			if e&isLiteral != 0 {
				at = put(out, at, e)
				bits, n = drop(bits, n, e)
				e = litLen[bits&(1<<litLenBits-1)]
				if e&isLiteral != 0 {
					at = put(out, at, e)
					bits, n = drop(bits, n, e)
					e = litLen[bits&(1<<litLenBits-1)]
					continue
				}
			}
		}
		if e&isSpecial != 0 {
			if e&isPointer == 0 {
				break
			}
			if e = litLen[inner(e, bits>>litLenBits)]; e&isSpecial != 0 {
				break
			}
			bits >>= litLenBits
			n -= litLenBits
			if e&isLiteral != 0 {
				at = put(out, at, e)
				bits, n = drop(bits, n, e)
				e = litLen[bits&(1<<litLenBits-1)]
				continue
			}
		}
		length := value(e, bits)
		bits, n = drop(bits, n, e)

		if n < maxWidth+13+litLenBits {
			bits |= binary.LittleEndian.Uint64(in[pos:]) << (n & 63)
			pos += int(63-n) >> 3
			n |= 56
		}
		e = offset[bits&(1<<offsetBits-1)]
		if e&isPointer != 0 {
			e = offset[inner(e, bits>>offsetBits)]
			bits >>= offsetBits
			n -= offsetBits
		}
		back := value(e, bits)
		bits, n = drop(bits, n, e)
		if e&isSpecial != 0 || back > at {
			err = ErrCorrupt
			break
		}
		e = litLen[bits&(1<<litLenBits-1)]
		repeat(out, at, back, length)
		at += length
	}
	d.bits, d.n, d.pos, d.at = bits&(1<<n-1), n, pos, at
	return err
}

// drop takes the bits of an entry.
func drop(bits, n uint64, e entry) (uint64, uint64) {
	return bits >> (e & takeMask), n - uint64(e&takeMask)
}

// put writes the literals of an entry and returns where the next byte goes. It
// always writes two.
func put(out *[outBytes]byte, at int, e entry) int {
	binary.LittleEndian.PutUint16(out[at:], uint16(e>>valueShift))
	return at + 1 + int(e>>pairBit&1)
}

// inner returns where in the table that e points to the codeword is whose
// further bits come next.
func inner(e entry, bits uint64) uint64 {
	return uint64(e>>valueShift) + bits&(1<<(e>>8&widthMask)-1)
}

// value returns what a length or an offset comes to with its extra bits.
func value(e entry, bits uint64) int {
	return int(e>>valueShift) + int(bits&(1<<(e&takeMask)-1)>>(e>>8&widthMask))
}

// repeat copies length bytes from back bytes before at, which may be among
// those it writes. Of a short match it writes two blocks, whatever its length,
// since branches on lengths are hard to predict.
func repeat(out *[outBytes]byte, at, back, length int) {
	from, to := at-back, at+length
	if length <= 2*blockBytes && back >= blockBytes {
		copy(out[at:at+blockBytes], out[from:from+blockBytes])
		copy(out[at+blockBytes:at+2*blockBytes], out[from+blockBytes:from+2*blockBytes])
		return
	}
	for at < to { // what is there is repeated as a whole, and so twice as much is there
		at += copy(out[at:to], out[from:at])
	}
}
