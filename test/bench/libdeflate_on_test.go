//go:build libdeflate

package bench

import (
	"crypto/sha256"
	"io"

	"github.com/trailseal/trailseal/test/bench/libdeflate"
)

func libdeflateVersion() string { return libdeflate.Version }

// libdeflateLoops is the loop with the C library, built with -tags libdeflate.
func libdeflateLoops() []loop {
	inflater := libdeflate.New()
	var buf []byte
	return []loop{{"libdeflate", func(stored []byte, _ io.Writer) (sum [32]byte, err error) {
		if buf, err = inflater.Gunzip(buf[:0], stored); err != nil {
			return sum, err
		}
		return sha256.Sum256(buf), nil
	}}}
}
