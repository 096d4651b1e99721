package source_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

func TestParseOriginals(t *testing.T) {
	for _, tt := range []struct {
		name, sources, flags string // by spaces
		want                 string // the originals, - for none
		err                  string
	}{
		{name: "no flag", sources: "s3://r1 s3://r2 copy", want: "- - -"},
		{name: "one bucket", sources: "s3://r1", flags: "orig", want: "orig"},
		{name: "one bucket beside a copy", sources: "copy s3://r1/p", flags: "orig", want: "- orig"},
		{name: "two prefixes of one bucket", sources: "s3://r1/p s3://r1/q", flags: "orig", want: "orig orig"},
		{name: "an access point", sources: point, flags: "orig", want: "orig"},
		{name: "one each", sources: "s3://r1 s3://r2 s3://r3", flags: "r2=o2 r1=o1", want: "o1 o2 -"},
		{name: "one for two", sources: "s3://r1 s3://r2", flags: "r1=orig r2=orig", want: "orig orig"},
		{name: "a replica of the other source", sources: "s3://r1 s3://r2", flags: "r2=r1", want: "- r1"},
		{name: "by its text", sources: "s3://r1/p s3://r1/q", flags: "s3://r1/p/=o1 s3://r1/q=o2", want: "o1 o2"},
		{name: "by a text with a =", sources: "s3://r1/a=b", flags: "s3://r1/a=b=o1", want: "o1"},
		{name: "each of a bucket", sources: "s3://r1/p s3://r1/q", flags: "s3://r1=orig", want: "orig orig"},
		{name: "by an ARN in its other form", sources: point + "/p s3://r1", flags: colon + "=orig", want: "orig -"},
		{name: "by an alias", sources: alias + " s3://r1", flags: "s3://" + alias + "=orig", want: "orig -"},
		{name: "a folder with the name of a bucket", sources: "r1 s3://r1", flags: "r1=orig", want: "- orig"},

		{name: "several buckets", sources: "s3://r1 s3://r2", flags: "orig", err: "write REPLICA=ORIGINAL"},
		{name: "no bucket", sources: "copy", flags: "orig", err: "have no bucket"},
		{name: "an unknown replica", sources: "s3://r1", flags: "r2=orig", err: `"r2" is not one of the sources`},
		{name: "no replica", sources: "s3://r1 copy", flags: "=orig", err: `"" is not one of the sources`},
		{name: "another prefix", sources: "s3://r1/p", flags: "s3://r1/q=orig", err: "not one of the sources"},
		{name: "a folder", sources: "copy s3://r1", flags: "copy=orig", err: "copy is a folder"},
		{name: "twice", sources: "s3://r1 s3://r2", flags: "r1=o1 s3://r1=o2", err: "s3://r1 has an original already: o1"},
		{name: "twice without a name", sources: "s3://r1", flags: "o1 o1", err: "has an original already"},
		{name: "itself", sources: "s3://r1", flags: "r1", err: "own bucket"},
		{name: "no original", sources: "s3://r1", flags: "r1=", err: `"" cannot be the bucket of a trail`},
		{name: "not a bucket", sources: "s3://r1", flags: "s3://orig", err: `"s3://orig" cannot be`},
		{name: "an alias as the original", sources: "s3://r1", flags: alias, err: "cannot be the bucket of a trail"},
		{name: "an ARN as the original", sources: "s3://r1", flags: point, err: "cannot be the bucket of a trail"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var sources []source.Source
			for text := range strings.FieldsSeq(tt.sources) {
				sources = append(sources, parse(t, text))
			}
			flags := strings.Fields(tt.flags)
			got, err := source.ParseOriginals(flags, sources)
			for _, s := range sources {
				if s.Original != "" {
					t.Error("the given sources have changed")
				}
			}
			if tt.err != "" {
				last := flags[len(flags)-1]
				if err == nil || got != nil || !strings.Contains(err.Error(), tt.err) || !strings.Contains(err.Error(), fmt.Sprintf("--original-bucket %q: ", last)) {
					t.Errorf("got %v, %v, want %s", got, err, tt.err)
				}
				return
			}
			var originals []string
			for _, s := range got {
				original := s.Original
				if original == "" {
					original = "-"
				}
				originals = append(originals, original)
			}
			if got := strings.Join(originals, " "); err != nil || got != tt.want {
				t.Errorf("got %s, %v, want %s", got, err, tt.want)
			}
		})
	}
}

func TestLearn(t *testing.T) {
	s := parse(t, point)
	for _, tt := range []struct {
		bucket string
		learnt bool
		signed string
	}{
		{"", false, ""}, {"a/b", false, ""}, {alias, false, ""}, {point, false, ""},
		{bucket, true, bucket}, {"second", false, bucket}, {bucket, false, bucket},
	} {
		if got := s.Learn(tt.bucket); got != tt.learnt || s.Signed() != tt.signed || !s.IsAccessPoint() {
			t.Errorf("%q: got %t, signed %q", tt.bucket, got, s.Signed())
		}
	}
	for _, text := range []string{"s3://r1", "copy"} {
		s := parse(t, text)
		if signed := s.Signed(); s.Learn(bucket) || s.Signed() != signed {
			t.Errorf("%s: has learnt", text)
		}
	}
}

