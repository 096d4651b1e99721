package dir_test

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/dir"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/pkg/trail"
)

var _ fetch.Objects = (*dir.Dir)(nil)

// tree is a folder under test: in/ is opened, out/ lies beside it.
type tree struct {
	t   *testing.T
	top string
}

func newTree(t *testing.T) tree {
	top := t.TempDir()
	tr := tree{t, top}
	tr.write("out/secret", "secret")
	tr.write("in/a/b/c", "c's bytes")
	tr.write("in/a/b.json", "b")
	return tr
}

func (tr tree) must(err error) {
	tr.t.Helper()
	if err != nil {
		tr.t.Fatal(err)
	}
}

func (tr tree) path(name string) string { return filepath.Join(tr.top, filepath.FromSlash(name)) }

func (tr tree) write(name, content string) {
	tr.t.Helper()
	tr.must(os.MkdirAll(filepath.Dir(tr.path(name)), 0o755))
	tr.must(os.WriteFile(tr.path(name), []byte(content), 0o644))
}

func (tr tree) link(name, to string) { tr.t.Helper(); tr.must(os.Symlink(to, tr.path(name))) }

func (tr tree) open() *dir.Dir {
	tr.t.Helper()
	d, err := dir.Open(tr.path("in"))
	tr.must(err)
	tr.t.Cleanup(func() { d.Close() })
	return d
}

func get(d *dir.Dir, key string) (string, map[string]string, error) {
	r, meta, err := d.Get(context.Background(), trail.Object{Bucket: "bucket", Key: key})
	if r == nil {
		return "", nil, err
	}
	defer r.Close()
	b, readErr := io.ReadAll(r)
	return string(b), meta, cmp.Or(err, readErr)
}

func list(d *dir.Dir, prefix, after string) (keys []string, err error) {
	for o, e := range d.List(context.Background(), "bucket", prefix, after) {
		if err != nil {
			return keys, errors.New("a pair after the error")
		}
		if err = e; e == nil {
			keys = append(keys, o.Key)
		}
	}
	return keys, err
}

func children(d *dir.Dir, prefix string) (keys []string, err error) {
	for o, e := range d.Children(context.Background(), "bucket", prefix) {
		if err = e; e == nil {
			keys = append(keys, o.Key)
		}
	}
	return keys, err
}

func folders(d *dir.Dir, prefix string) ([]string, error) {
	keys, err := children(d, prefix)
	return slices.DeleteFunc(keys, func(k string) bool { return !strings.HasSuffix(k, "/") }), err
}

