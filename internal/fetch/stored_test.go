package fetch_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Stored bytes come back as they are, whatever their number. A body that breaks off is read
// again from its start or is an error, and never a shorter body.
func TestStored(t *testing.T) {
	boom := errors.New("connection reset")
	for _, size := range []int{0, 1, 1<<20 - 1, 1 << 20, 1<<20 + 1, 3<<20 + 5} {
		for _, fault := range []testtrail.Fault{{}, {Err: boom, Cut: 1, Times: 1}, {Err: io.ErrUnexpectedEOF, Cut: 1, Times: 1}, {Err: io.ErrUnexpectedEOF, Cut: 1 << 20}, {Err: boom, Cut: 1}} {
			synctest.Test(t, func(t *testing.T) {
				w := testtrail.New()
				body := bytes.Repeat([]byte("0123456789abcde"), size/15+1)[:size]
				w.Put("b", "k", testtrail.Stored{Body: body})
				always := fault.Times == 0
				if fault.Err != nil {
					w.Fail("b", "k", &fault)
				}
				o := trail.Object{Bucket: "b", Key: "k"}
				h, err := fetch.New(w, 1).Stored(t.Context(), o, fetch.StoredRead{Max: 3<<20 + 5})
				if fault.Err != nil && always {
					if !errors.Is(err, fault.Err) {
						t.Errorf("%d bytes, %+v: error %v", size, fault, err)
					}
					return
				}
				for range 2 {
					if got, _ := io.ReadAll(h.Reader()); err != nil || !bytes.Equal(got, body) {
						t.Errorf("%d bytes, %+v: %d bytes, %v", size, fault, len(got), err)
					}
				}
				if size > 0 {
					if _, err := fetch.New(w, 1).Stored(t.Context(), o, fetch.StoredRead{Max: int64(size - 1)}); !errors.Is(
						err,
						inflate.ErrTooLarge,
					) {
						t.Errorf("%d bytes, one less allowed: %v", size, err)
					}
				}
			})
		}
	}
}
