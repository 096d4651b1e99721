package http_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	nethttp "net/http"
	"slices"
	"strings"
	"testing"

	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/sink/http"
	"github.com/trailseal/trailseal/internal/sink/sinktest"
)

// envelope is an event as Splunk's collector takes it.
type envelope struct {
	Time       json.Number     `json:"time"`
	Source     string          `json:"source"`
	Sourcetype string          `json:"sourcetype"`
	Index      string          `json:"index"`
	Event      json.RawMessage `json:"event"`
}

// collector is a Splunk that takes what "Format events for HTTP Event Collector" says, and
// refuses a batch at the first event that is poison. What is before that is indexed.
func collector(poison string, seen *[]envelope) func(*nethttp.Request, []byte) taken {
	return func(r *nethttp.Request, body []byte) (t taken) {
		switch {
		case r.URL.Path != "/services/collector/event" || r.URL.RawQuery != "":
			return taken{status: 404, answer: `{"text":"The requested URL was not found on this server.","code":404}`}
		case !strings.HasPrefix(r.Header.Get("Authorization"), "Splunk "):
			return taken{status: 401, answer: `{"text":"Invalid authorization","code":3}`}
		case r.Header.Get("Authorization") != "Splunk pass-word":
			return taken{status: 403, answer: `{"text":"Invalid token","code":4}`}
		}
		in := json.NewDecoder(bytes.NewReader(body))
		in.DisallowUnknownFields()
		for n := 0; ; n++ {
			var e envelope
			switch err := in.Decode(&e); {
			case errors.Is(err, io.EOF) && n > 0:
				return taken{lines: t.lines, status: 200, answer: `{"text":"Success","code":0}`}
			case err != nil || poison != "" && bytes.Contains(e.Event, []byte(poison)):
				return taken{lines: t.lines, status: 400, answer: fmt.Sprintf(`{"text":"Invalid data format","code":6,"invalid-event-number":%d}`, n)}
			case e.Index == "forbidden":
				return taken{status: 400, answer: `{"text":"Incorrect index","code":7,"invalid-event-number":0}`}
			case len(e.Event) == 0:
				return taken{lines: t.lines, status: 400, answer: `{"text":"Event field is required","code":12,"invalid-event-number":0}`}
			}
			t.lines = append(t.lines, string(e.Event))
			if seen != nil {
				*seen = append(*seen, e)
			}
		}
	}
}

func TestSplunk(t *testing.T) {
	take := func() func(*nethttp.Request, []byte) taken { return collector("", nil) }
	isASink(t, http.Options{Product: http.Splunk}, take, sinktest.Options{})
}

// Each event has its metadata, and its own bytes.
func TestSplunkEnvelope(t *testing.T) {
	for name, query := range map[string]string{"control": "", "index and source type": "?index=proven&sourcetype=_json"} {
		t.Run(name, func(t *testing.T) {
			var seen []envelope
			srv := newServer(t)
			srv.product = collector("", &seen)
			s := open(t, http.Options{URL: strings.Replace(srv.URL, "//", "//x:pass-word@", 1) + query, Product: http.Splunk, Format: sink.Raw})
			b := sinktest.Events(`{"eventTime":"2026-03-01T12:08:11Z","n":1.50e3}`, `{"eventName":"no time"}`)
			if err := s.Emit(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			want := []envelope{{Time: "1772366891.000", Source: b.Log.String(), Sourcetype: "aws:cloudtrail"}, {Source: b.Log.String(), Sourcetype: "aws:cloudtrail"}}
			for i := range want {
				if query != "" {
					want[i].Index, want[i].Sourcetype = "proven", "_json"
				}
				want[i].Event = b.Events[i].Record
				if i >= len(seen) || fmt.Sprintf("%s", seen[i]) != fmt.Sprintf("%s", want[i]) {
					t.Errorf("got %s, want %s", seen, want)
				}
			}
		})
	}
}

// An event that the collector refuses is a dead letter, wherever it is in a batch. What
// concerns all events fails the batch.
func TestSplunkRefusals(t *testing.T) {
	b := sinktest.Batch(1, 20)
	for _, at := range []int{0, 7, 19} {
		dead := &letters{}
		srv := newServer(t)
		srv.product = collector(fmt.Sprintf(`"id-1-%d"`, at), nil)
		s := open(t, http.Options{URL: strings.Replace(srv.URL, "//", "//x:pass-word@", 1), Product: http.Splunk, DeadLetter: dead.keep})
		err := s.Emit(t.Context(), b)
		lines := slices.Compact(slices.Sorted(slices.Values(srv.stored())))
		if id := fmt.Sprint("id-1-", at); err != nil || len(lines) != 19 || len(dead.all) != 1 || !strings.Contains(dead.all[id], "Invalid data format") || len(srv.requests) > 4 {
			t.Errorf("event %d: %v; %d stored, %d requests, dead %v", at, err, len(lines), len(srv.requests), dead.all)
		}
	}
	for want, address := range map[string]string{"Incorrect index": "//x:pass-word@", "Invalid token": "//x:wrong-word@", "Invalid authorization": "//"} {
		dead := &letters{}
		srv := newServer(t)
		srv.product = collector("", nil)
		s := open(t, http.Options{URL: strings.Replace(srv.URL, "//", address, 1) + "?index=forbidden", Product: http.Splunk, DeadLetter: dead.keep})
		err := s.Emit(t.Context(), b)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "-word") || len(dead.all) != 0 {
			t.Errorf("%s: %v; dead %v", want, err, dead.all)
		}
	}
}
