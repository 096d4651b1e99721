package awsapi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

const (
	bucket = "trail-bucket"
	key    = "AWSLogs/x.json.gz"
)

// sentinels are all that a caller tells causes apart by. A fault must wrap
// just those of its row.
var sentinels = []error{
	fs.ErrNotExist, finding.ErrNoBucket, fs.ErrPermission, finding.ErrKMSDenied, finding.ErrArchived, finding.ErrThrottled,
	awsapi.ErrCredentials, awsapi.ErrRegion, context.Canceled, context.DeadlineExceeded,
}

func expect(t *testing.T, err error, text string, want ...error) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, s := range sentinels {
		wanted := false
		for _, w := range want {
			wanted = wanted || w == s
		}
		if errors.Is(err, s) != wanted {
			t.Errorf("%v: wraps %q: %v, want %v", err, s, !wanted, wanted)
		}
	}
	if !strings.Contains(err.Error(), text) {
		t.Errorf("error %q does not say %q", err, text)
	}
	for _, noise := range []string{"RequestID", "HostID", "StatusCode", "operation error", "https response", "failed to"} {
		if strings.Contains(err.Error(), noise) {
			t.Errorf("error %q is noisy", err)
		}
	}
}

func world() (*testtrail.World, []byte) {
	w := testtrail.New()
	body := bytes.Repeat([]byte("0123456789"), 50_000)
	w.Put(bucket, key, testtrail.Stored{Body: body})
	for i := range 30 {
		w.Put(bucket, fmt.Sprintf("f%02d/x", i), testtrail.Stored{Body: []byte("x")})
	}
	return w, body
}

func faulty(t *testing.T) (*testaws.Server, *awsapi.S3, []byte) {
	t.Helper()
	w, body := world()
	s := serve(t, w)
	t.Setenv("AWS_MAX_ATTEMPTS", "")
	return s, load(t, func(o *awsapi.Options) { o.IdleTimeout = 300 * time.Millisecond }).S3(), body
}

