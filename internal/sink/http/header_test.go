package http_test

import (
	"fmt"
	nethttp "net/http"
	"strings"
	"testing"

	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/sink/http"
	"github.com/trailseal/trailseal/internal/sink/sinktest"
)

// The user's headers go before those of the sink.
func TestHeaders(t *testing.T) {
	for _, tt := range []struct {
		name, url string
		header    nethttp.Header
		want      map[string]string
	}{
		{"control", "http://u:pass@h/", nil, map[string]string{"Content-Type": "application/x-ndjson", "Authorization": "Basic dTpwYXNz", "Content-Encoding": "gzip"}},
		{"content type", "http://h/", nethttp.Header{"content-type": {"text/plain"}}, map[string]string{"Content-Type": "text/plain"}},
		{"authorization", "http://u:pass@h/", nethttp.Header{"Authorization": {"Bearer t"}}, map[string]string{"Authorization": "Bearer t"}},
		{"host", "http://h/", nethttp.Header{"Host": {"other.example"}}, map[string]string{"Host": "other.example"}},
		{"encoding", "http://h/", nethttp.Header{"Content-Encoding": {"identity"}}, map[string]string{"Content-Encoding": "identity"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := 0
			s := open(t, http.Options{URL: tt.url, Header: tt.header, Gzip: true, Transport: roundTrip(func(r *nethttp.Request) (*nethttp.Response, error) {
				asked++
				for name, want := range tt.want {
					got := strings.Join(r.Header.Values(name), ", ")
					if name == "Host" {
						got = r.Host
					}
					if got != want {
						t.Errorf("%s: %q, want %q", name, got, want)
					}
				}
				return response(r, 200, ""), nil
			})})
			if err := s.Emit(t.Context(), sinktest.Batch(1, 1)); err != nil || asked != 1 {
				t.Errorf("asked %d times: %v", asked, err)
			}
		})
	}
}

// What is not a secret shows in errors.
func TestPlain(t *testing.T) {
	s := open(t, http.Options{
		URL:    "http://h/",
		Header: nethttp.Header{"Content-Type": {"application/json"}, "X-Scope-OrgID": {"tenant-1"}, "Authorization": {"Splunk s3cr3t-token"}},
		Transport: roundTrip(func(r *nethttp.Request) (*nethttp.Response, error) {
			return response(r, 415, fmt.Sprint("Splunk refuses ", r.Header)), nil
		}),
	})
	err := s.Emit(t.Context(), sinktest.Batch(1, 1))
	for _, shown := range []string{"Splunk refuses", "application/json", "tenant-1", "HTTP 415"} {
		if err == nil || !strings.Contains(err.Error(), shown) {
			t.Errorf("%q is missing: %v", shown, err)
		}
	}
	if strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("a secret shows: %v", err)
	}
}

// An array holds the events as they are.
func TestArray(t *testing.T) {
	for n := 1; n < 4; n++ {
		var got string
		s := open(t, http.Options{URL: "http://h/", Product: http.JSON, Format: sink.Raw, Transport: roundTrip(func(r *nethttp.Request) (*nethttp.Response, error) {
			if got = read(r); r.Header.Get("Content-Type") != "application/json" {
				t.Errorf("content type %q", r.Header.Get("Content-Type"))
			}
			return response(r, 200, ""), nil
		})})
		b := sinktest.Batch(1, n)
		if err := s.Emit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if want := "[" + strings.Join(sinktest.Lines(sink.Raw, b), ",") + "]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// A product's own path is added where the URL has none. An index is always part of it.
func TestPaths(t *testing.T) {
	for _, tt := range []struct {
		product    http.Product
		index, url string
		want       string
	}{
		{http.NDJSON, "", "http://h", "/"}, {http.NDJSON, "", "http://h/in?a=b&c", "/in?a=b&c"}, {http.JSON, "", "http://h/in?a=b&c", "/in?a=b&c"},
		{http.Splunk, "", "http://h", "/services/collector/event"}, {http.Splunk, "", "http://h/own/?index=i&a=b", "/own/?a=b"},
		{http.Loki, "", "http://h/", "/loki/api/v1/push"}, {http.Loki, "", "http://h/own", "/own"},
		{http.Datadog, "", "http://h", "/api/v2/logs"}, {http.Datadog, "", "http://h/?ddtags=a", "/api/v2/logs?ddtags=a"},
		{http.OpenSearch, "i", "http://h/", "/i/_bulk"}, {http.OpenSearch, "i", "http://h/below?pipeline=p", "/below/i/_bulk"},
		{http.Elastic, "s", "http://h/", "/s/_bulk"},
	} {
		var got string
		s := open(t, http.Options{URL: tt.url, Product: tt.product, Index: tt.index, Transport: roundTrip(func(r *nethttp.Request) (*nethttp.Response, error) {
			if got, _, _ = strings.Cut(r.URL.RequestURI(), "filter_path"); tt.index != "" {
				got, _, _ = strings.Cut(got, "?")
			}
			return response(r, 204, ""), nil
		})})
		if _ = s.Emit(t.Context(), sinktest.Batch(1, 1)); got != tt.want {
			t.Errorf("%s, %s: sent to %s, want %s", tt.product, tt.url, got, tt.want)
		}
	}
	if _, err := http.New(http.Options{URL: "http://h/", Product: "kafka"}); err == nil || !strings.Contains(err.Error(), `"kafka"`) {
		t.Errorf("a product that is not one: %v", err)
	}
}

// No request of several events is larger than the product takes, whatever is escaped.
func TestLargest(t *testing.T) {
	b := sinktest.Batch(1, 600)
	for i := range b.Events {
		b.Events[i].Record = fmt.Appendf(nil, `{"a":"%s","b":["%s"]}`, strings.Repeat(`\\`, 2000), strings.Repeat(`","`, 2000))
	}
	for product, most := range map[http.Product]int{
		http.NDJSON: 5 << 20, http.JSON: 5 << 20, http.OpenSearch: 5 << 20, http.Elastic: 5 << 20,
		http.Loki: 1 << 20, http.Datadog: 5_000_000, http.Splunk: 1_000_000,
	} {
		var sizes []int
		s := open(t, http.Options{URL: "http://h/", Product: product, Index: "i", Transport: answer(func(_ *nethttp.Request, body string) (int, string) {
			sizes = append(sizes, len(body))
			items := strings.Repeat(`,{"create":{"status":201}}`, strings.Count(body, `{"_id":`))
			if items != "" {
				return 200, `{"items":[` + items[1:] + `]}`
			}
			return 204, ""
		})})
		if err := s.Emit(t.Context(), b); err != nil {
			t.Errorf("%s: %v", product, err)
		}
		for i, n := range sizes {
			if n > most || n < most/2 && i < len(sizes)-1 {
				t.Errorf("%s: a request of %d bytes, at most %d are asked for", product, n, most)
			}
		}
	}
}
