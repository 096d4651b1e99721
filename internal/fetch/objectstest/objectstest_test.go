package objectstest_test

import (
	"testing"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/fetch/objectstest"
	"github.com/trailseal/trailseal/internal/testtrail"
)

func TestStore(t *testing.T) {
	objectstest.Run(t, func(_ *testing.T, contents objectstest.Contents) fetch.Objects {
		s := testtrail.NewStore()
		for bucket, objects := range contents {
			s.AddBucket(bucket)
			for key, o := range objects {
				s.Put(bucket, key, o)
			}
		}
		return s
	}, objectstest.Options{})
}
