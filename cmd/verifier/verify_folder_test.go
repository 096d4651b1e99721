package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/testtrail"
)

// write writes the site as a copy and returns what is given as SOURCE.
func (s *site) write(t *testing.T, l testtrail.Layout, folder string) string {
	t.Helper()
	heads := map[string]bool{s.chain.Issued[6].Key: true, s.other.Issued[6].Key: true}
	source, err := l.Write(s.Store, "trail-bucket", folder, owner, begin.Add(3*time.Hour), func(k string) bool { return heads[k] })
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// All layouts of a copy are read alike, and what was edited in one is found.
func TestVerifyCopies(t *testing.T) {
	signIn(t)
	for _, layout := range testtrail.Layouts() {
		t.Run(layout.Name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			folder := t.TempDir()
			source := s.write(t, layout, folder)
			parts, text := 1, "INTACT"
			if layout.Account {
				parts = 2
			}
			if layout.Litter > 0 {
				text = fmt.Sprintf("skipped: %d files that a desktop leaves behind", layout.Litter)
			}
			got, r := s.verify(t, source)
			if r == nil || s.lines(r) != "" || !strings.Contains(got.out, text) ||
				r.Counts.Digests.Valid != siteDigests/parts || r.Counts.Logs.Valid != siteLogs/parts {
				t.Fatalf("%+v", got)
			}
			n, err := testtrail.EditCopies(folder, s.chain.Issued[3].Logs[1].Key)
			if err != nil {
				t.Fatal(err)
			}
			got, r = s.verify(t, source)
			var found []string
			for line := range strings.Lines(s.lines(r)) {
				found = append(found, strings.Fields(line)[0])
			}
			if n == 0 || !slices.Equal(found, slices.Repeat([]string{"log-modified"}, n)) || r.Counts.Logs.Listed() != siteLogs/parts {
				t.Errorf("%d edited\n%s", n, got.out)
			}
		})
	}
}

// Of two copies of one file, the edited one is a finding, and the other proves the
// file.
func TestVerifySecondCopy(t *testing.T) {
	signIn(t)
	for _, row := range []struct {
		key   func(*site) string
		class string
		text  string
	}{
		{func(s *site) string { return s.chain.Issued[3].Logs[1].Key }, "log-modified", "a second copy: its content is not what was signed for"},
		{func(s *site) string { return s.chain.Issued[3].Key }, "chain-mismatch", ""},
	} {
		s := newSite(t)
		folder, key := t.TempDir(), row.key(s)
		s.write(t, testtrail.Layouts()[0], filepath.Join(folder, "first"))
		s.write(t, testtrail.Layouts()[0], filepath.Join(folder, "second"))
		if n, err := testtrail.EditCopies(filepath.Join(folder, "second"), key); n != 1 || err != nil {
			t.Fatalf("%d edited, %v", n, err)
		}
		got, r := s.verify(t, folder)
		if r == nil || s.lines(r) != row.class+" second/"+key || !strings.Contains(got.out, row.text) ||
			r.Counts.Logs.Valid != siteLogs || r.Counts.Digests.Valid != siteDigests {
			t.Errorf("%+v", got)
		}
	}
}
