package awsapi

import (
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

// Whatever a server offers, HTTP/1.1 is spoken, also by a transport that was
// cloned after it was used, as the SDK does for AWS_CA_BUNDLE.
func TestHTTP1(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	o := Options{Concurrency: 1, IdleTimeout: time.Minute}
	for name, c := range map[string]*awshttp.BuildableClient{"plain": httpClient(o), "patient": withPatience(httpClient(o), time.Minute)} {
		c = c.WithTransportOptions(func(t *http.Transport) {
			t.TLSClientConfig.RootCAs = x509.NewCertPool()
			t.TLSClientConfig.RootCAs.AddCert(s.Certificate())
		})
		for range 2 {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := c.Do(r)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			answer.Body.Close()
			if answer.ProtoMajor != 1 {
				t.Errorf("%s: %s", name, answer.Proto)
			}
			c = c.WithTransportOptions(func(*http.Transport) {})
		}
	}
}
