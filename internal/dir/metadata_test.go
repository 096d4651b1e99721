package dir_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

const headObject = `{
    "AcceptRanges": "bytes",
    "LastModified": "2026-03-01T01:35:11+00:00",
    "ContentLength": 812,
    "ETag": "\"9a0364b9e99bb480dd25e1f0284c8555\"",
    "ContentEncoding": "gzip",
    "ContentType": "application/json",
    "Metadata": {
        "Signature": "6a2f",
        "signature-algorithm": "SHA256withRSA"
    }
}`

func TestSidecar(t *testing.T) {
	good := map[string]string{"signature": "6a2f", "signature-algorithm": "SHA256withRSA"}
	rows := []struct {
		name    string
		sidecar string
		want    map[string]string
		text    string // the error says this
	}{
		{"control", headObject, good, ""},
		{"no user metadata", `{"ContentLength": 1, "Metadata": {}}`, map[string]string{}, ""},
		{"as large as may be", headObject + strings.Repeat("\n", 64<<10-len(headObject)), good, ""},
		{"too large", headObject + strings.Repeat("\n", 64<<10-len(headObject)+1), nil, "more than 65536 bytes"},
		{"empty", "", nil, ""},
		{"cut off", headObject[:len(headObject)-5], nil, ""},
		{"other JSON", `{"metadata": {"signature": "6a2f"}}`, nil, "no Metadata"},
		{"null", `{"Metadata": null}`, nil, "no Metadata"},
		{"a list", `[]`, nil, ""},
		{"a number for a string", `{"Metadata": {"signature": 7}}`, nil, ""},
		{"a name twice", `{"Metadata": {"signature": "1", "signature": "2"}}`, nil, ""},
		{"a name twice but for case", `{"Metadata": {"signature": "1", "Signature": "2"}}`, nil, "comes twice"},
		{"Metadata twice", `{"Metadata": {"signature": "1"}, "Metadata": {"signature": "2"}}`, nil, ""},
		{"two values", headObject + headObject, nil, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			tr := newTree(t)
			tr.write("in/a/b.json.metadata.json", row.sidecar)
			d := tr.open()
			if _, meta, err := get(d, "a/b/c"); err != nil || len(meta) > 0 {
				t.Errorf("without a sidecar: %v, %v", meta, err)
			}
			b, meta, err := get(d, "a/b.json")
			if row.want != nil {
				if err != nil || b != "b" || !maps.Equal(meta, row.want) {
					t.Errorf("%q, %v, %v", b, meta, err)
				}
				return
			}
			if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), row.text) ||
				!strings.HasPrefix(err.Error(), "get s3://bucket/a/b.json: sidecar a/b.json.metadata.json: ") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestSidecarsAreNotListed(t *testing.T) {
	tr := newTree(t)
	tr.write("in/a/b.json.metadata.json", headObject)
	tr.write("in/a/b.json.metadata.json.metadata.json", "of a sidecar: an object")
	tr.write("in/a/gone.metadata.json", "without its object: an object")
	tr.write("in/a/b.metadata.json", "b is a folder: an object")
	tr.write("in/a/.metadata.json", "an object")
	tr.must(os.Mkdir(tr.path("in/a/d"), 0o755))
	tr.write("in/a/d/x", "")
	tr.write("in/a/d/x.metadata.json/y", "a folder is no sidecar")
	d := tr.open()
	keys, err := list(d, "", "")
	want := []string{
		"a/.metadata.json", "a/b.json", "a/b.json.metadata.json.metadata.json", "a/b.metadata.json", "a/b/c",
		"a/d/x", "a/d/x.metadata.json/y", "a/gone.metadata.json",
	}
	if err != nil || !slices.Equal(keys, want) {
		t.Errorf("%q, %v", keys, err)
	}
	for _, k := range keys {
		if _, _, err := get(d, k); err != nil {
			t.Error(err)
		}
	}
}