// An answer that the source's own bucket does not exist is not an absence of its
// objects. Another bucket can be deleted for good.
func TestViewOfABucketThatIsNotThere(t *testing.T) {
	for _, text := range []string{"s3://replica", point, alias} {
		s := parse(t, text)
		store := testtrail.NewStore()
		for _, b := range []string{s.Bucket, "other"} {
			store.AddBucket(b)
			store.Fail(b, "k", &testtrail.Fault{Err: fmt.Errorf("get: %w %w", fs.ErrNotExist, finding.ErrNoBucket)})
			_, _, err := s.View(store).Get(t.Context(), trail.Object{Bucket: b, Key: "k"})
			if err == nil || finding.IsFact(err) != (b == "other") {
				t.Errorf("%s: %s: %v", text, b, err)
			}
		}
	}
	store := testtrail.NewStore()
	if parse(t, "copy").View(store) != fetch.Objects(store) {
		t.Error("a copy is not read as it is")
	}
}

// replicated is a source on a replica, whose original is gone, and an older
// original.
func replicated(t *testing.T, put ...string) (*testtrail.Store, fetch.Objects) {
	store := testtrail.NewStore()
	store.AddBucket("replica")
	store.AddBucket("older")
	for _, at := range put {
		bucket, key, _ := strings.Cut(at, "/")
		store.Put(bucket, key, testtrail.Stored{Body: []byte(at), Meta: map[string]string{"at": at}})
	}
	s := parse(t, "s3://replica")
	s.Original = "original"
	return store, s.View(store)
}

func TestViewGet(t *testing.T) {
	denied := fmt.Errorf("get: AccessDenied: %w", fs.ErrPermission)
	for _, tt := range []struct {
		name, ask string
		fails     string // with denied
		want      string // where it is read
		is, isNot error
		text      string
		reads     string // how often, in replica, original and older
	}{
		{name: "the original's", ask: "original/k", want: "replica/k", reads: "1 0 0"},
		{name: "by the replica's name", ask: "replica/k", want: "replica/k", reads: "1 0 0"},
		{name: "absent", ask: "original/none", is: fs.ErrNotExist, text: "get s3://replica/none: ", reads: "1 0 0"},
		{name: "absent, by the replica's name", ask: "replica/none", is: fs.ErrNotExist, text: "get s3://replica/none: ", reads: "1 0 0"},
		{name: "refused", ask: "original/k", fails: "replica/k", is: fs.ErrPermission, reads: "1 0 0"},
		{name: "an older original's, replicated", ask: "older/both", want: "replica/both", reads: "1 0 0"},
		{name: "an older original's", ask: "older/old", want: "older/old", reads: "1 0 1"},
		{name: "an older original's, absent", ask: "older/none", is: fs.ErrNotExist, text: "get s3://older/none: file does not exist (s3://replica does not have it)", reads: "1 0 1"},
		{name: "an older original's, refused by the replica", ask: "older/both", fails: "replica/both", is: fs.ErrPermission, reads: "1 0 0"},
		{name: "an older original's, refused", ask: "older/old", fails: "older/old", is: fs.ErrPermission, isNot: fs.ErrNotExist, reads: "1 0 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// The original still has its objects, but they are not looked at.
			store, view := replicated(t, "replica/k", "original/k", "original/none", "replica/both", "older/both", "older/old")
			if tt.fails != "" {
				bucket, key, _ := strings.Cut(tt.fails, "/")
				store.Fail(bucket, key, &testtrail.Fault{Err: denied})
			}
			bucket, key, _ := strings.Cut(tt.ask, "/")
			body, meta, err := view.Get(t.Context(), trail.Object{Bucket: bucket, Key: key})
			switch {
			case tt.is != nil:
				if !errors.Is(err, tt.is) || tt.isNot != nil && errors.Is(err, tt.isNot) || !strings.Contains(err.Error(), tt.text) || body != nil {
					t.Errorf("got %v, want %v: %s", err, tt.is, tt.text)
				}
			case err != nil:
				t.Error(err)
			default:
				if b, err := io.ReadAll(body); err != nil || string(b) != tt.want || meta["at"] != tt.want {
					t.Errorf("got %s, %v, %v, want %s", b, meta, err, tt.want)
				}
			}
			if reads := fmt.Sprint(store.Reads("replica", key), store.Reads("original", key), store.Reads("older", key)); reads != tt.reads {
				t.Errorf("reads %s, want %s", reads, tt.reads)
			}
		})
	}
}

