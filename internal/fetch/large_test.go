package fetch_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/digest"
)

// busyDigest delivers the digest of an hour with 4,000 log files.
func busyDigest(h hour) *testtrail.Issued {
	midnight := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	c := h.World.Trail(testtrail.Options{Name: "busy"}).Chain("111122223333", "us-east-1", midnight)
	_, entry := c.Deliver(c.Now(), h.Log(1))
	return c.Reissue(0, func(d *testtrail.Doc) { d.Logs = slices.Repeat([]testtrail.DocLog{entry}, 4000) })
}

// What a large digest says does not depend on how it is read, and neither does
// what is wrong with it.
func TestLargeDigest(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(inflated, stored []byte) []byte // to what is stored
		max    int64
		want   error
		body   bool // is kept
	}{
		{name: "untouched"},
		{name: "no digest", change: func(b, _ []byte) []byte {
			return testtrail.Gzip(bytes.Replace(b, []byte(`hashValue`), []byte(`hashvalue`), 1))
		}, want: digest.ErrFormat, body: true},
		{name: "more behind", change: func(b, _ []byte) []byte { return testtrail.Gzip(append(slices.Clone(b), "{}"...)) }, want: digest.ErrFormat, body: true},
		{name: "no digest and cut off", change: func(b, _ []byte) []byte { z := testtrail.Gzip(b[1:]); return z[:len(z)-9] }, want: inflate.ErrTruncated},
		{name: "cut off", change: func(_, z []byte) []byte { return z[:len(z)-9] }, want: inflate.ErrTruncated},
		{name: "a second member", change: func(_, z []byte) []byte { return append(slices.Clone(z), z...) }, want: inflate.ErrTrailing},
		{name: "a bomb", change: func(_, _ []byte) []byte { return testtrail.Gzip(make([]byte, 3<<20)) }, max: 2 << 20, want: inflate.ErrTooLarge},
		{name: "zeros", change: func(_, _ []byte) []byte { return testtrail.Gzip(make([]byte, 2<<20)) }, want: digest.ErrFormat, body: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHour(t)
			d := busyDigest(h)
			inflated := d.Body
			if c.change != nil {
				h.Edit(d.Bucket, d.Key, func(s *testtrail.Stored) {
					s.Body = c.change(inflated, s.Body)
					inflated, _, _ = inflate.Bytes(bytes.NewReader(s.Body), inflate.Options{Limit: 1 << 30})
				})
			}
			f := fetch.New(h, 1)
			if c.max > 0 {
				f.MaxDigest = c.max
			}
			h.digest.Key = d.Key
			if _, deferred, err := f.PrefetchDigest(t.Context(), h.digest); !deferred || err != nil {
				t.Errorf("ahead: deferred %t, %v", deferred, err)
			}
			for range 2 { // it can be read again
				got, release, err := f.ReadLarge(t.Context(), h.digest)
				release()
				if !errors.Is(err, c.want) || (got.Body != nil) != c.body ||
					(got.Digest != nil) != (c.want == nil || c.want == inflate.ErrTrailing) ||
					got.Meta[digest.MetaSignature] == "" {
					t.Fatalf("%v, digest %t, body of %d, metadata %v", err, got.Digest != nil, len(got.Body), got.Meta)
				}
				if c.body && !bytes.Equal(got.Body, inflated) {
					t.Error("the body is another")
				}
				if want, _ := digest.Parse(inflated); c.want == nil &&
					(got.Digest.Sum != want.Sum || len(got.Digest.Logs) != 4000) {
					t.Errorf("sum %s, %d logs", got.Digest.Sum, len(got.Digest.Logs))
				}
			}
			if got, err := f.Digest(t.Context(), h.digest); !errors.Is(err, c.want) ||
				(got.Digest != nil) != (c.want == nil || c.want == inflate.ErrTrailing) {
				t.Errorf("Digest: %v", err)
			}
		})
	}
}
