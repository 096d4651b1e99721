//go:build unix

package sqlite_test

import (
	"database/sql"
	"errors"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// tool opens the file as another program does.
func tool(t *testing.T, path string) *sql.Conn {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(c.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// writing begins a transaction of another program, and returns what ends it.
func writing(t *testing.T, path string) (release func()) {
	t.Helper()
	c := tool(t, path)
	do := func(statement string) {
		if _, err := c.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	do("BEGIN IMMEDIATE")
	return func() { do("ROLLBACK") }
}

const describe = "SELECT name, typeof(value), value, version, changed FROM state ORDER BY name"

// Other programs read the file while a worker runs, and values that are JSON
// are text to them.
func TestReadByOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	s := open(t, path)
	defer closed(t, s)
	put(t, s, "chain/a", `{"head":"x"}`, put(t, s, "chain/a", `{}`, ""))
	put(t, s, "raw", "\xff\x00", "")
	rows, err := tool(t, path).QueryContext(t.Context(), describe)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var got [][4]string
	changed := regexp.MustCompile(`^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$`)
	for rows.Next() {
		var r [4]string
		var at string
		if err := rows.Scan(&r[0], &r[1], &r[2], &r[3], &at); err != nil {
			t.Fatal(err)
		}
		if !changed.MatchString(at) {
			t.Errorf("changed %q", at)
		}
		got = append(got, r)
	}
	want := [][4]string{{"chain/a", "text", `{"head":"x"}`, "2"}, {"raw", "blob", "\xff\x00", "3"}}
	if err := rows.Err(); err != nil || len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}

// The commands of docs/operations.md.
func TestReadBySqlite3(t *testing.T) {
	if _, err := exec.LookPath("sqlite3"); err != nil {
		t.Skip("needs sqlite3 on the PATH")
	}
	path := filepath.Join(t.TempDir(), "state")
	s := open(t, path)
	put(t, s, "chain/a", `{"head":"x"}`, "")
	for _, args := range [][]string{
		{"-readonly", path, "SELECT name || ' ' || value FROM state"},
		{path, ".backup " + path + ".copy"},
	} {
		out, err := exec.Command("sqlite3", args...).CombinedOutput()
		if err != nil {
			t.Errorf("%q: %s, %v", args, out, err)
		}
		if args[0] == "-readonly" && string(out) != `chain/a {"head":"x"}`+"\n" {
			t.Errorf("%q: %q", args, out)
		}
	}
	closed(t, s)
	copied := open(t, path+".copy")
	defer closed(t, copied)
	if v, err := copied.Get(t.Context(), "chain/a"); err != nil || string(v.Bytes) != `{"head":"x"}` {
		t.Errorf("the copy has %q, %v", v.Bytes, err)
	}
}
