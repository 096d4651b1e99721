//go:build unix

package sqlite_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/internal/state/sqlite"
)

const page = 4096

// filled returns the bytes of a state file of several levels, and what it has.
func filled(t testing.TB) (image []byte, values map[string]string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "state")
	s, values := open(t, path), map[string]string{}
	for i := range 30 {
		name := fmt.Sprintf("chain/%03d/", i) + strings.Repeat("n", 300) // few fit on a page
		v := put(t, s, name, "old", "")
		values[name] = fmt.Sprintf(`{"head":%q}`, strings.Repeat(fmt.Sprint(i), 1+i*20))
		put(t, s, name, values[name], v)
	}
	closed(t, s)
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return image, values
}

// read opens a state file with these bytes and returns what it has.
func read(t testing.TB, path string, image []byte) (map[string]string, error) {
	t.Helper()
	for _, left := range []string{"-wal", "-shm"} {
		if err := os.Remove(path + left); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := sqlite.Open(path)
	if err != nil {
		if after, _ := os.ReadFile(path); !bytes.Equal(after, image) {
			t.Errorf("%v: and the file was changed", err)
		}
		if !strings.Contains(err.Error(), path) {
			t.Errorf("%v: which file?", err)
		}
		return nil, err
	}
	defer closed(t, s)
	values := map[string]string{}
	for e, err := range s.List(t.Context(), "") {
		if err != nil {
			return nil, err
		}
		v, err := s.Get(t.Context(), e.Name)
		if err != nil {
			return nil, err
		}
		values[e.Name] = string(v.Bytes)
	}
	_, err = s.Put(t.Context(), "new", []byte("x"), "")
	return values, err
}

// refuses reports whether an error says that the file cannot be used.
func refuses(err error) bool {
	return errors.Is(err, state.ErrCorrupt) || errors.Is(err, state.ErrForeign) || errors.Is(err, state.ErrVersion)
}

// Bytes that change anywhere in the file never end the program and never
// change, hide or invent a value.
func TestDamage(t *testing.T) {
	image, values := filled(t)
	path := filepath.Join(t.TempDir(), "state")
	if got, err := read(t, path, image); err != nil || !maps.Equal(got, values) {
		t.Fatalf("the untouched file: %d values, %v", len(got), err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	tried, refused := 0, 0
	try := func(what string, damage func([]byte)) {
		tried++
		damaged := slices.Clone(image)
		damage(damaged)
		got, err := read(t, path, damaged)
		switch {
		case refuses(err):
			refused++
		case err != nil:
			t.Errorf("%s: %v", what, err)
		case !maps.Equal(got, values):
			t.Errorf("%s: other values", what)
		}
	}
	for i := range 100 {
		try(fmt.Sprintf("byte %d of the header", i), func(b []byte) { b[i] ^= 1 << random.IntN(8) })

	}
	for first := 0; first < len(image); first += page {
		n := first / page
		// The beginning of a page says what is where on it.
		for i := n % 4; i < 32; i += 4 {
			try(fmt.Sprintf("byte %d of page %d", i, n), func(b []byte) { b[first+i] ^= 1 << random.IntN(8) })
		}
		for range 3 {
			i := random.IntN(page)
			try(fmt.Sprintf("byte %d of page %d", i, n), func(b []byte) { b[first+i] ^= 1 << random.IntN(8) })
		}
		try(fmt.Sprintf("page %d zeroed", n), func(b []byte) { clear(b[first : first+page]) })
		other := random.IntN(len(image)/page) * page
		try(fmt.Sprintf("page %d in place of %d", other/page, n), func(b []byte) {
			copy(b[first:first+page], image[other:])
		})
	}
	for range 60 {
		at, n := random.IntN(len(image)), 1+random.IntN(32)
		try(fmt.Sprintf("%d bytes from %d on", n, at), func(b []byte) {
			for i := at; i < min(at+n, len(b)); i++ {
				b[i] = byte(random.Uint32())
			}
		})
	}
	if refused < tried/2 {
		t.Errorf("of %d damaged files only %d are refused", tried, refused)
	}
}

// SQLite does not notice another value. Open does, and so does Get where the
// bytes change under a running program.
func TestDamagedValue(t *testing.T) {
	image, values := filled(t)
	path := filepath.Join(t.TempDir(), "state")
	at := bytes.Index(image, []byte(`{"head":"29`))
	damaged := slices.Clone(image)
	damaged[at+9] = '3'
	if err := os.WriteFile(path, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(path); !errors.Is(err, state.ErrCorrupt) || !strings.Contains(err.Error(), "chain/029/") {
		t.Errorf("at open: %v", err)
	}
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	defer closed(t, s)
	if err := os.WriteFile(path, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range values {
		v, err := s.Get(t.Context(), name)
		bad := strings.HasPrefix(name, "chain/029/")
		if bad != errors.Is(err, state.ErrCorrupt) || !bad && string(v.Bytes) != want {
			t.Errorf("%.20q is %.20q, %v", name, v.Bytes, err)
		}
	}
}

// A page that the disk did not write is an older page, and fits by itself.
func TestLostWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	before, _ := filled(t)
	if err := os.WriteFile(path, before, 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	for e, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		put(t, s, e.Name, "new", e.Version)
	}
	closed(t, s)
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lost := 0
	for first := 0; first < min(len(image), len(before)); first += page {
		damaged := slices.Clone(image)
		if copy(damaged[first:first+page], before[first:]); bytes.Equal(damaged, image) {
			continue
		}
		lost++
		got, err := read(t, path, damaged)
		if err == nil {
			for name, v := range got {
				if v != "new" {
					t.Errorf("page %d: %.20q is %.20q again", first/page, name, v)
				}
			}
			if len(got) != 30 {
				t.Errorf("page %d: %d values", first/page, len(got))
			}
		} else if !errors.Is(err, state.ErrCorrupt) {
			t.Errorf("page %d: %v", first/page, err)
		}
	}
	if lost < 5 {
		t.Errorf("only %d pages changed", lost)
	}
}

func TestTruncated(t *testing.T) {
	image, _ := filled(t)
	path := filepath.Join(t.TempDir(), "state")
	size := len(image)
	for _, n := range []int{1, 50, 99, 100, 101, page - 1, page, page + 1, 2 * page, size / 2, size - page, size - 1} {
		got, err := read(t, path, image[:n])
		if !errors.Is(err, state.ErrCorrupt) && (n >= 100 || !errors.Is(err, state.ErrForeign)) {
			t.Errorf("%d of %d bytes: %d values, %v", n, len(image), len(got), err)
		}
	}
}

// A file that is cut short under a running program ends its use, not the
// program.
func TestCutWhileOpen(t *testing.T) {
	image, values := filled(t)
	path := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	if err := os.Truncate(path, 2*page); err != nil {
		t.Fatal(err)
	}
	wrong := 0
	for name, value := range values {
		v, err := s.Get(t.Context(), name)
		if err == nil && string(v.Bytes) != value { // right from SQLite's memory
			t.Errorf("%.20q is %.20q", name, v.Bytes)
		}
		if err != nil && !errors.Is(err, state.ErrCorrupt) {
			t.Error(err)
		}
		if err != nil {
			wrong++
		}
	}
	if wrong == 0 {
		t.Error("no value was missed")
	}
	closed(t, s)
	if _, err := sqlite.Open(path); !errors.Is(err, state.ErrCorrupt) {
		t.Errorf("opened again: %v", err)
	}
}

// A damaged log loses commits, and no more than those after the damage.
func TestDamagedLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	s := open(t, path)
	v := put(t, s, "a", "1", "")
	for n := 2; n < 10; n++ {
		v = put(t, s, "a", fmt.Sprint(n), v)
	}
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	closed(t, s)
	copied := filepath.Join(t.TempDir(), "state")
	last := 0
	for at := 0; at < len(log); at += 997 {
		damaged := slices.Clone(log)
		damaged[at] ^= 1
		for name, b := range map[string][]byte{copied: image, copied + "-wal": damaged} {
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s := open(t, copied)
		v, err := s.Get(t.Context(), "a")
		closed(t, s)
		n := 0
		if err == nil {
			_, err = fmt.Sscan(string(v.Bytes), &n)
		} else if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		if err != nil || n < last && at > 0 {
			t.Errorf("byte %d: %d after %d, %v", at, n, last, err)
		}
		last = n
	}
	if last < 8 {
		t.Errorf("the last damage left %d", last)
	}
}

// Files that are not a state are refused and left alone.
func TestForeign(t *testing.T) {
	image, _ := filled(t)
	header := func(at int, b ...byte) []byte {
		changed := slices.Clone(image)
		copy(changed[at:], b)
		return changed
	}
	bbolt := make([]byte, 16*1024)
	copy(bbolt[16:], "\xED\xDA\x0C\xED")
	bbolt2 := make([]byte, 16*1024)
	copy(bbolt2[page+16:], "\xED\x0C\xDA\xED")
	for name, row := range map[string]struct {
		image []byte
		want  error
		says  string
	}{
		"empty":                      {nil, state.ErrForeign, "the file is empty"},
		"text":                       {[]byte("not a database\n"), state.ErrForeign, "not a SQLite file"},
		"zeros":                      {make([]byte, 1<<16), state.ErrForeign, "not a SQLite file"},
		"bbolt":                      {bbolt, state.ErrForeign, "a bbolt file"},
		"bbolt, its first page gone": {bbolt2, state.ErrForeign, "a bbolt file"},
		"another program's database": {theirs(t), state.ErrForeign, "application_id 0x0, not 0x74726c73"},
		"a newer version":            {header(60, 0, 0, 0, 2), state.ErrVersion, "user_version 2, known is 1"},
		"no version":                 {header(60, 0, 0, 0, 0), state.ErrCorrupt, "user_version 0"},
	} {
		path := filepath.Join(t.TempDir(), "state")
		_, err := read(t, path, row.image)
		if !errors.Is(err, row.want) || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v", name, err)
		}
		for _, left := range []string{"-wal", "-shm", "-journal"} {
			if _, err := os.Stat(path + left); err == nil {
				t.Errorf("%s: %s was made", name, left)
			}
		}
	}
}

// A table of ours that somebody changed is not read by guessing.
func TestOtherTable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	closed(t, open(t, path))
	if _, err := tool(t, path).ExecContext(t.Context(), "ALTER TABLE state RENAME COLUMN changed TO at"); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(path); !errors.Is(err, state.ErrCorrupt) || !strings.Contains(err.Error(), "table state") {
		t.Error(err)
	}
}

// theirs is a SQLite file of another program.
func theirs(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "theirs")
	db, err := sql.Open("sqlite", path)
	if err == nil {
		_, err = db.Exec("CREATE TABLE state (name TEXT PRIMARY KEY, value, version INTEGER)")
	}
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A log without its file is all that is left of a state: a new one must not
// begin beside it.
func TestFileGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(path+"-wal", []byte("commits"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(path); !errors.Is(err, state.ErrCorrupt) {
		t.Error(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a file was begun")
	}
}

// Whatever a file has, Open ends without a panic. What it opens can be read.
func FuzzOpen(f *testing.F) {
	image, _ := filled(f)
	f.Add(uint32(0), []byte{})
	f.Add(uint32(18), []byte{1, 1})                 // no log
	f.Add(uint32(56), []byte{0, 0, 0, 2})           // text in UTF-16
	f.Add(uint32(100), []byte{5})                   // the schema's page has another type
	f.Add(uint32(page), []byte{13, 0, 0, 0xff, 1})  // many cells
	f.Add(uint32(2*page+5), []byte{0xff, 0xff, 10}) // cells from the end on
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		b := slices.Clone(image)
		copy(b[int(at)%len(b):], patch)
		_, err := read(t, filepath.Join(t.TempDir(), "state"), b)
		if err != nil && !refuses(err) {
			t.Errorf("at %d: %v", at, err)
		}
	})
}
