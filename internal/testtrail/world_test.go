package testtrail_test

import (
	"context"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// The world must keep every rule of the format, or nothing tested in it means
// anything.
func TestChainKeepsTheFormat(t *testing.T) {
	ctx := context.Background()
	w := testtrail.New()
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	c := w.Trail(testtrail.Options{Prefix: "a/b", Organization: "o-0123456789"}).Chain("111122223333", "eu-west-1", start)
	c.Hours(3)
	f := fetch.New(w, 1)
	var newer *digest.Digest
	for i := len(c.Issued) - 1; i >= 0; i-- {
		is := c.Issued[i]
		file, err := f.Digest(ctx, trail.Object{Bucket: is.Bucket, Key: is.Key})
		if err != nil {
			t.Fatal(err)
		}
		d := file.Digest
		key, err := trail.ParseDigestKey(is.Key)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.CheckLocation(is.Bucket, key); err != nil {
			t.Error(err)
		}
		keys, _ := w.PublicKeys(ctx, "eu-west-1", start, start.Add(5*time.Hour))
		k, err := keys.Find("eu-west-1", d.Fingerprint, d.End)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := digest.Signature(file.Meta)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Verify(k, sig); err != nil {
			t.Error(err)
		}
		if newer != nil {
			if err := d.CheckLink(newer.Previous, sig); err != nil {
				t.Error(err)
			}
			if err := newer.CheckWindow(trail.DigestKey{End: d.End}); err != nil {
				t.Error(err)
			}
		}
		for _, l := range d.Logs {
			if err := d.CheckLog(l, key.Place); err != nil {
				t.Error(err)
			}
			if _, err := f.Log(ctx, l); err != nil {
				t.Error(err)
			}
		}
		newer = d
	}
	if newer == nil || newer.Previous != nil {
		t.Error("the oldest digest is no starting digest")
	}
}
