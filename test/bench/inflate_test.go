package bench

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/internal/testtrail"
)

// BenchmarkInflate reads log files of some sizes with internal/inflate and
// with a loop that does nothing but inflate and hash. MB/s are of inflated
// data. Run it with -cpu=1.
func BenchmarkInflate(b *testing.B) {
	w := testtrail.New()
	for _, size := range []int{20 << 10, 500 << 10, 5 << 20} {
		body := w.SizedLog(size)
		stored, want := testtrail.Gzip(body), sha256.Sum256(body)
		name := fmt.Sprintf("%dKB", size>>10)
		b.Run(name+"/copy", func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				sum, _, err := inflate.Copy(nil, bytes.NewReader(stored), inflate.Options{Limit: 1 << 30})
				if err != nil || sum != want {
					b.Fatal(sum, err)
				}
			}
		})
		b.Run(name+"/bare", func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			var z gzip.Reader
			h, buf := sha256.New(), make([]byte, 64<<10)
			for b.Loop() {
				if err := bare(&z, h, buf, stored); err != nil || [32]byte(h.Sum(nil)) != want {
					b.Fatal(err)
				}
			}
		})
	}
}

// bare is the least that can be done.
func bare(z *gzip.Reader, h hash.Hash, buf, stored []byte) error {
	h.Reset()
	if err := z.Reset(bytes.NewReader(stored)); err != nil {
		return err
	}
	for {
		n, err := z.Read(buf)
		h.Write(buf[:n])
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
