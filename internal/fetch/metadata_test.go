package fetch_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"testing"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
)

// Metadata that cannot be read does not hide the content. Only a digest's File
// says so. What is wrong with the content stays wrong.
func TestMetadataCannotBeRead(t *testing.T) {
	refused := fmt.Errorf("sidecar: %w: %w", finding.ErrMetadata, fs.ErrPermission)
	for _, tt := range []struct {
		name    string
		metaErr error
		content string // "": untouched
		digest  error
		log     error
	}{
		{"control", nil, "", nil, nil},
		{"spoilt metadata", refused, "", nil, nil},
		{"spoilt content", nil, "{}", digest.ErrFormat, digest.ErrModified},
		{"spoilt both", refused, "{}", digest.ErrFormat, digest.ErrModified},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHour(t)
			l := h.log.Location()
			if tt.content != "" {
				h.Edit(
					h.digest.Bucket,
					h.digest.Key,
					func(s *testtrail.Stored) { s.Body = testtrail.Gzip([]byte(tt.content)) },
				)
				h.Edit(l.Bucket, l.Key, func(s *testtrail.Stored) { s.Body = testtrail.Gzip([]byte(tt.content)) })
			}
			c := &closing{Objects: h, metaErr: tt.metaErr}
			f := fetch.New(c, 1)
			expect := func(what string, file fetch.File, err error) {
				t.Helper()
				if !errors.Is(err, tt.digest) || err == nil != (tt.digest == nil) ||
					(file.Digest != nil) != (tt.digest == nil) {
					t.Errorf("%s: %v, %v", what, file.Digest, err)
				}
				if file.MetaErr != tt.metaErr || (file.Meta == nil) != (tt.metaErr != nil) {
					t.Errorf("%s: metadata %v, %v", what, file.Meta, file.MetaErr)
				}
			}
			file, err := f.Digest(t.Context(), h.digest)
			expect("digest", file, err)
			file, release, err := f.ReadLarge(t.Context(), h.digest)
			release()
			expect("large digest", file, err)
			if err := readEarly(f, f.Request(t.Context(), l), h.log); !errors.Is(err, tt.log) {
				t.Errorf("early log: %v", err)
			}
			f.Request(t.Context(), l).Drop()

			var copied bytes.Buffer
			if _, err := f.CopyLog(t.Context(), func() io.Writer { return &copied }, h.log); !errors.Is(err, tt.log) ||
				copied.Len() == 0 {
				t.Errorf("log: %v, %d bytes", err, copied.Len())
			}
			stored, _ := h.Stored(l.Bucket, l.Key)
			chunks, err := f.Stored(t.Context(), l, fetch.StoredRead{Max: 1 << 20})
			if got, _ := io.ReadAll(chunks.Reader()); err != nil || !bytes.Equal(got, stored.Body) {
				t.Errorf("stored: %d bytes, %v", len(got), err)
			}
			f.Wait()
			if n := c.open.Load(); n != 0 {
				t.Errorf("%d bodies are open", n)
			}
		})
	}
}
