package dir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/go-json-experiment/json"
)

const (
	sidecarEnd = ".metadata.json"
	maxSidecar = 64 << 10 // bytes; S3 allows 2 KB of user metadata
)

// isSidecar reports whether a file is the sidecar of one of files. The sidecar
// of a sidecar is none: it is listed.
func isSidecar(name string, files map[string]bool) bool {
	object, ok := strings.CutSuffix(name, sidecarEnd)
	return ok && files[object] && !isSidecar(object, files)
}

// metadata reads the sidecar of the file name; nil where there is none. Its
// errors never wrap fs.ErrNotExist, which would say that of the object.
func (d *Dir) metadata(name string) (map[string]string, error) {
	side := name + sidecarEnd
	// The common case, and cheap: the object's folder is known to be there.
	if _, err := d.root.Lstat(side); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	f, _, err := d.open(side)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // a folder, or a name too long
	}
	var meta map[string]string
	if err == nil {
		defer f.Close()
		meta, err = parseSidecar(f)
	}
	if err != nil {
		return nil, fmt.Errorf("sidecar %s: %w", filepath.ToSlash(side), err)
	}
	return meta, nil
}

// parseSidecar reads what `aws s3api head-object` prints. A signature rests on
// it, so a name that comes twice, in whatever case, is an error.
func parseSidecar(r io.Reader) (map[string]string, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSidecar+1))
	switch {
	case err != nil:
		return nil, bare(err)
	case len(b) > maxSidecar:
		return nil, fmt.Errorf("more than %d bytes", maxSidecar)
	}
	var head struct {
		Metadata map[string]string `json:"Metadata"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, err
	}
	if head.Metadata == nil {
		return nil, errors.New("no Metadata")
	}
	meta := make(map[string]string, len(head.Metadata))
	for name, value := range head.Metadata {
		lower := strings.ToLower(name)
		if _, twice := meta[lower]; twice {
			return nil, fmt.Errorf("metadata name %q comes twice", lower)
		}
		meta[lower] = value
	}
	return meta, nil
}
