package awsapi_test

import (
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/pkg/finding"
)

// list returns what a listing yielded, before and with its error.
func list(t *testing.T, s *awsapi.S3, prefix string) (keys []string, err error) {
	t.Helper()
	for o, e := range s.List(t.Context(), bucket, prefix, "") {
		if err != nil {
			t.Fatal("the listing goes on behind its error")
		}
		if err = e; err == nil {
			keys = append(keys, o.Key)
		}
	}
	return keys, err
}

func folders(t *testing.T, s *awsapi.S3) (names []string, err error) {
	t.Helper()
	for o, e := range s.Children(t.Context(), bucket, "") {
		if err = e; err == nil {
			names = append(names, o.Key)
		}
	}
	return names, err
}

// 31 objects in pages of ten: what fails on the third page is an error behind
// the first twenty, never a shorter listing.
func TestListFaults(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault testaws.Fault
		is    []error
		text  string
	}{
		{"denied", testaws.AccessDenied(), []error{fs.ErrPermission}, "list s3://trail-bucket/: AccessDenied"},
		{"bucket gone meanwhile", testaws.NoSuchBucket(), []error{fs.ErrNotExist, finding.ErrNoBucket}, "NoSuchBucket"},
		{"404 without a body", testaws.EmptyNotFound(), nil, "HTTP 404"},
		{"absence that a listing cannot have", testaws.NoSuchKey(), nil, "NoSuchKey"},
		{"a part", testaws.Partial(), nil, "the answer is not a listing: HTTP 206 Partial Content"},
		{"page of a proxy", testaws.ProxyPage(200), nil, "the answer is not a listing"},
		{"404 of a proxy", testaws.ProxyPage(404), nil, "HTTP 404 Not Found without an error code"},
		{"200 without a body", testaws.Fault{Status: 200, Empty: true}, nil, "the answer is not a listing"},
		{"internal error", testaws.InternalError(), nil, "InternalError"},
		{"cut short", testaws.Fault{CutBody: 700}, nil, "unexpected EOF"},
		{"reset", testaws.Fault{Reset: true}, nil, ""},
		{"stalls", testaws.Fault{Stall: time.Minute}, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, objects, _ := faulty(t)
			server.PageSize = 10
			all, err := list(t, objects, "")
			if err != nil || len(all) != 31 {
				t.Fatalf("without the fault: %d keys, %v", len(all), err)
			}
			tt.fault.Op, tt.fault.Skip = "ListObjectsV2", 2
			server.Fail(tt.fault)
			got, err := list(t, objects, "")
			expect(t, err, tt.text, tt.is...)
			if !slices.Equal(got, all[:20]) {
				t.Errorf("%d keys came before the error, want 20", len(got))
			}
			server.Heal()
			server.Fail(tt.fault)
			names, err := folders(t, objects)
			expect(t, err, tt.text, tt.is...)
			if len(names) != 20 {
				t.Errorf("%d folders came before the error, want 20", len(names))
			}
			server.Heal()
		})
	}
}

// A page that breaks off once is asked for again.
func TestListRetries(t *testing.T) {
	for _, fault := range []testaws.Fault{{CutBody: 700}, {Reset: true}, {Status: 503, Code: "SlowDown"}, {Stall: time.Minute}} {
		server, objects, _ := faulty(t)
		server.PageSize = 10
		fault.Op, fault.Skip, fault.Times = "ListObjectsV2", 1, 1
		server.Fail(fault)
		if all, err := list(t, objects, ""); err != nil || len(all) != 31 {
			t.Errorf("%+v: %d keys, %v", fault, len(all), err)
		}
	}
}

