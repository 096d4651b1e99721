// Package testtrail is test support, which may do more.
package testtrail

import (
	"compress/gzip"
	"io"
	"os"
)

// Run does nothing.
func Run() { _ = gzip.NewWriter(io.Discard); _ = os.Getenv("X") }
