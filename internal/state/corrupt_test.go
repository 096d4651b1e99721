//go:build unix

package state_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/trailseal/trailseal/internal/state"
)

// chain returns a name, so long that few fit on a page.
func chain(i int) string { return fmt.Sprintf("chain/%03d/", i) + strings.Repeat("n", 300) }

// filled returns the bytes of a state file of several levels, and what it
// holds; before is what it held before its last commit.
func filled(t *testing.T) (image []byte, values, before map[string]string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "state")
	f := open(t, path)
	values = map[string]string{}
	for i := range 120 {
		name, v := chain(i), strings.Repeat(fmt.Sprint(i), 1+i)
		if err := f.Replace(t.Context(), name, nil, []byte(v)); err != nil {
			t.Fatal(err)
		}
		values[name] = v
	}
	before = map[string]string{}
	for k, v := range values {
		before[k] = v
	}
	if err := f.Replace(t.Context(), chain(0), []byte("0"), []byte("the last commit")); err != nil {
		t.Fatal(err)
	}
	values[chain(0)] = "the last commit"
	closed(t, f)
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return image, values, before
}

// read opens a state file with these bytes and returns what it holds.
func read(t *testing.T, image []byte) (map[string]string, error) {
	t.Helper()
	return readAt(t, filepath.Join(t.TempDir(), "state"), image)
}

func readAt(t *testing.T, path string, image []byte) (map[string]string, error) {
	t.Helper()
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := state.OpenFile(path)
	if err != nil {
		if after, _ := os.ReadFile(path); !bytes.Equal(after, image) {
			t.Errorf("%v: and the file was changed", err)
		}
		return nil, err
	}
	defer closed(t, f)
	names, err := f.Names(t.Context(), "")
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for _, n := range names {
		v, err := f.Load(t.Context(), n)
		if err != nil {
			return nil, err
		}
		values[n] = string(v)
	}
	// Whatever was left out of sight must not break the next change.
	if err := f.Replace(t.Context(), chain(100), []byte(values[chain(100)]), []byte("next")); err != nil {
		return nil, err
	}
	return values, nil
}