// Answers that a server must not give: each would make objects look absent, or
// the listing endless.
func TestForeignListings(t *testing.T) {
	const head = `<ListBucketResult><Name>trail-bucket</Name>`
	contents := func(keys ...string) (s string) {
		for _, k := range keys {
			s += "<Contents><Key>" + k + "</Key><Size>1</Size></Contents>"
		}
		return s
	}
	for name, tt := range map[string]struct{ body, text string }{
		"control":               {head + `<IsTruncated>false</IsTruncated>` + contents("a", "b") + `</ListBucketResult>`, ""},
		"empty":                 {"", "the answer is not a listing"},
		"a login page":          {"<html><body>Welcome</body></html>", "the answer is not a listing"},
		"another document":      {`<Result><IsTruncated>false</IsTruncated></Result>`, "the answer is not a listing"},
		"an error":              {`<Error><Code>NoSuchBucket</Code></Error>`, "NoSuchBucket"},
		"no order":              {head + `<IsTruncated>false</IsTruncated>` + contents("b", "a") + `</ListBucketResult>`, "keys come in no order"},
		"twice":                 {head + `<IsTruncated>false</IsTruncated>` + contents("a", "a") + `</ListBucketResult>`, "keys come in no order"},
		"more, but not where":   {head + `<IsTruncated>true</IsTruncated>` + contents("a") + `</ListBucketResult>`, "pages repeat"},
		"more, always the same": {head + `<IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken></ListBucketResult>`, "pages repeat"},
		"bad encoding":          {head + `<IsTruncated>false</IsTruncated><EncodingType>url</EncodingType>` + contents("%zz") + `</ListBucketResult>`, "the answer is not a listing"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Length", fmt.Sprint(len(tt.body)))
				if r.Method == http.MethodGet {
					_, _ = w.Write([]byte(tt.body))
				}
			}))
			defer server.Close()
			faulty(t)
			objects := load(t, func(o *awsapi.Options) { o.Endpoint = server.URL }).S3()
			keys, err := list(t, objects, "")
			if tt.text == "" {
				if err != nil || len(keys) != 2 {
					t.Errorf("%q, %v", keys, err)
				}
				return
			}
			expect(t, err, tt.text)
			if finding.IsFact(err) {
				t.Errorf("%v is a fact", err)
			}
		})
	}
}

// A bucket in another region than the configured one just works, in whatever
// way S3 sends us there.
func TestRegions(t *testing.T) {
	for _, configured := range []string{"us-east-1", "eu-central-1", "ap-southeast-2", ""} {
		t.Run("from "+configured, func(t *testing.T) {
			server, _, want := faulty(t)
			server.StrictRegions = true
			server.Regions[bucket] = "eu-central-1"
			t.Setenv("AWS_REGION", configured)
			t.Setenv("AWS_DEFAULT_REGION", configured)
			objects := load(t, nil).S3()
			for range 3 {
				if b, err := get(t.Context(), objects, key); err != nil || len(b) != len(want) {
					t.Errorf("%d bytes, %v", len(b), err)
				}
				if keys, err := list(t, objects, "f"); err != nil || len(keys) != 30 {
					t.Errorf("%d keys, %v", len(keys), err)
				}
			}
			if n := server.Requests()["HeadBucket"]; n != 1 {
				t.Errorf("asked %d times where the bucket lies", n)
			}
		})
	}
}

// Where S3 does not say where a bucket lies, the configured region has to do;
// where it could not be asked, that is the error.
func TestRegionUnknown(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault testaws.Fault
		is    []error
		text  string
	}{
		{"denied", testaws.AccessDenied(), nil, ""},
		{"not found", testaws.EmptyNotFound(), nil, ""},
		{"throttled", testaws.SlowDown(), []error{finding.ErrThrottled}, "get s3://"},
		{"reset", testaws.Fault{Reset: true}, nil, "get s3://"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, objects, want := faulty(t)
			server.Fail(tt.fault.On("HeadBucket", "", ""))
			b, err := get(t.Context(), objects, key)
			if tt.text == "" {
				if err != nil || len(b) != len(want) {
					t.Errorf("%d bytes, %v", len(b), err)
				}
				return
			}
			expect(t, err, tt.text, tt.is...)
			server.Heal()
			if b, err := get(t.Context(), objects, key); err != nil || len(b) != len(want) {
				t.Errorf("asked again later: %d bytes, %v", len(b), err)
			}
		})
	}
}
