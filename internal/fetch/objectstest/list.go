package objectstest

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// many is more than two of S3's pages.
const many = 2500

func (s suite) list(t *testing.T) {
	// In byte order '-' and '.' come before '/', '0' and letters after it, and
	// 'Z' before 'a'.
	keys := []string{
		"a-b", "a.b", "a/b", "a/b-/c", "a/b0", "a/c/d/e", "a/c0", "a0", "b/AWSLogs/x", "b/Zeta", "b/alpha",
		"b/alpha.json.gz", "c",
	}
	if !s.o.NoNesting {
		keys = append(keys, "a", "a/b/", "a/c", "a/b/c")
	}
	slices.Sort(keys)
	objects := s.open(t, holding(keys...))
	for _, tt := range []struct{ name, prefix, after string }{
		{"everything", "", ""},
		{"below a folder", "a/", ""},
		{"prefix within a name", "a/b", ""},
		{"prefix that is a key", "a/b0", ""},
		{"after a key", "", "a/b0"},
		{"after an absent key", "", "a/b1"},
		{"after a folder's name", "", "a"},
		{"after a folder", "", "a/"},
		{"after a key deeper down", "a/", "a/c/d/e"},
		{"after an absent key deeper down", "a/", "a/c/d/f"},
		{"after the last", "", "c"},
		{"after is before the prefix", "b/", "a"},
		{"after is behind the prefix", "a/", "b"},
		{"after lies in the prefix", "b/", "b/Z"},
		{"prefix is longer than its key", "c/d", ""},
		{"nothing begins so", "zzz/", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var want []string
			for _, k := range keys {
				if len(k) >= len(tt.prefix) && k[:len(tt.prefix)] == tt.prefix && k > tt.after {
					want = append(want, k)
				}
			}
			got := keysOf(t, objects.List(t.Context(), bucket, tt.prefix, tt.after))
			if !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
	for o, err := range objects.List(t.Context(), bucket, "", "") {
		if err != nil {
			t.Fatal(err)
		}
		if want := int64(len(bodyOf(o.Key))); o.Size != want {
			t.Errorf("%s has size %d, want %d", o.Key, o.Size, want)
		}
		if o.Modified.IsZero() || o.Modified.After(time.Now().Add(time.Hour)) {
			t.Errorf("%s was modified at %v", o.Key, o.Modified)
		}
		if !s.o.NoBuckets && o.Bucket != bucket {
			t.Errorf("%s lies in bucket %q", o.Key, o.Bucket)
		}
	}
}

// manyObjects lists more than two of S3's pages. Uploading is what takes time
// where the backend is a server, so everything about pages shares one bucket.
func (s suite) manyObjects(t *testing.T) {
	keys, all := make([]string, many), make([]string, many)
	for i := range many {
		all[i] = fmt.Sprintf("many/%04d/", i)
		keys[i] = all[i] + "x.json.gz"
	}
	objects := s.open(t, holding(keys...))
	for _, tt := range []struct {
		name, prefix, after string
		want                []string
	}{
		{"all", "", "", keys},
		{"from the middle", "many/", keys[1234], keys[1235:]},
		{"from an absent key", "many/", keys[1234] + "x", keys[1235:]},
		{"from a folder", "many/", all[1234], keys[1234:]},
		{"a part", "many/1", "", keys[1000:2000]},
		{"a part, from its middle", "many/1", keys[1399], keys[1400:2000]},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := keysOf(t, objects.List(t.Context(), bucket, tt.prefix, tt.after))
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %d keys, want %d, equal up to %d", len(got), len(tt.want), equalUpTo(got, tt.want))
			}
		})
	}
	t.Run("folders", func(t *testing.T) {
		got := childrenOf(t, objects.Children(t.Context(), bucket, "many/"))
		if !slices.Equal(got, all) {
			t.Errorf("got %d folders, want %d, equal up to %d", len(got), many, equalUpTo(got, all))
		}
	})
	t.Run("stops", func(t *testing.T) { stops(t, objects) })
}

