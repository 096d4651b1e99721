package awsapi

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/encoding/httpbinding"
)

// direct asks for objects of one bucket with a third of the processor time
// that the SDK's GetObject takes, which builds a stack of some fifty steps and
// resolves the endpoint twice for each request (docs/benchmarks.md,
// BenchmarkGet). Where the bucket is and how it is signed for, the SDK says
// once; its signer signs, and its HTTP client sends. An answer that is not an
// object of S3 (checkObject), or the error of a request without an answer,
// becomes that of GetObject's first attempt. What it means, and whether and when
// the request is repeated, the SDK decides. GetObject checks the answer again.
type direct struct {
	http        aws.HTTPClient
	credentials aws.CredentialsProvider
	signer      *v4.Signer
	region      string
	base        url.URL // keys follow its path
	owner       *string // the account that the bucket must belong to
	skew        atomic.Int64
	agent       string                                // User-Agent
	tell        func(service, operation, code string) // Options.OnRequest
}

const (
	emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	metaPrefix  = "X-Amz-Meta-"
)

// newDirect returns nil where only the SDK can sign or address a request: for
// access points of several regions, for directory buckets, and without
// credentials. bucket is what GetObject takes, so it may be the ARN of an access
// point.
func newDirect(ctx context.Context, c *s3.Client, bucket string, o Options) *direct {
	key := "k"
	presigned, err := s3.NewPresignClient(c).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return nil
	}
	u, err := url.Parse(presigned.URL)
	if err != nil {
		return nil
	}
	// AWS Signature Version 4: key id/date/region/service/aws4_request.
	scope := strings.Split(u.Query().Get("X-Amz-Credential"), "/")
	if u.Query().Get("X-Amz-Algorithm") != "AWS4-HMAC-SHA256" || len(scope) != 5 || scope[3] != "s3" || !strings.HasSuffix(u.EscapedPath(), "/"+key) {
		return nil
	}
	options := c.Options()
	d := &direct{
		http: options.HTTPClient, credentials: options.Credentials, region: scope[2],
		signer: v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }), // as S3 has it: keys are escaped once
		base:   url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimSuffix(u.Path, key), RawPath: strings.TrimSuffix(u.EscapedPath(), key)},
		agent:  "app/" + options.AppID, // as the SDK's, which says more
		tell:   o.OnRequest,
	}
	if o.ExpectedBucketOwner != "" {
		d.owner = &o.ExpectedBucketOwner
	}
	return d
}

// request returns a signed request, and the time it is signed with.
func (d *direct) request(ctx context.Context, key string) (*http.Request, time.Time, error) {
	u := d.base
	u.Path += key
	u.RawPath += httpbinding.EscapePath(key, false)
	r := (&http.Request{Method: http.MethodGet, URL: &u, Host: u.Host, Header: make(http.Header, 8)}).WithContext(ctx)
	r.Header.Set("X-Amz-Content-Sha256", emptySHA256)
	if d.owner != nil {
		r.Header.Set("X-Amz-Expected-Bucket-Owner", *d.owner)
	}
	at := time.Now().Add(time.Duration(d.skew.Load()))
	credentials, err := d.credentials.Retrieve(ctx)
	if err != nil {
		return nil, at, err
	}
	if err := d.signer.SignHTTP(ctx, credentials, r, emptySHA256, "s3", d.region, at); err != nil {
		return nil, at, err
	}
	r.Header.Set("Accept-Encoding", "identity") // stored bytes, as they are
	r.Header.Set("User-Agent", d.agent)
	return r, at, nil
}

// maxSkew is how far off a clock may be; the SDK, too, corrects one beyond it.
const maxSkew = 4 * time.Minute

// skewed reports whether an answer to a request that was signed with a time is
// a refusal that our clock may be the cause of, and corrects it for the next
// one. Such an answer is not for the SDK, whose own first attempt would have
// been signed with another time.
func (d *direct) skewed(answer *http.Response, at time.Time) bool {
	if answer == nil || answer.StatusCode != http.StatusForbidden {
		return false
	}
	there, err := http.ParseTime(answer.Header.Get("Date"))
	if err != nil || there.Sub(at).Abs() < maxSkew {
		return false
	}
	d.skew.Store(int64(time.Until(there)))
	if d.tell != nil {
		d.tell(s3.ServiceID, "GetObject", "403")
	}
	return true
}

// isObject reports whether an answer is an object. It tells OnRequest of one
// that is; the SDK tells of others.
func (d *direct) isObject(answer *http.Response, err error) bool {
	if err != nil || checkObject(answer) != nil {
		return false
	}
	if d.tell != nil {
		d.tell(s3.ServiceID, "GetObject", "200")
	}
	return true
}

// userMetadata returns an object's, with lower-case names.
func userMetadata(h http.Header) map[string]string {
	meta := map[string]string{}
	for name, values := range h {
		if strings.HasPrefix(name, metaPrefix) && len(values) > 0 {
			meta[strings.ToLower(name[len(metaPrefix):])] = values[0]
		}
	}
	return meta
}

// answered is an HTTP client whose first answer came already.
type answered struct {
	aws.HTTPClient
	answer *http.Response
	err    error
	given  bool
}

func (a *answered) Do(r *http.Request) (*http.Response, error) {
	if a.given {
		return a.HTTPClient.Do(r)
	}
	a.given = true
	return a.answer, a.err
}

// close ends an answer that was never asked for.
func (a *answered) close() {
	if !a.given && a.answer != nil {
		a.answer.Body.Close()
	}
}