func get(ctx context.Context, s *awsapi.S3, key string) ([]byte, error) {
	body, _, err := s.Get(ctx, trail.Object{Bucket: bucket, Key: key})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

// Every fault of a read, that ends it and that does not, beside the read
// without one.
func TestGetFaults(t *testing.T) {
	const where = "get s3://" + bucket + "/" + key + ": "
	for _, tt := range []struct {
		name  string
		fault testaws.Fault
		is    []error
		text  string
		fact  bool
		why   finding.Reason
	}{
		{"absent", testaws.NoSuchKey(), []error{fs.ErrNotExist}, where + "NoSuchKey: The specified key does not exist.", true, ""},
		{"bucket gone", testaws.NoSuchBucket(), []error{fs.ErrNotExist, finding.ErrNoBucket}, "NoSuchBucket", true, ""},
		{"404 without a body", testaws.EmptyNotFound(), nil, where + "HTTP 404 Not Found without an error code", false, finding.Network},
		{"404 of another kind", testaws.Fault{Status: 404, Code: "NoSuchUpload", Message: "x"}, nil, "NoSuchUpload", false, finding.Network},
		{"NoSuchKey that is no 404", testaws.Fault{Status: 400, Code: "NoSuchKey", Message: "x"}, nil, "NoSuchKey", false, finding.Network},
		{"a part", testaws.Partial(), nil, where + "the answer is not an object of S3: HTTP 206 Partial Content", false, finding.Network},
		{"no ETag", testaws.NoETag(), nil, where + "the answer is not an object of S3: HTTP 200 OK without an ETag", false, finding.Network},
		{"no length", testaws.Fault{Without: "Content-Length"}, nil, "HTTP 200 OK without a Content-Length", false, finding.Network},
		{"page of a proxy", testaws.ProxyPage(200), nil, "HTTP 200 OK without an ETag", false, finding.Network},
		{"404 of a proxy", testaws.ProxyPage(404), nil, where + "HTTP 404 Not Found without an error code", false, finding.Network},
		{"502 of a proxy", testaws.ProxyPage(502), nil, "HTTP 502", false, finding.Network},
		{"denied", testaws.AccessDenied(), []error{fs.ErrPermission}, where + "AccessDenied: Access Denied", false, finding.AccessDenied},
		{"403 without a body", testaws.Fault{Status: 403, Empty: true}, []error{fs.ErrPermission}, "HTTP 403", false, finding.AccessDenied},
		{"bucket of another owner is named for KMS", testaws.Fault{Status: 403, Code: "AccessDenied", Message: "not authorized to perform: s3:GetObject on resource: arn:aws:s3:::my-kms-logs/x"}, []error{fs.ErrPermission}, "s3:GetObject", false, finding.AccessDenied},
		{"key denied", testaws.KMSDenied(), []error{finding.ErrKMSDenied}, "kms:Decrypt", false, finding.KMSDenied},
		{"key of another account", testaws.Fault{Status: 403, Code: "AccessDenied", Message: "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access."}, []error{finding.ErrKMSDenied}, "ciphertext", false, finding.KMSDenied},
		{"key disabled", testaws.Fault{Status: 400, Code: "KMS.DisabledException", Message: "arn:aws:kms:us-east-1:1:key/1 is disabled."}, []error{finding.ErrKMSDenied}, "KMS.DisabledException", false, finding.KMSDenied},
		{"archived", testaws.Archived(), []error{finding.ErrArchived}, "InvalidObjectState", false, finding.Archived},
		{"slow down for ever", testaws.SlowDown(), []error{finding.ErrThrottled}, "SlowDown", false, finding.Throttled},
		{"503 without a body", testaws.Fault{Status: 503, Empty: true}, []error{finding.ErrThrottled}, "HTTP 503", false, finding.Throttled},
		{"internal error for ever", testaws.InternalError(), nil, "InternalError", false, finding.Network},
		{"reset for ever", testaws.Fault{Reset: true}, nil, "", false, finding.Network},
		{"no answer for ever", testaws.Fault{Delay: 2 * time.Second}, nil, "timeout", false, finding.Network},
		{"body cut short", testaws.Fault{CutBody: 1000}, nil, where + "unexpected EOF", false, finding.Network},
		{"body stalls", testaws.Fault{Stall: 5 * time.Second}, nil, where, false, finding.Network},
		{"expired token", testaws.Fault{Status: 400, Code: "ExpiredToken", Message: "The provided token has expired."}, []error{awsapi.ErrCredentials, fs.ErrPermission}, "ExpiredToken", false, finding.AccessDenied},
		{"wrong key", testaws.Fault{Status: 403, Code: "SignatureDoesNotMatch", Message: "x"}, []error{awsapi.ErrCredentials, fs.ErrPermission}, "SignatureDoesNotMatch", false, finding.AccessDenied},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, objects, want := faulty(t)
			if b, err := get(t.Context(), objects, key); err != nil || !bytes.Equal(b, want) {
				t.Fatalf("without the fault: %d bytes, %v", len(b), err)
			}
			server.Fail(tt.fault.On("GetObject", bucket, key))
			began := time.Now()
			_, err := get(t.Context(), objects, key)
			expect(t, err, tt.text, tt.is...)
			if finding.IsFact(err) != tt.fact {
				t.Errorf("%v is a fact: %v, want %v", err, !tt.fact, tt.fact)
			}
			if !tt.fact && finding.ReasonOf(err) != tt.why {
				t.Errorf("%v has the reason %q, want %q", err, finding.ReasonOf(err), tt.why)
			}
			if d := time.Since(began); d > 4*time.Second {
				t.Errorf("gave up only after %v", d)
			}
			if b, err := get(t.Context(), objects, "f00/x"); err != nil || string(b) != "x" {
				t.Errorf("the object beside it: %q, %v", b, err)
			}
			server.Heal()
			if b, err := get(t.Context(), objects, key); err != nil || !bytes.Equal(b, want) {
				t.Errorf("after the fault: %d bytes, %v", len(b), err)
			}
		})
	}
}

// What passes is tried again, as often as it takes but for the attempts.
func TestGetRetries(t *testing.T) {
	for _, tt := range []struct {
		name     string
		fault    testaws.Fault
		requests int
	}{
		{"no fault", testaws.Fault{Op: "None"}, 1},
		{"slow down, then fine", testaws.Fault{Status: 503, Code: "SlowDown", Message: "x", Times: 4}, 5},
		{"500, then fine", testaws.Fault{Status: 500, Empty: true, Times: 4}, 5},
		{"502, then fine", testaws.Fault{Status: 502, Empty: true, Times: 1}, 2},
		{"reset, then fine", testaws.Fault{Reset: true, Times: 2}, 3},
		{"no answer, then fine", testaws.Fault{Delay: 2 * time.Second, Times: 1}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, objects, want := faulty(t)
			if tt.fault.Op == "" {
				tt.fault = tt.fault.On("GetObject", bucket, key)
			}
			server.Fail(tt.fault)
			b, err := get(t.Context(), objects, key)
			if err != nil || !bytes.Equal(b, want) {
				t.Errorf("%d bytes, %v", len(b), err)
			}
			// net/http itself tries again where a kept connection was closed.
			if n := server.Requests()["GetObject"]; n < tt.requests {
				t.Errorf("%d requests, want %d", n, tt.requests)
			}
		})
	}
}

