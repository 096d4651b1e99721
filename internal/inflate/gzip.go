package inflate

import (
	"encoding/binary"
	"hash/crc32"
)

// The parts of a gzip member's header (RFC 1952, section 2.3.1).
const (
	hasHeaderSum = 1 << 1
	hasExtra     = 1 << 2
	hasName      = 1 << 3
	hasComment   = 1 << 4
	reserved     = 0xe0

	methodDeflate = 8
	// textBytes is how long a name or comment may be, as for the standard
	// library's reader.
	textBytes = 511
)

// header reads the header of a gzip member.
type header struct {
	*input
	sum uint32 // the inverted CRC-32 of what was read
	err error
}

func (h *header) byte() byte {
	if h.err != nil {
		return 0
	}
	b, ok := h.readByte()
	if !ok {
		h.err = ErrTruncated
		return 0
	}
	h.sum = crc32.IEEETable[byte(h.sum)^b] ^ h.sum>>8
	return b
}

func (h *header) text() {
	for n := 0; h.byte() != 0; n++ {
		if n == textBytes && h.err == nil {
			h.err = ErrCorrupt
		}
	}
}

// read reads all of it; the magic was seen.
func (h *header) read() error {
	h.sum = ^uint32(0)
	var fixed [10]byte
	for i := range fixed {
		fixed[i] = h.byte()
	}
	flags := fixed[3]
	if h.err == nil && (fixed[2] != methodDeflate || flags&reserved != 0) {
		return ErrCorrupt
	}
	if flags&hasExtra != 0 {
		for n := int(h.byte()) | int(h.byte())<<8; n > 0 && h.err == nil; n-- {
			h.byte()
		}
	}
	if flags&hasName != 0 {
		h.text()
	}
	if flags&hasComment != 0 {
		h.text()
	}
	if flags&hasHeaderSum != 0 {
		sum := uint16(^h.sum)
		if got := uint16(h.byte()) | uint16(h.byte())<<8; h.err == nil && got != sum {
			return ErrCorrupt
		}
	}
	return h.err
}

// trailer compares the CRC-32 and the length, modulo 2^32, that end a member.
func trailer(in *input, sum uint32, n int64) error {
	var t [8]byte
	for i := range t {
		var ok bool
		if t[i], ok = in.readByte(); !ok {
			return ErrTruncated
		}
	}
	if le := binary.LittleEndian; le.Uint32(t[:]) != sum || le.Uint32(t[4:]) != uint32(n) {
		return ErrChecksum
	}
	return nil
}
