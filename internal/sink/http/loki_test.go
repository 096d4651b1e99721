package http_test

import (
	"fmt"
	nethttp "net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/sink/http"
	"github.com/trailseal/trailseal/internal/sink/sinktest"
)

var (
	push  = regexp.MustCompile(`(?s)^\{"streams":\[\{"stream":(\{[^}]*\}),"values":\[(.*)\]\}\]\}$`)
	value = regexp.MustCompile(`^\["([0-9]+)",`)
)

// unquoted returns the bytes of the JSON string that s begins with, whatever they are, and
// what comes after it.
func unquoted(s string) (text, rest string, isString bool) {
	var b strings.Builder
	for i := 1; i < len(s) && s[0] == '"'; i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:], true
		case s[i] != '\\':
			b.WriteByte(s[i])
		case strings.HasPrefix(s[i:], `\u00`) && len(s) > i+5:
			c, err := strconv.ParseUint(s[i+4:i+6], 16, 8)
			if err != nil {
				return "", s, false
			}
			b.WriteByte(byte(c))
			i += 5
		default:
			i++
			b.WriteByte(s[i])
		}
	}
	return "", s, false
}

// lokiOf is a Loki that takes what "Loki HTTP API" says. It refuses entries that are poison
// or older than oldest, and stores the others, once each.
func lokiOf(poison string, oldest time.Time, streams *[]string) func(*nethttp.Request, []byte) taken {
	return func(r *nethttp.Request, body []byte) taken {
		if r.URL.Path != "/loki/api/v1/push" || r.Header.Get("Content-Type") != "application/json" {
			return taken{status: 404, answer: "404 page not found"}
		}
		if user, password, _ := r.BasicAuth(); user != "user" || password != "pass-word" {
			return taken{status: 401, answer: "no credentials provided"}
		}
		all := push.FindSubmatch(body)
		if all == nil {
			return taken{status: 400, answer: "loghttp.PushRequest.Streams: unmarshalerDecoder"}
		}
		if streams != nil {
			*streams = append(*streams, string(all[1]))
		}
		t := taken{status: 204, docs: map[string]string{}}
		ignored, entries := 0, 0
		for rest := string(all[2]); len(rest) > 0; entries++ {
			one := value.FindStringSubmatch(rest)
			if one == nil {
				return taken{status: 400, answer: "invalid character"}
			}
			line, after, isString := unquoted(rest[len(one[0]):])
			if !isString || !strings.HasPrefix(after, "]") {
				return taken{status: 400, answer: "invalid character"}
			}
			rest = strings.TrimPrefix(after[1:], ",")
			at, err := strconv.ParseInt(one[1], 10, 64)
			if err != nil || time.Unix(0, at).Before(oldest) || poison != "" && strings.Contains(line, poison) {
				ignored++
				continue
			}
			t.docs[one[1]+line] = line
		}
		if ignored > 0 {
			t.status, t.answer = 400, fmt.Sprintf("entry with timestamp ignored, reason: 'entry too far behind', total ignored: %d out of %d", ignored, entries)
		}
		return t
	}
}

func TestLoki(t *testing.T) {
	take := func() func(*nethttp.Request, []byte) taken { return lokiOf("", time.Time{}, nil) }
	isASink(t, http.Options{Product: http.Loki}, take, sinktest.Options{Idempotent: true})
}

func TestLokiLabels(t *testing.T) {
	const key = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/01/111122223333_CloudTrail_eu-west-1_20260301T1205Z_abcdefghij012345.json.gz"
	for _, tt := range []struct{ name, key, query, want string }{
		{"control", key, "", `{"job":"trailseal","account":"111122223333","region":"eu-west-1"}`},
		{"job", key, "?job=audit", `{"job":"audit","account":"111122223333","region":"eu-west-1"}`},
		{"another key", "elsewhere", "", `{"job":"trailseal"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var streams []string
			srv := newServer(t)
			srv.product = lokiOf("", time.Time{}, &streams)
			s := open(t, http.Options{URL: strings.Replace(srv.URL, "//", "//user:pass-word@", 1) + tt.query, Product: http.Loki, Format: sink.Raw})
			b := sinktest.Events(`{"eventTime":"2026-03-01T12:08:11Z"}`, `{"n":1}`)
			b.Log.Key = tt.key
			if err := s.Emit(t.Context(), b); err != nil || !slices.Equal(streams, []string{tt.want}) {
				t.Errorf("%v, streams %q", err, streams)
			}
			_, isStored := srv.docs[`1772366891000000000{"eventTime":"2026-03-01T12:08:11Z"}`]
			if !isStored || len(srv.docs) != 2 {
				t.Errorf("stored %q", srv.docs)
			}
		})
	}
}

// An entry that Loki refuses is a dead letter, and the others are stored.
func TestLokiRefusals(t *testing.T) {
	dead := &letters{}
	srv := newServer(t)
	srv.product = lokiOf("id-1-7", time.Time{}, nil)
	address := strings.Replace(srv.URL, "//", "//user:pass-word@", 1)
	s := open(t, http.Options{URL: address, Product: http.Loki, DeadLetter: dead.keep})
	if err := s.Emit(t.Context(), sinktest.Batch(1, 20)); err != nil || len(srv.docs) != 19 || len(dead.all) != 1 || !strings.Contains(dead.all["id-1-7"], "too far behind") {
		t.Errorf("%v; %d stored, dead %v", err, len(srv.docs), dead.all)
	}
	// A good status that is not that of a Loki that has stored the entries.
	for _, status := range []int{200, 260} {
		blocked := open(t, http.Options{URL: address, Product: http.Loki, DeadLetter: dead.keep, Transport: answer(func(*nethttp.Request, string) (int, string) {
			return status, "blocked by configuration"
		})})
		if err := blocked.Emit(t.Context(), sinktest.Batch(2, 1)); err == nil || !strings.Contains(err.Error(), fmt.Sprint("HTTP ", status)) {
			t.Errorf("%d counts as stored: %v", status, err)
		}
	}
	// Without a time of its own or of its log file, an event has the time 0.
	srv.product = lokiOf("", time.Unix(1, 0), nil)
	b := sinktest.Events(`{"n":1}`, `{"eventTime":"2026-03-01T12:08:11Z"}`)
	b.Log.Key = "elsewhere"
	if err := s.Emit(t.Context(), b); err != nil || len(srv.docs) != 20 || dead.all["record-0"] == "" {
		t.Errorf("%v; %d stored, dead %v", err, len(srv.docs), dead.all)
	}
}
