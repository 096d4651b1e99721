package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

const (
	originalFlag  = "--original-bucket"
	originalForms = "allowed are ORIGINAL, and REPLICA=ORIGINAL where REPLICA is one of the sources and ORIGINAL a bucket's name without s3://"
)

// ParseOriginals returns the sources with the originals that the values of
// --original-bucket set. ORIGINAL alone is for the one bucket among the sources.
// In REPLICA=ORIGINAL, REPLICA is the text of a source. Without a prefix it
// means each source in this bucket, and s3:// can be left out. Errors name the
// flag and the value. The sources that were given do not change.
func ParseOriginals(flags []string, sources []Source) ([]Source, error) {
	sources = slices.Clone(sources)
	for _, flag := range flags {
		if err := setOriginal(flag, sources); err != nil {
			return nil, fmt.Errorf("%s %q: %w (%s)", originalFlag, flag, err, originalForms)
		}
	}
	return sources, nil
}

func setOriginal(flag string, sources []Source) error {
	// The last =: a bucket's name has none, and a prefix can have some.
	i := strings.LastIndexByte(flag, '=')
	original := flag[i+1:]
	if !isSignable(original) {
		return fmt.Errorf("%q cannot be the bucket of a trail", original)
	}
	var replicas []int
	var err error
	if i < 0 {
		replicas, err = onlyBucket(sources)
	} else {
		replicas, err = named(flag[:i], sources)
	}
	if err != nil {
		return err
	}
	for _, r := range replicas {
		s := &sources[r]
		if s.Original != "" {
			return fmt.Errorf("%s has an original already: %s", s.Name, s.Original)
		}
		if s.Bucket == original {
			return fmt.Errorf("%s is the source's own bucket", original)
		}
		s.Original = original
	}
	return nil
}

// isSignable reports whether digests can name a bucket so.
func isSignable(bucket string) bool { return checkBucket(bucket) == nil && !isAlias(bucket) }

// onlyBucket returns the indexes of the sources in the one bucket that there is.
func onlyBucket(sources []Source) (in []int, err error) {
	for i, s := range sources {
		switch {
		case s.IsCopy():
			continue
		case len(in) > 0 && s.Bucket != sources[in[0]].Bucket:
			return nil, errors.New("the sources have several buckets: write REPLICA=ORIGINAL for each")
		}
		in = append(in, i)
	}
	if len(in) == 0 {
		return nil, errors.New("the sources have no bucket")
	}
	return in, nil
}

// named returns the indexes of the sources that replica names.
func named(replica string, sources []Source) (in []int, err error) {
	var wanted []Source
	for _, text := range []string{replica, "s3://" + replica} {
		if want, err := Parse(text); err == nil {
			wanted = append(wanted, want)
		}
	}
	isFolder := false
	for i, s := range sources {
		if !slices.ContainsFunc(wanted, s.isNamedBy) {
			continue
		}
		if s.IsCopy() {
			isFolder = true
		} else {
			in = append(in, i)
		}
	}
	switch {
	case len(in) > 0:
		return in, nil
	case isFolder:
		return nil, fmt.Errorf("%s is a folder: in a copy, the names of buckets do not matter", replica)
	}
	return nil, fmt.Errorf("%q is not one of the sources", replica)
}

// isNamedBy reports whether want has the name of s or, without a prefix, its
// bucket.
func (s Source) isNamedBy(want Source) bool {
	return s.Name == want.Name || !s.IsCopy() && want.Prefix == "" && s.Bucket == want.Bucket
}

// Learn sets the Original of an access point from a proven digest, which names
// its bucket. It reports whether it did: only the first bucket counts, and only
// for an access point. The caller owns s, and makes a new View after it.
func (s *Source) Learn(bucket string) bool {
	if !s.IsAccessPoint() || s.Original != "" || !isSignable(bucket) {
		return false
	}
	s.Original = bucket
	return true
}

// View returns what signed names are read through. A copy is read as it is. If
// S3 answers that the source's own bucket does not exist, the error is not an
// absence: the bucket's objects were listed.
//
// With one, objects and listings of Signed are those of Bucket, and listed
// objects are named for Signed. A bucket with another name is asked for only
// because a proven link names it. It can be an older original, whose objects
// the replica may hold, too. So the object is first looked for in Bucket, and
// in its own bucket only where Bucket does not have it. Listings of such a
// bucket go to itself. Errors name the place that was asked.
func (s Source) View(o fetch.Objects) fetch.Objects {
	if s.IsCopy() {
		return o
	}
	o = own{o, s.Bucket}
	if s.Original == "" {
		return o
	}
	return view{objects: o, bucket: s.Bucket, signed: s.Original}
}

// own implements fetch.Objects for a source that is a bucket.
type own struct {
	fetch.Objects
	bucket string
}

func (b own) Get(ctx context.Context, o trail.Object) (io.ReadCloser, map[string]string, error) {
	body, meta, err := b.Objects.Get(ctx, o)
	if errors.Is(err, finding.ErrNoBucket) && o.Bucket == b.bucket {
		err = fmt.Errorf("%v", err) // not wrapped, so the error is not a fact
	}
	return body, meta, err
}

// view implements fetch.Objects.
type view struct {
	objects fetch.Objects
	bucket  string // where requests go
	signed  string // its name in digests
}

func (v view) List(ctx context.Context, bucket, prefix, after string) iter.Seq2[trail.Object, error] {
	if bucket != v.signed {
		return v.objects.List(ctx, bucket, prefix, after)
	}
	return v.renamed(v.objects.List(ctx, v.bucket, prefix, after))
}

func (v view) Children(ctx context.Context, bucket, prefix string) iter.Seq2[trail.Object, error] {
	if bucket != v.signed {
		return v.objects.Children(ctx, bucket, prefix)
	}
	return v.renamed(v.objects.Children(ctx, v.bucket, prefix))
}

func (v view) renamed(listed iter.Seq2[trail.Object, error]) iter.Seq2[trail.Object, error] {
	return func(yield func(trail.Object, error) bool) {
		for o, err := range listed {
			if err == nil {
				o.Bucket = v.signed
			}
			if !yield(o, err) {
				return
			}
		}
	}
}

func (v view) Get(ctx context.Context, o trail.Object) (io.ReadCloser, map[string]string, error) {
	here := o
	here.Bucket = v.bucket
	body, meta, err := v.objects.Get(ctx, here)
	if o.Bucket == v.signed || o.Bucket == v.bucket || body != nil || !errors.Is(err, fs.ErrNotExist) {
		return body, meta, err
	}
	body, meta, err = v.objects.Get(ctx, o)
	if body == nil && err != nil {
		// The absence in Bucket is not part of the chain: where this bucket refuses
		// the object, the object is not known to be absent.
		err = fmt.Errorf("%w (s3://%s does not have it)", err, v.bucket)
	}
	return body, meta, err
}
