package inflate

import "io"

// deflate reads one DEFLATE stream (RFC 1951) and gives its bytes in pieces.
// It is held against the standard library's reader by FuzzCopy and
// TestDifferential: both take the same streams for the same bytes.
type deflate struct {
	input
	state state
	last  bool // the block under way is the last
	left  int  // bytes of a stored block to come

	fixed  bool // the tables are those of the fixed code
	litLen [litLenSize]entry
	offset [offsetSize]entry
	width  [widthSize]entry

	out [outBytes]byte // the window, then the piece under way
	at  int            // of the next byte in out
}

// state is what comes next in the stream.
type state uint8

const (
	atBlock state = iota
	inStored
	inCoded
	atEnd
)

const (
	windowBytes = 32 << 10 // how far back a match reaches
	pieceBytes  = 64 << 10
	// slackBytes is how far behind its room the fast loop may write.
	slackBytes = 512
	roomBytes  = windowBytes + pieceBytes
	outBytes   = roomBytes + slackBytes
)

func (d *deflate) reset() { d.state, d.last, d.left, d.at = atBlock, false, 0, 0 }

// next returns the next bytes of the stream, valid until it is called again,
// and io.EOF with the last ones, after which the input stands behind the
// stream. Errors are ErrTruncated and ErrCorrupt; bytes can come with them.
func (d *deflate) next() (piece []byte, err error) {
	if d.at > windowBytes {
		copy(d.out[:windowBytes], d.out[d.at-windowBytes:d.at])
		d.at = windowBytes
	}
	from := d.at
	for d.at < roomBytes && err == nil {
		switch d.state {
		case atBlock:
			err = d.block()
		case inStored:
			err = d.stored()
		case inCoded:
			err = d.coded()
		case atEnd:
			d.align()
			err = io.EOF
		}
	}
	return d.out[from:d.at], err
}

// block reads the header of a block.
func (d *deflate) block() error {
	if d.last {
		d.state = atEnd
		return nil
	}
	h, ok := d.take(3)
	if !ok {
		return ErrTruncated
	}
	d.last = h&1 == 1
	switch h >> 1 {
	case 0:
		return d.storedHeader()
	case 1:
		d.state = inCoded
		d.fixedCode()
		return nil
	case 2:
		d.state = inCoded
		return d.dynamicCode()
	}
	return ErrCorrupt
}

func (d *deflate) storedHeader() error {
	d.align()
	var h [4]byte
	for i := range h {
		var ok bool
		if h[i], ok = d.readByte(); !ok {
			return ErrTruncated
		}
	}
	if h[0] != ^h[2] || h[1] != ^h[3] {
		return ErrCorrupt
	}
	d.state, d.left = inStored, int(h[0])|int(h[1])<<8
	return nil
}

func (d *deflate) stored() error {
	for d.left > 0 && d.at < roomBytes {
		if !d.more() {
			return ErrTruncated
		}
		n := copy(d.out[d.at:roomBytes], d.buf[d.pos:min(d.end, d.pos+d.left)])
		d.at, d.pos, d.left = d.at+n, d.pos+n, d.left-n
	}
	if d.left == 0 {
		d.state = atBlock
	}
	return nil
}

// fixedCode is that of RFC 1951, section 3.2.6. A block of it can be as short
// as ten bits: its tables are not made for each.
func (d *deflate) fixedCode() {
	if d.fixed {
		return
	}
	d.fixed = true
	var w [litLenSymbols + offsetSymbols]uint8
	for s := range w {
		switch {
		case s < 144:
			w[s] = 8
		case s < 256:
			w[s] = 9
		case s < 280:
			w[s] = 7
		case s < litLenSymbols:
			w[s] = 8
		default:
			w[s] = 5
		}
	}
	build(d.litLen[:], litLenBits, w[:litLenSymbols], litLenMeaning[:])
	build(d.offset[:], offsetBits, w[litLenSymbols:], offsetMeaning[:])
}

