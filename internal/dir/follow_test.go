package dir_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/trailseal/trailseal/internal/dir"
)

// fanOut makes folders f1 to f7, each with 30 links to the next.
func fanOut(t *testing.T) tree {
	tr := newTree(t)
	tr.must(os.RemoveAll(tr.path("in/a")))
	for i := 1; i <= 7; i++ {
		tr.write(fmt.Sprintf("in/f%d/x", i), "x")
		for j := range 30 {
			if i < 7 {
				tr.link(fmt.Sprintf("in/f%d/l%02d", i, j), fmt.Sprintf("../f%d", i+1))
			}
		}
	}
	return tr
}

// Links that fan out have 30^6 paths. Each folder is listed as itself and
// through one link.
func TestLinksThatFanOut(t *testing.T) {
	d := fanOut(t).open()
	var want []string
	for i := 1; i <= 7; i++ {
		want = append(want, fmt.Sprintf("f%d/x", i))
		if i > 1 {
			want = append(want, "f1/"+strings.Repeat("l00/", i-1)+"x")
		}
	}
	slices.Sort(want)
	keys, err := list(d, "", "")
	if err != nil || !slices.Equal(keys, want) {
		t.Errorf("got  %q, %v\nwant %q", keys, err, want)
	}
	// f1 and the five folders below followed links each follow one of 30 links. The
	// folders f2 to f6 themselves follow none.
	if n := d.Repeats(); n != 6*29+5*30 {
		t.Errorf("%d links left out", n)
	}
	for _, k := range append(keys, "f3/l07/l29/x") {
		if b, _, err := get(d, k); b != "x" || err != nil {
			t.Errorf("%s: %q, %v", k, b, err)
		}
	}
}

// Which link is followed depends on the tree alone.
func TestFollowedLink(t *testing.T) {
	for _, row := range []struct {
		name  string
		links map[string]string
		want  []string // of the keys that end in /x, beside a/b/x itself
	}{
		{"control", nil, nil},
		{"one", map[string]string{"l": "a/b"}, []string{"l/x"}},
		{"the first", map[string]string{"l": "a/b", "k": "a/b", "m": "a/b"}, []string{"k/x"}},
		{"in the order of keys", map[string]string{"l": "a/b", "l-": "a/b"}, []string{"l-/x"}},
		{"by one name twice", map[string]string{"l": "a", "m": "a/b"}, []string{"l/b/x", "m/x"}},
		{"beside the folder", map[string]string{"a/a": "b", "a/c": "b"}, []string{"a/a/x"}},
		{"a link to a link", map[string]string{"l": "m", "m": "a/b"}, []string{"l/x"}},
		{"nested", map[string]string{"l": "a", "a/z": "../e", "e/x": "../a/b.json"}, []string{"a/z/x", "e/x", "l/b/x"}},
		{"nested, deeper first", map[string]string{"Z": "a", "a/z": "../e", "e/x": "../a/b.json"}, []string{"Z/b/x", "Z/z/x", "e/x"}},
		{"two ways round", map[string]string{"a/l": "../e", "e/m": "../a"}, []string{"e/m/b/x"}},
		{"a file", map[string]string{"l/x": "../a/b/x", "m/x": "../a/b/x"}, []string{"l/x", "m/x"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			tr := newTree(t)
			tr.write("in/a/b/x", "x")
			tr.must(os.Mkdir(tr.path("in/e"), 0o755))
			for name, to := range row.links {
				tr.must(os.MkdirAll(path.Dir(tr.path("in/"+name)), 0o755))
				tr.link("in/"+name, to)
			}
			keys, err := list(tr.open(), "", "")
			keys = slices.DeleteFunc(keys, func(k string) bool { return !strings.HasSuffix(k, "/x") })
			want := append(slices.Clone(row.want), "a/b/x")
			slices.Sort(want)
			if err != nil || !slices.Equal(keys, want) {
				t.Errorf("%q, %v, want %q", keys, err, want)
			}
		})
	}
}

// What lies below a link that is left out is not listed, whatever is asked.
// Below a broken link it is an error.
func TestAskingBelowLinks(t *testing.T) {
	tr := newTree(t)
	tr.link("in/k", "a")
	tr.link("in/l", "a")
	tr.link("in/a/circle", "../a")
	for _, prefix := range []string{"l/", "l/b/", "l/b/c", "l"} {
		d := tr.open()
		if keys, err := list(d, prefix, ""); err != nil || len(keys) > 0 {
			t.Errorf("%s: %q, %v", prefix, keys, err)
		}
		if keys, err := children(d, prefix); err != nil || len(keys) > 0 {
			t.Errorf("children of %s: %q, %v", prefix, keys, err)
		}
	}
	d := tr.open()
	if keys, err := list(d, "k/b", ""); err != nil || !slices.Equal(keys, []string{"k/b.json", "k/b/c"}) {
		t.Errorf("%q, %v", keys, err)
	}
	for _, prefix := range []string{"a/circle/", "a/circle/b/"} {
		if keys, err := list(d, prefix, ""); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %q, %v", prefix, keys, err)
		}
		if keys, err := children(d, prefix); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("children of %s: %q, %v", prefix, keys, err)
		}
	}
}

