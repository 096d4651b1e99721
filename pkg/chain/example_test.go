package chain_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// folder is a plain copy of a bucket. It implements chain.Fetcher.
type folder string

func (f folder) ReadDigest(_ context.Context, r chain.Ref) []chain.Found {
	at := trail.Object{Key: filepath.Join(string(f), filepath.FromSlash(r.DigestKey.String()))}
	file, err := readFile(at.Key)
	return []chain.Found{{At: at, File: file, Err: err}}
}

// HashDigest is not called: ReadDigest reads digests of any size.
func (folder) HashDigest(context.Context, trail.Object) (digest.Sum, error) {
	return digest.Sum{}, finding.ErrTooLarge
}

// readFile reads a digest file and, where `aws s3api head-object` left it, its metadata.
func readFile(name string) (file chain.File, err error) {
	f, err := os.Open(name)
	if err != nil {
		return file, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return file, fmt.Errorf("%w: %w", finding.ErrContainer, err)
	}
	body, err := io.ReadAll(z)
	if err != nil {
		return file, fmt.Errorf("%w: %w", finding.ErrContainer, err)
	}
	if file.Digest, err = digest.Parse(body); err != nil {
		return file, err
	}
	var head struct{ Metadata map[string]string }
	b, err := os.ReadFile(name + ".metadata.json")
	if err == nil {
		err = json.Unmarshal(b, &head)
	}
	if file.Meta = head.Metadata; err != nil && !errors.Is(err, fs.ErrNotExist) {
		file.MetaErr = err
	}
	return file, nil
}

func sampleKeys() chain.Saved {
	b, err := os.ReadFile("../../test/sample/keys.json")
	if err != nil {
		panic(err)
	}
	keys, err := digest.ParseKeySet(b)
	if err != nil {
		panic(err)
	}
	return chain.Saved(keys)
}

// Judge a digest by its own signature, and its predecessor by what the first digest says of it.
func ExampleJudge() {
	keys, copied := sampleKeys(), folder("../../test/sample")
	of := trail.Chain{Place: trail.Place{Account: "111122223333", Region: "eu-west-1"}, Trail: "main", HomeRegion: "us-east-1"}

	newest := chain.Ref{DigestKey: of.Digest(time.Date(2026, 3, 1, 8, 8, 11, 0, time.UTC))}
	found := copied.ReadDigest(context.Background(), newest)[0]
	v := chain.Judge(context.Background(), keys, chain.Evidence{Key: newest.DigestKey, At: found.At, File: found.File, Err: found.Err})
	fmt.Println("newest:", v.Status)
	if !v.Trusted {
		return // then its names must not be followed
	}

	older := chain.Ref{DigestKey: of.Digest(time.Date(2026, 3, 1, 7, 8, 11, 0, time.UTC))}
	before := copied.ReadDigest(context.Background(), older)[0]
	e := chain.Evidence{Key: older.DigestKey, At: before.At, File: before.File, Err: before.Err}
	v = chain.Judge(context.Background(), keys, e)
	fmt.Println("before, on its own:", v.Status, finding.ReasonOf(v.Err)) // a plain copy has no metadata

	e.Successor = &chain.Successor{Previous: *found.File.Digest.Previous, At: found.At}
	v = chain.Judge(context.Background(), keys, e)
	fmt.Println("before, as the newest names it:", v.Status)

	e.File = found.File // another file in its place
	v = chain.Judge(context.Background(), keys, e)
	fmt.Println("replaced:", v.Status, v.Class)
	// Output:
	// newest: valid
	// before, on its own: unverified no-signature
	// before, as the newest names it: valid
	// replaced: invalid chain-mismatch
}

// Walk a chain. It ends at the digest that was written when logging was switched on again.
func ExampleWalk() {
	of := trail.Chain{Place: trail.Place{Account: "111122223333", Region: "us-east-1"}, Trail: "main", HomeRegion: "us-east-1"}
	newest := chain.Ref{DigestKey: of.Digest(time.Date(2026, 3, 1, 8, 8, 11, 0, time.UTC))}
	for s, err := range chain.Walk(context.Background(), folder("../../test/sample"), sampleKeys(), newest, chain.Options{}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(s.End.Format(time.TimeOnly), s.Verdict.Status, "starting:", s.Starting())
		if s.Verdict.Trusted && s.Digest != nil {
			for _, l := range s.Digest.Logs {
				k, err := trail.ParseLogKey(l.Object)
				if err != nil {
					continue
				}
				fmt.Println("  lists the log of", k.Stamp.Format(time.TimeOnly))
			}
		}
	}
	// Output:
	// 08:08:11 valid starting: false
	// 07:08:11 valid starting: false
	//   lists the log of 06:25:00
	// 06:08:11 valid starting: true
}