// stops leaves listings where a consumer may: at the first object, in a page,
// behind it.
func stops(t *testing.T, objects fetch.Objects) {
	for _, n := range []int{1, 10, 1000, 1001} {
		seen := 0
		for _, err := range objects.List(t.Context(), bucket, "", "") {
			if err != nil {
				t.Fatal(err)
			}
			if seen++; seen == n {
				break
			}
		}
		if seen != n {
			t.Errorf("saw %d objects, want %d", seen, n)
		}
		seen = 0
		for _, err := range objects.Children(t.Context(), bucket, "many/") {
			if err != nil {
				t.Fatal(err)
			}
			if seen++; seen == n {
				break
			}
		}
		if seen != n {
			t.Errorf("saw %d folders, want %d", seen, n)
		}
	}
}

func (s suite) listAbsent(t *testing.T) {
	objects := s.open(t, holding("a/b"))
	if got := keysOf(t, objects.List(t.Context(), bucket, "absent/", "")); len(got) > 0 {
		t.Errorf("an absent prefix lists %q", got)
	}
	if got := childrenOf(t, objects.Children(t.Context(), bucket, "absent/")); len(got) > 0 {
		t.Errorf("an absent prefix has the children %q", got)
	}
	if s.o.NoBuckets {
		return
	}
	const absent = "objectstest-absent"
	var err error
	for _, err = range objects.List(t.Context(), absent, "", "") {
	}
	expectAbsent(t, "list", err)
	err = nil
	for _, err = range objects.Children(t.Context(), absent, "") {
	}
	expectAbsent(t, "folders", err)
}

func (s suite) children(t *testing.T) {
	keys := []string{"AWSLogs/111122223333/x", "AWSLogs/111122223333/y/z", "AWSLogs/file", "AWSLogs/o-a/b/c", "AWSLogs-2/x", "top"}
	if !s.o.NoNesting {
		keys = append(keys, "AWSLogs/111122223333/", "AWSLogs/o-a")
	}
	objects := s.open(t, holding(keys...))
	want := map[string][]string{
		"":                      {"AWSLogs-2/", "AWSLogs/", "top"},
		"AWSLogs/":              {"AWSLogs/111122223333/", "AWSLogs/file", "AWSLogs/o-a/"},
		"AWSLogs":               {"AWSLogs-2/", "AWSLogs/"},
		"AWSLogs/1":             {"AWSLogs/111122223333/"},
		"AWSLogs/111122223333/": {"AWSLogs/111122223333/x", "AWSLogs/111122223333/y/"},
		"AWSLogs/o-a/b/":        {"AWSLogs/o-a/b/c"},
		"top":                   {"top"},
	}
	if !s.o.NoNesting {
		want["AWSLogs/"] = []string{"AWSLogs/111122223333/", "AWSLogs/file", "AWSLogs/o-a", "AWSLogs/o-a/"}
		want["AWSLogs/111122223333/"] = append([]string{"AWSLogs/111122223333/"}, want["AWSLogs/111122223333/"]...)
	}
	for prefix, want := range want {
		if got := childrenOf(t, objects.Children(t.Context(), bucket, prefix)); !slices.Equal(got, want) {
			t.Errorf("children of %q: got %q, want %q", prefix, got, want)
		}
	}
}

// holding returns one bucket with an object under each key.
func holding(keys ...string) Contents {
	b := map[string]testtrail.Stored{}
	for _, k := range keys {
		b[k] = testtrail.Stored{Body: bodyOf(k), Modified: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	}
	return Contents{bucket: b}
}

// bodyOf returns the body under a key: none for a folder marker.
func bodyOf(key string) []byte {
	if key[len(key)-1] == '/' {
		return nil
	}
	return []byte("body of " + key)
}

func keysOf(t *testing.T, list iter.Seq2[trail.Object, error]) (keys []string) {
	t.Helper()
	for o, err := range list {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}

func childrenOf(t *testing.T, list iter.Seq2[trail.Object, error]) (keys []string) {
	t.Helper()
	for o, err := range list {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}

func equalUpTo(a, b []string) int {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	return i
}

// expectAbsent accepts only an error that says absent and is no failure.
func expectAbsent(t *testing.T, op string, err error) {
	t.Helper()
	if !errors.Is(err, fs.ErrNotExist) || !finding.IsFact(err) {
		t.Errorf("%s of what is not there: %v, want fs.ErrNotExist", op, err)
	}
}