// spoilt answers each Get with a body and an error, as fetch.Objects may where
// metadata cannot be read. The error wraps an absence, that of a sidecar.
type spoilt struct {
	fetch.Objects
	asked *[]string
}

func (s spoilt) Get(_ context.Context, o trail.Object) (io.ReadCloser, map[string]string, error) {
	*s.asked = append(*s.asked, o.Bucket)
	return io.NopCloser(strings.NewReader("x")), nil, fmt.Errorf("get %s: %w: %w", o, finding.ErrMetadata, fs.ErrNotExist)
}

func TestViewPassesBodyAndError(t *testing.T) {
	var asked []string
	s := parse(t, "s3://replica")
	s.Original = "original"
	view := s.View(spoilt{asked: &asked})
	for _, bucket := range []string{"original", "older"} {
		body, _, err := view.Get(t.Context(), trail.Object{Bucket: bucket, Key: "k"})
		if body == nil || !errors.Is(err, finding.ErrMetadata) {
			t.Errorf("%s: got %v, %v", bucket, body, err)
		}
	}
	if !slices.Equal(asked, []string{"replica", "replica"}) {
		t.Errorf("asked: %q", asked)
	}
}

func TestViewLists(t *testing.T) {
	store, view := replicated(t, "replica/a/1", "replica/a/2", "replica/b", "original/c", "older/d/e")
	listings := map[string]func(bucket string) iter.Seq2[trail.Object, error]{
		"list":     func(bucket string) iter.Seq2[trail.Object, error] { return view.List(t.Context(), bucket, "", "a/1") },
		"children": func(bucket string) iter.Seq2[trail.Object, error] { return view.Children(t.Context(), bucket, "") },
	}
	for _, tt := range []struct{ name, bucket, want string }{
		{"list", "original", "s3://original/a/2 s3://original/b"},
		{"list", "replica", "s3://replica/a/2 s3://replica/b"},
		{"list", "older", "s3://older/d/e"},
		{"children", "original", "s3://original/a/ s3://original/b"},
		{"children", "replica", "s3://replica/a/ s3://replica/b"},
		{"children", "older", "s3://older/d/"},
	} {
		var got []string
		for o, err := range listings[tt.name](tt.bucket) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, o.String())
		}
		if got := strings.Join(got, " "); got != tt.want {
			t.Errorf("%s of %s: got %s, want %s", tt.name, tt.bucket, got, tt.want)
		}
	}
	for range view.List(t.Context(), "original", "", "") {
		break // a listing can be left
	}
	refused := fmt.Errorf("list s3://replica: %w", fs.ErrPermission)
	store.Fail("replica", "", &testtrail.Fault{Err: refused})
	for name, list := range listings {
		n := 0
		for o, err := range list("original") {
			if n++; err != refused || o != (trail.Object{}) {
				t.Errorf("%s: got %v, %v", name, o, err)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d pairs", name, n)
		}
	}
}

// Through a view, a replica looks as its original does to a source without one.
func TestViewIsTheOriginal(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		at := rapid.SampledFrom([]string{"s3://replica", point}).Draw(rt, "source")
		s := parse(t, at)
		s.Original = "original"
		original, replica := testtrail.NewStore(), testtrail.NewStore()
		original.AddBucket("original")
		replica.AddBucket(s.Bucket)
		key := rapid.StringMatching(`[ab](/[ab]){0,2}`)
		for _, k := range rapid.SliceOfN(key, 0, 8).Draw(rt, "keys") {
			original.Put("original", k, testtrail.Stored{Body: []byte(k)})
			replica.Put(s.Bucket, k, testtrail.Stored{Body: []byte(k)})
		}
		view := s.View(replica)
		prefix, after := rapid.StringMatching(`([ab]/)?`).Draw(rt, "prefix"), key.Draw(rt, "after")
		for _, pair := range [][2]iter.Seq2[trail.Object, error]{
			{original.List(t.Context(), "original", prefix, after), view.List(t.Context(), "original", prefix, after)},
			{original.Children(t.Context(), "original", prefix), view.Children(t.Context(), "original", prefix)},
		} {
			if want, got := collect(pair[0]), collect(pair[1]); !slices.Equal(got, want) {
				rt.Fatalf("got %q, want %q", got, want)
			}
		}
		o := trail.Object{Bucket: "original", Key: key.Draw(rt, "key")}
		_, _, want := original.Get(t.Context(), o)
		if _, _, err := view.Get(t.Context(), o); errors.Is(err, fs.ErrNotExist) != errors.Is(want, fs.ErrNotExist) {
			rt.Fatalf("get %v: %v, want %v", o, err, want)
		}
	})
}

func collect(listed iter.Seq2[trail.Object, error]) (lines []string) {
	for o, err := range listed {
		lines = append(lines, fmt.Sprint(o, err))
	}
	return lines
}
