// Package objectstest holds every implementation of fetch.Objects to the same
// contract. It is for tests; no program links it.
package objectstest

import (
	"testing"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/testtrail"
)

// Contents is what the buckets hold: by bucket and key.
type Contents = map[string]map[string]testtrail.Stored

// Open returns Objects that hold contents, and nothing else in those buckets.
type Open func(t *testing.T, contents Contents) fetch.Objects

// Options say what a backend cannot hold. The zero value demands everything.
type Options struct {
	// NoMeta: objects have no user metadata (a folder).
	NoMeta bool
	// NoNesting: there is no key "a" beside "a/b" (a file system).
	NoNesting bool
	// NoOddKeys: keys are UTF-8 without control characters (XML listings that
	// are not URL-encoded).
	NoOddKeys bool
	// NoBuckets: the bucket's name means nothing; there is one root (a folder).
	NoBuckets bool
}

// Run checks the whole contract.
func Run(t *testing.T, open Open, o Options) {
	t.Helper()
	s := suite{open, o}
	t.Run("List", s.list)
	t.Run("Many", s.manyObjects)
	t.Run("ListAbsent", s.listAbsent)
	t.Run("Children", s.children)
	t.Run("Get", s.get)
	t.Run("GetAbsent", s.getAbsent)
	t.Run("Keys", s.keys)
	t.Run("Concurrent", s.concurrent)
	t.Run("Cancelled", s.cancelled)
}

type suite struct {
	open Open
	o    Options
}

// bucket is the bucket that most checks use.
const bucket = "objectstest-bucket"
