package http_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	nethttp "net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/sink/http"
	"github.com/trailseal/trailseal/internal/sink/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, o http.Options) *http.Sink {
	t.Helper()
	s, err := http.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// productOf returns what takes an index.
func productOf(index string) http.Product {
	if index == "" {
		return http.NDJSON
	}
	return http.OpenSearch
}

// isASink holds a product to the contract of sinks, before a server that takes what the
// product's documentation says.
func isASink(t *testing.T, o http.Options, product func() func(*nethttp.Request, []byte) taken, promise sinktest.Options) {
	t.Helper()
	for _, status := range []int{0, 429} {
		t.Run(fmt.Sprint("faults ", status), func(t *testing.T) {
			sinktest.Run(t, func(t *testing.T) sinktest.Downstream {
				srv := newServer(t)
				srv.product = product()
				faults := func(n int) []int { return slices.Repeat([]int{status}, n) }
				o.URL, o.Gzip, o.MaxBytes, o.Format = strings.Replace(srv.URL, "//", "//user:pass-word@", 1), status != 429, 4000, promise.Format
				return sinktest.Downstream{
					Sink: open(t, o), Lines: srv.stored, Stall: srv.stalled,
					Fail:      func(n int) { srv.set(func() { srv.fail = faults(n) }) },
					FailAfter: func(n int) { srv.set(func() { srv.after = faults(n) }) },
				}
			}, promise)
		})
	}
}

// deliver makes so many attempts at most.
func deliver(t *testing.T, s *http.Sink, b sink.Batch, attempts int) (err error) {
	t.Helper()
	d := s.Begin(b)
	for attempts > 0 {
		var isDone bool
		if isDone, err = d.Try(t.Context()); isDone {
			return nil
		}
		if err != nil {
			attempts--
		}
	}
	return err
}

func (l *letters) keep(_ context.Context, line []byte, id, reason string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[string]string{}
	}
	l.all[id] = reason
	return nil
}

func TestIsASink(t *testing.T) {
	for name, kind := range map[string]struct {
		index  string
		status int // of faults; 0 is a connection that breaks
		gzip   bool
		format sink.Format
	}{
		"NDJSON, broken connections": {},
		"NDJSON, gzip, 503":          {gzip: true, status: 503, format: sink.Raw},
		"bulk, broken connections":   {index: "cloudtrail"},
		"bulk, gzip, 429":            {index: "cloudtrail", gzip: true, status: 429},
		"NDJSON, refused":            {status: 401},
		"bulk, not found":            {index: "cloudtrail", status: 404},
	} {
		t.Run(name, func(t *testing.T) {
			sinktest.Run(t, func(t *testing.T) sinktest.Downstream {
				srv := newServer(t)
				faults := func(n int) []int { return slices.Repeat([]int{kind.status}, n) }
				return sinktest.Downstream{
					Sink:      open(t, http.Options{URL: srv.URL + "/in", Product: productOf(kind.index), Index: kind.index, Gzip: kind.gzip, MaxBytes: 2000, Format: kind.format}),
					Lines:     srv.stored,
					Fail:      func(n int) { srv.set(func() { srv.fail = faults(n) }) },
					FailAfter: func(n int) { srv.set(func() { srv.after = faults(n) }) },
					Stall:     srv.stalled,
				}
			}, sinktest.Options{Format: kind.format, Idempotent: kind.index != ""})
		})
	}
}

// Requests hold as many events as fit, and one at least.
func TestSplit(t *testing.T) {
	srv := newServer(t)
	b := sinktest.Batch(1, 100)
	b.Events[50].Record = []byte(`{"large":"` + strings.Repeat("x", 5000) + `"}`)
	s := open(t, http.Options{URL: srv.URL, MaxBytes: 1000, Format: sink.Raw, Header: nethttp.Header{"Authorization": {"Bearer t"}, "X-Team": {"a", "b"}}})
	if err := s.Emit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if got := srv.stored(); len(got) != 100 || got[50] != string(b.Events[50].Record) {
		t.Errorf("%d lines", len(got))
	}
	large := 0
	for i, n := range srv.sizes {
		if n > 1000 {
			large++
		}
		if h := srv.requests[i].Header; h.Get("Authorization") != "Bearer t" || !slices.Equal(h["X-Team"], []string{"a", "b"}) {
			t.Errorf("headers %v", h)
		}
	}
	if large != 1 || len(srv.sizes) > len(sink.Raw.AppendLines(nil, &b))/500 {
		t.Errorf("sizes %v", srv.sizes)
	}
	if n := s.Counters.Requests.Load(); n != uint64(len(srv.sizes)) {
		t.Errorf("%d requests counted", n)
	}
}