// Bytes that change anywhere in the file never end the program and never
// change, hide or invent a value. All there may be is the state before the
// last commit.
func TestFlippedBytes(t *testing.T) {
	image, values, before := filled(t)
	if got, err := read(t, image); err != nil || !same(got, values) {
		t.Fatalf("the untouched file: %d values, %v", len(got), err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	path := filepath.Join(t.TempDir(), "state")
	flips, refused := 0, 0
	try := func(what string, flip func([]byte)) {
		flips++
		damaged := slices.Clone(image)
		flip(damaged)
		got, err := readAt(t, path, damaged)
		switch {
		case errors.Is(err, state.ErrCorrupt):
			refused++
		case err != nil:
			t.Errorf("%s: %v", what, err)
		case !same(got, values) && !same(got, before):
			t.Errorf("%s: other values", what)
		}
	}
	// Headers and elements are what misleads a reader most: bytes of the
	// beginning of every page.
	for page := 0; page < len(image); page += 4096 {
		for i := page / 4096 % 3; i < 40; i += 3 {
			at := page + i
			try(fmt.Sprintf("byte %d of page %d", i, page/4096), func(b []byte) { b[at] ^= 1 << random.IntN(8) })
		}
	}
	for range 150 {
		at, n := random.IntN(len(image)), 1+random.IntN(32)
		try(fmt.Sprintf("%d bytes from %d on", n, at), func(b []byte) {
			for i := at; i < min(at+n, len(b)); i++ {
				b[i] = byte(random.Uint32())
			}
		})
	}
	for page := 0; page < len(image); page += 4096 {
		try(fmt.Sprintf("page %d zeroed", page/4096), func(b []byte) { clear(b[page : page+4096]) })
		other := random.IntN(len(image)/4096) * 4096
		try(fmt.Sprintf("page %d in place of %d", other/4096, page/4096), func(b []byte) { copy(b[page:page+4096], image[other:]) })
	}
	// A branch leads to values by its keys.
	branches := 0
	for page := 0; page < len(image); page += 4096 {
		if binary.NativeEndian.Uint16(image[page+8:]) != 1 {
			continue
		}
		branches++
		for at := page; ; at++ {
			n := bytes.Index(image[at:page+4096], []byte("chain/"))
			if n < 0 {
				break
			}
			at += n
			for _, i := range []int{0, 6, 7, 8, 50} {
				try(fmt.Sprintf("byte %d of a key at %d of branch %d", i, at-page, page/4096), func(b []byte) { b[min(at+i, len(b)-1)] ^= 1 << random.IntN(4) })
			}
		}
	}
	if branches < 3 {
		t.Errorf("the file has %d branches: no branch below another", branches)
	}
	// A name that becomes another one in the same place of the order.
	for _, name := range []string{"chain/000", "chain/060", "chain/110"} {
		damaged := bytes.ReplaceAll(image, []byte(name), []byte(name[:8]+"!"))
		if got, err := readAt(t, path, damaged); !errors.Is(err, state.ErrCorrupt) {
			t.Errorf("%s under another name: %d values, %v", name, len(got), err)
		}
	}
	if refused < flips/10 {
		t.Errorf("of %d damaged files only %d are refused", flips, refused)
	}
}

func TestTruncated(t *testing.T) {
	image, values, _ := filled(t)
	for _, n := range []int{0, 1, 4095, 4096, 4097, 8192, 12288, 16384, len(image) / 2, len(image) - 4096} {
		got, err := read(t, image[:n])
		switch {
		case n > len(image)/2 && err == nil && same(got, values): // bbolt keeps some room at the end
		case !errors.Is(err, state.ErrCorrupt):
			t.Errorf("%d of %d bytes: %d values, %v", n, len(image), len(got), err)
		}
	}
}

func TestForeign(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other")
	db, err := bolt.Open(other, 0o600, &bolt.Options{PageSize: 4096})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket([]byte("theirs"))
		if err != nil {
			return err
		}
		return b.Put([]byte("k"), []byte("a value of theirs"))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	theirs, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	for name, image := range map[string][]byte{
		"another program's bbolt file": theirs,
		"text":                         []byte("not a database\n"),
		"zeros":                        make([]byte, 1<<16),
		"random":                       noise(1 << 16),
	} {
		if _, err := read(t, image); !errors.Is(err, state.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func noise(n int) []byte {
	r, b := rand.New(rand.NewPCG(3, 4)), make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// A newer program's file is told from damage, and left alone.
func TestNewerVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	closed(t, open(t, path))
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte("about"))
		if err := b.Put([]byte("format"), state.Seal("about", "format", []byte("2"))); err != nil {
			return err
		}
		return b.Put([]byte("total"), []byte("kept in another way"))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = read(t, image)
	if !errors.Is(err, state.ErrVersion) || errors.Is(err, state.ErrCorrupt) || !strings.Contains(err.Error(), `"2"`) {
		t.Errorf("newer: %v", err)
	}
}

// A file that is cut short under a running program ends its use, not the
// program.
func TestCutWhileOpen(t *testing.T) {
	image, _, _ := filled(t)
	path := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	f := open(t, path)
	if err := os.Truncate(path, 8192); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if v, err := f.Load(t.Context(), chain(100)); !errors.Is(err, state.ErrCorrupt) {
			t.Errorf("load: %q, %v", v, err)
		}
		if err := f.Replace(t.Context(), chain(100), nil, []byte("x")); !errors.Is(err, state.ErrCorrupt) {
			t.Errorf("replace: %v", err)
		}
	}
	closed(t, f)
	if _, err := state.OpenFile(path); !errors.Is(err, state.ErrCorrupt) {
		t.Errorf("opened again: %v", err)
	}
}

func same(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}
