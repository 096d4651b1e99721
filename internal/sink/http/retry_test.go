package http_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	nethttp "net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/sink/http"
	"github.com/trailseal/trailseal/internal/sink/sinktest"
)

// roundTrip is an endpoint without a network, so that the clock can be fake.
type roundTrip func(*nethttp.Request) (*nethttp.Response, error)

func (f roundTrip) RoundTrip(r *nethttp.Request) (*nethttp.Response, error) { return f(r) }

func response(r *nethttp.Request, status int, body string, header ...string) *nethttp.Response {
	a := &nethttp.Response{StatusCode: status, Header: nethttp.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}
	for i := 0; i < len(header); i += 2 {
		a.Header.Set(header[i], header[i+1])
	}
	return a
}

func read(r *nethttp.Request) string {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func answer(f func(r *nethttp.Request, body string) (int, string)) roundTrip {
	return func(r *nethttp.Request) (*nethttp.Response, error) {
		status, body := f(r, read(r))
		return response(r, status, body), nil
	}
}

// The caller waits for as long as the server asks for.
func TestRetryAfter(t *testing.T) {
	for _, tt := range []struct {
		header string
		wait   time.Duration
	}{
		{"", 0},
		{"7", 7 * time.Second},
		{"Sat, 01 Jan 2000 00:00:20 GMT", 20 * time.Second}, // the fake clock begins in 2000
		{"Sat, 01 Jan 1994 00:00:20 GMT", 0},
		{"999999", 5 * time.Minute},
		{"-3", 0},
		{"soon", 0},
	} {
		for _, status := range []int{429, 503} {
			synctest.Test(t, func(t *testing.T) {
				begin, tries := time.Now(), 0
				s := open(t, http.Options{URL: "http://h/", Transport: roundTrip(func(r *nethttp.Request) (*nethttp.Response, error) {
					if tries++; tries == 1 {
						return response(r, status, "", "Retry-After", tt.header), nil
					}
					return response(r, 200, ""), nil
				})})
				atOnce := func(string, int, error) (time.Duration, bool) { return 0, false }
				set, err := sink.NewSet(sink.Options{Retry: atOnce}, sink.Member{Name: "http", Sink: s})
				if err == nil {
					err = set.Emit(t.Context(), sinktest.Batch(1, 3))
				}
				if waited := time.Since(begin); err != nil || waited != tt.wait {
					t.Errorf("%d, %q: waited %v, %v", status, tt.header, waited, err)
				}
			})
		}
	}
}

// A request without an answer fails. The caller's own end is told at once.
func TestTimeout(t *testing.T) {
	for name, tt := range map[string]struct {
		limit time.Duration // of the context
		took  time.Duration
	}{"the server hangs": {time.Hour, 10 * time.Second}, "the caller ends": {3 * time.Second, 3 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := open(t, http.Options{URL: "http://h/", Timeout: 10 * time.Second, Transport: roundTrip(func(r *nethttp.Request) (*nethttp.Response, error) {
					<-r.Context().Done()
					return nil, r.Context().Err()
				})})
				ctx, cancel := context.WithTimeout(t.Context(), tt.limit)
				defer cancel()
				begin := time.Now()
				err := s.Emit(ctx, sinktest.Batch(1, 3))
				isCaller := errors.Is(err, context.DeadlineExceeded)
				if err == nil || isCaller != (ctx.Err() != nil) || time.Since(begin) != tt.took {
					t.Errorf("%v after %v", err, time.Since(begin))
				}
			})
		})
	}
}

