package dir_test

import (
	"testing"

	"github.com/trailseal/trailseal/internal/dir"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/fetch/objectstest"
	"github.com/trailseal/trailseal/internal/testtrail"
)

// Metadata comes from sidecars, so a folder with them keeps all of a bucket
// but its name and a key that is also a folder.
func TestIsABucket(t *testing.T) {
	objectstest.Run(t, func(t *testing.T, contents objectstest.Contents) fetch.Objects {
		folder := t.TempDir()
		s := testtrail.NewStore()
		for bucket, objects := range contents {
			for key, o := range objects {
				s.Put(bucket, key, o)
			}
			hasMeta := func(key string) bool { return len(objects[key].Meta) > 0 }
			if err := s.WriteFolder(bucket, folder, hasMeta); err != nil {
				t.Fatal(err)
			}
		}
		d, err := dir.Open(folder)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		return d
	}, objectstest.Options{NoNesting: true, NoBuckets: true})
}