// A folder that changes while it is open hides nothing that is new, and what a
// link led to is found by the next one.
func TestLinksChange(t *testing.T) {
	tr := newTree(t)
	tr.link("in/k", "a")
	tr.link("in/l", "a")
	d := tr.open()
	expect := func(want ...string) {
		t.Helper()
		if keys, err := list(d, "", ""); err != nil || !slices.Equal(keys, want) {
			t.Errorf("%q, %v, want %q", keys, err, want)
		}
	}
	expect("a/b.json", "a/b/c", "k/b.json", "k/b/c")
	tr.link("in/m", "a/b")
	expect("a/b.json", "a/b/c", "k/b.json", "k/b/c", "m/c")
	tr.must(os.Remove(tr.path("in/k")))
	expect("a/b.json", "a/b/c", "l/b.json", "l/b/c", "m/c")
	tr.must(os.Remove(tr.path("in/l")))
	tr.write("in/l/d", "a folder now")
	expect("a/b.json", "a/b/c", "l/d", "m/c")
}

// descend lists a tree folder by folder, each in a goroutine of its own.
func descend(d *dir.Dir) ([]string, error) {
	var (
		all  sync.WaitGroup
		mu   sync.Mutex
		keys []string
		errs []error
		down func(prefix string)
	)
	down = func(prefix string) {
		found, err := children(d, prefix)
		mu.Lock()
		defer mu.Unlock()
		errs = append(errs, err)
		for _, k := range found {
			if strings.HasSuffix(k, "/") {
				all.Go(func() { down(k) })
			} else {
				keys = append(keys, k)
			}
		}
	}
	all.Go(func() { down("") })
	all.Wait()
	slices.Sort(keys)
	return keys, errors.Join(errs...)
}

func TestLinksAreFollowedConcurrently(t *testing.T) {
	tr := fanOut(t)
	want, err := list(tr.open(), "", "")
	tr.must(err)
	for range 3 {
		if keys, err := descend(tr.open()); err != nil || !slices.Equal(keys, want) {
			t.Errorf("got  %q, %v\nwant %q", keys, err, want)
		}
	}
}

func TestCancelledAtALink(t *testing.T) {
	d := fanOut(t).open()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n := 0
	for o, err := range d.List(ctx, "b", "", "") {
		cancel()
		if n++; n == 2 && !errors.Is(err, context.Canceled) || n > 2 {
			t.Errorf("%v, %v", o, err)
		}
	}
	if _, err := list(d, "", ""); err != nil {
		t.Error(err)
	}
}

// A tree of folders and links lists as a bucket does: every question has the
// answer of the listing of everything, whatever was asked before. Every file is
// there under its own name, and every folder is entered by one link at most.
func TestLinksListAsABucketDoes(t *testing.T) {
	places := []string{"a", "a!", "a/b", "a/b/c", "b", "b/a", "b/c", "c"}
	rapid.Check(t, func(rt *rapid.T) {
		tr := newTree(t)
		tr.must(os.RemoveAll(tr.path("in/a")))
		for _, f := range places {
			tr.write("in/"+f+"/of "+strings.ReplaceAll(f, "/", "-"), "x")
		}
		for i := range rapid.IntRange(0, 12).Draw(rt, "links") {
			// Every link leads to a later folder, and so do paths: there are no circles.
			from := rapid.IntRange(0, len(places)-2).Draw(rt, "from")
			to := rapid.IntRange(from+1, len(places)-1).Draw(rt, "to")
			up := strings.Repeat("../", strings.Count(places[from], "/")+1)
			tr.link(fmt.Sprintf("in/%s/%s%d", places[from], rapid.SampledFrom([]string{"", "l", "~"}).Draw(rt, "name"), i), up+places[to])
		}
		keys, err := list(tr.open(), "", "")
		tr.must(err)
		names := map[string]int{} // of a file: the number of its keys
		for _, k := range keys {
			names[path.Base(k)]++
		}
		for _, f := range places {
			own := "of " + strings.ReplaceAll(f, "/", "-")
			// Itself, through a link to it, through a link to each folder above.
			if most := 2 + strings.Count(f, "/"); names[own] > most || !slices.Contains(keys, f+"/"+own) {
				rt.Errorf("%s has %d keys, want itself and at most %d: %q", f, names[own], most, keys)
			}
		}
		d := tr.open()
		for range 5 {
			prefix := rapid.SampledFrom(keys).Draw(rt, "key")
			prefix = prefix[:rapid.IntRange(0, len(prefix)).Draw(rt, "length")]
			after := rapid.SampledFrom(append(keys, "")).Draw(rt, "after")
			got, err := list(d, prefix, after)
			if want := bucketList(keys, prefix, after); err != nil || !slices.Equal(got, want) {
				rt.Fatalf("list %q after %q: %q, %v, want %q", prefix, after, got, err, want)
			}
			got, err = folders(d, prefix)
			if want := bucketFolders(keys, prefix); err != nil || !slices.Equal(got, want) {
				rt.Fatalf("folders %q: %q, %v, want %q", prefix, got, err, want)
			}
		}
		if got, err := descend(tr.open()); err != nil || !slices.Equal(got, keys) {
			rt.Fatalf("by folders: %q, %v, want %q", got, err, keys)
		}
	})
}
