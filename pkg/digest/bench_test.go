package digest_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/digest"
)

func BenchmarkDigest(b *testing.B) {
	w := testtrail.New()
	begin := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for _, n := range []int{20, 100_000} {
		c := w.Trail(testtrail.Options{}).Chain("111122223333", "us-east-1", begin)
		_, entry := c.Deliver(begin, w.Log(1))
		issued := c.Reissue(0, func(d *testtrail.Doc) { d.Logs = slices.Repeat([]testtrail.DocLog{entry}, n) })
		b.Run(fmt.Sprintf("Parse/%dlogs", n), func(b *testing.B) {
			b.SetBytes(int64(len(issued.Body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := digest.Parse(issued.Body); err != nil {
					b.Fatal(err)
				}
			}
		})
		d, err := digest.Parse(issued.Body)
		if err != nil {
			b.Fatal(err)
		}
		key, err := w.KeySet(begin, begin).Find("us-east-1", d.Fingerprint, begin)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("Verify/%dlogs", n), func(b *testing.B) {
			for b.Loop() {
				if err := d.Verify(key, issued.Signature); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParseKeySet(b *testing.B) {
	w := testtrail.New()
	begin := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	set, err := w.PublicKeys(b.Context(), "us-east-1", begin.AddDate(-1, 0, 0), begin)
	if err != nil {
		b.Fatal(err)
	}
	list, err := set.JSON()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(list)))
	for b.Loop() {
		if _, err := digest.ParseKeySet(list); err != nil {
			b.Fatal(err)
		}
	}
}
