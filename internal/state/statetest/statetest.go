// Package statetest checks that a state.Store keeps its contract. It is for
// tests; no program links it.
package statetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/trailseal/trailseal/internal/state"
)

// Run checks the whole contract. place makes an empty place for values, and
// returns a function that opens a store on that place. To open it again ends
// the store that was opened before.
func Run(t *testing.T, place func(t *testing.T) (open func() state.Store)) {
	t.Helper()
	for name, check := range map[string]func(*testing.T, func() state.Store){
		"Put": put, "Conflicts": conflicts, "Delete": remove, "Versions": versions, "Bytes": anyBytes,
		"List": list, "ListWhileChanging": listWhileChanging, "Limits": limits, "Cancelled": cancelled,
		"Race": race, "Count": count, "ConcurrentNames": concurrentNames,
		"TookEffect": tookEffect, "DeleteTookEffect": deleteTookEffect,
	} {
		t.Run(name, func(t *testing.T) { check(t, place(t)) })
	}
}

// want checks what a name has, "" for no value, and returns its version.
func want(t *testing.T, s state.Store, name, value string) state.Version {
	t.Helper()
	got, err := s.Get(t.Context(), name)
	if value == "" {
		if !errors.Is(err, fs.ErrNotExist) || got.Version != "" {
			t.Errorf("%.40q is %.40q, version %q, %v; want none", name, got.Bytes, got.Version, err)
		}
		return ""
	}
	if err != nil || string(got.Bytes) != value || got.Version == "" {
		t.Errorf("%.40q is %.40q, version %q, %v; want %.40q", name, got.Bytes, got.Version, err, value)
	}
	return got.Version
}

func set(t *testing.T, s state.Store, name, value string, prev state.Version) state.Version {
	t.Helper()
	v, err := s.Put(t.Context(), name, []byte(value), prev)
	if err != nil {
		t.Fatal(err)
	}
	if got := want(t, s, name, value); got != v {
		t.Errorf("%.40q has version %q; Put returned %q", name, got, v)
	}
	return v
}

// Values are absent, created, replaced, and there when the place is opened again.
func put(t *testing.T, open func() state.Store) {
	s := open()
	want(t, s, "a", "")
	a := set(t, s, "a", "1", "")
	set(t, s, "b", "other", "")
	a = set(t, s, "a", "2", a)
	a = set(t, s, "a", "2", a) // the same value is a change, too
	s = open()
	if got := want(t, s, "a", "2"); got != a {
		t.Errorf("opened again, the version is %q, not %q", got, a)
	}
	want(t, s, "b", "other")
	want(t, s, "c", "")
	set(t, s, "a", "3", a)
	want(t, open(), "a", "3")
}

// A caller that does not know the present version changes nothing.
func conflicts(t *testing.T, open func() state.Store) {
	s := open()
	old := set(t, s, "a", "1", "")
	now := set(t, s, "a", "2", old)
	other := set(t, s, "b", "1", "")
	for name, row := range map[string]struct {
		name string
		prev state.Version
	}{
		"there, thought absent":   {"a", ""},
		"an older version":        {"a", old},
		"another name's version":  {"a", other},
		"a version never given":   {"a", now + "0"},
		"a version out of shape":  {"a", "'; --"},
		"absent, thought there":   {"c", now},
		"absent, out of shape":    {"c", "x"},
		"almost the version":      {"a", "+" + now},
		"the version and a space": {"a", now + " "},
	} {
		v, err := s.Put(t.Context(), row.name, []byte("new"), row.prev)
		if !errors.Is(err, state.ErrConflict) || v != "" {
			t.Errorf("put: %s: %q, %v", name, v, err)
		}
		if err := s.Delete(t.Context(), row.name, row.prev); !errors.Is(err, state.ErrConflict) {
			t.Errorf("delete: %s: %v", name, err)
		}
	}
	for range 2 {
		if want(t, s, "a", "2") != now || want(t, s, "b", "1") != other {
			t.Error("a version changed without its value")
		}
		want(t, s, "c", "")
		s = open()
	}
}

func remove(t *testing.T, open func() state.Store) {
	s := open()
	v := set(t, s, "a", "1", "")
	kept := set(t, s, "a/b", "1", "")
	if err := s.Delete(t.Context(), "a", v); err != nil {
		t.Error(err)
	}
	want(t, s, "a", "")
	if err := s.Delete(t.Context(), "a", v); !errors.Is(err, state.ErrConflict) {
		t.Errorf("deleted again: %v", err)
	}
	if err := s.Delete(t.Context(), "a", ""); err != nil {
		t.Errorf("none deleted: %v", err)
	}
	if _, err := s.Put(t.Context(), "a", []byte("2"), v); !errors.Is(err, state.ErrConflict) {
		t.Errorf("put on what was deleted: %v", err)
	}
	s = open()
	want(t, s, "a", "")
	if want(t, s, "a/b", "1") != kept {
		t.Error("another name changed")
	}
	set(t, s, "a", "3", "")
	want(t, open(), "a", "3")
}

// No version comes back, whatever was deleted and however often the place was
// opened: a caller with an old version never meets a value that it does not
// know.
func versions(t *testing.T, open func() state.Store) {
	s, seen := open(), map[state.Version]bool{}
	for range 5 {
		var v state.Version
		for range 3 {
			v = set(t, s, "a", "the same", v)
			if seen[v] {
				t.Fatalf("version %q comes back", v)
			}
			seen[v] = true
		}
		if err := s.Delete(t.Context(), "a", v); err != nil {
			t.Fatal(err)
		}
		s = open()
	}
	v := set(t, s, "a", "the same", "")
	for old := range seen {
		if _, err := s.Put(t.Context(), "a", []byte("new"), old); !errors.Is(err, state.ErrConflict) {
			t.Errorf("version %q, now it is %q: %v", old, v, err)
		}
	}
}