// What cannot go better is asked for once.
func TestGetDoesNotRetry(t *testing.T) {
	for _, f := range []testaws.Fault{testaws.AccessDenied(), testaws.NoSuchKey(), testaws.Archived(), testaws.KMSDenied()} {
		server, objects, _ := faulty(t)
		server.Fail(f.On("GetObject", bucket, key))
		_, err := get(t.Context(), objects, key)
		if n := server.Requests()["GetObject"]; err == nil || n != 1 {
			t.Errorf("%s: %d requests, %v", f.Code, n, err)
		}
	}
}

func TestCancelledWhileReading(t *testing.T) {
	for name, fault := range map[string]testaws.Fault{
		"before the answer":         {Delay: time.Minute},
		"in the body":               {Stall: time.Minute},
		"between attempts":          {Status: 503, Code: "SlowDown"},
		"while the region is asked": {Op: "HeadBucket", Delay: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := world()
			server := serve(t, w)
			objects := load(t, func(o *awsapi.Options) { o.MaxBackoff = time.Minute }).S3()
			if fault.Op == "" {
				fault.Op = "GetObject"
			}
			server.Fail(fault)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err := get(ctx, objects, key)
			expect(t, err, "get s3://", context.DeadlineExceeded)
			if finding.IsFact(err) {
				t.Errorf("%v is a fact", err)
			}
		})
	}
}

// A dial that times out must not look like the caller's own end.
func TestNobodyListens(t *testing.T) {
	faulty(t)
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
	_, err := get(t.Context(), load(t, nil).S3(), key)
	expect(t, err, "connection refused")
}

func TestNoCredentials(t *testing.T) {
	server, _, _ := faulty(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	c := load(t, nil)
	_, err := get(t.Context(), c.S3(), key)
	expect(t, err, "no valid AWS credentials", awsapi.ErrCredentials)
	_, err = c.CloudTrail().PublicKeys(t.Context(), "us-east-1", time.Now(), time.Now())
	expect(t, err, "no valid AWS credentials", awsapi.ErrCredentials)
	if n := len(server.Requests()); n > 0 {
		t.Errorf("%v was asked without credentials", server.Requests())
	}
}

func TestNoProfile(t *testing.T) {
	faulty(t)
	_, err := awsapi.Load(t.Context(), awsapi.Options{Profile: "nobody"})
	if !errors.Is(err, awsapi.ErrProfile) || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("got %v", err)
	}
}

// Names that could turn a read into another request are refused, not absent.
func TestOddNames(t *testing.T) {
	server, objects, _ := faulty(t)
	server.World.Put("b", "x", testtrail.Stored{Body: []byte("x")})
	for _, o := range []trail.Object{
		{Bucket: bucket}, {Key: key}, {}, {Bucket: "a/../b", Key: "x"}, {Bucket: "b/x", Key: ""}, {Bucket: "b?x", Key: "x"},
	} {
		body, _, err := objects.Get(t.Context(), o)
		if err == nil {
			b, _ := io.ReadAll(body)
			_ = body.Close()
			t.Errorf("%q gave %q", o, b)
		}
	}
}

func TestExpectedBucketOwner(t *testing.T) {
	w, _ := world()
	fake := serve(t, w)
	var mu sync.Mutex
	owners := map[string]int{} // by the header that a request carries
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		owners[r.Header.Get("X-Amz-Expected-Bucket-Owner")]++
		mu.Unlock()
		fake.ServeHTTP(w, r)
	}))
	defer server.Close()
	for _, owner := range []string{"", "111122223333"} {
		objects := load(t, func(o *awsapi.Options) { o.Endpoint, o.ExpectedBucketOwner = server.URL, owner }).S3()
		_, errGet := get(t.Context(), objects, key)
		_, errList := list(t, objects, "")
		_, errFolders := folders(t, objects)
		if err := errors.Join(errGet, errList, errFolders); err != nil {
			t.Fatal(err)
		}
	}
	// Each time: where the bucket lies, get, list, folders.
	if owners[""] != 4 || owners["111122223333"] != 4 || len(owners) != 2 {
		t.Errorf("requests by expected owner: %v", owners)
	}
}

// An outage costs each object its own attempts: none is given up because
// others used them up.
func TestRetriesHaveNoCommonBudget(t *testing.T) {
	server, objects, want := faulty(t)
	for i := range 30 {
		name := fmt.Sprintf("f%02d/x", i)
		server.Fail(testaws.SlowDown().On("GetObject", bucket, name))
		_, err := get(t.Context(), objects, name)
		expect(t, err, "SlowDown", finding.ErrThrottled)
	}
	f := testaws.SlowDown().On("GetObject", bucket, key)
	f.Times = 4
	server.Fail(f)
	if b, err := get(t.Context(), objects, key); err != nil || !bytes.Equal(b, want) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}
