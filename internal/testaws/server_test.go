package testaws_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
)

// answer is what came back for a request.
type answer struct {
	status int
	header http.Header
	body   string
	err    error // of the request or of its body
}

func ask(t *testing.T, method, address, body string, header ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	client := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	p, err := client.RoundTrip(r)
	if err != nil {
		return answer{err: err}
	}
	b, err := io.ReadAll(p.Body)
	if cerr := p.Body.Close(); cerr != nil {
		t.Fatal(cerr)
	}
	return answer{p.StatusCode, p.Header, string(b), err}
}

func get(t *testing.T, address string, header ...string) answer {
	t.Helper()
	return ask(t, http.MethodGet, address, "", header...)
}

func signedFor(region string) []string {
	return []string{"Authorization", "AWS4-HMAC-SHA256 Credential=AKIA/20260301/" + region + "/s3/aws4_request, SignedHeaders=host, Signature=0"}
}

// one returns a server with one object, s3://b/k, whose body is hello.
func one(t *testing.T) *testaws.Server {
	t.Helper()
	w := testtrail.New()
	w.Put("b", "k", testtrail.Stored{
		Body: []byte("hello"), Encoding: "gzip", Meta: map[string]string{"signature-algorithm": "SHA256withRSA"}, Modified: start,
	})
	return testaws.New(t, w)
}

