package awsapi_test

import (
	"errors"
	"io/fs"
	"reflect"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
)

var (
	from = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	to   = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
)

func TestPublicKeys(t *testing.T) {
	w := testtrail.New()
	s := serve(t, w)
	keys := load(t, nil).CloudTrail()
	for _, page := range []int{0, 1, 2, 100} {
		s.KeyPage = page
		for _, region := range []string{"us-east-1", "eu-west-1"} {
			want, err := w.PublicKeys(t.Context(), region, from, to)
			if err != nil || len(want.Keys) < 5 {
				t.Fatalf("the world has %d keys, %v", len(want.Keys), err)
			}
			got, err := keys.PublicKeys(t.Context(), region, from, to)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s in pages of %d: %d keys, want %d", region, page, len(got.Keys), len(want.Keys))
			}
		}
	}
}

// An empty list is an answer: the region has no such key. It is not the same
// as no answer.
func TestPublicKeysEmpty(t *testing.T) {
	s := serve(t, testtrail.New())
	s.Fail(testaws.Fault{Op: "ListPublicKeys", Empty: true})
	got, err := load(t, nil).CloudTrail().PublicKeys(t.Context(), "us-east-1", from, to)
	if err != nil || len(got.Keys) > 0 {
		t.Fatalf("%d keys, %v", len(got.Keys), err)
	}
	if _, err := got.Find("us-east-1", "00", from.Add(time.Hour)); !errors.Is(err, digest.ErrKeyUnknown) {
		t.Errorf("a fingerprint that it lacks: %v", err)
	}
	if _, err := got.Find("eu-west-1", "00", from.Add(time.Hour)); !errors.Is(err, digest.ErrNoKeys) {
		t.Errorf("a region that was not asked: %v", err)
	}
}

func TestCloudTrailFaults(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault testaws.Fault
		is    []error
		text  string
	}{
		{"denied", testaws.Denied(), []error{fs.ErrPermission}, "AccessDeniedException: User: "},
		{"throttled for ever", testaws.Throttled(), []error{finding.ErrThrottled}, "ThrottlingException"},
		{"internal error", testaws.InternalError(), nil, "InternalError"},
		{"wrong key id", testaws.Fault{Status: 400, Code: "UnrecognizedClientException", Message: "x"}, []error{awsapi.ErrCredentials, fs.ErrPermission}, "UnrecognizedClientException"},
		{"404 without a body", testaws.EmptyNotFound(), nil, ""},
		{"reset", testaws.Fault{Reset: true}, nil, ""},
		{"cut short", testaws.Fault{CutBody: 20}, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := testtrail.New()
			s := serve(t, w)
			s.Organization = "o-0123456789"
			s.Trails = []testaws.Trail{testaws.Describe(w.Trail(testtrail.Options{}), testaws.Account)}
			s.KeyPage = 2
			api := load(t, nil).CloudTrail()
			tt.fault.Skip = 1 // of the key list the second page fails
			s.Fail(tt.fault.On("ListPublicKeys", "", ""))
			set, err := api.PublicKeys(t.Context(), "us-east-1", from, to)
			expect(t, err, tt.text, tt.is...)
			if len(set.Complete) > 0 || len(set.Keys) > 0 {
				t.Error("half a list came with the error")
			}
			tt.fault.Skip = 0
			s.Fail(tt.fault.On("DescribeTrails", "", ""))
			_, err = api.Trail(t.Context(), "us-east-1", s.Trails[0].TrailARN)
			expect(t, err, tt.text, tt.is...)
			s.Fail(tt.fault.On("DescribeOrganization", "", ""))
			_, err = api.Organization(t.Context())
			expect(t, err, tt.text, tt.is...)
		})
	}
}

func TestThrottledThenFine(t *testing.T) {
	s := serve(t, testtrail.New())
	f := testaws.Throttled().On("ListPublicKeys", "", "")
	f.Times = 2
	s.Fail(f)
	if set, err := load(t, nil).CloudTrail().PublicKeys(t.Context(), "us-east-1", from, to); err != nil || len(set.Keys) == 0 {
		t.Errorf("%d keys, %v", len(set.Keys), err)
	}
}

func TestTrail(t *testing.T) {
	w := testtrail.New()
	s := serve(t, w)
	plain := w.Trail(testtrail.Options{Name: "main", Bucket: "plain"})
	org := w.Trail(testtrail.Options{Name: "main-org", Bucket: "org-bucket", Prefix: "a/b", Organization: "o-0123456789"})
	s.Trails = []testaws.Trail{testaws.Describe(org, testaws.Account), testaws.Describe(plain, testaws.Account)}
	s.Organization = "o-0123456789"
	api := load(t, nil).CloudTrail()
	for _, want := range []awsapi.Trail{
		{ARN: plain.ARN(testaws.Account).String(), Bucket: "plain"},
		{ARN: org.ARN(testaws.Account).String(), Bucket: "org-bucket", Prefix: "a/b", Organization: true},
	} {
		got, err := api.Trail(t.Context(), "us-east-1", want.ARN)
		if err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	for _, arn := range []string{"", "main", plain.ARN("999988887777").String()} {
		_, err := api.Trail(t.Context(), "us-east-1", arn)
		expect(t, err, "describe trail", fs.ErrNotExist)
	}
	_, err := api.Trail(t.Context(), "", plain.ARN(testaws.Account).String())
	expect(t, err, "no AWS region", awsapi.ErrRegion)
	if id, err := api.Organization(t.Context()); err != nil || id != "o-0123456789" {
		t.Errorf("organization %q, %v", id, err)
	}
}

// --endpoint-url moves CloudTrail alone.
func TestCloudTrailEndpoint(t *testing.T) {
	w, _ := world()
	everything := serve(t, w)
	alone := testaws.New(t, w)
	c := load(t, func(o *awsapi.Options) { o.CloudTrailEndpoint = alone.URL })
	if _, err := c.CloudTrail().PublicKeys(t.Context(), "us-east-1", from, to); err != nil {
		t.Fatal(err)
	}
	if _, err := get(t.Context(), c.S3(), key); err != nil {
		t.Fatal(err)
	}
	if alone.Requests()["ListPublicKeys"] != 1 || alone.Requests()["GetObject"] != 0 || everything.Requests()["GetObject"] != 1 {
		t.Errorf("CloudTrail's endpoint got %v, the other %v", alone.Requests(), everything.Requests())
	}
}
