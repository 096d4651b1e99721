//go:build libdeflate

// Package libdeflate inflates with the C library of that name, the fastest
// inflater known to us, to see how near internal/inflate comes to it. It takes
// cgo and the library: libdeflate-dev on Debian.
package libdeflate

/*
#cgo LDFLAGS: -ldeflate
#include <libdeflate.h>
*/
import "C"

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"unsafe"
)

// Version is the library's.
const Version = C.LIBDEFLATE_VERSION_STRING

// Inflater keeps its tables. It is never freed: a benchmark has one.
type Inflater struct {
	c *C.struct_libdeflate_decompressor
}

// New returns an inflater.
func New() Inflater { return Inflater{C.libdeflate_alloc_decompressor()} }

// Gunzip appends what a gzip member inflates to to dst. It takes the member's
// word for the length, as whoever wants no more than speed would.
func (i Inflater) Gunzip(dst, member []byte) ([]byte, error) {
	const least = 18 // header and trailer
	if len(member) < least {
		return dst, errors.New("libdeflate: too short for a gzip member")
	}
	length := int(binary.LittleEndian.Uint32(member[len(member)-4:]))
	dst = slices.Grow(dst, length+1) // one more, so that there is a first byte to point to
	room := dst[len(dst) : len(dst)+length+1]
	result := C.libdeflate_gzip_decompress(i.c, unsafe.Pointer(&member[0]), C.size_t(len(member)), unsafe.Pointer(&room[0]), C.size_t(length), nil)
	if result != C.LIBDEFLATE_SUCCESS {
		return dst, fmt.Errorf("libdeflate: result %d", result)
	}
	return dst[:len(dst)+length], nil
}