func TestGetObject(t *testing.T) {
	s := one(t)
	a := get(t, s.URL+"/b/k?x-id=GetObject")
	if a.status != 200 || a.body != "hello" || a.err != nil {
		t.Fatalf("%+v", a)
	}
	for name, want := range map[string]string{
		"X-Amz-Meta-Signature-Algorithm": "SHA256withRSA", "Content-Encoding": "gzip", "Content-Length": "5",
		"Last-Modified": "Sun, 01 Mar 2026 00:00:00 GMT", "X-Amz-Bucket-Region": "us-east-1",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	tag := a.header.Get("Etag")
	if head := ask(t, http.MethodHead, s.URL+"/b/k", ""); head.status != 200 || head.header.Get("Content-Length") != "5" || head.header.Get("Etag") != tag {
		t.Errorf("head: %+v", head)
	}
	for _, c := range []struct {
		header, value string
		status        int
		body          string
	}{
		{"Range", "bytes=1-2", 206, "el"},
		{"Range", "bytes=3-", 206, "lo"},
		{"Range", "bytes=-2", 206, "lo"},
		{"Range", "bytes=0-99", 206, "hello"},
		{"Range", "bytes=5-", 416, "InvalidRange"},
		{"If-Match", tag, 200, "hello"},
		{"If-Match", `"x"`, 412, "PreconditionFailed"},
		{"If-None-Match", tag, 304, ""},
		{"If-None-Match", `"x"`, 200, "hello"},
		{"X-Amz-Expected-Bucket-Owner", testaws.Account, 200, "hello"},
		{"X-Amz-Expected-Bucket-Owner", "999999999999", 403, "AccessDenied"},
	} {
		a := get(t, s.URL+"/b/k", c.header, c.value)
		if a.status != c.status || a.err != nil || (a.status < 300 && a.body != c.body) || !strings.Contains(a.body, c.body) {
			t.Errorf("%s %s: %+v", c.header, c.value, a)
		}
	}
}

func TestWhatIsNotThere(t *testing.T) {
	s := one(t)
	for _, c := range []struct {
		method, path string
		status       int
		code         string
	}{
		{"GET", "/b/k/", 404, "<Code>NoSuchKey</Code>"},
		{"HEAD", "/b/nope", 404, ""},
		{"GET", "/nope/k", 404, "<Code>NoSuchBucket</Code>"},
		{"GET", "/nope?list-type=2", 404, "<Code>NoSuchBucket</Code>"},
		{"GET", "/nope", 404, "<Code>NoSuchBucket</Code>"},
		{"HEAD", "/nope", 404, ""},
		{"GET", "/b?acl", 501, "<Code>NotImplemented</Code>"},
		{"GET", "/b/k?versionId=1", 501, "<Code>NotImplemented</Code>"},
		{"PUT", "/b/k?acl", 501, "<Code>NotImplemented</Code>"},
		{"DELETE", "/b/k", 501, "<Code>NotImplemented</Code>"},
		{"GET", "/b?list-type=2&max-keys=x", 400, "<Code>InvalidArgument</Code>"},
		{"GET", "/b?list-type=2&continuation-token=!", 400, "<Code>InvalidArgument</Code>"},
	} {
		a := ask(t, c.method, s.URL+c.path, "")
		if a.status != c.status || !strings.Contains(a.body, c.code) || (c.code == "" && a.body != "") {
			t.Errorf("%s %s: %+v", c.method, c.path, a)
		}
	}
}

// listed is an answer to a listing of either version.
type listed struct {
	IsTruncated           bool
	NextMarker            string
	NextContinuationToken string
	Contents              []struct {
		Key, LastModified, ETag string
		Size                    int
	}
	CommonPrefixes []struct{ Prefix string }
}

// listAll follows a listing to its end and returns its keys and common
// prefixes in the order of the pages, as the clients put them together.
func listAll(t *testing.T, s *testaws.Server, q url.Values) (keys, prefixes []string) {
	t.Helper()
	for {
		a := get(t, s.URL+"/b?"+q.Encode())
		var l listed
		if err := xml.Unmarshal([]byte(a.body), &l); err != nil || a.status != 200 {
			t.Fatalf("%v: %+v", err, a)
		}
		text := func(v string) string {
			if q.Has("encoding-type") {
				v, _ = url.QueryUnescape(v)
			}
			return v
		}
		for _, c := range l.Contents {
			keys = append(keys, text(c.Key))
		}
		for _, c := range l.CommonPrefixes {
			prefixes = append(prefixes, text(c.Prefix))
		}
		switch {
		case !l.IsTruncated:
			return keys, prefixes
		case q.Has("list-type"):
			q.Set("continuation-token", l.NextContinuationToken)
		case q.Has("delimiter"):
			q.Set("marker", text(l.NextMarker))
		default:
			q.Set("marker", keys[len(keys)-1])
		}
	}
}

// TestListingsAgainstAScan compares paged listings with a scan of all keys.
func TestListingsAgainstAScan(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	w := testtrail.New()
	w.AddBucket("b")
	s := testaws.New(t, w)
	pieces := []string{"a", "b", "/", "é", "+", "&", " ", "a/", "%2F", "_"}
	some := func(n int) string {
		var b strings.Builder
		for range random.IntN(n + 1) {
			b.WriteString(pieces[random.IntN(len(pieces))])
		}
		return b.String()
	}
	for range 60 {
		w.Put("b", "k"+some(5), testtrail.Stored{Body: []byte("x")})
	}
	all, _ := w.Keys("b", "")
	for i := range 300 {
		prefix, after, delimiter := "k"+some(2), "", ""
		if i%2 == 0 {
			delimiter = "/"
		} else if i%3 == 0 {
			after = prefix + some(2) // with a delimiter S3's own answer is not documented
		}
		var keys, prefixes []string
		for _, k := range all {
			if !strings.HasPrefix(k, prefix) || k <= after {
				continue
			}
			if j := strings.Index(k[len(prefix):], "/"); delimiter != "" && j >= 0 {
				prefixes = append(prefixes, k[:len(prefix)+j+1])
				continue
			}
			keys = append(keys, k)
		}
		prefixes = slices.Compact(prefixes)
		for _, v2 := range []bool{false, true} {
			q := url.Values{"prefix": {prefix}, "max-keys": {fmt.Sprint(1 + random.IntN(7))}, "encoding-type": {"url"}}
			if random.IntN(2) == 0 {
				q.Del("encoding-type")
			}
			if delimiter != "" {
				q.Set("delimiter", delimiter)
			}
			if v2 {
				q.Set("list-type", "2")
				q.Set("start-after", after)
			} else {
				q.Set("marker", after)
			}
			asked := q.Encode()
			gotKeys, gotPrefixes := listAll(t, s, q)
			if !slices.Equal(gotKeys, keys) || !slices.Equal(gotPrefixes, prefixes) {
				t.Fatalf("%s:\n got %q %q\nwant %q %q", asked, gotKeys, gotPrefixes, keys, prefixes)
			}
		}
	}
}

func TestListingDetails(t *testing.T) {
	w := testtrail.New()
	for i := range 1001 {
		w.Put("b", fmt.Sprintf("k%04d", i), testtrail.Stored{Body: []byte("hello"), Modified: start})
	}
	s := testaws.New(t, w)
	var l listed
	a := get(t, s.URL+"/b?list-type=2&max-keys=5000")
	if err := xml.Unmarshal([]byte(a.body), &l); err != nil {
		t.Fatal(err)
	}
	if len(l.Contents) != 1000 || !l.IsTruncated || l.NextContinuationToken == "" {
		t.Fatalf("%d entries, truncated %v", len(l.Contents), l.IsTruncated)
	}
	c := l.Contents[0]
	if c.Key != "k0000" || c.Size != 5 || c.LastModified != "2026-03-01T00:00:00.000Z" || c.ETag != get(t, s.URL+"/b/k0000").header.Get("Etag") {
		t.Errorf("%+v", c)
	}
	// Version 1 names the next page only where there is a delimiter.
	if a := get(t, s.URL+"/b"); strings.Contains(a.body, "NextMarker") || !strings.Contains(a.body, "<IsTruncated>true<") {
		t.Error(a.body[:300])
	}
	if a := get(t, s.URL+"/b?list-type=2&max-keys=0"); !strings.Contains(a.body, "<IsTruncated>false<") {
		t.Error(a.body)
	}
	if got := s.Requests(); !reflect.DeepEqual(got, map[string]int{"ListObjectsV2": 2, "ListObjects": 1, "GetObject": 1}) {
		t.Error(got)
	}
}

func TestRegions(t *testing.T) {
	s := one(t)
	s.World.AddBucket("eu")
	s.World.Put("eu", "k", testtrail.Stored{Body: []byte("hallo")})
	s.Regions["eu"] = "eu-west-1"
	s.StrictRegions = true
	for _, c := range []struct {
		method, path, region string
		status               int
		body, bucketRegion   string
	}{
		{"GET", "/eu/k", "eu-west-1", 200, "hallo", "eu-west-1"},
		{"GET", "/eu/k", "us-east-1", 301, "PermanentRedirect", "eu-west-1"},
		{"GET", "/eu/k", "eu-central-1", 400, "<Region>eu-west-1</Region>", "eu-west-1"},
		{"HEAD", "/eu", "us-east-1", 301, "", "eu-west-1"},
		{"GET", "/eu?location", "us-east-1", 200, ">eu-west-1</LocationConstraint>", "eu-west-1"},
		{"GET", "/b?location", "us-east-1", 200, "></LocationConstraint>", "us-east-1"},
		{"GET", "/b/k", "us-east-1", 200, "hello", "us-east-1"},
	} {
		a := ask(t, c.method, s.URL+c.path, "", signedFor(c.region)...)
		if a.status != c.status || !strings.Contains(a.body, c.body) || a.header.Get("X-Amz-Bucket-Region") != c.bucketRegion {
			t.Errorf("%s %s for %s: %+v", c.method, c.path, c.region, a)
		}
	}
}

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name   string
		fault  testaws.Fault
		status int // 0: no answer
		body   string
		err    error
	}{
		{"the untouched control", testaws.Fault{Op: "HeadObject", Reset: true}, 200, "hello", nil},
		{"another key", testaws.SlowDown().On("GetObject", "b", "other"), 200, "hello", nil},
		{"another region", testaws.Fault{Region: "eu-west-1", Status: 500}, 200, "hello", nil},
		{"denied", testaws.AccessDenied(), 403, "<Code>AccessDenied</Code>", nil},
		{"denied by KMS", testaws.KMSDenied().On("", "b", ""), 403, "not authorized to perform: kms:Decrypt", nil},
		{"archived", testaws.Archived().On("GetObject", "b", "k"), 403, "<Code>InvalidObjectState</Code>", nil},
		{"no key", testaws.NoSuchKey(), 404, "<Code>NoSuchKey</Code>", nil},
		{"no bucket", testaws.NoSuchBucket(), 404, "<Code>NoSuchBucket</Code>", nil},
		{"404 without a body", testaws.EmptyNotFound(), 404, "", nil},
		{"500", testaws.InternalError(), 500, "<Code>InternalError</Code>", nil},
		{"503", testaws.SlowDown(), 503, "<Code>SlowDown</Code>", nil},
		{"reset", testaws.Fault{Reset: true}, 0, "", syscall.ECONNRESET},
		{"body cut", testaws.Fault{CutBody: 2}, 200, "he", io.ErrUnexpectedEOF},
		{"body never cut to its whole", testaws.Fault{CutBody: 99}, 200, "hell", io.ErrUnexpectedEOF},
		{"body stalls", testaws.Fault{Stall: 30 * time.Millisecond}, 200, "hello", nil},
		{"a part", testaws.Partial(), 206, "hello", nil},
		{"page of a proxy", testaws.ProxyPage(0), 200, testaws.ProxyPage(0).Page, nil},
		{"404 of a proxy", testaws.ProxyPage(404), 404, testaws.ProxyPage(0).Page, nil},
		{"delay", testaws.Fault{Delay: 30 * time.Millisecond}, 200, "hello", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := one(t)
			c.fault.Times = 1
			s.Fail(c.fault)
			began := time.Now()
			a := get(t, s.URL+"/b/k")
			if a.status != c.status || !errors.Is(a.err, c.err) || !strings.Contains(a.body, c.body) || (c.body == "" && a.body != "") || (a.status == 200 && a.body != c.body) {
				t.Errorf("%+v", a)
			}
			if took := time.Since(began); took < c.fault.Delay+c.fault.Stall {
				t.Error("after", took)
			}
			if a := get(t, s.URL+"/b/k"); a.status != 200 || a.body != "hello" || a.err != nil {
				t.Errorf("afterwards: %+v", a)
			}
		})
	}
}

