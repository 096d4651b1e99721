//go:build !unix

package dir

import "os"

// toRead opens a folder again, to read its entries from. The caller closes both.
func (t tree) toRead(_ *os.File, name string) (*os.File, error) { return t.root.Open(name) }
