// Package discover finds what a source holds: the accounts and regions that
// trails write for, and the digests of their chains. It reads listings and no
// object. What it finds are names, and names prove nothing.
package discover

import (
	"context"
	"errors"
	"iter"
	"strings"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Source is where trails lie.
type Source struct {
	Bucket string // "" for a folder
	Prefix string // "" or a folder's key, ending in a slash: look below it
	Name   string // for people: s3://bucket/prefix or the folder
}

// IsCopy reports whether the source is a folder, a copy: there buckets and
// prefixes are not those of the digests, and objects have no metadata.
func (s Source) IsCopy() bool { return s.Bucket == "" }

// Locate returns where an object that a digest names is looked for, the
// likeliest first. In a copy, that is the same path below the AWSLogs folder
// at hand, or below a folder named like its bucket.
func (s Source) Locate(at trail.Place, o trail.Object) []trail.Object {
	if !s.IsCopy() {
		return []trail.Object{o}
	}
	own := trail.Tail(o.Key)
	if own == "" {
		own = o.Key
	}
	if at.Prefix != "" {
		own = at.Prefix + "/" + own
	}
	return []trail.Object{{Key: own}, {Key: s.Prefix + o.Bucket + "/" + o.Key}}
}

// ErrNothing: the source holds no CloudTrail folders. The likely cause is a
// wrong bucket, prefix or folder.
var ErrNothing = errors.New("no AWSLogs/ACCOUNT/CloudTrail-Digest or CloudTrail folder found")

// Finder looks into a source. Its functions are called from several
// goroutines.
type Finder struct {
	Objects     fetch.Objects
	Source      Source
	Concurrency int // listings at once
	// Keep chooses places; an account's Region is "" while it is not known.
	Keep func(trail.Place) bool
	// Foreign is told of what has no place in these folders.
	Foreign func(p trail.Place, o trail.Object, why string)
	// Unlistable is told of folders that could not be listed: what lies below
	// them is not known, the rest goes on.
	Unlistable func(p trail.Place, folder trail.Object, err error)
}

// IsMarker reports whether o is a zero-byte object that stands for a folder.
func IsMarker(o trail.Object) bool { return o.Size == 0 && strings.HasSuffix(o.Key, "/") }

func (f *Finder) object(key string) trail.Object {
	return trail.Object{Bucket: f.Source.Bucket, Key: key}
}

// folders yields the keys of the folders one level below folder.
func (f *Finder) folders(ctx context.Context, folder string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for o, err := range f.Objects.Children(ctx, f.Source.Bucket, folder) {
			if err == nil && (!strings.HasSuffix(o.Key, "/") || o.Key == folder) {
				continue
			}
			if !yield(o.Key, err) {
				return
			}
		}
	}
}
