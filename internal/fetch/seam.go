// Package fetch reads digest files and log files from a bucket: get, inflate,
// hash, parse, as one step whose result is either hashed bytes, a fact about
// bad bytes, or a reason why they could not be read. Both programs fetch
// through it. It never verifies a signature and never decides what a fact
// means for the chain.
//
//	seam.go     what it reads from
//	fetch.go    one read: open, use the body, and again where the body breaks off
//	slot.go     how many reads make progress at once
//	request.go  a read whose request is sent early
//	digest.go   a digest file; large.go: one that is too large to be prefetched
//	found.go    the files of a copy that can be one digest file
//	log.go      a log file; stored.go: its stored bytes
//	ahead.go    calls in order, some ahead; workers.go: their goroutines
package fetch

import (
	"context"
	"io"
	"iter"

	"github.com/trailseal/trailseal/pkg/trail"
)

// Objects reads buckets. It is safe for concurrent use and retries transient
// errors itself. Errors wrap fs.ErrNotExist, fs.ErrPermission or one of
// finding's errors where these are the cause; any other error is the network's.
type Objects interface {
	// List yields the objects whose key begins with prefix and sorts after
	// after, in byte order of the keys. It yields one error at most, as the
	// last pair: the listing is then incomplete.
	List(ctx context.Context, bucket, prefix, after string) iter.Seq2[trail.Object, error]
	// Children yields what lies one level below prefix, in byte order: the
	// objects whose key has no slash after prefix, and the folders, each as an
	// object whose key ends in a slash, without size and time. An object whose
	// key is prefix itself is yielded too. Errors are as those of List. An absent
	// prefix has no children.
	Children(ctx context.Context, bucket, prefix string) iter.Seq2[trail.Object, error]
	// Get opens an object and returns its stored bytes, never inflated on the
	// way, and its user metadata with lower-case names. A body that ends early
	// ends in an error other than io.EOF. The caller closes the body. Where the
	// content can be read and the metadata cannot, Get returns the body together
	// with an error that wraps finding.ErrMetadata.
	Get(ctx context.Context, o trail.Object) (io.ReadCloser, map[string]string, error)
}
