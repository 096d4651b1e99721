package awsapi_test

import (
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/fetch/objectstest"
	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/chain"
)

// The seams that the adapters are made for.
var (
	_ fetch.Objects   = (*awsapi.S3)(nil)
	_ chain.KeySource = (*awsapi.CloudTrail)(nil)
)

// serve starts a fake AWS that holds w and points the environment at it.
func serve(t *testing.T, w *testtrail.World) *testaws.Server {
	t.Helper()
	s := testaws.New(t, w)
	t.Setenv("AWS_PROFILE", "")
	for _, kv := range s.Env() {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value)
	}
	return s
}

// load loads from the environment, with pauses made short.
func load(t *testing.T, change func(*awsapi.Options)) *awsapi.Client {
	t.Helper()
	o := awsapi.Options{MaxBackoff: time.Millisecond}
	if change != nil {
		change(&o)
	}
	c, err := awsapi.Load(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestObjects(t *testing.T) {
	open := func(t *testing.T, contents objectstest.Contents) fetch.Objects {
		w := testtrail.New()
		for bucket, objects := range contents {
			w.AddBucket(bucket)
			for key, o := range objects {
				w.Put(bucket, key, o)
			}
		}
		serve(t, w)
		return load(t, nil).S3()
	}
	objectstest.Run(t, open, objectstest.Options{})
}
