//go:build unix

package state_test

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"os"
	"path/filepath"
	"testing"

	"github.com/trailseal/trailseal/internal/state"
)

// Whatever a file holds, opening it ends, and without a panic; and whatever
// opens can be read. The metas' checksums are made right, or little would be
// looked at behind them.
func FuzzOpenFile(f *testing.F) {
	path := filepath.Join(f.TempDir(), "state")
	s, err := state.OpenFile(path)
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c"} {
		if err := s.Replace(f.Context(), name, nil, make([]byte, 3000)); err != nil {
			f.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		f.Fatal(err)
	}
	image, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint32(0), []byte{})
	f.Add(uint32(16+16), []byte{3})                 // root page of the first meta
	f.Add(uint32(4096+16+40), []byte{0xff, 0xff})   // pages in use
	f.Add(uint32(3*4096+8), []byte{1, 0, 0xff, 0})  // a leaf becomes a branch
	f.Add(uint32(2*4096+10), []byte{0xff, 0xff, 9}) // many free pages
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		b := append([]byte(nil), image...)
		copy(b[int(at)%len(b):], patch)
		for _, meta := range []int{16, 4096 + 16} {
			h := fnv.New64a()
			_, _ = h.Write(b[meta : meta+56])
			binary.NativeEndian.PutUint64(b[meta+56:], h.Sum64())
		}
		path := filepath.Join(t.TempDir(), "state")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := state.OpenFile(path)
		if err != nil {
			if !errors.Is(err, state.ErrCorrupt) {
				t.Errorf("at %d: %v", at, err)
			}
			return
		}
		defer s.Close()
		names, err := s.Names(t.Context(), "")
		if err != nil {
			t.Error(err)
		}
		for _, n := range names {
			if _, err := s.Load(t.Context(), n); err != nil {
				t.Error(err)
			}
		}
	})
}
