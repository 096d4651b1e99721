// Package inflate may read gzip.
package inflate

import (
	"compress/gzip"
	"io"
)

// Read reads gzip.
func Read(r io.Reader) error { _, err := gzip.NewReader(r); return err }
