package http_test

import (
	"fmt"
	nethttp "net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/sink/http"
	"github.com/trailseal/trailseal/internal/sink/sinktest"
)

var item = regexp.MustCompile(`^(\{"ddsource":"[^"]*"(?:,"service":"[^"]*")?),"message":`)

// intake is a Datadog that takes what "Send logs" says. It cuts off what is larger than 1 MB.
func intake(begins map[string]int) func(*nethttp.Request, []byte) taken {
	return func(r *nethttp.Request, body []byte) taken {
		switch {
		case r.URL.Path != "/api/v2/logs" || r.Header.Get("Content-Type") != "application/json":
			return taken{status: 404}
		case r.Header.Get("Dd-Api-Key") != "pass-word" || r.Header.Get("Authorization") != "":
			return taken{status: 403, answer: `{"errors":[{"status":"403","title":"Forbidden","detail":"API key is invalid"}]}`}
		case len(body) > 5_000_000:
			return taken{status: 413, answer: `{"errors":[{"status":"413","title":"Payload Too Large"}]}`}
		}
		t := taken{status: 202, answer: "{}"}
		rest := strings.TrimSuffix(strings.TrimPrefix(string(body), "["), "]")
		for len(rest) > 0 {
			one := item.FindStringSubmatch(rest)
			var line, after string
			isString := false
			if one != nil {
				line, after, isString = unquoted(rest[len(one[0]):])
			}
			if !isString || !strings.HasPrefix(after, "}") || len(rest)+2 > len(body) || len(t.lines) == 1000 {
				return taken{status: 400, answer: `{"errors":[{"status":"400","title":"Bad Request","detail":"Invalid payload"}]}`}
			}
			if begins != nil {
				begins[one[1]+r.URL.RawQuery]++
			}
			t.lines = append(t.lines, line[:min(len(line), 1_000_000)])
			rest = strings.TrimPrefix(after[1:], ",")
		}
		return t
	}
}

func TestDatadog(t *testing.T) {
	take := func() func(*nethttp.Request, []byte) taken { return intake(nil) }
	isASink(t, http.Options{Product: http.Datadog}, take, sinktest.Options{})
}

// A request has at most 1000 logs and 5 MB, and says where they are from.
func TestDatadogRequests(t *testing.T) {
	for query, want := range map[string]string{"": `{"ddsource":"cloudtrail"`, "?ddsource=aws&service=audit&ddtags=env%3Aprod": `{"ddsource":"aws","service":"audit"ddtags=env%3Aprod`} {
		begins := map[string]int{}
		srv := newServer(t)
		srv.product = intake(begins)
		s := open(t, http.Options{URL: strings.Replace(srv.URL, "//", "//x:pass-word@", 1) + query, Product: http.Datadog})
		b := sinktest.Batch(1, 2500)
		for i := range 14 {
			b.Events[i].Record = fmt.Appendf(nil, `{"large":"%s"}`, strings.Repeat(`\"`, 100_000))
		}
		if err := s.Emit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if len(srv.lines) != 2500 || begins[want] != 2500 {
			t.Errorf("%d stored of %v", len(srv.lines), begins)
		}
	}
}

// What Datadog would cut off or drop is not sent. The other events are.
func TestDatadogUnfit(t *testing.T) {
	now := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	dead := &letters{}
	srv := newServer(t)
	srv.product = intake(nil)
	o := http.Options{URL: strings.Replace(srv.URL, "//", "//x:pass-word@", 1), Product: http.Datadog, Now: func() time.Time { return now }, Format: sink.Raw}
	b := sinktest.Events(`{"eventTime":"2026-03-01T06:30:00Z"}`, `{"eventTime":"2026-03-01T05:59:59Z"}`, `{"large":"`+strings.Repeat("x", 1_000_000)+`"}`, `{"n":1}`)
	if err := open(t, o).Emit(t.Context(), b); err == nil || !strings.Contains(err.Error(), "18 hours") || len(srv.lines) != 0 {
		t.Errorf("without dead letters: %v, %d stored", err, len(srv.lines))
	}
	o.DeadLetter = dead.keep
	if err := open(t, o).Emit(t.Context(), b); err != nil || len(srv.lines) != 2 || len(dead.all) != 2 ||
		!strings.Contains(dead.all["record-1"], "18 hours") || !strings.Contains(dead.all["record-2"], "1 MB") {
		t.Errorf("%v; stored %.60q, dead %v", err, srv.lines, dead.all)
	}
	o.URL = srv.URL
	if err := open(t, o).Emit(t.Context(), sinktest.Events(`{"n":1}`)); err == nil || !strings.Contains(err.Error(), "API key is invalid") {
		t.Errorf("without a key: %v", err)
	}
}
