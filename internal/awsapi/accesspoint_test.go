package awsapi_test

import (
	"context"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"strings"
	"testing"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/fetch/objectstest"
	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

const (
	apRegion = "eu-central-1"
	apLabel  = "my-ap-" + testaws.Account
	apAlias  = "my-ap-aqfqprnstn7aefdfbarligizwgyfouse1a-s3alias"
	apSlash  = "arn:aws:s3:" + apRegion + ":" + testaws.Account + ":accesspoint/my-ap"
	apColon  = "arn:aws:s3:" + apRegion + ":" + testaws.Account + ":accesspoint:my-ap"
)

// through reads one bucket by another name of it.
type through struct {
	objects fetch.Objects
	alias   map[string]string // by the bucket's name
}

func (t through) in(bucket string) string {
	if a := t.alias[bucket]; a != "" {
		return a
	}
	return bucket
}

func (t through) back(bucket string, list iter.Seq2[trail.Object, error]) iter.Seq2[trail.Object, error] {
	return func(yield func(trail.Object, error) bool) {
		for o, err := range list {
			if err == nil && o.Bucket == t.in(bucket) {
				o.Bucket = bucket
			}
			if !yield(o, err) {
				return
			}
		}
	}
}

func (t through) List(ctx context.Context, bucket, prefix, after string) iter.Seq2[trail.Object, error] {
	return t.back(bucket, t.objects.List(ctx, t.in(bucket), prefix, after))
}

func (t through) Children(ctx context.Context, bucket, prefix string) iter.Seq2[trail.Object, error] {
	return t.back(bucket, t.objects.Children(ctx, t.in(bucket), prefix))
}

func (t through) Get(ctx context.Context, o trail.Object) (io.ReadCloser, map[string]string, error) {
	o.Bucket = t.in(o.Bucket)
	return t.objects.Get(ctx, o)
}

// behind is a fake AWS whose buckets lie in apRegion, each behind the access
// point. Requests that are signed for another region are sent away.
func behind(t *testing.T, w *testtrail.World) *testaws.Server {
	t.Helper()
	fake := serve(t, w)
	fake.StrictRegions = true
	for _, b := range w.Buckets() {
		fake.Regions[b] = apRegion
		fake.AccessPoints[apLabel], fake.AccessPoints[apAlias] = b, b
	}
	return fake
}

func TestObjectsThroughAccessPoint(t *testing.T) {
	for name, as := range map[string]string{"slash": apSlash, "colon": apColon, "alias": apAlias} {
		t.Run(name, func(t *testing.T) {
			open := func(t *testing.T, contents objectstest.Contents) fetch.Objects {
				w, alias := testtrail.New(), map[string]string{}
				for bucket, objects := range contents {
					w.AddBucket(bucket)
					alias[bucket] = as
					for key, o := range objects {
						w.Put(bucket, key, o)
					}
				}
				behind(t, w)
				return through{load(t, nil).S3(), alias}
			}
			objectstest.Run(t, open, objectstest.Options{})
		})
	}
}

// An ARN says where its access point lies. Only for a name or an alias is S3
// asked.
func TestAccessPoint(t *testing.T) {
	for name, tt := range map[string]struct {
		bucket  string
		lookups int
	}{
		"control": {bucket, 1}, "alias": {apAlias, 1}, "slash": {apSlash, 0}, "colon": {apColon, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w, want := world()
			fake := behind(t, w)
			owners := map[string]int{}
			url := before(t, fake, func(_ http.ResponseWriter, r *http.Request) bool {
				owners[r.Header.Get("X-Amz-Expected-Bucket-Owner")]++
				return false
			})
			objects := load(t, func(o *awsapi.Options) { o.Endpoint, o.ExpectedBucketOwner = url, testaws.Account }).S3()
			in := trail.Object{Bucket: tt.bucket, Key: key}
			if b, err := readThrough(t, objects, in); err != nil || len(b) != len(want) {
				t.Errorf("%d bytes, %v", len(b), err)
			}
			if err := objects.Put(t.Context(), tt.bucket, "new", []byte("x"), ndjson, ""); err != nil {
				t.Error(err)
			}
			if _, there := w.Stored(bucket, "new"); !there {
				t.Error("nothing is stored")
			}
			var listed []trail.Object
			for o, err := range objects.Children(t.Context(), tt.bucket, "AWSLogs/") {
				if err != nil {
					t.Fatal(err)
				}
				listed = append(listed, o)
			}
			if len(listed) != 1 || listed[0].Bucket != tt.bucket || listed[0].Key != key {
				t.Errorf("listed %v", listed)
			}
			if n := fake.Requests()["HeadBucket"]; n != tt.lookups {
				t.Errorf("asked %d times where the bucket lies, want %d", n, tt.lookups)
			}
			if len(owners) != 1 || owners[testaws.Account] != 3+tt.lookups {
				t.Errorf("requests by expected owner: %v", owners)
			}
		})
	}
}

func readThrough(t *testing.T, objects *awsapi.S3, o trail.Object) ([]byte, error) {
	t.Helper()
	body, _, err := objects.Get(t.Context(), o)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

// Errors name the source as the user gave it.
func TestAccessPointErrors(t *testing.T) {
	for _, as := range []string{bucket, apAlias, apSlash, apColon} {
		w, _ := world()
		fake := behind(t, w)
		objects := load(t, nil).S3()
		_, err := readThrough(t, objects, trail.Object{Bucket: as, Key: "absent"})
		expect(t, err, "get s3://"+as+"/absent: NoSuchKey", fs.ErrNotExist)
		fake.Fail(testaws.AccessDenied())
		for _, err = range objects.List(t.Context(), as, "p/", "") {
		}
		expect(t, err, "list s3://"+as+"/p/: AccessDenied", fs.ErrPermission)
		fake.Heal()
		fake.Fail(testaws.Fault{Status: 404, Code: "NoSuchAccessPoint", Message: "The specified accesspoint does not exist"})
		for _, err = range objects.Children(t.Context(), as, "") {
		}
		expect(t, err, "list s3://"+as+"/: NoSuchAccessPoint")
		if finding.IsFact(err) {
			t.Errorf("%v is a fact", err)
		}
	}
}

// ARNs that do not name an access point of S3 are refused, not absent.
func TestOddARNs(t *testing.T) {
	w, want := world()
	behind(t, w)
	objects := load(t, nil).S3()
	if b, err := readThrough(t, objects, trail.Object{Bucket: apSlash, Key: key}); err != nil || len(b) != len(want) {
		t.Fatalf("the access point: %d bytes, %v", len(b), err)
	}
	for _, arn := range []string{
		"arn:aws:s3:::" + bucket, apSlash + "/object/" + key, strings.Replace(apSlash, testaws.Account, "1", 1), apSlash + "?x", apSlash + "/../" + bucket,
		strings.Replace(apSlash, ":s3:", ":s3-object-lambda:", 1), strings.Replace(apSlash, "my-ap", "", 1), strings.Replace(apSlash, "my-ap", "My_ap", 1),
	} {
		b, err := readThrough(t, objects, trail.Object{Bucket: arn, Key: key})
		if err == nil || finding.IsFact(err) {
			t.Errorf("%s: %d bytes, %v", arn, len(b), err)
		}
	}
}
