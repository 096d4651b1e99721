package inflate

import "encoding/binary"

// How much of input and room the fast loop needs, at most, for one turn: two
// words of input; three literals, a match of 258 bytes and what copying in
// words writes beyond it.
const (
	fastInput = 2 * wordBytes
	fastRoom  = 3 + 258 + 2*wordBytes
)

const _ = uint(slackBytes - fastRoom) // not negative: a turn may begin at the last byte of room, and nothing follows it

// fast reads literals and matches while there is plenty of input and room, and
// stops before whatever else comes. It is symbol without its check of every
// bit: of the 56 bits of a refill three literals take at most 11 each and a
// length 15+5; of another one an offset takes at most 15+13.
func (d *deflate) fast() error {
	var (
		in, out        = &d.buf, &d.out
		litLen, offset = &d.litLen, &d.offset
		bits, n        = d.bits, d.n
		pos, at        = d.pos, d.at
		last           = d.end - fastInput
		err            error
	)
turns:
	for pos <= last && at < roomBytes {
		bits |= binary.LittleEndian.Uint64(in[pos:]) << (n & 63)
		pos += int(63-n) >> 3
		n |= 56

		e := litLen[bits&(1<<litLenBits-1)]
		for literals := 0; e&isLiteral != 0; literals++ {
			if literals == 3 {
				continue turns
			}
			bits >>= e & 63
			n -= uint64(e & 63)
			out[at] = byte(e >> valueShift)
			at++
			e = litLen[bits&(1<<litLenBits-1)]
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
				bits >>= e & 63
				n -= uint64(e & 63)
				out[at] = byte(e >> valueShift)
				at++
				continue
			}
		}
		length := value(e, bits)
		bits >>= e & 63
		n -= uint64(e & 63)

		if n < maxWidth+13 {
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
		bits >>= e & 63
		n -= uint64(e & 63)
		if e&isSpecial != 0 || back > at {
			err = ErrCorrupt
			break
		}
		repeat(out, at, back, length)
		at += length
	}
	d.bits, d.n, d.pos, d.at = bits&(1<<n-1), n, pos, at
	return err
}

// inner returns where in the table that e points to the codeword is whose
// further bits come next.
func inner(e entry, bits uint64) uint64 {
	return uint64(e>>valueShift) + bits&(1<<(e>>8&widthMask)-1)
}

// value returns what a length or an offset comes to with its extra bits.
func value(e entry, bits uint64) int {
	return int(e>>valueShift) + int(bits&(1<<(e&63)-1)>>(e>>8&widthMask))
}

// repeat copies length bytes from back bytes before at, which may be among
// those it writes. It writes up to two words more than asked for.
func repeat(out *[outBytes]byte, at, back, length int) {
	from, to := at-back, at+length
	if back < wordBytes {
		for ; at < to; at++ {
			out[at] = out[at-back]
		}
		return
	}
	for ; at < to; at += 2 * wordBytes {
		binary.LittleEndian.PutUint64(out[at:], binary.LittleEndian.Uint64(out[from:]))
		binary.LittleEndian.PutUint64(out[at+wordBytes:], binary.LittleEndian.Uint64(out[from+wordBytes:]))
		from += 2 * wordBytes
	}
}
