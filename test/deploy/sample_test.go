package deploy

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The built-in sample: a copy of a bucket without metadata.
const (
	sampleFolder = root + "/test/sample"
	sampleBucket = "example-trail-logs"
)

// sample is the built-in sample as it lay in its bucket: with the signatures
// in the metadata.
type sample struct {
	objects map[string]object
	// What is there when the program starts, the log files and each chain's
	// first digest, and the digests that come after.
	before, after []string
	proven        []string // events by log and number: "s3://BUCKET/KEY 0"
}

type object struct {
	body []byte
	meta map[string]string
}

// digestFile is what of a digest is needed to know who signs what.
type digestFile struct {
	Previous  *string `json:"previousDigestS3Object"`
	Signature *string `json:"previousDigestSignature"`
	Logs      []struct {
		Key  string `json:"s3Object"`
		Hash string `json:"hashValue"`
	} `json:"logFiles"`
}

func readSample(t *testing.T) *sample {
	t.Helper()
	s := &sample{objects: map[string]object{}}
	digests := map[string]digestFile{}
	if err := filepath.WalkDir(sampleFolder+"/AWSLogs", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		key, _ := strings.CutPrefix(filepath.ToSlash(path), sampleFolder+"/")
		switch {
		case strings.HasSuffix(key, ".metadata.json"):
			head := parse[struct{ Metadata map[string]string }](t, b)
			s.sign(strings.TrimSuffix(key, ".metadata.json"), head.Metadata["signature"])
			return err
		case isDigest(key):
			digests[key] = parse[digestFile](t, inflated(t, b))
		}
		s.objects[key] = object{b, s.objects[key].meta}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, d := range digests {
		if d.Signature != nil {
			s.sign(*d.Previous, *d.Signature)
		}
	}
	for key, d := range digests {
		if s.objects[key].meta == nil {
			delete(s.objects, key) // the newest of one chain: its signature is lost
			continue
		}
		s.prove(t, d)
	}
	s.divide(digests)
	if len(s.before) < 25 || len(s.after) < 25 || len(s.proven) < 90 {
		t.Fatalf("%d and %d objects, %d events", len(s.before), len(s.after), len(s.proven))
	}
	return s
}

func (s *sample) sign(key, signature string) {
	s.objects[key] = object{s.objects[key].body, map[string]string{"signature": signature, "signature-algorithm": "SHA256withRSA"}}
}

// prove adds the events of the logs that have the signed hash.
func (s *sample) prove(t *testing.T, d digestFile) {
	t.Helper()
	for _, l := range d.Logs {
		b := inflated(t, s.objects[l.Key].body)
		if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != l.Hash {
			continue // someone has edited it
		}
		for i := range parse[struct{ Records []json.RawMessage }](t, b).Records {
			s.proven = append(s.proven, fmt.Sprintf("s3://%s/%s %d", sampleBucket, l.Key, i))
		}
	}
	slices.Sort(s.proven)
}

func (s *sample) divide(digests map[string]digestFile) {
	keys, seen := slices.Sorted(maps.Keys(s.objects)), map[string]bool{}
	for _, key := range keys {
		chain := filepath.Dir(key) // of one day
		if _, ok := digests[key]; ok && seen[chain] {
			s.after = append(s.after, key)
			continue
		}
		seen[chain] = true
		s.before = append(s.before, key)
	}
}

func isDigest(key string) bool { return strings.Contains(key, "/CloudTrail-Digest/") }

func parse[T any](t *testing.T, b []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%v: %.200s", err, b)
	}
	return v
}

func inflated(t *testing.T, b []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
