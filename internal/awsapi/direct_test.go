package awsapi_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// before runs see before each request that the fake gets.
func before(t *testing.T, fake *testaws.Server, see func(w http.ResponseWriter, r *http.Request) (done bool)) (url string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !see(w, r) {
			fake.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// What arrives is signed as it arrives, whatever the key, the token of a
// session and the expected owner too.
func TestGetIsSigned(t *testing.T) {
	const owner = "111122223333"
	w := testtrail.New()
	keys := []string{"plain", "a b+c=d&e?f#g%2F", "über/日本", "a//b/../c/./d", "/leading", "trailing/", "~-_.!*'()", "\x01\xff"}
	for _, k := range keys {
		w.Put(bucket, k, testtrail.Stored{Body: []byte(k)})
	}
	var checked atomic.Int64
	api := func(t *testing.T, fake *testaws.Server) *awsapi.S3 {
		url := before(t, fake, func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet {
				checked.Add(1)
				if r.Header.Get("X-Amz-Security-Token") != "session" || r.Header.Get("X-Amz-Expected-Bucket-Owner") != owner {
					t.Errorf("%s: headers %v", r.RequestURI, r.Header)
				}
				if want := resigned(t, r); r.Header.Get("Authorization") != want {
					t.Errorf("%s: signed\n%s, want\n%s", r.RequestURI, r.Header.Get("Authorization"), want)
				}
			}
			return false
		})
		return load(t, func(o *awsapi.Options) { o.Endpoint, o.ExpectedBucketOwner = url, owner }).S3()
	}
	fake := serve(t, w)
	t.Setenv("AWS_SESSION_TOKEN", "session")
	objects := api(t, fake)
	for _, k := range keys {
		body, _, err := objects.Get(t.Context(), trail.Object{Bucket: bucket, Key: k})
		if err != nil {
			t.Errorf("%q: %v", k, err)
			continue
		}
		b, err := io.ReadAll(body)
		if body.Close(); err != nil || string(b) != k {
			t.Errorf("%q: got %q, %v", k, b, err)
		}
	}
	if n := checked.Load(); n != int64(len(keys)) {
		t.Errorf("%d requests for %d objects", n, len(keys))
	}
}

// resigned signs what arrived anew, with the headers that were signed.
func resigned(t *testing.T, got *http.Request) string {
	t.Helper()
	u, err := url.ParseRequestURI(got.RequestURI)
	if err != nil {
		t.Fatal(err)
	}
	_, names, _ := strings.Cut(got.Header.Get("Authorization"), "SignedHeaders=")
	names, _, _ = strings.Cut(names, ",")
	r := &http.Request{Method: got.Method, URL: u, Host: got.Host, Header: http.Header{}}
	for _, name := range strings.Split(names, ";") {
		if name != "host" {
			r.Header[http.CanonicalHeaderKey(name)] = got.Header.Values(name)
		}
	}
	for _, must := range []string{"host", "x-amz-content-sha256", "x-amz-date", "x-amz-expected-bucket-owner", "x-amz-security-token"} {
		if !slices.Contains(strings.Split(names, ";"), must) {
			t.Errorf("%s is not signed: %s", must, names)
		}
	}
	at, err := time.Parse("20060102T150405Z", got.Header.Get("X-Amz-Date"))
	if err != nil {
		t.Fatal(err)
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	credentials := aws.Credentials{AccessKeyID: "AKIATESTTESTTESTTEST", SecretAccessKey: "test", SessionToken: "session"}
	if err := signer.SignHTTP(t.Context(), credentials, r, got.Header.Get("X-Amz-Content-Sha256"), "s3", "us-east-1", at); err != nil {
		t.Fatal(err)
	}
	return r.Header.Get("Authorization")
}

// A machine whose clock is wrong finds that out with the first answers, however
// many requests are under way, and not again.
func TestGetWithAWrongClock(t *testing.T) {
	const atOnce = 32
	w, want := world()
	fake := serve(t, w)
	var requests, refused atomic.Int64
	var together sync.WaitGroup
	together.Add(atOnce)
	url := before(t, fake, func(w http.ResponseWriter, r *http.Request) bool {
		there := time.Now().Add(time.Hour)
		w.Header().Set("Date", there.UTC().Format(http.TimeFormat))
		if r.Method != http.MethodGet {
			return false
		}
		if requests.Add(1) <= atOnce {
			together.Done()
			together.Wait()
		}
		at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
		if err == nil && at.Sub(there).Abs() < 15*time.Minute {
			return false
		}
		refused.Add(1)
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `<Error><Code>RequestTimeTooSkewed</Code><Message>The difference between the request time and the current time is too large.</Message></Error>`)
		return true
	})
	objects := load(t, func(o *awsapi.Options) { o.Endpoint = url }).S3()
	for range 2 {
		var all sync.WaitGroup
		for range atOnce {
			all.Go(func() {
				if b, err := get(t.Context(), objects, key); err != nil || len(b) != len(want) {
					t.Errorf("%d bytes, %v", len(b), err)
				}
			})
		}
		all.Wait()
	}
	if requests.Load() != 3*atOnce || refused.Load() != atOnce {
		t.Errorf("%d requests, %d refused; want %d and %d", requests.Load(), refused.Load(), 3*atOnce, atOnce)
	}
}