// A server that hangs is given up after the patience of a set, and is not asked again.
func TestHangsForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		s := open(t, http.Options{URL: "http://h/", Transport: roundTrip(func(r *nethttp.Request) (*nethttp.Response, error) {
			asked++
			<-r.Context().Done()
			return nil, r.Context().Err()
		})})
		again := func(string, int, error) (time.Duration, bool) { return time.Second, false }
		set, err := sink.NewSet(sink.Options{Retry: again, Patience: time.Minute}, sink.Member{Name: "http", Sink: s})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		for range 4 {
			if err := set.Emit(t.Context(), sinktest.Batch(1, 3)); err == nil || !strings.Contains(err.Error(), "no answer within 1m0s") {
				t.Errorf("error %v", err)
			}
		}
		if took := time.Since(begin); took != time.Minute || asked != 1 || set.Err() == nil {
			t.Errorf("asked %d times in %v", asked, took)
		}
	})
}

// endless is the body of an answer without an end: it stalls, or flows for ever.
type endless struct {
	ctx   context.Context
	flows bool
}

func (b endless) Read(p []byte) (int, error) {
	if b.flows {
		return len(p), nil
	}
	<-b.ctx.Done()
	return 0, b.ctx.Err()
}

func (b endless) Close() error { return nil }

// The status decides, be the answer without an end. Only an answer that says what
// became of each event is needed whole.
func TestAnswerWithoutEnd(t *testing.T) {
	for _, tt := range []struct {
		name, index string
		status      int
		flows       bool
		want        string // of the error
		took        time.Duration
	}{
		{"taken, stalls", "", 200, false, "", 5 * time.Second},
		{"taken, flows", "", 202, true, "", 0},
		{"refused, stalls", "", 503, false, "HTTP 503", 5 * time.Second},
		{"refused, flows", "", 429, true, "HTTP 429", 0},
		{"bulk, stalls", "i", 200, false, "no whole answer", time.Minute},
		{"bulk, flows", "i", 200, true, "not one of a bulk API", 0},
		{"bulk refused, stalls", "i", 503, false, "HTTP 503", 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := open(t, http.Options{URL: "http://h/", Product: productOf(tt.index), Index: tt.index, Transport: roundTrip(func(r *nethttp.Request) (*nethttp.Response, error) {
					a := response(r, tt.status, "")
					a.Body = endless{r.Context(), tt.flows}
					return a, nil
				})})
				begin := time.Now()
				err := s.Emit(t.Context(), sinktest.Batch(1, 3))
				if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) || time.Since(begin) != tt.took {
					t.Errorf("%v after %v", err, time.Since(begin))
				}
			})
		})
	}
}

// A delivery goes on where it failed: what arrived is not sent again.
func TestResume(t *testing.T) {
	asked, stored := 0, map[string]int{}
	s := open(t, http.Options{URL: "http://h/", MaxBytes: 2000, Transport: answer(func(_ *nethttp.Request, body string) (int, string) {
		if asked++; asked%3 == 0 {
			return 503, ""
		}
		for _, line := range split([]byte(body)) {
			stored[line]++
		}
		return 200, ""
	})})
	b := sinktest.Batch(1, 50)
	if err := deliver(t, s, b, 20); err != nil || asked < 6 {
		t.Errorf("%d requests: %v", asked, err)
	}
	for _, line := range sinktest.Lines(sink.Trailseal, b) {
		if stored[line] != 1 {
			t.Errorf("%d copies of %.80q", stored[line], line)
		}
	}
}