// widthOrder is the order in which a block gives the widths of the code that
// its codes are written in.
var widthOrder = [widthSymbols]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// dynamicCode reads a block's own codes (RFC 1951, section 3.2.7).
func (d *deflate) dynamicCode() error {
	h, ok := d.take(14)
	if !ok {
		return ErrTruncated
	}
	litLens, offsets, n := h&31+257, h>>5&31+1, h>>10+4
	if litLens > 286 || offsets > 30 {
		return ErrCorrupt
	}
	d.fixed = false
	var widths [litLenSymbols + offsetSymbols]uint8
	for _, s := range widthOrder[:n] {
		w, ok := d.take(3)
		if !ok {
			return ErrTruncated
		}
		widths[s] = uint8(w)
	}
	if !build(d.width[:], widthBits, widths[:widthSymbols], widthMeaning[:]) {
		return ErrCorrupt
	}
	clear(widths[:widthSymbols])
	if err := d.widths(widths[:litLens+offsets]); err != nil {
		return err
	}
	if !build(d.litLen[:], litLenBits, widths[:litLens], litLenMeaning[:]) ||
		!build(d.offset[:], offsetBits, widths[litLens:litLens+offsets], offsetMeaning[:]) {
		return ErrCorrupt
	}
	pair(&d.litLen)
	return nil
}

// widths reads the widths of both codes, one after the other.
func (d *deflate) widths(widths []uint8) error {
	for i := 0; i < len(widths); {
		if d.n < widthBits {
			d.fill()
		}
		e := d.width[d.bits&(widthSize-1)]
		if e&isSpecial != 0 {
			return ErrCorrupt
		}
		if _, ok := d.take(uint64(e & takeMask)); !ok {
			return ErrTruncated
		}
		s := uint8(e >> valueShift)
		if s < 16 {
			widths[i] = s
			i++
			continue
		}
		repeated, extra, base := uint8(0), uint64(3), 3
		switch s {
		case 16:
			if i == 0 {
				return ErrCorrupt
			}
			repeated, extra = widths[i-1], 2
		case 18:
			extra, base = 7, 11
		}
		n, ok := d.take(extra)
		if !ok {
			return ErrTruncated
		}
		if n += base; i+n > len(widths) {
			return ErrCorrupt
		}
		for range n {
			widths[i] = repeated
			i++
		}
	}
	return nil
}

// coded reads literals and matches until the block ends or the room does.
func (d *deflate) coded() error {
	for d.at < roomBytes && d.state == inCoded {
		if err := d.fast(); err != nil {
			return err
		}
		if d.at >= roomBytes {
			return nil // what fast wrote behind it is all that there is room for
		}
		if err := d.symbol(); err != nil {
			return err
		}
	}
	return nil
}

// symbol reads one literal, match or end of block, whatever is left of input
// and room.
func (d *deflate) symbol() error {
	d.fill()
	e, ok := d.lookUp(d.litLen[:], litLenBits)
	switch {
	case !ok:
		return ErrTruncated
	case e&isLiteral != 0:
		d.out[d.at] = byte(e >> valueShift)
		d.at++
		return nil
	case e&isEnd != 0:
		d.state = atBlock
		return nil
	case e&isSpecial != 0:
		return ErrCorrupt
	}
	length, ok := d.extended(e)
	if !ok {
		return ErrTruncated
	}
	d.fill()
	e, ok = d.lookUp(d.offset[:], offsetBits)
	if !ok {
		return ErrTruncated
	}
	if e&isSpecial != 0 {
		return ErrCorrupt
	}
	offset, ok := d.extended(e)
	if !ok {
		return ErrTruncated
	}
	if offset > d.at {
		return ErrCorrupt
	}
	for range length {
		d.out[d.at] = d.out[d.at-offset]
		d.at++
	}
	return nil
}

// lookUp returns the entry of the next codeword and takes its bits. It is not
// ok when the input ends within them.
func (d *deflate) lookUp(table []entry, mainBits int) (e entry, ok bool) {
	e = table[d.bits&(1<<mainBits-1)]
	width := uint64(e >> 8 & widthMask)
	if e&isPointer != 0 {
		e = table[inner(e, d.bits>>mainBits)]
		width = uint64(mainBits) + uint64(e>>8&widthMask)
	}
	if width > d.n {
		return e, false
	}
	d.bits >>= width
	d.n -= width
	return e, true
}

// extended takes the extra bits of an entry whose codeword was taken. It is
// not ok when the input ends within them.
func (d *deflate) extended(e entry) (int, bool) {
	extra, ok := d.take(uint64(e&takeMask) - uint64(e>>8&widthMask))
	return int(e>>valueShift) + extra, ok
}
