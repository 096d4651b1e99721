package dir_test

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/trailseal/trailseal/pkg/finding"
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
		{"a log file", `{"Records": []}`, nil, "has Records"},
		{"a log file with metadata", `{"records": [], "Metadata": {"signature": "6a2f"}}`, nil, "has Records"},
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
			if b != "b" || meta != nil {
				t.Errorf("content %q, metadata %v", b, meta)
			}
			if !errors.Is(err, finding.ErrMetadata) || errors.Is(err, fs.ErrNotExist) || finding.IsFact(err) || !strings.Contains(err.Error(), row.text) ||
				!strings.HasPrefix(err.Error(), "get s3://bucket/a/b.json: sidecar a/b.json.metadata.json: ") {
				t.Errorf("%v", err)
			}
		})
	}
}

// A sidecar that cannot be opened hides the content of its object no more than
// one that cannot be parsed.
func TestSidecarIsNotAFile(t *testing.T) {
	for name, put := range map[string]func(tr tree, name string){
		"pipe":     func(tr tree, name string) { tr.must(syscall.Mkfifo(tr.path(name), 0o644)) },
		"link out": func(tr tree, name string) { tr.link(name, "../../out/secret") },
		"nowhere":  func(tr tree, name string) { tr.link(name, "none") },
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTree(t)
			put(tr, "in/a/b.json.metadata.json")
			d := tr.open()
			b, meta, err := get(d, "a/b.json")
			if b != "b" || meta != nil || !errors.Is(err, finding.ErrMetadata) || !errors.Is(err, fs.ErrPermission) {
				t.Errorf("%q, %v, %v", b, meta, err)
			}
			if keys, err := list(d, "a/b.", ""); err != nil || !slices.Equal(keys, []string{"a/b.json", "a/b.json.metadata.json"}) {
				t.Errorf("%q, %v", keys, err)
			}
		})
	}
}

// Beside a file that was inflated, the sidecar has its name or the object's.
func TestSidecarsOfInflatedFiles(t *testing.T) {
	const one, other = `{"Metadata": {"signature": "6a2f"}}`, `{"Metadata": {"signature": "b001"}}`
	good := map[string]string{"signature": "6a2f"}
	for _, row := range []struct {
		name         string
		json, zipped string // sidecars; "": none
		want         map[string]string
		bad          bool
	}{
		{"none", "", "", nil, false},
		{"of the file", one, "", good, false},
		{"of the object", "", one, good, false},
		{"both", one, one + "\n", good, false},
		{"both differ", one, other, nil, true},
		{"one without names", `{"Metadata": {}}`, one, nil, true},
		{"spoilt", "{", "", nil, true},
		{"spoilt of the object", "", "{", nil, true},
		{"one spoilt", one, "{", nil, true},
		{"the other spoilt", "{", one, nil, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			tr := newTree(t)
			for side, content := range map[string]string{"in/a/b.json.metadata.json": row.json, "in/a/b.json.gz.metadata.json": row.zipped} {
				if content != "" {
					tr.write(side, content)
				}
			}
			b, meta, err := get(tr.open(), "a/b.json")
			if b != "b" || !maps.Equal(meta, row.want) || errors.Is(err, finding.ErrMetadata) != row.bad || !row.bad && err != nil {
				t.Errorf("%q, %v, %v", b, meta, err)
			}
		})
	}
}

// Listings leave a sidecar out, and nothing else that has its name.
func TestSidecarsAreNotListed(t *testing.T) {
	for _, row := range []struct {
		name, content string
		beside        string // the object
		listed        bool
	}{
		{"x.json.gz.metadata.json", headObject, "x.json.gz", false},
		{"x.json.gz.metadata.json", `{"Metadata": {}}`, "x.json.gz", false},
		{"x.json.metadata.json", headObject, "x.json", false},
		{"x.json.gz.metadata.json", headObject, "x.json", false},
		{"x.metadata.json", headObject, "x", false},
		{"x.json.gz.metadata.json", `{"Records": []}`, "x.json.gz", true},
		{"x.json.gz.metadata.json", `{"Records": []}`, "x.json", true},
		{"x.json.gz.metadata.json", `{"Metadata": {}, "Records": []}`, "x.json.gz", true},
		{"x.json.gz.metadata.json", "\x1f\x8b\x08", "x.json.gz", true},
		{"x.json.gz.metadata.json", "", "x.json.gz", true},
		{"x.json.gz.metadata.json", headObject[:len(headObject)-5], "x.json.gz", true},
		{"x.json.gz.metadata.json", headObject + strings.Repeat("\n", 64<<10), "x.json.gz", true},
		{"x.json.metadata.json", headObject, "x.json.gz", true},
		{"x.txt.gz.metadata.json", headObject, "x.txt", true},
		{"x.json.gz.metadata.json.metadata.json", headObject, "x.json.gz.metadata.json", true},
		{"gone.metadata.json", headObject, "x", true},
		{"folder.metadata.json", headObject, "folder/x", true},
		{"x.metadata.json/y", headObject, "x", true},
		{".metadata.json", headObject, "x", true},
	} {
		t.Run(row.name+" beside "+row.beside, func(t *testing.T) {
			tr := newTree(t)
			tr.write("in/d/"+row.beside, "x")
			tr.write("in/d/"+row.name, row.content)
			if row.name == "x.json.gz.metadata.json.metadata.json" {
				tr.write("in/d/x.json.gz", "x")
				tr.write("in/d/x.json.gz.metadata.json", headObject)
			}
			d := tr.open()
			keys, err := list(d, "d/", "")
			if err != nil || slices.Contains(keys, "d/"+row.name) != row.listed {
				t.Errorf("%q, %v", keys, err)
			}
			top, _, _ := strings.Cut(row.name, "/")
			found, err := children(d, "d/"+top)
			if err != nil || len(found) != len(keys)-len(drop(keys, "d/"+top)) {
				t.Errorf("children %q, %v", found, err)
			}
			if b, _, err := get(d, "d/"+row.name); b != row.content || err != nil {
				t.Errorf("%q, %v", b, err)
			}
		})
	}
}

// drop returns the keys that do not begin with prefix.
func drop(keys []string, prefix string) []string {
	return slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return strings.HasPrefix(k, prefix) })
}