// odd are names that a store may confuse.
var odd = []string{
	"chain/p/AWSLogs/o-abc/111122223333/eu-west-1/t", "a", "a/b", "a//b", "/a", "a/", "A",
	"a b+c%2F/../ä\x00\xff", "%", "%%", "_", "%25", "a%", "*", "?", "'", `"`, "\\", "\n", "ä", "a\u0308", "日本/🦭",
	"\x00", "\xff", "\xff\xff", strings.Repeat("n", state.MaxName), strings.Repeat("n", state.MaxName-1),
}

// All bytes are kept, in names and values, and belong to the caller.
func anyBytes(t *testing.T, open func() state.Store) {
	s, all := open(), map[string][]byte{}
	for i, name := range odd {
		all[name] = []byte(fmt.Sprint("value ", i))
	}
	for i, v := range [][]byte{
		{0}, {0xff}, []byte("a\x00b"), []byte(`{"head":"x","n":"🦭"}`), []byte("12"), []byte("1e3"), []byte("NULL"),
		bytes.Repeat([]byte("0123456789abcdef"), state.MaxValue/16), bytes.Repeat([]byte{0xfe}, state.MaxValue),
	} {
		all[fmt.Sprint("value/", i)] = v
	}
	for name, v := range all {
		given := bytes.Clone(v)
		if _, err := s.Put(t.Context(), name, given, ""); err != nil {
			t.Fatal(err)
		}
		clear(given)
	}
	for range 2 {
		for name, v := range all {
			got, err := s.Get(t.Context(), name)
			if err != nil || !bytes.Equal(got.Bytes, v) {
				t.Errorf("%.30q: %.30q, %v", name, got.Bytes, err)
			}
			clear(got.Bytes)
		}
		s = open()
	}
}

// listed returns what a listing yields, and checks it against Get.
func listed(t *testing.T, s state.Store, prefix string) (names []string) {
	t.Helper()
	for e, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		v, err := s.Get(t.Context(), e.Name)
		if err != nil || v.Version != e.Version {
			t.Errorf("%.40q is listed with version %q and has %q, %v", e.Name, e.Version, v.Version, err)
		}
		names = append(names, e.Name)
	}
	return names
}

func list(t *testing.T, open func() state.Store) {
	s, all := open(), slices.Clone(odd)
	if got := listed(t, s, ""); got != nil {
		t.Errorf("in an empty place %q", got)
	}
	for i := range 1500 { // more than a page of any store
		all = append(all, fmt.Sprintf("many/%04d", i))
	}
	for _, name := range all {
		if _, err := s.Put(t.Context(), name, []byte("x"), ""); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(all)
	prefixes := []string{"", "many/", "many/1", "many/0511", "b", "an", "many/9", "\xfe", strings.Repeat("n", 2000)}
	for _, prefix := range append(prefixes, odd...) {
		var want []string
		for _, name := range all {
			if strings.HasPrefix(name, prefix) {
				want = append(want, name)
			}
		}
		if got := listed(t, s, prefix); !slices.Equal(got, want) {
			t.Errorf("%.40q: %d names, want %d", prefix, len(got), len(want))
		}
	}
	for range s.List(t.Context(), "") {
		break // a loop that ends early leaves the store usable
	}
	want(t, s, "a", "x")
}

// A loop over a listing may use the store.
func listWhileChanging(t *testing.T, open func() state.Store) {
	s := open()
	for i := range 20 {
		set(t, s, fmt.Sprintf("a/%02d", i), "old", "")
	}
	n := 0
	for e, err := range s.List(t.Context(), "a/") {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n%2 == 0 {
			set(t, s, e.Name, "new", e.Version)
		} else if err := s.Delete(t.Context(), e.Name, e.Version); err != nil {
			t.Error(err)
		}
		for range s.List(t.Context(), "") {
			break
		}
	}
	if left := listed(t, s, ""); n != 20 || len(left) != 10 {
		t.Errorf("listed %d, left %q", n, left)
	}
}

func limits(t *testing.T, open func() state.Store) {
	s := open()
	for what, row := range map[string]struct {
		name  string
		value []byte
	}{
		"no name":     {"", []byte("x")},
		"long name":   {strings.Repeat("n", state.MaxName+1), []byte("x")},
		"nil value":   {"a", nil},
		"empty value": {"a", []byte{}},
		"long value":  {"a", make([]byte, state.MaxValue+1)},
	} {
		if _, err := s.Put(t.Context(), row.name, row.value, ""); err == nil || errors.Is(err, state.ErrConflict) {
			t.Errorf("%s: %v", what, err)
		}
		want(t, s, row.name, "")
	}
	if got := listed(t, s, ""); len(got) != 0 {
		t.Errorf("kept %q", got)
	}
}

func cancelled(t *testing.T, open func() state.Store) {
	s := open()
	v := set(t, s, "a", "1", "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, get := s.Get(ctx, "a")
	_, put := s.Put(ctx, "a", []byte("2"), v)
	errs := map[string]error{"get": get, "put": put, "delete": s.Delete(ctx, "a", v)}
	for _, err := range s.List(ctx, "") {
		errs["list"] = err
	}
	if len(errs) != 4 {
		t.Error("the listing ended without an error")
	}
	for op, err := range errs {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", op, err)
		}
	}
	if want(t, s, "a", "1") != v {
		t.Error("the version changed")
	}
}
