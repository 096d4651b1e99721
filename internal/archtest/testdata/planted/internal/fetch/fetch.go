// Package fetch imports against the direction and inflates by itself.
package fetch

// want: imports example.com/planted/internal/verify: against the direction of the design
// want: imports compress/gzip: only internal/inflate decompresses
// want: uses NewReader of compress/gzip
import (
	"compress/gzip"
	"io"

	_ "example.com/planted/internal/verify"
)

// Read reads gzip.
func Read(r io.Reader) error { _, err := gzip.NewReader(r); return err }
