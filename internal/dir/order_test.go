package dir_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A folder lists as a bucket with the same keys does: the model is the sorted
// list of all keys.
func TestListsAsABucketDoes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tr := newTree(t)
		tr.must(os.RemoveAll(tr.path("in/a")))
		// Bytes around the slash (0x2f) and long runs in common.
		part := rapid.StringMatching(`[a!.0-]{1,3}`).Filter(func(s string) bool { return s != "." && s != ".." })
		key := rapid.Map(rapid.SliceOfN(part, 1, 4), func(p []string) string { return strings.Join(p, "/") })
		var keys []string
		for _, k := range rapid.SliceOfN(key, 0, 25).Draw(rt, "keys") {
			if !slices.ContainsFunc(keys, func(o string) bool { return clash(k, o) }) {
				keys = append(keys, k)
				tr.write("in/"+k, "x")
			}
		}
		slices.Sort(keys)
		d := tr.open()
		defer d.Close()
		ask := rapid.StringMatching(`([a!.0-]{1,3}/){0,3}[a!.0-]{0,3}/?`)
		for range 5 {
			prefix, after := ask.Draw(rt, "prefix"), ask.Draw(rt, "after")
			if len(keys) > 0 && rapid.Bool().Draw(rt, "after a key") {
				after = rapid.SampledFrom(keys).Draw(rt, "key")
			}
			got, err := list(d, prefix, after)
			if want := bucketList(keys, prefix, after); err != nil || !slices.Equal(got, want) {
				rt.Fatalf("list %q after %q: %q, %v, want %q", prefix, after, got, err, want)
			}
			got, err = folders(d, prefix)
			if want := bucketFolders(keys, prefix); err != nil || !slices.Equal(got, want) {
				rt.Fatalf("folders %q: %q, %v, want %q", prefix, got, err, want)
			}
		}
	})
}

// clash reports whether no folder can hold both keys.
func clash(a, b string) bool {
	return a == b || strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/")
}

func bucketList(keys []string, prefix, after string) (out []string) {
	for _, k := range keys {
		if strings.HasPrefix(k, prefix) && k > after {
			out = append(out, k)
		}
	}
	return out
}

func bucketFolders(keys []string, prefix string) (out []string) {
	for _, k := range bucketList(keys, prefix, "") {
		if name, _, ok := strings.Cut(k[len(prefix):], "/"); ok {
			out = append(out, prefix+name+"/")
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
