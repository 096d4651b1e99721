package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/trailseal/trailseal/internal/dir"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// walked is what a folder holds, checked as a verifier checks a plain copy:
// each digest with the signature that its successor repeats, or its sidecar.
type walked struct {
	verified []*digest.Digest
	unsigned []string          // digests that nothing holds a signature of
	starting int               // digests without a predecessor
	missing  []string          // digests that a successor names
	logs     int               // whose hash is the listed one
	unproven int               // of those, listed by an unsigned digest
	badLogs  map[string]error  // by key
	records  []json.RawMessage // of the good logs, oldest first
	t        *testing.T
	fetcher  *fetch.Fetcher
	keys     digest.KeySet
}

func walk(t *testing.T, folder string) *walked {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(folder, "keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := digest.ParseKeySet(b)
	if err != nil {
		t.Fatal(err)
	}
	d, err := dir.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	w := &walked{t: t, keys: keys, fetcher: fetch.New(d, 2), badLogs: map[string]error{}}
	chains := map[trail.Chain][]trail.DigestKey{} // in the order of time, which is that of the keys
	for o, err := range d.List(t.Context(), "", "AWSLogs/", "") {
		if err != nil {
			t.Fatal(err)
		}
		if k, err := trail.ParseDigestKey(o.Key); err == nil {
			chains[k.Chain] = append(chains[k.Chain], k)
		} else if _, err := trail.ParseLogKey(o.Key); err != nil {
			t.Errorf("neither a digest nor a log: %s", o.Key)
		}
	}
	for _, keys := range chains {
		w.chain(keys)
	}
	return w
}

func (w *walked) chain(keys []trail.DigestKey) {
	var digests []*digest.Digest // newest first
	var newer *digest.Digest
	for i := len(keys) - 1; i >= 0; i-- {
		file, err := w.fetcher.Digest(context.Background(), trail.Object{Key: keys[i].String()})
		if err != nil {
			w.t.Errorf("%s: %v", keys[i], err)
			continue
		}
		d := file.Digest
		if err := d.CheckLocation("", keys[i]); err != nil {
			w.t.Errorf("%s: %v", keys[i], err)
		}
		w.signature(d, newer, file.Meta)
		if d.Previous == nil {
			w.starting++
		}
		newer = d
		digests = append(digests, d)
	}
	for i := len(digests) - 1; i >= 0; i-- {
		for _, l := range digests[i].Logs {
			w.log(l)
			if slices.Contains(w.unsigned, digests[i].Object) {
				w.unproven++
			}
		}
	}
}

func (w *walked) signature(d, newer *digest.Digest, meta map[string]string) {
	sig, err := digest.Signature(meta)
	if err != nil {
		w.t.Errorf("%s: %v", d.Object, err)
	}
	switch {
	case newer == nil || newer.Previous == nil:
	case newer.Previous.Object != d.Object:
		w.missing = append(w.missing, newer.Previous.Object)
	default:
		if err := d.CheckLink(newer.Previous, sig); err != nil {
			w.t.Errorf("%s: %v", d.Object, err)
		}
		sig = newer.Previous.Signature
	}
	if sig == "" {
		w.unsigned = append(w.unsigned, d.Object)
		return
	}
	k, err := trail.ParseDigestKey(d.Object)
	if err != nil {
		w.t.Error(err)
	}
	key, err := w.keys.Find(k.Region, d.Fingerprint, d.End)
	if err == nil {
		err = d.Verify(key, sig)
	}
	if err != nil {
		w.t.Errorf("%s: %v", d.Object, err)
		return
	}
	w.verified = append(w.verified, d)
}

func (w *walked) log(l digest.Log) {
	var body bytes.Buffer
	_, err := w.fetcher.CopyLog(context.Background(), func() io.Writer { body.Reset(); return &body }, l)
	if err != nil {
		w.badLogs[l.Object] = err
		return
	}
	w.logs++
	for r, err := range trail.Records(&body) {
		if err != nil {
			w.t.Errorf("%s: %v", l.Object, err)
			return
		}
		w.records = append(w.records, bytes.Clone(r))
	}
}