func TestOpenNamesTheFolder(t *testing.T) {
	tr := newTree(t)
	for _, name := range []string{"nowhere", "out/secret"} {
		if _, err := dir.Open(tr.path(name)); err == nil || !strings.Contains(err.Error(), tr.path(name)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Each row puts something where an object could be and asks for key; the
// object a/b/c beside it stays readable in every row.
func TestGet(t *testing.T) {
	rows := []struct {
		name string
		put  func(tr tree)
		key  string
		want error  // nil: the object's bytes are "c's bytes"
		text string // the error says this
	}{
		{"control", nil, "a/b/c", nil, ""},
		{"absent", nil, "a/b/d", fs.ErrNotExist, "s3://bucket/a/b/d"},
		{"empty key", nil, "", fs.ErrNotExist, "no file can have this key"},
		{"dot", nil, ".", fs.ErrNotExist, "no file can have this key"},
		{"parent", nil, "../out/secret", fs.ErrNotExist, "no file can have this key"},
		{"parent inside", nil, "a/../../out/secret", fs.ErrNotExist, "no file can have this key"},
		{"parent that stays inside", nil, "a/x/../b/c", fs.ErrNotExist, "no file can have this key"},
		{"absolute", nil, "/etc/passwd", fs.ErrNotExist, "no file can have this key"},
		{"double slash", nil, "a//b/c", fs.ErrNotExist, "no file can have this key"},
		{"dot inside", nil, "a/./b/c", fs.ErrNotExist, "no file can have this key"},
		{"folder marker", nil, "a/b/", fs.ErrNotExist, "no file can have this key"},
		{"zero byte", nil, "a/b/c\x00", fs.ErrNotExist, "no file can have this key"},
		{"not UTF-8", nil, "a/\xff", fs.ErrNotExist, ""},
		{"long name", nil, "a/" + strings.Repeat("x", 300), fs.ErrNotExist, ""},
		{"long path", nil, strings.Repeat("x/", 5000) + "x", fs.ErrNotExist, ""},
		{"folder", nil, "a/b", fs.ErrNotExist, "folder"},
		{"below a file", nil, "a/b/c/d", fs.ErrNotExist, ""},
		{"link inside", func(tr tree) { tr.link("in/a/l", "b/c") }, "a/l", nil, ""},
		{"link up and down", func(tr tree) { tr.link("in/a/b/l", "../../a/b/c") }, "a/b/l", nil, ""},
		{"folder link inside", func(tr tree) { tr.link("in/l", "a/b") }, "l/c", nil, ""},
		{"link out", func(tr tree) { tr.link("in/a/l", "../../out/secret") }, "a/l", fs.ErrPermission, `link "a/l"`},
		{"absolute link out", func(tr tree) { tr.link("in/a/l", tr.path("out/secret")) }, "a/l", fs.ErrPermission, `link "a/l"`},
		{"absolute link inside", func(tr tree) { tr.link("in/a/l", tr.path("in/a/b/c")) }, "a/l", fs.ErrPermission, `link "a/l"`},
		{"folder link out", func(tr tree) { tr.link("in/l", "../out") }, "l/secret", fs.ErrPermission, `link "l"`},
		{"folder link out, absent there", func(tr tree) { tr.link("in/l", "../out") }, "l/none", fs.ErrPermission, `link "l"`},
		{"link to nothing", func(tr tree) { tr.link("in/a/l", "none") }, "a/l", fs.ErrPermission, `link "a/l"`},
		{"below a link to nothing", func(tr tree) { tr.link("in/a/l", "none") }, "a/l/x/y", fs.ErrPermission, `link "a/l"`},
		{"link to itself", func(tr tree) { tr.link("in/a/l", "l") }, "a/l", fs.ErrPermission, `link "a/l"`},
		{"links to each other", func(tr tree) { tr.link("in/a/l", "m"); tr.link("in/a/m", "l") }, "a/m", fs.ErrPermission, `link "a/m"`},
		{"link to its holder", func(tr tree) { tr.link("in/a/l", "..") }, "a/l", fs.ErrPermission, "holds it"},
		{"link to a folder", func(tr tree) { tr.link("in/l", "a/b") }, "l", fs.ErrNotExist, "folder"},
		{"pipe", func(tr tree) { tr.must(syscall.Mkfifo(tr.path("in/a/p"), 0o644)) }, "a/p", fs.ErrPermission, "named pipe"},
		{"link to a pipe", func(tr tree) { tr.must(syscall.Mkfifo(tr.path("in/a/p"), 0o644)); tr.link("in/l", "a/p") }, "l", fs.ErrPermission, "named pipe"},
		{"socket", func(tr tree) { tr.socket("in/s") }, "s", fs.ErrPermission, "socket"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			tr := newTree(t)
			if row.put != nil {
				row.put(tr)
			}
			d := tr.open()
			if b, _, err := get(d, "a/b/c"); b != "c's bytes" || err != nil {
				t.Fatalf("control: %q, %v", b, err)
			}
			b, _, err := get(d, row.key)
			if row.want == nil {
				if b != "c's bytes" || err != nil {
					t.Errorf("%q, %v", b, err)
				}
				return
			}
			if b != "" || !errors.Is(err, row.want) || !strings.Contains(err.Error(), row.text) || !strings.HasPrefix(err.Error(), "get s3://bucket/") {
				t.Errorf("%v", err)
			}
			if row.want != fs.ErrNotExist && errors.Is(err, fs.ErrNotExist) {
				t.Errorf("reads as an absence: %v", err)
			}
		})
	}
}

func (tr tree) socket(name string) {
	// The path of a socket may be at most 108 bytes, a temporary folder's is longer.
	tr.t.Chdir(filepath.Dir(tr.path(name)))
	l, err := net.Listen("unix", filepath.Base(name))
	tr.must(err)
	tr.t.Cleanup(func() { l.Close() })
}

// A folder has a Get for every object that it lists, whatever the object is,
// and none of them blocks or reads as an absence.
func TestEveryListedObjectIsThere(t *testing.T) {
	tr := newTree(t)
	tr.link("in/circle", "a/..")
	tr.link("in/a/file", "b/c")
	tr.link("in/a/nowhere", "none")
	tr.link("in/a/folder", "b")
	tr.link("in/a/z", "../../out")
	tr.must(syscall.Mkfifo(tr.path("in/pipe"), 0o644))
	d := tr.open()
	keys, err := list(d, "", "")
	want := []string{"a/b.json", "a/b/c", "a/file", "a/folder/c", "a/nowhere", "a/z", "pipe"}
	if err != nil || !slices.Equal(keys, want) || d.Repeats() != 1 { // the circle leads to what is listed
		t.Fatalf("%q, %v, want %q; %d repeats", keys, err, want, d.Repeats())
	}
	refused := []string{"a/nowhere", "a/z", "pipe"}
	for _, k := range keys {
		_, _, err := get(d, k)
		if slices.Contains(refused, k) != errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", k, err)
		}
	}
}

// Whatever hides behind a link that is not followed cannot be passed over by
// asking for what lies below or after it.
func TestBrokenLinkIsNeverPassedOver(t *testing.T) {
	for name, to := range map[string]string{"out": "../../out", "nothing": "none", "loop": "l"} {
		t.Run(name, func(t *testing.T) {
			tr := newTree(t)
			tr.link("in/a/l", to)
			d := tr.open()
			for _, ask := range []struct{ prefix, after string }{{"a/l/", ""}, {"a/l/2026", ""}, {"", "a/l/2026/03"}, {"a/", "a/l/2026/03"}} {
				keys, err := list(d, ask.prefix, ask.after)
				if !errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "list s3://bucket/a/l/") {
					t.Errorf("%+v: %q, %v", ask, keys, err)
				}
			}
			if keys, err := folders(d, "a/"); err != nil || !slices.Equal(keys, []string{"a/b/", "a/l/"}) {
				t.Errorf("%q, %v", keys, err)
			}
			if keys, err := folders(d, "a/l/"); !errors.Is(err, fs.ErrPermission) {
				t.Errorf("%q, %v", keys, err)
			}
		})
	}
}

