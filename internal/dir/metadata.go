package dir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/trailseal/trailseal/pkg/finding"
)

const (
	sidecarEnd = ".metadata.json"
	jsonEnd    = ".json"
	gzipEnd    = ".gz"
	maxSidecar = 64 << 10 // bytes; S3 allows 2 KB of user metadata
)

// isSidecarName reports whether a file has the name that the sidecar of another
// file has. Beside X.json, which stands for the object X.json.gz, that is the
// sidecar of either name. A file named as the sidecar of a sidecar is an object.
func isSidecarName(name string, isFile func(string) bool) bool {
	object, ok := strings.CutSuffix(name, sidecarEnd)
	if !ok {
		return false
	}
	stands := func(file string) bool { return isFile(file) && !isSidecarName(file, isFile) }
	inflated, zipped := strings.CutSuffix(object, gzipEnd)
	return stands(object) || zipped && strings.HasSuffix(inflated, jsonEnd) && stands(inflated)
}

// isSidecar reports whether the content of a file is that of a sidecar.
func (t tree) isSidecar(name string) bool {
	_, found, err := t.sidecar(name)
	return found && err == nil
}

// metadata reads the sidecars of the file name. It returns nil where there are
// none. Its errors wrap finding.ErrMetadata and never fs.ErrNotExist, which
// would say that the object is absent.
func (t tree) metadata(name string) (map[string]string, error) {
	side := name + sidecarEnd
	meta, _, err := t.sidecar(side)
	if err == nil && strings.HasSuffix(name, jsonEnd) {
		other, found, err := t.sidecar(name + gzipEnd + sidecarEnd)
		switch {
		case err != nil:
			return nil, metadataError(name+gzipEnd+sidecarEnd, err)
		case found && meta != nil && !maps.Equal(meta, other):
			return nil, metadataError(side, fmt.Errorf("differs from %s", filepath.ToSlash(name+gzipEnd+sidecarEnd)))
		case found:
			return other, nil
		}
	}
	if err != nil {
		return nil, metadataError(side, err)
	}
	return meta, nil
}

func metadataError(side string, err error) error {
	return fmt.Errorf("sidecar %s: %w: %w", filepath.ToSlash(side), finding.ErrMetadata, err)
}

// sidecar reads a sidecar and reports whether there is one. The metadata is not
// nil if there is one and the error is nil.
func (t tree) sidecar(name string) (meta map[string]string, found bool, err error) {
	// The common case, and cheap: the object's folder is known to be there.
	if _, err := t.root.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	f, _, err := t.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil // a folder, or a name too long
	}
	if err != nil {
		return nil, true, err
	}
	defer f.Close()
	meta, err = parseSidecar(f)
	return meta, true, err
}

// parseSidecar reads what `aws s3api head-object` prints. The proof of a digest
// uses it, so a name that comes twice, in any case, is an error. So are records:
// listings leave a sidecar out, and must not leave out a log file.
func parseSidecar(r io.Reader) (map[string]string, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSidecar+1))
	switch {
	case err != nil:
		return nil, bare(err)
	case len(b) > maxSidecar:
		return nil, fmt.Errorf("more than %d bytes", maxSidecar)
	}
	var head map[string]jsontext.Value
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, err
	}
	for name := range head {
		if strings.EqualFold(name, "Records") {
			return nil, errors.New("has Records")
		}
	}
	var found map[string]string
	if text, ok := head["Metadata"]; ok {
		if err := json.Unmarshal(text, &found); err != nil {
			return nil, err
		}
	}
	if found == nil {
		return nil, errors.New("no Metadata")
	}
	meta := make(map[string]string, len(found))
	for name, value := range found {
		lower := strings.ToLower(name)
		if _, twice := meta[lower]; twice {
			return nil, fmt.Errorf("metadata name %q comes twice", lower)
		}
		meta[lower] = value
	}
	return meta, nil
}