// What a status of the whole request means.
func TestStatus(t *testing.T) {
	for _, tt := range []struct {
		status int
		want   string // "stored", "dead" or part of the error
		tries  int
	}{
		{200, "stored", 1}, {201, "stored", 1}, {204, "stored", 1},
		{429, "stored", 3}, {500, "stored", 3}, {502, "stored", 3}, {503, "stored", 3}, {408, "stored", 3}, {0, "stored", 3},
		{400, "dead", 3}, {413, "dead", 3}, {422, "dead", 3}, // the batch, and each of its two lines
		{401, "HTTP 401 Unauthorized", 1}, {403, "HTTP 403 Forbidden", 1}, {404, "HTTP 404 Not Found", 1}, {405, "HTTP 405", 1},
		{304, "HTTP 304", 1}, {301, "not followed", 1},
	} {
		for _, index := range []string{"", "i"} {
			t.Run(fmt.Sprint(tt.status, index), func(t *testing.T) {
				if tt.status/100 == 2 && index != "" {
					return // its items count
				}
				srv, dead := newServer(t), &letters{}
				s := open(t, http.Options{URL: srv.URL, Product: productOf(index), Index: index, DeadLetter: dead.keep})
				srv.set(func() {
					srv.fail = slices.Repeat([]int{tt.status}, map[string]int{"stored": 2, "dead": 3}[tt.want])
					if tt.status/100 == 2 {
						srv.fail = nil
					} else if len(srv.fail) == 0 {
						srv.fail = []int{tt.status}
					}
				})
				err := deliver(t, s, sinktest.Batch(1, 2), map[bool]int{true: 3, false: 1}[tt.want == "stored"])
				switch tt.want {
				case "stored":
					if err != nil || len(srv.stored()) != 2 || len(dead.all) != 0 {
						t.Errorf("%v; stored %q, dead %v", err, srv.stored(), dead.all)
					}
				case "dead":
					if err != nil || len(dead.all) != 2 || !strings.Contains(dead.all["id-1-0"], fmt.Sprint("HTTP ", tt.status)) || s.Counters.DeadLetters.Load() != 2 {
						t.Errorf("%v; dead %v", err, dead.all)
					}
				default:
					if err == nil || !strings.Contains(err.Error(), tt.want) || len(dead.all) != 0 {
						t.Errorf("%v; dead %v", err, dead.all)
					}
				}
				if len(srv.requests) != tt.tries && tt.status/100 != 2 || s.Counters.Requests.Load() != uint64(len(srv.requests)) {
					t.Errorf("%d requests, want %d; %d counted", len(srv.requests), tt.tries, s.Counters.Requests.Load())
				}
			})
		}
	}
}

// One line that the server cannot take does not keep the others.
func TestPoison(t *testing.T) {
	dead := &letters{}
	stored := map[string]bool{}
	s := open(t, http.Options{URL: "http://h/", DeadLetter: dead.keep, Transport: answer(func(r *nethttp.Request, body string) (int, string) {
		if strings.Contains(body, "id-1-37\"") {
			return 400, "cannot parse"
		}
		for _, l := range split([]byte(body)) {
			stored[l] = true
		}
		return 200, ""
	})})
	b := sinktest.Batch(1, 64)
	if err := s.Emit(t.Context(), b); err != nil || len(stored) != 63 {
		t.Errorf("%d stored, %v", len(stored), err)
	}
	if len(dead.all) != 1 || !strings.Contains(dead.all["id-1-37"], "cannot parse") {
		t.Errorf("dead: %v", dead.all)
	}
	none := open(t, http.Options{URL: "http://h/", Transport: answer(func(*nethttp.Request, string) (int, string) { return 400, "cannot parse" })})
	if err := none.Emit(t.Context(), b); err == nil || !strings.Contains(err.Error(), "cannot parse") {
		t.Errorf("without dead letters: %v", err)
	}
	full := open(t, http.Options{URL: "http://h/", DeadLetter: func(context.Context, []byte, string, string) error { return errors.New("disk full") },
		Transport: answer(func(*nethttp.Request, string) (int, string) { return 400, "cannot parse" })})
	if err := full.Emit(t.Context(), b); err == nil || !strings.Contains(err.Error(), "disk full") || full.Counters.DeadLetters.Load() != 0 {
		t.Errorf("dead letters that fail: %v", err)
	}
}

func TestLetter(t *testing.T) {
	line := "{\"n\":1e400, \"b\":\"\xff\"}"
	got := string(http.Letter([]byte(line), `i"d`, "why\n"))
	if want := `{"id":"i\"d","reason":"why\n","event":` + line + `}`; got != want {
		t.Errorf("got %s", got)
	}
	if !json.Valid([]byte(got)) {
		t.Errorf("no JSON: %s", got)
	}
}

