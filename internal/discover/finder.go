// Package discover finds what a source holds: the accounts and regions that
// trails write for, and the names of their digests. It reads listings and never
// an object. It finds names, and a name does not prove that its object is genuine.
//
//	search   folders below the source ──> AWSLogs folders ──> account folders
//	places   account folders ──> regions with digests, with log files, or both
//	digests  a region's digest folder ──> names of digests
//	odd      what lies in a log folder and not in the folder of a day
package discover

import (
	"context"
	"errors"
	"iter"
	"strings"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/trail"
)

// ErrNothing says that the source does not hold CloudTrail folders. The likely
// cause is a wrong bucket, prefix or folder.
var ErrNothing = errors.New("no AWSLogs/ACCOUNT/CloudTrail-Digest or CloudTrail folder found")

// ErrNoMatch says that the source holds CloudTrail folders, but not of the accounts
// and regions that the user asked for.
var ErrNoMatch = errors.New("no chain matches --account and --region")

// Digest is the name of a digest that a listing shows.
type Digest = chain.Ref

// Finder looks into a source. Its methods may be called from several goroutines,
// and so may its functions be. The functions may be nil.
type Finder struct {
	Objects     fetch.Objects
	Source      source.Source
	Concurrency int      // listings at once
	Except      []string // folders that are left out
	// Keep chooses places. An account's Region is "" while it is not known.
	Keep func(trail.Place) bool
	// Foreign is told of an object, or of a folder, that does not belong where it
	// lies.
	Foreign func(p trail.Place, o trail.Object, why string)
	// Unlistable is told of a folder that was not listed, and why. What lies below
	// it is not known. The search goes on elsewhere.
	Unlistable func(p trail.Place, folder trail.Object, err error)
	// Sibling is told of a folder of CloudTrail beside an account's log and digest
	// folders, such as CloudTrail-Insight.
	Sibling func(folder trail.Object)
}

// Place is an account and region that the source has folders of. In a copy,
// where prefixes are not those of the trail, the prefix is "".
type Place struct {
	trail.Place
	Digests, Logs bool     // which folders are there
	Roots         []string // what the keys of its folders begin with: "" in a bucket
}

// Folders returns the keys of the place's folders of one kind.
func (p Place) Folders(kind string) []string {
	folders := make([]string, len(p.Roots))
	for i, root := range p.Roots {
		folders[i] = root + p.Folder(kind)
	}
	return folders
}

// IsMarker reports whether o is a zero-byte object that stands for a folder.
func IsMarker(o trail.Object) bool { return o.Size == 0 && strings.HasSuffix(o.Key, "/") }

// IsFolder reports whether o, a child of folder, is a folder.
func IsFolder(o trail.Object, folder string) bool {
	return strings.HasSuffix(o.Key, "/") && o.Key != folder
}

func (f *Finder) object(key string) trail.Object {
	return trail.Object{Bucket: f.Source.Signed(), Key: key}
}

func (f *Finder) foreign(p trail.Place, o trail.Object, why string) {
	if f.Foreign != nil {
		f.Foreign(p, o, why)
	}
}

func (f *Finder) unlistable(p trail.Place, folder string, err error) {
	if f.Unlistable != nil {
		f.Unlistable(p, f.object(folder), err)
	}
}

// IsExcepted reports whether a key is left out: it lies in an excepted folder.
func (f *Finder) IsExcepted(key string) bool {
	for _, folder := range f.Except {
		if strings.HasPrefix(key, strings.TrimSuffix(folder, "/")+"/") {
			return true
		}
	}
	return false
}

// folders yields the keys of the folders one level below folder.
func (f *Finder) folders(ctx context.Context, folder string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for o, err := range f.Objects.Children(ctx, f.Source.Signed(), folder) {
			if err == nil && (!IsFolder(o, folder) || f.IsExcepted(o.Key)) {
				continue
			}
			if !yield(o.Key, err) {
				return
			}
		}
	}
}

// base returns the last name of a folder's key.
func base(folder string) string {
	folder = strings.TrimSuffix(folder, "/")
	return folder[strings.LastIndexByte(folder, '/')+1:]
}
