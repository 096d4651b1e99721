package chain_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

const (
	account = "111122223333"
	region  = "us-east-1"
)

var day = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// newChain returns a chain of a starting digest and n hours.
func newChain(o testtrail.Options, n int) (*testtrail.World, *testtrail.Chain) {
	w := testtrail.New()
	c := w.Trail(o).Chain(account, region, day)
	c.Hours(n)
	return w, c
}

func keyring(w *testtrail.World) *chain.Keyring {
	return chain.NewKeyring(w, day, day.Add(48*time.Hour), func() time.Time { return day.AddDate(0, 2, 0) })
}

func parse(body []byte) *digest.Digest {
	d, err := digest.Parse(body)
	if err != nil {
		panic(err)
	}
	return d
}

func parseKey(key string) trail.DigestKey {
	k, err := trail.ParseDigestKey(key)
	if err != nil {
		panic(err)
	}
	return k
}

func refOf(d *testtrail.Issued) chain.Ref {
	return chain.Ref{DigestKey: parseKey(d.Key), Bucket: d.Bucket}
}

func fileOf(body []byte, meta map[string]string) chain.File {
	d := parse(body)
	return chain.File{Digest: d, Sum: d.Sum, Hashed: true, Meta: meta}
}

func successorOf(d *testtrail.Issued) *chain.Successor {
	return &chain.Successor{Previous: *parse(d.Body).Previous, At: trail.Object{Bucket: d.Bucket, Key: d.Key}}
}

// store is a Fetcher over the buckets of a world. It counts the files that were
// read and not released.
type store struct {
	*testtrail.World
	most     int64 // inflated bytes of a digest that is parsed; 0 is any number
	asked    []string
	unfreed  int
	releases int
	hashed   int
	hashErr  error
	more     map[string][]chain.Found // further files under a key
	onRead   func(chain.Ref)
}

func (s *store) ReadDigest(_ context.Context, r chain.Ref) []chain.Found {
	s.asked = append(s.asked, r.Object().String())
	if s.onRead != nil {
		s.onRead(r)
	}
	found := append([]chain.Found{s.read(r.Object())}, s.more[r.DigestKey.String()]...)
	for i := range found {
		released := false
		s.unfreed++
		found[i].Release = func() {
			if released {
				panic("released twice")
			}
			released = true
			s.unfreed--
			s.releases++
		}
	}
	return found
}

func (s *store) read(at trail.Object) chain.Found {
	o, ok := s.Stored(at.Bucket, at.Key)
	if !ok {
		return chain.Found{At: at, Err: fmt.Errorf("get %s: %w", at, fs.ErrNotExist)}
	}
	limit := s.most
	if limit == 0 {
		limit = 1 << 30
	}
	var body bytes.Buffer
	sum, _, err := inflate.Copy(&body, bytes.NewReader(o.Body), inflate.Options{Limit: limit})
	f := chain.Found{At: at, File: chain.File{Sum: sum, Hashed: sum != digest.Sum{}, Meta: o.Meta}, Err: err}
	if !f.File.Hashed {
		return f
	}
	d, malformed := digest.Parse(body.Bytes())
	f.File.Digest = d
	if f.Err == nil {
		f.Err = malformed
	}
	return f
}

func (s *store) HashDigest(_ context.Context, at trail.Object) (digest.Sum, error) {
	s.hashed++
	if s.hashErr != nil {
		return digest.Sum{}, s.hashErr
	}
	o, _ := s.Stored(at.Bucket, at.Key)
	sum, _, err := inflate.Copy(nil, bytes.NewReader(o.Body), inflate.Options{Limit: 1 << 30})
	return sum, err
}

// walk returns the steps of a walk. It fails the test where a file is not released.
func walk(t *testing.T, s *store, newest chain.Ref, o chain.Options) (steps []chain.Step) {
	t.Helper()
	for step, err := range chain.Walk(t.Context(), s, keyring(s.World), newest, o) {
		if err != nil {
			t.Fatal(err)
		}
		steps = append(steps, step)
	}
	if s.unfreed != 0 {
		t.Errorf("%d files are not released", s.unfreed)
	}
	return steps
}
