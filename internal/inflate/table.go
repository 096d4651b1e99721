package inflate

import "math/bits"

// A table answers, for the next bits of the input, which symbol they begin
// with: entries of mainBits bits, and for longer codewords tables behind these.
// An entry is, from its lowest bit:
//
//	 6 bits  how many bits it takes: codeword and extra bits together
//	 2 bits  flags: literal, two literals
//	 5 bits  how many bits are the (first) codeword's; of a pointer, the bits of the table
//	 3 bits  flags: special, pointer, end of block
//	16 bits  the value: of a literal, and of a second one in the higher byte;
//	         what the extra bits are added to; where a table begins
//
// A special entry that is neither pointer nor end stands for bits that no
// codeword begins with.
type entry = uint32

const (
	isLiteral entry = 1 << 6
	isPair    entry = 1 << 7
	isEnd     entry = 1 << 13
	isPointer entry = 1 << 14
	isSpecial entry = 1 << 15

	valueShift  = 16
	secondShift = 24
	widthMask   = 31
	takeMask    = 63
	literalBit  = 6
	pairBit     = 7
)

// Sizes of RFC 1951, section 3.2, and of the tables. A table behind the main
// one holds at least two codewords, so there are at most half as many as
// symbols, each with 15-mainBits bits.
const (
	maxWidth = 15 // bits of a codeword

	litLenSymbols = 288
	litLenBits    = 10
	litLenSize    = 1<<litLenBits + litLenSymbols/2<<(maxWidth-litLenBits)

	offsetSymbols = 32
	offsetBits    = 9
	offsetSize    = 1<<offsetBits + offsetSymbols/2<<(maxWidth-offsetBits)

	widthSymbols = 19
	widthBits    = 7
	widthSize    = 1 << widthBits
)

// What the symbols of each alphabet mean: entries without their codeword.
var (
	litLenMeaning = litLenEntries()
	offsetMeaning = offsetEntries()
	widthMeaning  = widthEntries()
)

func litLenEntries() (m [litLenSymbols]entry) {
	for s := range 256 {
		m[s] = isLiteral | entry(s)<<valueShift
	}
	m[256] = isSpecial | isEnd
	base := 3
	for s := 257; s < 285; s++ {
		extra := max(0, (s-261)/4)
		m[s] = entry(base)<<valueShift | entry(extra)
		base += 1 << extra
	}
	m[285] = 258 << valueShift
	m[286], m[287] = isSpecial, isSpecial
	return m
}

func offsetEntries() (m [offsetSymbols]entry) {
	base := 1
	for s := range 30 {
		extra := max(0, s/2-1)
		m[s] = entry(base)<<valueShift | entry(extra)
		base += 1 << extra
	}
	m[30], m[31] = isSpecial, isSpecial
	return m
}

func widthEntries() (m [widthSymbols]entry) {
	for s := range m {
		m[s] = entry(s) << valueShift
	}
	return m
}

// build makes the table of the code whose symbols have the given widths, 0
// for one that is not used, and reports whether there is such a code: no
// codeword begins another, and none could be added. As for the standard
// library, a code may be empty or have the one codeword 0.
func build(table []entry, mainBits int, widths []uint8, meaning []entry) bool {
	var count [maxWidth + 1]int
	for _, w := range widths {
		count[w]++
	}
	free, longest := 1, 0
	for w := 1; w <= maxWidth; w++ {
		free = free<<1 - count[w]
		if count[w] > 0 {
			longest = w
		}
		if free < 0 {
			return false
		}
	}
	used := len(widths) - count[0]
	if free > 0 {
		if used > 1 || longest > 1 {
			return false
		}
		for i := range table[:1<<mainBits] {
			table[i] = isSpecial
		}
	}
	if used == 0 {
		return true
	}
	var sorted [litLenSymbols]uint16 // by width, then symbol
	var next [maxWidth + 2]int
	for w := 1; w <= maxWidth; w++ {
		next[w+1] = next[w] + count[w]
	}
	for s, w := range widths {
		if w > 0 {
			sorted[next[w]] = uint16(s)
			next[w]++
		}
	}
	if free > 0 {
		one := coded(meaning[sorted[0]], 1)
		for i := 0; i < 1<<mainBits; i += 2 {
			table[i] = one
		}
		return true
	}
	fillTable(table, mainBits, sorted[:used], &count, meaning)
	return true
}

// coded adds a codeword's width to what its symbol means.
func coded(meaning entry, width int) entry { return meaning + entry(width)<<8 + entry(width) }

// pair puts second literals into the main table where its bits are enough for
// two, as they mostly are where text is hexadecimal. What follows a literal is
// nearer to the beginning of the table, and not paired yet. It has no branches,
// since the literals of a table are scattered.
func pair(table *[litLenSize]entry) {
	for i := 1<<litLenBits - 1; i >= 0; i-- {
		e := table[i]
		second := table[i>>(e&takeMask)]
		tooLong := (litLenBits - e&takeMask - second&takeMask) >> 31
		two := e & second & isLiteral >> literalBit &^ tooLong
		table[i] = e + -two&(second&takeMask+second>>valueShift<<secondShift+isPair)
	}
}

// fillTable fills the table of a complete code. Codewords are counted up with
// their bits reversed, since the input has their highest bit first. The table
// begins as small as the first codeword and is doubled with each wider one.
func fillTable(table []entry, mainBits int, sorted []uint16, count *[maxWidth + 1]int, meaning []entry) {
	width := 1
	for count[width] == 0 {
		width++
	}
	size := 1 << min(width, mainBits)
	code, left := 0, count[width]
	start, subBits, prefix := 0, 0, -1
	for _, s := range sorted {
		for left == 0 {
			width++
			left = count[width]
			if width <= mainBits {
				copy(table[size:2*size], table[:size])
				size *= 2
			}
		}
		left--
		if width <= mainBits {
			table[code] = coded(meaning[s], width)
		} else {
			if p := code & (1<<mainBits - 1); p != prefix {
				start, prefix = start+1<<subBits, p
				if subBits == 0 {
					start = 1 << mainBits
				}
				subBits = subTable(width-mainBits, mainBits, left+1, count)
				table[p] = isSpecial | isPointer | entry(start)<<valueShift | entry(subBits)<<8 | entry(mainBits)
			}
			e := coded(meaning[s], width-mainBits)
			for i := code >> mainBits; i < 1<<subBits; i += 1 << (width - mainBits) {
				table[start+i] = e
			}
		}
		code = after(code, width)
	}
	for ; size < 1<<mainBits; size *= 2 {
		copy(table[size:2*size], table[:size])
	}
}

// subTable returns the bits of a table that begins with a codeword of the
// given width behind the main bits, when left of that width are to come.
func subTable(width, mainBits, left int, count *[maxWidth + 1]int) int {
	for space := left; space < 1<<width; {
		width++
		space = space<<1 + count[mainBits+width]
	}
	return width
}

// after returns the codeword after code among those of a width, bits reversed;
// the codewords of a wider one go on from it.
func after(code, width int) int {
	ones := 1<<width - 1
	if code == ones {
		return code
	}
	bit := 1 << (bits.Len(uint(code^ones)) - 1)
	return code&(bit-1) | bit
}
