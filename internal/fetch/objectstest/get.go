package objectstest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

func (s suite) get(t *testing.T) {
	zipped := testtrail.Gzip([]byte(`{"Records":[]}`))
	meta := map[string]string{"signature": strings.Repeat("0a", 256), "signature-algorithm": "SHA256withRSA"}
	contents := Contents{bucket: {
		"plain":             {Body: []byte("plain")},
		"empty":             {},
		"binary":            {Body: []byte("\x00\xff\x1f\x8b\r\n")},
		"large":             {Body: bytes.Repeat([]byte("0123456789abcdef"), 1<<16)},
		"zipped.json.gz":    {Body: zipped},
		"encoded.json.gz":   {Body: zipped, Encoding: "gzip"},
		"signed.json.gz":    {Body: zipped, Encoding: "gzip", Meta: meta},
		"lies about itself": {Body: []byte("no gzip at all"), Encoding: "gzip"},
	}}
	objects := s.open(t, contents)
	for key, want := range contents[bucket] {
		b, got := read(t, objects, trail.Object{Bucket: bucket, Key: key})
		if !bytes.Equal(b, want.Body) {
			t.Errorf("%s: %d bytes that are not the %d stored ones", key, len(b), len(want.Body))
		}
		if s.o.NoMeta {
			want.Meta = nil
		}
		if !maps.Equal(got, want.Meta) {
			t.Errorf("%s: metadata %v, want %v", key, got, want.Meta)
		}
	}
}

func (s suite) getAbsent(t *testing.T) {
	objects := s.open(t, holding("a/b", "c"))
	absent := []trail.Object{
		{Bucket: bucket, Key: "absent"}, {Bucket: bucket, Key: "a/absent"}, {Bucket: bucket, Key: "absent/b"},
		{Bucket: bucket, Key: "A/B"},
	}
	if !s.o.NoNesting {
		absent = append(absent, trail.Object{Bucket: bucket, Key: "a"}, trail.Object{Bucket: bucket, Key: "c/d"})
	}
	if !s.o.NoBuckets {
		absent = append(absent, trail.Object{Bucket: "objectstest-absent", Key: "a/b"})
	}
	for _, o := range absent {
		body, _, err := objects.Get(t.Context(), o)
		if err == nil {
			_ = body.Close()
		}
		expectAbsent(t, "get "+o.String(), err)
	}
	read(t, objects, trail.Object{Bucket: bucket, Key: "a/b"}) // the control
}

// Every key comes back from a listing as it was stored, and opens its object.
func (s suite) keys(t *testing.T) {
	keys := []string{
		"a b", "a+b", "a%20b", "a%2Bb", "a%b", "a&b=c;d", "a?b#c", "a'b\"c", "a<b>c", "ä/ö", "日本/語", "a\\b",
		"(x)!*~$,:@[y]{z}|^`", "trailing ", "...", "AWSLogs/o-0123456789/x y/z+1%2F.json.gz",
	}
	if !s.o.NoOddKeys {
		keys = append(keys, "line\nfeed", "tab\tkey", "bell\a", "return\rkey", "del\x7f")
	}
	slices.Sort(keys)
	objects := s.open(t, holding(keys...))
	got := keysOf(t, objects.List(t.Context(), bucket, "", ""))
	if !slices.Equal(got, keys) {
		t.Errorf("got  %q\nwant %q", got, keys)
	}
	for _, k := range keys {
		if b, _ := read(t, objects, trail.Object{Bucket: bucket, Key: k}); !bytes.Equal(b, bodyOf(k)) {
			t.Errorf("%q holds %q", k, b)
		}
		var first string
		for o, err := range objects.List(t.Context(), bucket, k, "") {
			if err != nil {
				t.Fatal(err)
			}
			first = o.Key
			break
		}
		if first != k {
			t.Errorf("the prefix %q lists %q first", k, first)
		}
	}
}

func (s suite) concurrent(t *testing.T) {
	var keys []string
	for i := range 64 {
		keys = append(keys, "k/"+strings.Repeat("x", i+1))
	}
	objects := s.open(t, holding(keys...))
	var calls sync.WaitGroup
	for range 8 {
		calls.Go(func() {
			for _, k := range keys {
				b, err := readAll(t.Context(), objects, trail.Object{Bucket: bucket, Key: k})
				if err != nil || !bytes.Equal(b, bodyOf(k)) {
					t.Errorf("%s: %q, %v", k, b, err)
				}
			}
		})
		calls.Go(func() {
			n := 0
			for _, err := range objects.List(t.Context(), bucket, "k/", "") {
				if err != nil {
					t.Error(err)
				}
				n++
			}
			if n != len(keys) {
				t.Errorf("listed %d of %d", n, len(keys))
			}
		})
	}
	calls.Wait()
}

// A call whose context has ended says so, and never that something is absent.
func (s suite) cancelled(t *testing.T) {
	objects := s.open(t, holding("a/b", "a/c"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	expect := func(op string, err error) {
		t.Helper()
		if !errors.Is(err, context.Canceled) || finding.IsFact(err) {
			t.Errorf("%s: %v, want context.Canceled", op, err)
		}
	}
	_, err := readAll(ctx, objects, trail.Object{Bucket: bucket, Key: "a/b"})
	expect("get", err)
	_, err = readAll(ctx, objects, trail.Object{Bucket: bucket, Key: "absent"})
	expect("get absent", err)
	err = nil
	for _, err = range objects.List(ctx, bucket, "", "") {
	}
	expect("list", err)
	err = nil
	for _, err = range objects.Children(ctx, bucket, "") {
	}
	expect("folders", err)
}

func read(t *testing.T, objects fetch.Objects, o trail.Object) ([]byte, map[string]string) {
	t.Helper()
	body, meta, err := objects.Get(t.Context(), o)
	if err != nil {
		t.Error(err)
		return nil, nil
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		t.Errorf("%s: %v", o, err)
	}
	return b, meta
}

func readAll(ctx context.Context, objects fetch.Objects, o trail.Object) ([]byte, error) {
	body, _, err := objects.Get(ctx, o)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}
