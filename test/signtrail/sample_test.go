package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

const sampleFolder = "../sample"

// The committed sample is what the generator writes now.
func TestSampleIsUpToDate(t *testing.T) {
	fresh := t.TempDir()
	var stderr bytes.Buffer
	if code := run([]string{"sample", fresh}, io.Discard, &stderr); code != 0 {
		t.Fatal(stderr.String())
	}
	want, got := readTree(t, fresh), readTree(t, sampleFolder)
	delete(got, "README.md")
	for name, b := range want {
		switch have, ok := got[name]; {
		case !ok:
			t.Errorf("%s is not there: go generate ./test/signtrail", name)
		case !same(t, name, have, b):
			t.Errorf("%s is another: go generate ./test/signtrail", name)
		}
		delete(got, name)
	}
	for name := range got {
		t.Errorf("%s does not belong to the sample", name)
	}
}

// same compares files. Another version of Go may pack the same bytes another
// way; what is signed, and what must not drift, is the bytes themselves.
func same(t *testing.T, name string, a, b []byte) bool {
	if bytes.Equal(a, b) || !strings.HasSuffix(name, ".gz") {
		return bytes.Equal(a, b)
	}
	t.Logf("%s is packed another way", name)
	return bytes.Equal(unpack(t, a), unpack(t, b))
}

func unpack(t *testing.T, b []byte) []byte {
	t.Helper()
	b, _, err := inflate.Bytes(bytes.NewReader(b), inflate.Options{Limit: 1 << 20})
	if err != nil {
		t.Error(err)
	}
	return b
}

func readTree(t *testing.T, folder string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := fs.WalkDir(os.DirFS(folder), ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			files[name], err = os.ReadFile(filepath.Join(folder, name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestSampleIsSmall(t *testing.T) {
	size, n := 0, 0
	for _, b := range readTree(t, sampleFolder) {
		size, n = size+len(b), n+1
	}
	if size > 150<<10 || n > 99 {
		t.Errorf("%d files with %d bytes", n, size)
	}
}

// What README.md says that a verifier must find.
func TestSampleHoldsWhatItSays(t *testing.T) {
	w, s := walk(t, sampleFolder), testtrail.Sample()
	if len(w.verified) != 34 || w.logs != 28 || w.unproven != 1 || len(w.records) != 103 || len(w.missing) != 0 || w.starting != 5 {
		t.Errorf("%d digests verified, %d logs, %d of them unproven, %d records, missing %v, %d starting", len(w.verified), w.logs, w.unproven, len(w.records), w.missing, w.starting)
	}
	newest := s.Unsigned.Issued[len(s.Unsigned.Issued)-1].Key
	if !slices.Equal(w.unsigned, []string{newest}) {
		t.Errorf("unsigned: %q, want %s", w.unsigned, newest)
	}
	if err := w.badLogs[s.Tampered.Key]; len(w.badLogs) != 1 || !errors.Is(err, digest.ErrModified) {
		t.Errorf("bad: %v, want %s", w.badLogs, s.Tampered.Key)
	}
	if s.GapTo.Sub(s.GapFrom) != 2*time.Hour {
		t.Errorf("logging is off from %s to %s", s.GapFrom, s.GapTo)
	}
	var who []string
	for _, r := range w.records {
		if e, err := trail.ParseEvent(r); err == nil && e.Name() == "StopLogging" {
			who = append(who, e.Actor()+" "+e.SourceIPAddress())
		}
	}
	if !slices.Equal(who, []string{"arn:aws:iam::111122223333:user/mallory 198.51.100.7"}) {
		t.Errorf("logging was stopped by %q", who)
	}
	readme, err := os.ReadFile(filepath.Join(sampleFolder, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		filepath.Base(s.Tampered.Key), filepath.Base(s.StopLog.Key), filepath.Base(newest),
		s.GapFrom.Format(time.RFC3339), s.GapTo.Format(time.RFC3339),
	} {
		if !strings.Contains(string(readme), text) {
			t.Errorf("README.md does not name %s", text)
		}
	}
}
