package dir_test

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Each row puts a file beside others that stay listed.
func TestLitter(t *testing.T) {
	const junk = "\x00\x05\x16\x07junk"
	for _, row := range []struct {
		name, content string
		litter        bool
	}{
		{"x.json.gz", junk, false}, // the control
		{".DS_Store", junk, true},
		{".ds_store", junk, true},
		{"._x.json.gz", junk, true},
		{"Thumbs.db", junk, true},
		{"THUMBS.DB", junk, true},
		{"desktop.ini", "[.ShellClassInfo]", false}, // a bracket: it can be JSON
		{"desktop.ini", "\xff\xfe[\x00", true},
		{"lost+found/#123", junk, true},
		{"Lost+Found/a/b/#123", junk, true},
		{".Trash/x.json.gz", junk, true},
		{".Trash-1000/files/x.json.gz", junk, true},
		{".Trashes/501/x", junk, true},
		{"System Volume Information/IndexerVolumeGuid", junk, true},
		{"$RECYCLE.BIN/S-1/x", junk, true},
		{".Spotlight-V100/Store-V2/x", junk, true},
		{".fseventsd/0001", junk, true},
		{".TemporaryItems/folders.501/x", junk, true},
		{".DS_Store", "", true},
		{".DS_Store", "\x1f", true},
		{".DS_Store", " \n", true},
		{".DS_Store", "x{", true},
		{".DS_Store", "\xef\xbb\xbf", true},
		{".DS_Store", "\x1f\x8b", false},
		{".DS_Store", "{", false},
		{".DS_Store", "[", false},
		{".DS_Store", " \t\r\n{}", false},
		{".DS_Store", "\xef\xbb\xbf {}", false},
		{".DS_Store", strings.Repeat(" ", 512), false}, // JSON can follow
		{"._x.json.gz", "\x1f\x8b\x08", false},
		{"lost+found/#123", "\x1f\x8b\x08", false},
		{".Trash-1000/files/AWSLogs/x.json", `{"Records":[]}`, false},
		{"DS_Store", junk, false},
		{"x.DS_Store", junk, false},
		{".DS_Store.json.gz", junk, false},
		{".DS_Store/x", junk, true},
		{"desktop.ini.gz", junk, false},
		{"lost", junk, false},
		{"my lost+found/x", junk, false},
		{"Trash/x", junk, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			tr := newTree(t)
			tr.write("in/a/"+row.name, row.content)
			d := tr.open()
			key, want, litter := "a/"+row.name, []string{"a/b.json", "a/b/c"}, 1
			if !row.litter {
				want, litter = append(want, key), 0
				slices.Sort(want)
			}
			for range 2 {
				if keys, err := list(d, "", ""); err != nil || !slices.Equal(keys, want) {
					t.Errorf("%q, %v, want %q", keys, err, want)
				}
				top, _, _ := strings.Cut(row.name, "/")
				found, err := children(d, "a/"+top)
				if err != nil || len(found) > 0 == row.litter {
					t.Errorf("children %q, %v", found, err)
				}
				if n := d.Litter(); n != litter {
					t.Errorf("%d files of litter, want %d", n, litter)
				}
			}
			if b, _, err := get(d, key); b != row.content || err != nil {
				t.Errorf("%q, %v", b, err)
			}
		})
	}
}

// Desktops leave no links or special files: one under a name of litter is listed.
func TestLitterIsAFile(t *testing.T) {
	for name, put := range map[string]func(tr tree, name string){
		"pipe":     func(tr tree, name string) { tr.must(syscall.Mkfifo(tr.path(name), 0o644)) },
		"link":     func(tr tree, name string) { tr.link(name, "b/c") },
		"link out": func(tr tree, name string) { tr.link(name, "../../out") },
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTree(t)
			tr.must(os.Mkdir(tr.path("in/a/lost+found"), 0o755))
			put(tr, "in/a/._x")
			put(tr, "in/a/lost+found/y")
			d := tr.open()
			keys, err := list(d, "", "")
			if want := []string{"a/._x", "a/b.json", "a/b/c", "a/lost+found/y"}; err != nil || !slices.Equal(keys, want) || d.Litter() != 0 {
				t.Errorf("%q, %v, litter %d", keys, err, d.Litter())
			}
		})
	}
	tr := newTree(t)
	tr.write("in/b/x", "not like evidence")
	tr.link("in/.Trash", "b")
	if keys, err := list(tr.open(), ".", ""); err != nil || !slices.Equal(keys, []string{}) {
		t.Errorf("a linked folder of litter: %q, %v", keys, err)
	}
}

func TestUnreadableLitterIsPassedOver(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root reads every folder: run as another user to test an unreadable one")
	}
	tr := newTree(t)
	tr.write("in/a/.DS_Store", "{}")
	tr.write("in/a/lost+found/x", "{}")
	tr.must(os.Chmod(tr.path("in/a/.DS_Store"), 0))
	tr.must(os.Chmod(tr.path("in/a/lost+found"), 0))
	t.Cleanup(func() { os.Chmod(tr.path("in/a/lost+found"), 0o755) })
	d := tr.open()
	if keys, err := list(d, "", ""); err != nil || !slices.Equal(keys, []string{"a/b.json", "a/b/c"}) {
		t.Errorf("%q, %v", keys, err)
	}
	if keys, err := children(d, "a/"); err != nil || !slices.Equal(keys, []string{"a/b.json", "a/b/"}) {
		t.Errorf("children %q, %v", keys, err)
	}
	if keys, err := list(d, "a/lost+found/", ""); err != nil || len(keys) > 0 {
		t.Errorf("%q, %v", keys, err)
	}
	if n := d.Litter(); n != 2 {
		t.Errorf("%d paths of litter", n)
	}
}
