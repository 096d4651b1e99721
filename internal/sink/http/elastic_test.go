package http_test

import (
	"encoding/json"
	"fmt"
	nethttp "net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/sink/http"
	"github.com/trailseal/trailseal/internal/sink/sinktest"
)

// stream is a data stream as "Use a data stream" describes it: only create, each document
// with a timestamp, and an id that exists is a conflict.
func stream() func(*nethttp.Request, []byte) taken {
	var mu sync.Mutex
	ids := map[string]bool{}
	stamp := regexp.MustCompile(`^\{"@timestamp":"([^"]+)"(, ?| )`)
	return func(r *nethttp.Request, body []byte) taken {
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path != "/logs-aws.cloudtrail-default/_bulk" || r.Header.Get("Content-Type") != "application/x-ndjson" || body[len(body)-1] != '\n' {
			return taken{status: 400, answer: `{"error":{"type":"illegal_argument_exception","reason":"The bulk request must be terminated by a newline [\\n]"}}`}
		}
		if user, password, _ := r.BasicAuth(); user != "user" || password != "pass-word" {
			return taken{status: 401, answer: `{"error":{"type":"security_exception"},"status":401}`}
		}
		t := taken{status: 200, docs: map[string]string{}}
		var items []string
		for pair := range slices.Chunk(split(body), 2) {
			var action struct {
				Create *struct {
					ID string `json:"_id"`
				}
			}
			if err := json.Unmarshal([]byte(pair[0]), &action); err != nil || action.Create == nil {
				items = append(items, `{"index":{"status":400,"error":{"type":"illegal_argument_exception","reason":"only write ops with an op_type of create are allowed in data streams"}}}`)
				continue
			}
			at := stamp.FindStringSubmatch(pair[1])
			var err error = fmt.Errorf("none")
			if at != nil {
				_, err = time.Parse(time.RFC3339Nano, at[1])
			}
			switch {
			case err != nil:
				items = append(items, `{"create":{"status":400,"error":{"type":"document_parsing_exception","reason":"data stream timestamp field [@timestamp] is missing"}}}`)
			case ids[action.Create.ID]:
				items = append(items, `{"create":{"status":409,"error":{"type":"version_conflict_engine_exception","reason":"document already exists"}}}`)
			default:
				ids[action.Create.ID] = true
				t.docs[action.Create.ID] = "{" + strings.TrimPrefix(pair[1], at[0])
				items = append(items, `{"create":{"status":201}}`)
			}
		}
		t.answer = `{"errors":true,"items":[` + strings.Join(items, ",") + `]}`
		return t
	}
}

func TestElastic(t *testing.T) {
	isASink(t, http.Options{Product: http.Elastic, Index: "logs-aws.cloudtrail-default"}, stream, sinktest.Options{Idempotent: true})
}

// The timestamp is that of the event, or of its log file. An event without one is refused.
func TestElasticTimestamp(t *testing.T) {
	var got []string
	s := open(t, http.Options{URL: "http://h/", Product: http.Elastic, Index: "s", Format: sink.Raw, Transport: answer(func(_ *nethttp.Request, body string) (int, string) {
		got = append(got, split([]byte(body))[1])
		return 200, `{"items":[{"create":{"status":201}}]}`
	})})
	b := sinktest.Batch(1, 0)
	b.Log.Key = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/01/111122223333_CloudTrail_eu-west-1_20260301T1205Z_abcdefghij012345.json.gz"
	for _, record := range []string{`{"eventTime":"2026-03-01T12:08:11Z","n":1.0e2}`, `{"n":1}`, `{}`, `{ }`} {
		one := b
		one.Events = []sink.Event{{Record: []byte(record), ID: "id"}}
		if err := s.Emit(t.Context(), one); err != nil {
			t.Fatal(err)
		}
	}
	other := sinktest.Events(`{"n":1}`)
	other.Log.Key = "elsewhere"
	if err := s.Emit(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`{"@timestamp":"2026-03-01T12:08:11Z","eventTime":"2026-03-01T12:08:11Z","n":1.0e2}`,
		`{"@timestamp":"2026-03-01T12:05:00Z","n":1}`, `{"@timestamp":"2026-03-01T12:05:00Z" }`, `{"@timestamp":"2026-03-01T12:05:00Z"  }`,
		`{"n":1}`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}
