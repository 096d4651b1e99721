// Package statetest holds every state.Store to the same contract. It is for
// tests; no program links it.
package statetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/trailseal/trailseal/internal/state"
)

// Run checks the whole contract. place makes an empty place for values and
// returns what opens a store on it; a store that was opened on the same place
// before is ended by that.
func Run(t *testing.T, place func(t *testing.T) (open func() state.Store)) {
	t.Helper()
	for name, check := range map[string]func(*testing.T, func() state.Store){
		"Replace": replace, "Conflicts": conflicts, "Values": values, "Names": names, "Limits": limits,
		"Concurrent": concurrent, "ConcurrentNames": concurrentNames, "Cancelled": cancelled,
	} {
		t.Run(name, func(t *testing.T) { check(t, place(t)) })
	}
}

func expect(t *testing.T, s state.Store, name, want string) {
	t.Helper()
	got, err := s.Load(t.Context(), name)
	if err != nil || string(got) != want || (got == nil) != (want == "") {
		t.Errorf("%q is %q, %v; want %q", name, got, err, want)
	}
}

func set(t *testing.T, s state.Store, name, old, new string) {
	t.Helper()
	var was []byte
	if old != "" {
		was = []byte(old)
	}
	if err := s.Replace(t.Context(), name, was, []byte(new)); err != nil {
		t.Fatal(err)
	}
}

// Values are absent, set, replaced, and there when the place is opened again.
func replace(t *testing.T, open func() state.Store) {
	s := open()
	expect(t, s, "a", "")
	set(t, s, "a", "", "1")
	expect(t, s, "a", "1")
	set(t, s, "b", "", "other")
	set(t, s, "a", "1", "2")
	set(t, s, "a", "2", "2")
	expect(t, s, "a", "2")
	expect(t, s, "b", "other")
	s = open()
	expect(t, s, "a", "2")
	expect(t, s, "b", "other")
	expect(t, s, "c", "")
	set(t, s, "a", "2", "3")
	expect(t, open(), "a", "3")
}

// Whoever does not know the present value changes nothing.
func conflicts(t *testing.T, open func() state.Store) {
	s := open()
	set(t, s, "a", "", "1")
	for _, tt := range []struct {
		name, key string
		old       []byte
	}{
		{"there, thought absent", "a", nil},
		{"there, thought empty", "a", []byte{}},
		{"another value", "a", []byte("2")},
		{"a part of the value", "a", []byte("11")},
		{"absent, thought there", "b", []byte("1")},
		{"absent, thought empty", "b", []byte{}},
	} {
		if err := s.Replace(t.Context(), tt.key, tt.old, []byte("new")); !errors.Is(err, state.ErrConflict) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	expect(t, s, "a", "1")
	expect(t, s, "b", "")
	s = open()
	expect(t, s, "a", "1")
	expect(t, s, "b", "")
}

// Any bytes are kept, in names and values, and belong to nobody else.
func values(t *testing.T, open func() state.Store) {
	s := open()
	all := map[string][]byte{
		"chain/p/AWSLogs/o-abc/111122223333/eu-west-1/t": []byte(`{"head":"x"}`),
		"a b+c%2F/../ä\x00\xff":                          {0},
		strings.Repeat("n", state.MaxName):               {0xff},
		"large":                                          bytes.Repeat([]byte("0123456789abcdef"), state.MaxValue/16),
		"a":                                              []byte("short"),
		"a/b":                                            []byte("below"),
	}
	for name, v := range all {
		given := bytes.Clone(v)
		if err := s.Replace(t.Context(), name, nil, given); err != nil {
			t.Fatal(err)
		}
		clear(given)
	}
	for range 2 {
		for name, want := range all {
			got, err := s.Load(t.Context(), name)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%.30q: %.30q, %v", name, got, err)
			}
			clear(got)
		}
		s = open()
	}
}

func names(t *testing.T, open func() state.Store) {
	s := open()
	for _, n := range []string{"b/2", "a", "b/1", "b", "c/1", "b/10", "b0"} {
		set(t, s, n, "", "x")
	}
	for prefix, want := range map[string][]string{
		"":     {"a", "b", "b/1", "b/10", "b/2", "b0", "c/1"},
		"b/":   {"b/1", "b/10", "b/2"},
		"b/1":  {"b/1", "b/10"},
		"c/1/": nil,
		"z":    nil,
	} {
		if got, err := s.Names(t.Context(), prefix); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v; want %q", prefix, got, err, want)
		}
	}
}

func limits(t *testing.T, open func() state.Store) {
	s := open()
	for _, tt := range []struct {
		what, name string
		new        []byte
	}{
		{"no name", "", []byte("x")},
		{"long name", strings.Repeat("n", state.MaxName+1), []byte("x")},
		{"nil value", "a", nil},
		{"empty value", "a", []byte{}},
		{"long value", "a", make([]byte, state.MaxValue+1)},
	} {
		if err := s.Replace(t.Context(), tt.name, nil, tt.new); err == nil || errors.Is(err, state.ErrConflict) {
			t.Errorf("%s: %v", tt.what, err)
		}
	}
	if got, err := s.Names(t.Context(), ""); err != nil || len(got) != 0 {
		t.Errorf("kept %q, %v", got, err)
	}
}

// Many count up one value: each success is one step, none is lost.
func concurrent(t *testing.T, open func() state.Store) {
	const workers, steps = 8, 10
	s := open()
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for done := 0; done < steps; {
				old, err := s.Load(t.Context(), "n")
				if err != nil {
					t.Error(err)
					return
				}
				n := 0
				if old != nil {
					n, _ = strconv.Atoi(string(old))
				}
				switch err := s.Replace(t.Context(), "n", old, []byte(strconv.Itoa(n+1))); {
				case err == nil:
					done++
				case !errors.Is(err, state.ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	expect(t, open(), "n", strconv.Itoa(workers*steps))
}

// Names do not get in each other's way.
func concurrentNames(t *testing.T, open func() state.Store) {
	s := open()
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			name, old := fmt.Sprint("chain/", w), ""
			for i := range 6 {
				new := fmt.Sprint(w, " at ", i)
				var was []byte
				if old != "" {
					was = []byte(old)
				}
				if err := s.Replace(t.Context(), name, was, []byte(new)); err != nil {
					t.Error(err)
				}
				expect(t, s, name, new)
				old = new
			}
		})
	}
	wg.Wait()
	s = open()
	for w := range 16 {
		expect(t, s, fmt.Sprint("chain/", w), fmt.Sprint(w, " at 5"))
	}
}

func cancelled(t *testing.T, open func() state.Store) {
	s := open()
	set(t, s, "a", "", "1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, load := s.Load(ctx, "a")
	_, list := s.Names(ctx, "")
	for op, err := range map[string]error{"load": load, "names": list, "replace": s.Replace(ctx, "a", []byte("1"), []byte("2"))} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", op, err)
		}
	}
	expect(t, s, "a", "1")
}
