package awsapi

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/trailseal/trailseal/pkg/trail"
)

// address is where a request goes and what it is signed for.
func address(r *http.Request) string {
	_, scope, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	scope, _, _ = strings.Cut(scope, ",")
	_, scope, _ = strings.Cut(scope, "/20") // the key's id; then the date
	_, scope, _ = strings.Cut(scope, "/")
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	return r.Method + " " + r.URL.Scheme + "://" + host + r.URL.EscapedPath() + " for " + scope
}

// Where requests go: to AWS, to an interface endpoint of a VPC, to a server of
// another kind. Our own GET, the SDK's and a listing go to the same place.
func TestAddresses(t *testing.T) {
	const (
		slash = "arn:aws:s3:eu-central-1:111122223333:accesspoint/my-ap"
		colon = "arn:aws:s3:eu-central-1:111122223333:accesspoint:my-ap"
		gov   = "arn:aws-us-gov:s3:us-gov-west-1:111122223333:accesspoint/my-ap"
		china = "arn:aws-cn:s3:cn-north-1:111122223333:accesspoint/my-ap"
		alias = "my-ap-aqfqprnstn7aefdfbarligizwgyfouse1a-s3alias"
		vpc   = "https://accesspoint.vpce-1a2b3c4d-5e6f.s3.eu-central-1.vpce.amazonaws.com"
	)
	for _, tt := range []struct {
		name, endpoint, bucket string
		base, region           string // of the address: https://HOST[/BUCKET]
	}{
		{"control", "", "trails", "https://trails.s3.us-east-1.amazonaws.com", "us-east-1"},
		{"alias", "", alias, "https://" + alias + ".s3.us-east-1.amazonaws.com", "us-east-1"},
		{"slash", "", slash, "https://my-ap-111122223333.s3-accesspoint.eu-central-1.amazonaws.com", "eu-central-1"},
		{"colon", "", colon, "https://my-ap-111122223333.s3-accesspoint.eu-central-1.amazonaws.com", "eu-central-1"},
		{"GovCloud", "", gov, "https://my-ap-111122223333.s3-accesspoint.us-gov-west-1.amazonaws.com", "us-gov-west-1"},
		{"China", "", china, "https://my-ap-111122223333.s3-accesspoint.cn-north-1.amazonaws.com.cn", "cn-north-1"},
		{"VPC", vpc, slash, "https://my-ap-111122223333." + vpc[len("https://"):], "eu-central-1"},
		{"VPC, colon", vpc, colon, "https://my-ap-111122223333." + vpc[len("https://"):], "eu-central-1"},
		{"named server, control", "http://s3.example.com:9000", "trails", "http://s3.example.com:9000/trails", "us-east-1"},
		{"named server, alias", "http://s3.example.com:9000", alias, "http://s3.example.com:9000/" + alias, "us-east-1"},
		{"named server", "http://s3.example.com:9000", slash, "http://my-ap-111122223333.s3.example.com:9000", "eu-central-1"},
		{"numbered server, control", "http://192.0.2.1:9000", "trails", "http://192.0.2.1:9000/trails", "us-east-1"},
		{"numbered server", "http://192.0.2.1:9000", slash, "http://192.0.2.1:9000/my-ap-111122223333", "eu-central-1"},
		{"numbered server, below a path", "http://[2001:db8::1]/s3", colon, "http://[2001:db8::1]/s3/my-ap-111122223333", "eu-central-1"},
		{"server of one word", "http://localhost:9000", colon, "http://localhost:9000/my-ap-111122223333", "eu-central-1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
			t.Setenv("AWS_REGION", "us-east-1")
			for _, name := range []string{"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"} {
				t.Setenv(name, "")
			}
			client, err := Load(t.Context(), Options{Endpoint: tt.endpoint, MaxBackoff: time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			var sent []string
			client.cfg.HTTPClient = clientFunc(func(r *http.Request) (*http.Response, error) {
				answer := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: r, Body: http.NoBody}
				if r.Method == http.MethodHead {
					return answer, nil // where the bucket lies
				}
				sent = append(sent, address(r))
				answer.StatusCode = http.StatusNotFound
				answer.Body = io.NopCloser(strings.NewReader(`<Error><Code>NoSuchKey</Code></Error>`))
				return answer, nil
			})
			objects := client.S3()
			get := func() {
				if _, _, err := objects.Get(t.Context(), trail.Object{Bucket: tt.bucket, Key: "a b/c+d"}); err == nil {
					t.Error("no error")
				}
			}
			get()
			if objects.bucket(tt.bucket).direct == nil {
				t.Error("only the SDK can read it")
			}
			objects.bucket(tt.bucket).direct = nil
			get()
			for range objects.List(t.Context(), tt.bucket, "", "") {
			}
			scope := " for " + tt.region + "/" + strings.ToLower(s3.ServiceID) + "/aws4_request"
			object, folder := "GET "+tt.base+"/a%20b/c%2Bd"+scope, "GET "+tt.base+scope
			if strings.Count(tt.base, "/") == 2 {
				folder = "GET " + tt.base + "/" + scope
			}
			if want := []string{object, object, folder}; !slices.Equal(sent, want) {
				t.Errorf("sent\n%s\nwant\n%s", strings.Join(sent, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}