// A header is missing in the answers that a fault chooses, and in no others.
func TestMissingHeaders(t *testing.T) {
	for name, fault := range map[string]testaws.Fault{"Etag": testaws.NoETag(), "Content-Length": {Without: "Content-Length"}} {
		s := one(t)
		fault.Times = 1
		s.Fail(fault)
		for _, want := range []bool{false, true} {
			a := get(t, s.URL+"/b/k")
			if a.status != 200 || a.body != "hello" || a.err != nil || (a.header.Get(name) != "") != want {
				t.Errorf("%s: %+v", name, a)
			}
		}
	}
}

// An access point is another way to a bucket, in the path or in front of a host.
func TestAccessPoints(t *testing.T) {
	s := one(t)
	s.AccessPoints["ap-111122223333"] = "b"
	host := strings.TrimPrefix(s.URL, "http://")
	for _, c := range []struct {
		path, host string
		status     int
	}{
		{"/b/k", host, 200},
		{"/ap-111122223333/k", host, 200},
		{"/k", "ap-111122223333.s3-accesspoint.eu-central-1.amazonaws.com", 200},
		{"/other-111122223333/k", host, 404},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = c.host
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if a.Body.Close(); a.StatusCode != c.status {
			t.Errorf("%s at %s: %d, want %d", c.path, c.host, a.StatusCode, c.status)
		}
	}
}

