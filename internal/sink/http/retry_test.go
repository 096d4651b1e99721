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

// A server that is down for minutes holds its caller, who asks less and less
// often, and is asked until it is up.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin, asked := time.Now(), []time.Duration{}
		s := open(t, http.Options{URL: "http://h/", MaxBackoff: 10 * time.Second, Transport: roundTrip(func(r *nethttp.Request) (*nethttp.Response, error) {
			asked = append(asked, time.Since(begin))
			if time.Since(begin) < 5*time.Minute {
				return nil, errors.New("connection refused")
			}
			return response(r, 200, ""), nil
		})})
		if err := s.Emit(t.Context(), sinktest.Batch(1, 3)); err != nil {
			t.Fatal(err)
		}
		for i := 1; i < len(asked); i++ {
			pause := asked[i] - asked[i-1]
			if limit := min(10*time.Second, 200*time.Millisecond<<min(i-1, 9)); pause > limit {
				t.Errorf("pause %d is %v, longer than %v", i, pause, limit)
			}
		}
		if n := len(asked); n < 30 || n > 300 { // the pauses are 5 s in the middle
			t.Errorf("asked %d times", n)
		}
		if got := s.Counters.Retries.Load(); got != uint64(len(asked)-1) {
			t.Errorf("%d retries counted of %d", got, len(asked)-1)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	for _, tt := range []struct {
		header   string
		from, to time.Duration
	}{
		{"", 0, 200 * time.Millisecond},
		{"7", 7 * time.Second, 7200 * time.Millisecond},
		{"Sat, 01 Jan 2000 00:00:20 GMT", 20 * time.Second, 20200 * time.Millisecond}, // the fake clock begins in 2000
		{"Sat, 01 Jan 1994 00:00:20 GMT", 0, 200 * time.Millisecond},
		{"999999", 5 * time.Minute, 5*time.Minute + 200*time.Millisecond},
		{"-3", 0, 200 * time.Millisecond},
		{"soon", 0, 200 * time.Millisecond},
	} {
		for _, status := range []int{429, 503} {
			synctest.Test(t, func(t *testing.T) {
				begin, tries := time.Now(), 0
				s := open(t, http.Options{URL: "http://h/", MaxBackoff: time.Minute, Transport: roundTrip(func(r *nethttp.Request) (*nethttp.Response, error) {
					if tries++; tries == 1 {
						return response(r, status, "", "Retry-After", tt.header), nil
					}
					return response(r, 200, ""), nil
				})})
				if err := s.Emit(t.Context(), sinktest.Batch(1, 3)); err != nil {
					t.Fatal(err)
				}
				if waited := time.Since(begin); waited < tt.from || waited > tt.to {
					t.Errorf("%d, %q: waited %v", status, tt.header, waited)
				}
			})
		}
	}
}

// A request without an answer ends and is made again; the caller's own end is
// told at once, with what was last wrong.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		s := open(t, http.Options{URL: "http://h/", Timeout: 10 * time.Second, MaxBackoff: time.Second, Transport: roundTrip(func(r *nethttp.Request) (*nethttp.Response, error) {
			tries++
			<-r.Context().Done()
			return nil, r.Context().Err()
		})})
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		begin := time.Now()
		err := s.Emit(ctx, sinktest.Batch(1, 3))
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 25*time.Second || tries != 3 {
			t.Errorf("%v after %v and %d tries", err, time.Since(begin), tries)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := open(t, http.Options{URL: "http://h/", MaxBackoff: time.Hour, Transport: answer(func(*nethttp.Request, string) (int, string) { return 503, "be right back" })})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := s.Emit(ctx, sinktest.Batch(1, 3))
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "be right back") {
			t.Errorf("error %v", err)
		}
	})
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
			s := open(t, http.Options{URL: srv.URL, Index: "i", DeadLetter: dead.keep})
			err := s.Emit(t.Context(), sinktest.Batch(1, 5))
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
		s := open(t, http.Options{URL: "http://h/", Index: "i", Transport: answer(func(*nethttp.Request, string) (int, string) { return 200, body })})
		if err := s.Emit(t.Context(), sinktest.Batch(1, 2)); err == nil {
			t.Errorf("%q: acknowledged", body)
		}
	}
	s := open(t, http.Options{URL: "http://h/", Index: "i", Transport: answer(func(r *nethttp.Request, _ string) (int, string) {
		if r.URL.Path != "/i/_bulk" {
			t.Errorf("sent to %s", r.URL.Path)
		}
		return 200, `{"took":3,"errors":false,"items":[{"index":{"status":201,"_id":"a"}},{"index":{"status":200}}],"new":1}`
	})})
	if err := s.Emit(t.Context(), sinktest.Batch(1, 2)); err != nil {
		t.Errorf("control: %v", err)
	}
}
