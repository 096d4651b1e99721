package dir

import (
	"bytes"
	"errors"
	"hash/maphash"
	"io"
	"strings"
	"sync"
)

// maxTally is the most paths that a tally counts.
const maxTally = 100_000

// isLitterName reports whether systems leave files or folders of this name
// behind without being asked.
func isLitterName(name string) bool {
	if name == "" || strings.IndexByte(".$TtDdLlSs", name[0]) < 0 {
		return false // saves the rest for the keys of CloudTrail
	}
	lower := strings.ToLower(name)
	switch lower {
	case ".ds_store", ".spotlight-v100", ".fseventsd", ".temporaryitems",
		"thumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "lost+found":
		return true
	}
	return strings.HasPrefix(lower, "._") || strings.HasPrefix(lower, ".trash")
}

// inLitter reports whether a folder, "" or a key that ends in a slash, is litter
// or lies in litter.
func inLitter(folder string) bool {
	for part := range strings.SplitSeq(folder, "/") {
		if isLitterName(part) {
			return true
		}
	}
	return false
}

// mayBeEvidence reports whether a file begins like gzip or JSON. A file that
// cannot be read does not.
func mayBeEvidence(t tree, name string) bool {
	f, _, err := t.open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	var b [512]byte
	n, err := io.ReadFull(f, b[:])
	if err != nil && err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false
	}
	return beginsLikeEvidence(b[:n], n == len(b))
}

// beginsLikeEvidence judges the first bytes of a file. Where they are all white
// space, JSON can follow in the rest.
func beginsLikeEvidence(b []byte, more bool) bool {
	if bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
		return true
	}
	b = bytes.TrimLeft(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), " \t\r\n")
	if len(b) == 0 {
		return more
	}
	return b[0] == '{' || b[0] == '['
}

// tally counts distinct paths, at most maxTally. It is safe for concurrent use.
type tally struct {
	seed  maphash.Seed
	mu    sync.Mutex
	paths map[uint64]struct{} // hashes; guarded by mu
}

func newTally() *tally { return &tally{seed: maphash.MakeSeed(), paths: map[uint64]struct{}{}} }

func (t *tally) add(path string) {
	h := maphash.String(t.seed, path)
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.paths) < maxTally {
		t.paths[h] = struct{}{}
	}
}

func (t *tally) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.paths)
}