func TestFaultsAreCounted(t *testing.T) {
	s := one(t)
	s.Fail(testaws.Fault{Op: "ListObjectsV2", Key: "k", Skip: 1, Times: 2, Status: 503, Code: "SlowDown"})
	var got []int
	for range 5 {
		got = append(got, get(t, s.URL+"/b?list-type=2&prefix=k").status)
		get(t, s.URL+"/b?list-type=2&prefix=x") // another listing uses nothing up
	}
	if !slices.Equal(got, []int{200, 503, 503, 200, 200}) {
		t.Error(got)
	}
	s.Fail(testaws.Fault{Op: "ListObjectsV2", Empty: true})
	if a := get(t, s.URL+"/b?list-type=2"); a.status != 200 || strings.Contains(a.body, "Contents") {
		t.Error(a.body)
	}
	s.Heal()
	if a := get(t, s.URL+"/b?list-type=2"); !strings.Contains(a.body, "<Key>k</Key>") {
		t.Error(a.body)
	}
}

// A client that gives up ends the wait, so that a stalled server can close.
func TestStallEndsWithTheClient(t *testing.T) {
	s := one(t)
	s.Fail(testaws.Fault{Delay: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/b/k", nil)
	if p, err := http.DefaultTransport.RoundTrip(r); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(p, err)
	}
}

func api(t *testing.T, s *testaws.Server, target, region, body string, into any) answer {
	t.Helper()
	h := append(signedFor(region), "X-Amz-Target", target, "Content-Type", "application/x-amz-json-1.1")
	a := ask(t, http.MethodPost, s.URL+"/", body, h...)
	if a.err != nil {
		t.Fatal(a.err)
	}
	if err := json.Unmarshal([]byte(a.body), into); err != nil {
		t.Fatalf("%v: %+v", err, a)
	}
	return a
}

const (
	sdkTarget = "CloudTrail_20131101."
	cliTarget = "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101."
)

func TestPublicKeys(t *testing.T) {
	s := one(t)
	s.KeyPage = 1
	from, to := start, start.Add(90*24*time.Hour)
	for _, target := range []string{sdkTarget, cliTarget} {
		want, _ := s.World.PublicKeys(t.Context(), "eu-west-1", from, to)
		token := ""
		for i, k := range want.Keys {
			var l struct {
				NextToken     string
				PublicKeyList []struct {
					Value, Fingerprint                 string
					ValidityStartTime, ValidityEndTime float64
				}
			}
			body := fmt.Sprintf(`{"StartTime":%d,"EndTime":%d.5,"NextToken":%q}`, from.Unix(), to.Unix(), token)
			api(t, s, target+"ListPublicKeys", "eu-west-1", body, &l)
			if len(l.PublicKeyList) != 1 {
				t.Fatalf("page %d: %+v", i, l)
			}
			got := l.PublicKeyList[0]
			if got.Fingerprint != k.Fingerprint || got.Value != base64.StdEncoding.EncodeToString(k.DER) ||
				got.ValidityStartTime != float64(k.From.Unix()) || got.ValidityEndTime != float64(k.To.Unix()) {
				t.Errorf("page %d: %+v", i, got)
			}
			token = l.NextToken
		}
		if token != "" || len(want.Keys) < 3 {
			t.Errorf("%d keys, then token %q", len(want.Keys), token)
		}
	}
}

func TestControlErrors(t *testing.T) {
	s := one(t)
	s.Fail(testaws.Throttled().On("ListPublicKeys", "", ""))
	s.Fail(testaws.Denied().On("DescribeTrails", "", ""))
	s.Fail(testaws.Fault{Op: "GetCallerIdentity", Status: 403, Code: "ExpiredToken"})
	for target, want := range map[string]string{
		cliTarget + "ListPublicKeys":                     "ThrottlingException",
		sdkTarget + "DescribeTrails":                     "AccessDeniedException",
		sdkTarget + "DeleteTrail":                        "UnknownOperationException",
		"AWSOrganizationsV20161128.DescribeOrganization": "AWSOrganizationsNotInUseException",
	} {
		var e struct {
			Type string `json:"__type"`
		}
		if a := api(t, s, target, "us-east-1", "{}", &e); a.status != 400 || e.Type != want {
			t.Errorf("%s: %+v", target, a)
		}
	}
	a := ask(t, http.MethodPost, s.URL+"/", "Action=GetCallerIdentity", "Content-Type", "application/x-www-form-urlencoded")
	if a.status != 403 || !strings.Contains(a.body, "<Code>ExpiredToken</Code>") {
		t.Errorf("%+v", a)
	}
}

func TestEmptyKeyList(t *testing.T) {
	s := one(t)
	s.Fail(testaws.Fault{Op: "ListPublicKeys", Region: "eu-west-1", Empty: true})
	for region, want := range map[string]bool{"eu-west-1": false, "us-east-1": true} {
		var l struct{ PublicKeyList []json.RawMessage }
		api(t, s, sdkTarget+"ListPublicKeys", region, "{}", &l)
		if l.PublicKeyList == nil || len(l.PublicKeyList) > 0 != want {
			t.Errorf("%s: %s", region, l.PublicKeyList)
		}
	}
}

func TestDescribe(t *testing.T) {
	s := one(t)
	s.Organization = "o-0123456789"
	tr := s.World.Trail(testtrail.Options{Organization: s.Organization, Prefix: "p", HomeRegion: "eu-west-1"})
	s.Trails = []testaws.Trail{testaws.Describe(tr, testaws.Account), {Name: "other"}}
	for body, n := range map[string]int{`{}`: 2, `{"trailNameList":["main"]}`: 1, `{"trailNameList":["arn:aws:cloudtrail:eu-west-1:111122223333:trail/main"]}`: 1, `{"trailNameList":["x"]}`: 0} {
		var l struct{ TrailList []testaws.Trail }
		api(t, s, sdkTarget+"DescribeTrails", "eu-west-1", body, &l)
		if len(l.TrailList) != n {
			t.Errorf("%s: %+v", body, l)
		}
		if n > 0 && (l.TrailList[0] != s.Trails[0] || !l.TrailList[0].IsOrganizationTrail) {
			t.Errorf("%s: %+v", body, l.TrailList[0])
		}
	}
	var o struct{ Organization struct{ ID string } }
	api(t, s, "AWSOrganizationsV20161128.DescribeOrganization", "us-east-1", "{}", &o)
	if o.Organization.ID != s.Organization {
		t.Errorf("%+v", o)
	}
	a := ask(t, http.MethodPost, s.URL+"/", "Action=GetCallerIdentity", "Content-Type", "application/x-www-form-urlencoded")
	if !strings.Contains(a.body, "<Account>111122223333</Account>") {
		t.Error(a.body)
	}
}