// Children yields what lies beside an entry that cannot be read, and the entry.
func TestUnreadableNeighbours(t *testing.T) {
	for name, put := range map[string]func(tr tree){
		"control":   func(tr tree) { tr.write("in/a/m/x", "") },
		"link out":  func(tr tree) { tr.link("in/a/m", "../../out") },
		"link away": func(tr tree) { tr.link("in/a/m", "/") },
		"nowhere":   func(tr tree) { tr.link("in/a/m", "none") },
		"below": func(tr tree) {
			tr.write("in/a/m/n/x", "")
			tr.must(os.Remove(tr.path("in/a/m/n/x")))
			tr.link("in/a/m/n/x", "/")
		},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTree(t)
			tr.write("in/a/z/x", "")
			put(tr)
			d := tr.open()
			if keys, err := children(d, "a/"); err != nil || !slices.Equal(keys, []string{"a/b.json", "a/b/", "a/m/", "a/z/"}) {
				t.Errorf("%q, %v", keys, err)
			}
		})
	}
}

func TestUnreadableFolderEndsTheListing(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root reads every folder: run as another user to test an unreadable one")
	}
	tr := newTree(t)
	tr.write("in/b/x", "")
	tr.write("in/c", "")
	tr.must(os.Chmod(tr.path("in/b"), 0))
	t.Cleanup(func() { os.Chmod(tr.path("in/b"), 0o755) })
	d := tr.open()
	keys, err := list(d, "", "")
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "s3://bucket/b/") || !slices.Equal(keys, []string{"a/b.json", "a/b/c"}) {
		t.Errorf("%q, %v", keys, err)
	}
	if keys, err := folders(d, "b/"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%q, %v", keys, err)
	}
	if keys, err := folders(d, ""); err != nil || !slices.Equal(keys, []string{"a/", "b/"}) {
		t.Errorf("%q, %v", keys, err)
	}
	if _, _, err := get(d, "b/x"); !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
}

func TestEmptyFoldersAreNoFolders(t *testing.T) {
	tr := newTree(t)
	tr.must(os.MkdirAll(tr.path("in/empty/2026/03/01"), 0o755))
	d := tr.open()
	if keys, err := folders(d, ""); err != nil || !slices.Equal(keys, []string{"a/"}) {
		t.Errorf("%q, %v", keys, err)
	}
	for _, prefix := range []string{"none/", "a//", "../", "/", "a/b.json/"} {
		if keys, err := folders(d, prefix); err != nil || len(keys) > 0 {
			t.Errorf("%s: %q, %v", prefix, keys, err)
		}
		if keys, err := list(d, prefix, ""); err != nil || len(keys) > 0 {
			t.Errorf("%s: %q, %v", prefix, keys, err)
		}
	}
}

func TestListTellsSizeAndTime(t *testing.T) {
	tr := newTree(t)
	at := time.Date(2026, 3, 1, 2, 3, 4, 0, time.UTC)
	tr.must(os.Chtimes(tr.path("in/a/b/c"), at, at))
	tr.link("in/a/b/l", "c")
	for o, err := range tr.open().List(context.Background(), "any", "a/b/", "") {
		if err != nil || o.Bucket != "any" || o.Size != int64(len("c's bytes")) || !o.Modified.Equal(at) {
			t.Errorf("%+v, %v", o, err)
		}
	}
}

func TestBodyEndsEarly(t *testing.T) {
	tr := newTree(t)
	tr.write("in/big", strings.Repeat("x", 1<<20))
	d := tr.open()
	for name, spoil := range map[string]func(cancel func()){
		"truncated": func(func()) { tr.must(os.Truncate(tr.path("in/big"), 10)) },
		"cancelled": func(cancel func()) { cancel() },
	} {
		ctx, cancel := context.WithCancel(context.Background())
		r, _, err := d.Get(ctx, trail.Object{Key: "big"})
		tr.must(err)
		if _, err := io.ReadFull(r, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		spoil(cancel)
		_, err = io.Copy(io.Discard, r)
		want := io.ErrUnexpectedEOF
		if name == "cancelled" {
			want = context.Canceled
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
		r.Close()
		cancel()
		tr.write("in/big", strings.Repeat("x", 1<<20))
	}
}

func TestCancelled(t *testing.T) {
	d := newTree(t).open()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n := 0
	for _, err := range d.List(ctx, "b", "", "") {
		n++
		cancel()
		if n == 2 && !errors.Is(err, context.Canceled) || n > 2 {
			t.Errorf("pair %d: %v", n, err)
		}
	}
	if _, _, err := d.Get(ctx, trail.Object{Key: "a/b/c"}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for _, err := range d.Children(ctx, "b", "") {
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}
