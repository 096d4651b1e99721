package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/testtrail"
)

const bucket = "trail-bucket"

func TestSample(t *testing.T) {
	var out strings.Builder
	sample := filepath.Join("..", "..", "test", "sample")
	exit := run(sample, filepath.Join(sample, "keys.json"), &out)
	for _, want := range []string{
		"444455556666_CloudTrail_eu-west-1_20260301T0525Z_hlZnhDCf45UvnWqz.json.gz: want ",                                 // the edited log
		"444455556666_CloudTrail-Digest_us-east-1_main_us-east-1_20260301T080811Z.json.gz: a copy without object metadata", // not signed
		"\nfindings\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("does not say %q", want)
		}
	}
	if exit != 1 || t.Failed() {
		t.Errorf("exit %d\n%s", exit, out.String())
	}
}

func TestRun(t *testing.T) {
	for _, row := range []struct {
		name     string
		tamper   func(*testtrail.World, *testtrail.Chain)
		unsigned bool // without metadata
		exit     int
		want     string
	}{
		{"untouched", nil, false, 0, "proven\n"},
		{"without metadata", nil, true, 3, "no newer digest repeats its signature"},
		{"log edited", func(w *testtrail.World, c *testtrail.Chain) {
			w.Edit(bucket, c.Issued[2].Logs[0].Key, func(o *testtrail.Stored) { o.Body = testtrail.Gzip([]byte("{}")) })
		}, false, 1, "hash value does not match"},
		{"log cut", func(w *testtrail.World, c *testtrail.Chain) {
			w.Edit(bucket, c.Issued[2].Logs[0].Key, func(o *testtrail.Stored) { o.Body = o.Body[:40] })
		}, false, 1, "broken container"},
		{"log deleted", func(w *testtrail.World, c *testtrail.Chain) { w.Delete(bucket, c.Issued[2].Logs[0].Key) },
			false, 1, "no such file or directory"},
		{"digest deleted", func(w *testtrail.World, c *testtrail.Chain) { w.Delete(bucket, c.Issued[2].Key) },
			false, 1, "digest-missing: named by its successor"},
		{"digest edited", func(w *testtrail.World, c *testtrail.Chain) {
			w.Edit(bucket, c.Issued[2].Key, func(o *testtrail.Stored) { o.Body = testtrail.Gzip(append(c.Issued[2].Body, '\n')) })
		}, false, 1, "chain-mismatch: "},
		{"no digest", func(w *testtrail.World, c *testtrail.Chain) {
			for _, d := range c.Issued {
				w.Delete(bucket, d.Key)
			}
		}, false, 3, "no digest found"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := testtrail.New()
			c := w.Trail(testtrail.Options{Bucket: bucket}).Chain("111122223333", "us-east-1", time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))
			c.Hours(3)
			if row.tamper != nil {
				row.tamper(w, c)
			}
			heads := map[string]bool{}
			for _, d := range c.Heads() {
				heads[d.Key] = !row.unsigned
			}
			dir := t.TempDir()
			keys := write(t, w, c)
			if err := w.WriteFolder(bucket, dir, func(key string) bool { return heads[key] }); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			if exit := run(dir, keys, &out); exit != row.exit || !strings.Contains(out.String(), row.want) {
				t.Errorf("exit %d\n%s", exit, out.String())
			}
		})
	}
}

// write writes the list of keys to a file and returns its name.
func write(t *testing.T, w *testtrail.World, c *testtrail.Chain) string {
	b, err := w.KeySet(c.Now().Add(-24*time.Hour), c.Now()).JSON()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// What cannot be read is not called intact.
func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	notKeys := filepath.Join(dir, "keys.json")
	if err := os.WriteFile(notKeys, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := filepath.Join("..", "..", "test", "sample", "keys.json")
	for name, args := range map[string][2]string{
		"no folder": {filepath.Join(dir, "none"), good}, "no keys": {dir, filepath.Join(dir, "none")}, "bad keys": {dir, notKeys},
	} {
		var out strings.Builder
		if exit := run(args[0], args[1], &out); exit != 3 {
			t.Errorf("%s: exit %d\n%s", name, exit, out.String())
		}
	}
}
