package testtrail

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/pkg/trail"
)

// SidecarEnd ends the name of the file that keeps an object's metadata in a
// folder.
const SidecarEnd = ".metadata.json"

// WriteFolder writes a bucket's objects below a folder as `aws s3 sync` leaves
// them: each at its key, with its time, without its metadata. Where sidecar is
// not nil and true of a key, the object's metadata goes into a sidecar. The
// folder is made where needed; files that are there already are overwritten,
// others left alone.
func (s *Store) WriteFolder(bucket, folder string, sidecar func(key string) bool) error {
	keys, ok := s.Keys(bucket, "")
	if !ok {
		return fmt.Errorf("write %s: no bucket %s", folder, bucket)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("write bucket %s: %w", bucket, err)
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return fmt.Errorf("write bucket %s: %w", bucket, err)
	}
	defer root.Close()
	for _, k := range keys {
		o, _ := s.Stored(bucket, k)
		if err := writeObject(root, k, o); err != nil {
			return fmt.Errorf("write s3://%s/%s: %w", bucket, k, err)
		}
		if sidecar == nil || !sidecar(k) {
			continue
		}
		if err := root.WriteFile(filepath.FromSlash(k+SidecarEnd), o.HeadObject(), 0o644); err != nil {
			return fmt.Errorf("write sidecar of s3://%s/%s: %w", bucket, k, err)
		}
	}
	return nil
}

func writeObject(root *os.Root, key string, o Stored) error {
	name := filepath.FromSlash(key)
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := root.WriteFile(name, o.Body, 0o644); err != nil {
		return err
	}
	if o.Modified.IsZero() {
		return nil
	}
	return root.Chtimes(name, o.Modified, o.Modified)
}

// HeadObject returns what `aws s3api head-object` prints of an object.
func (o Stored) HeadObject() []byte {
	sum := md5.Sum(o.Body)
	head := struct {
		AcceptRanges    string
		LastModified    string
		ContentLength   int
		ETag            string
		ContentEncoding string `json:",omitempty"`
		ContentType     string
		Metadata        map[string]string
	}{
		"bytes", o.Modified.UTC().Format("2006-01-02T15:04:05+00:00"), len(o.Body),
		`"` + hex.EncodeToString(sum[:]) + `"`, o.Encoding, "application/json", o.Meta,
	}
	if head.Metadata == nil {
		head.Metadata = map[string]string{}
	}
	b, err := json.MarshalIndent(head, "", "    ")
	if err != nil {
		panic(err)
	}
	return append(b, '\n')
}

// Heads returns the digests whose signature no later digest repeats: the
// newest, and the last one before each restart. In a plain copy nothing tells
// whether they are genuine.
func (c *Chain) Heads() (heads []*Issued) {
	for i, d := range c.Issued {
		if i+1 == len(c.Issued) || c.Issued[i+1].Doc.PrevObject == nil {
			heads = append(heads, d)
		}
	}
	return heads
}

// EditLog changes the inflated bytes of a delivered log file and packs them
// anew, so that the container is in order. It panics where change changes
// nothing: a test that tampers with nothing is no test.
func (s *Store) EditLog(o trail.Object, change func([]byte) []byte) {
	s.Edit(o.Bucket, o.Key, func(st *Stored) {
		was, _, err := inflate.Bytes(bytes.NewReader(st.Body), inflate.Options{Limit: maxEventFile})
		if err != nil {
			panic(err)
		}
		now := change(bytes.Clone(was))
		if bytes.Equal(was, now) {
			panic("not edited: " + o.String())
		}
		st.Body = Gzip(now)
	})
}