// Redirections are followed on the same host and with the same method only.
func TestRedirect(t *testing.T) {
	for _, tt := range []struct {
		name, to string
		status   int
		follows  bool
	}{
		{"same host", "http://h.example/new", 307, true},
		{"same host, for good", "/new", 308, true},
		{"would become a GET", "http://h.example/new", 302, false},
		{"other host", "http://evil.example/new?secret-query", 307, false},
		{"other port", "http://h.example:81/new", 308, false},
		{"other scheme", "ftp://h.example/new", 307, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var hosts []string
			s := open(t, http.Options{URL: "http://h.example/in", Header: nethttp.Header{"Authorization": {"Bearer token"}}, Transport: roundTrip(func(r *nethttp.Request) (*nethttp.Response, error) {
				hosts = append(hosts, r.URL.Host)
				if r.URL.Path == "/in" {
					return response(r, tt.status, "", "Location", tt.to), nil
				}
				if r.Method != "POST" || r.Header.Get("Authorization") == "" || len(read(r)) == 0 {
					t.Errorf("%s with headers %v", r.Method, r.Header)
				}
				return response(r, 200, ""), nil
			})})
			err := s.Emit(t.Context(), sinktest.Batch(1, 3))
			if (err == nil) != tt.follows || len(hosts) != map[bool]int{true: 2, false: 1}[tt.follows] {
				t.Errorf("asked %q: %v", hosts, err)
			}
			if err != nil && (!strings.Contains(err.Error(), "not followed") || strings.Contains(err.Error(), "secret-query")) {
				t.Error(err)
			}
		})
	}
}

// A server whose certificate nobody vouches for gets nothing, and nobody waits
// for it; the same one is fine for who trusts it.
func TestUntrusted(t *testing.T) {
	asked := 0
	srv := httptest.NewUnstartedServer(nethttp.HandlerFunc(func(nethttp.ResponseWriter, *nethttp.Request) { asked++ }))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	if err := open(t, http.Options{URL: srv.URL}).Emit(t.Context(), sinktest.Batch(1, 1)); err == nil || !strings.Contains(err.Error(), "certificate") || asked != 0 {
		t.Errorf("asked %d times: %v", asked, err)
	}
	if err := open(t, http.Options{URL: srv.URL, Transport: srv.Client().Transport}).Emit(t.Context(), sinktest.Batch(1, 1)); err != nil || asked != 1 {
		t.Errorf("trusted: asked %d times: %v", asked, err)
	}
}

// Nothing that the configuration holds shows in errors, even if the server
// repeats it.
func TestSecrets(t *testing.T) {
	secret := []string{"hunter22", "tok/en+1", "Zm9v", "querysecret", "aHVudGVyMjI", "pathtokenpathtoken", "dXNlcjpodW50ZXIyMg"}
	for _, tt := range []struct {
		name string
		do   roundTrip
	}{
		{"refused and repeated", func(r *nethttp.Request) (*nethttp.Response, error) {
			return response(r, 401, fmt.Sprint("you sent ", r.Header, " to ", r.URL)), nil
		}},
		{"transport repeats it", func(r *nethttp.Request) (*nethttp.Response, error) {
			return nil, fmt.Errorf("dial %s with %v", r.URL, r.Header)
		}},
		{"bulk item repeats it", func(r *nethttp.Request) (*nethttp.Response, error) {
			reason, _ := json.Marshal(fmt.Sprint(r.Header, r.URL))
			return response(r, 200, `{"items":[{"index":{"status":403,"error":{"type":"security_exception","reason":`+string(reason)+`}}}]}`), nil
		}},
		{"no bulk answer", func(r *nethttp.Request) (*nethttp.Response, error) {
			return response(r, 200, fmt.Sprint("<html>", r.Header, r.URL)), nil
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, http.Options{
				URL: "https://user:hunter22@h.example/pathtokenpathtoken/x?api_key=querysecret", Product: http.OpenSearch, Index: "i",
				Header:    nethttp.Header{"X-Api-Key": {"tok/en+1"}, "X-Other": {"Token Zm9v"}},
				Transport: tt.do,
			})
			err := s.Emit(t.Context(), sinktest.Batch(1, 1))
			if err == nil || !strings.Contains(err.Error(), "h.example") {
				t.Fatalf("error %v", err)
			}
			for _, hidden := range secret {
				if strings.Contains(err.Error(), hidden) {
					t.Errorf("%q shows in %v", hidden, err)
				}
			}
		})
	}
	for _, bad := range []string{"https://user:hunter22@h:x/", "https://user:hunter22@", "ftp://user:hunter22@h/", "://hunter22", ""} {
		if _, err := http.New(http.Options{URL: bad}); err == nil || strings.Contains(err.Error(), "hunter22") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// A batch with an event that has no id is never sent: ids name documents.
func TestIDs(t *testing.T) {
	srv := newServer(t)
	s := open(t, http.Options{URL: srv.URL, Product: http.OpenSearch, Index: "i"})
	b := sinktest.Batch(1, 3)
	b.Events[1].ID = ""
	if err := s.Emit(t.Context(), b); err == nil || len(srv.requests) != 0 {
		t.Errorf("%d requests, %v", len(srv.requests), err)
	}
}