// What each item's result means, beside others that were stored.
func TestBulkItems(t *testing.T) {
	for _, tt := range []struct {
		status       int
		kind, reason string
		want         string // "stored", "again", "dead", or part of the error
	}{
		{201, "", "", "stored"},
		{200, "", "", "stored"},
		{409, "version_conflict_engine_exception", "newer", "stored"},
		{429, "es_rejected_execution_exception", "queue full", "again"},
		{503, "unavailable_shards_exception", "shard", "again"},
		{500, "exception", "x", "again"},
		{403, "cluster_block_exception", "index [i] blocked by: [FORBIDDEN/12/index read-only]", "again"},
		{400, "mapper_parsing_exception", "failed to parse field [n]", "dead"},
		{413, "too_large", "x", "dead"},
		{401, "security_exception", "no permissions", "security_exception"},
		{403, "security_exception", "no permissions", "no permissions"},
		{404, "index_not_found_exception", "no such index [i]", "index_not_found_exception"},
		{302, "", "", "HTTP 302"},
		{0, "", "", "HTTP 0"},
	} {
		t.Run(fmt.Sprint(tt.status, tt.kind), func(t *testing.T) {
			srv, dead := newServer(t), &letters{}
			again := map[string]int{}
			srv.item = func(id, _ string) (int, string, string) {
				again[id]++
				odd := id == "id-1-1" || id == "id-1-3"
				if odd && (tt.want != "again" || again[id] < 3) {
					return tt.status, tt.kind, tt.reason
				}
				return 201, "", ""
			}
			s := open(t, http.Options{URL: srv.URL, Product: http.OpenSearch, Index: "i", DeadLetter: dead.keep})
			err := deliver(t, s, sinktest.Batch(1, 5), map[bool]int{true: 3, false: 1}[tt.want == "again"])
			switch tt.want {
			case "stored", "again":
				if err != nil || len(dead.all) != 0 {
					t.Errorf("%v; dead %v", err, dead.all)
				}
			case "dead":
				if err != nil || len(dead.all) != 2 || !strings.Contains(dead.all["id-1-3"], tt.reason) || len(srv.stored()) != 3 {
					t.Errorf("%v; dead %v", err, dead.all)
				}
			default:
				if err == nil || !strings.Contains(err.Error(), tt.want) || len(dead.all) != 0 {
					t.Errorf("%v; dead %v", err, dead.all)
				}
			}
			wantTries := map[string]int{"id-1-0": 1, "id-1-1": 1}
			if tt.want == "again" {
				wantTries["id-1-1"] = 3
				if len(srv.stored()) != 5 {
					t.Errorf("stored %d", len(srv.stored()))
				}
			}
			for id, n := range wantTries {
				if again[id] != n {
					t.Errorf("%s was sent %d times, want %d", id, again[id], n)
				}
			}
		})
	}
}

// An answer that says nothing of every line acknowledges none.
func TestBulkAnswers(t *testing.T) {
	for _, body := range []string{
		"", "<html>welcome</html>", "{}", `{"errors":false}`, `{"errors":false,"items":[]}`, `null`, `[]`,
		`{"items":[{"index":{"status":201}}]}`, `{"items":[{"index":{"status":201}},{}]}`, `{"items":[{"index":{"status":201}},null]}`,
		`{"items":[{"index":{"status":201}},{"index":{}}]}`, `{"items":[{"index":{"status":201}},{"index":{"status":201},"create":{"status":201}}]}`,
		`{"items":[{"index":{"status":201}},{"index":{"status":201}},{"index":{"status":201}}]}`, `{"items":[{"index":{"status":201}},{"index":{"status":201}}`,
	} {
		s := open(t, http.Options{URL: "http://h/", Product: http.OpenSearch, Index: "i", Transport: answer(func(*nethttp.Request, string) (int, string) { return 200, body })})
		if err := s.Emit(t.Context(), sinktest.Batch(1, 2)); err == nil {
			t.Errorf("%q: acknowledged", body)
		}
	}
	s := open(t, http.Options{URL: "http://h/", Product: http.OpenSearch, Index: "i", Transport: answer(func(r *nethttp.Request, _ string) (int, string) {
		if r.URL.Path != "/i/_bulk" {
			t.Errorf("sent to %s", r.URL.Path)
		}
		return 200, `{"took":3,"errors":false,"items":[{"index":{"status":201,"_id":"a"}},{"index":{"status":200}}],"new":1}`
	})})
	if err := s.Emit(t.Context(), sinktest.Batch(1, 2)); err != nil {
		t.Errorf("control: %v", err)
	}
}
