package s3_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/sink/s3"
	"github.com/trailseal/trailseal/internal/sink/sinktest"
	"github.com/trailseal/trailseal/pkg/trail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bucket is a Putter that can fail and stand still.
type bucket struct {
	mu         sync.Mutex
	objects    map[string]object // by bucket and key
	bad, after int
	stall      chan struct{}
}

type object struct {
	body                  []byte
	contentType, encoding string
}

var errDown = errors.New("service unavailable")

func (b *bucket) Put(ctx context.Context, name, key string, body []byte, contentType, encoding string) error {
	b.mu.Lock()
	stall := b.stall
	b.mu.Unlock()
	if stall != nil {
		select {
		case <-stall:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bad > 0 {
		b.bad--
		return errDown
	}
	if b.objects == nil {
		b.objects = map[string]object{}
	}
	b.objects[name+"/"+key] = object{bytes.Clone(body), contentType, encoding}
	if b.after > 0 {
		b.after--
		return errDown
	}
	return nil
}

func (b *bucket) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

func (b *bucket) lines(t *testing.T) (all []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, o := range b.objects {
		text := inflate(t, o)
		all = append(all, strings.Split(strings.TrimSuffix(text, "\n"), "\n")...)
	}
	return all
}

func inflate(t *testing.T, o object) string {
	t.Helper()
	var r io.Reader
	var err error
	switch o.encoding {
	case "gzip":
		r, err = gzip.NewReader(bytes.NewReader(o.body))
	case "zstd":
		var z *zstd.Decoder
		z, err = zstd.NewReader(bytes.NewReader(o.body))
		if err == nil {
			defer z.Close()
		}
		r = z
	default:
		t.Fatalf("encoding %q", o.encoding)
	}
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil || o.contentType != "application/x-ndjson" {
		t.Fatalf("%q, %v", o.contentType, err)
	}
	return string(text)
}

func open(t *testing.T, b *bucket, o s3.Options) *s3.Sink {
	t.Helper()
	o.Bucket = "out"
	s, err := s3.New(b, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestIsASink(t *testing.T) {
	for name, o := range map[string]s3.Options{"gzip": {Prefix: "events/raw", Format: sink.Raw}, "zstd": {Zstd: true}} {
		t.Run(name, func(t *testing.T) {
			sinktest.Run(t, func(t *testing.T) sinktest.Downstream {
				b := &bucket{}
				return sinktest.Downstream{
					Sink: open(t, b, o), Lines: func() []string { return b.lines(t) },
					Fail:      func(n int) { b.set(func() { b.bad = n }) },
					FailAfter: func(n int) { b.set(func() { b.after = n }) },
					Stall: func() func() {
						c := make(chan struct{})
						b.set(func() { b.stall = c })
						return func() { b.set(func() { b.stall = nil }); close(c) }
					},
				}
			}, sinktest.Options{Format: o.Format, Idempotent: true})
		})
	}
}

func TestKey(t *testing.T) {
	const log = "p/AWSLogs/o-0123456789/111122223333/CloudTrail/eu-west-1/2026/03/01/111122223333_CloudTrail_eu-west-1_20260301T0005Z_abcdefghij012345"
	for _, tt := range []struct {
		name  string
		o     s3.Options
		batch sink.Batch
		want  string
	}{
		{"gzip", s3.Options{Prefix: "a/b"}, sink.Batch{Log: trail.Object{Bucket: "b1", Key: log + ".json.gz"}}, "a/b/b1/" + log + ".ndjson.gz"},
		{"another bucket", s3.Options{Prefix: "a/b"}, sink.Batch{Log: trail.Object{Bucket: "b2", Key: log + ".json.gz"}}, "a/b/b2/" + log + ".ndjson.gz"},
		{"zstd", s3.Options{Prefix: "a/b", Zstd: true}, sink.Batch{Log: trail.Object{Bucket: "b1", Key: log + ".json.gz"}}, "a/b/b1/" + log + ".ndjson.zst"},
		{"part", s3.Options{Prefix: "a/b"}, sink.Batch{Part: 12, Log: trail.Object{Bucket: "b1", Key: log + ".json.gz"}}, "a/b/b1/" + log + "-0012.ndjson.gz"},
		{"no prefix", s3.Options{}, sink.Batch{Log: trail.Object{Bucket: "b1", Key: log + ".json.gz"}}, "b1/" + log + ".ndjson.gz"},
		{"prefix with slashes", s3.Options{Prefix: "/a/"}, sink.Batch{Log: trail.Object{Bucket: "b1", Key: log + ".json.gz"}}, "a/b1/" + log + ".ndjson.gz"},
		{"folder", s3.Options{Prefix: "a"}, sink.Batch{Log: trail.Object{Key: log + ".json.gz"}}, "a/" + log + ".ndjson.gz"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := &bucket{}
			tt.o.Format = sink.Raw
			s := open(t, b, tt.o)
			tt.batch.Events = []sink.Event{{Record: []byte(`{}`), ID: "x"}}
			if got := s.Key(tt.batch); got != tt.want {
				t.Errorf("key %s", got)
			}
			if err := s.Emit(t.Context(), tt.batch); err != nil {
				t.Fatal(err)
			}
			if o, ok := b.objects["out/"+tt.want]; !ok || inflate(t, o) != "{}\n" {
				t.Errorf("objects %v", b.objects)
			}
		})
	}
}

// Equal events make equal bytes, in another process and after other batches.
func TestDeterministic(t *testing.T) {
	for name, o := range map[string]s3.Options{"gzip": {}, "zstd": {Zstd: true}} {
		t.Run(name, func(t *testing.T) {
			one, two := &bucket{}, &bucket{}
			a, b := open(t, one, o), open(t, two, o)
			for n := range 20 {
				if err := a.Emit(t.Context(), sinktest.Batch(n, 10*n)); err != nil {
					t.Fatal(err)
				}
			}
			var wg sync.WaitGroup
			for n := range 20 {
				wg.Go(func() {
					if err := b.Emit(t.Context(), sinktest.Batch(19-n, 10*(19-n))); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if len(one.objects) != 19 || len(two.objects) != 19 {
				t.Fatalf("%d and %d objects", len(one.objects), len(two.objects))
			}
			for key, o := range one.objects {
				if !bytes.Equal(o.body, two.objects[key].body) {
					t.Errorf("%s: %d and %d bytes, not equal", key, len(o.body), len(two.objects[key].body))
				}
			}
		})
	}
}

func TestErrors(t *testing.T) {
	if _, err := s3.New(&bucket{}, s3.Options{}); err == nil {
		t.Error("a sink without a bucket")
	}
	s := open(t, &bucket{bad: 1}, s3.Options{Prefix: "p"})
	if err := s.Emit(t.Context(), sinktest.Batch(1, 1)); !errors.Is(err, errDown) || !strings.HasPrefix(err.Error(), "emit to s3://out/p/trail-bucket/p/AWSLogs/") {
		t.Errorf("error %v", err)
	}
}
