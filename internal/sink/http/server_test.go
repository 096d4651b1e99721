package http_test

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	nethttp "net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// server is an endpoint for NDJSON at /in and a cluster with the bulk API at
// /INDEX/_bulk, or a product of its own.
type server struct {
	t   *testing.T
	URL string

	mu       sync.Mutex
	docs     map[string]string // by index and id
	lines    []string          // of NDJSON
	requests []*nethttp.Request
	sizes    []int                                                   // of their bodies, inflated
	fail     []int                                                   // statuses of the next answers, without effect; 0 resets the connection
	after    []int                                                   // the same, when it took effect
	product  func(r *nethttp.Request, body []byte) taken             // nil: by the path
	item     func(id, line string) (status int, kind, reason string) // nil: all are stored
	stall    chan struct{}
}

// taken is what a product does with a request.
type taken struct {
	lines  []string          // that it stores
	docs   map[string]string // that it stores by id
	status int
	answer string
}

func newServer(t *testing.T) *server {
	s := &server{t: t, docs: map[string]string{}}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	s.URL = h.URL
	return s
}

func (s *server) ServeHTTP(w nethttp.ResponseWriter, r *nethttp.Request) {
	s.mu.Lock()
	stall := s.stall
	s.mu.Unlock()
	body := s.read(r)
	if stall != nil {
		select {
		case <-stall:
		case <-r.Context().Done():
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests, s.sizes = append(s.requests, r), append(s.sizes, len(body))
	if s.answered(w, &s.fail) {
		return
	}
	var answer []byte
	if s.product != nil {
		t := s.product(r, body)
		s.lines = append(s.lines, t.lines...)
		for id, line := range t.docs {
			s.docs[id] = line
		}
		if !s.answered(w, &s.after) {
			w.WriteHeader(t.status)
			_, _ = w.Write([]byte(t.answer))
		}
		return
	}
	if strings.HasSuffix(r.URL.Path, "/_bulk") {
		answer = s.bulk(strings.TrimSuffix(r.URL.Path, "/_bulk"), body)
	} else {
		s.lines = append(s.lines, split(body)...)
	}
	if !s.answered(w, &s.after) {
		_, _ = w.Write(answer)
	}
}

func (s *server) read(r *nethttp.Request) []byte {
	var in io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			s.t.Errorf("body: %v", err)
			return nil
		}
		in = z
	}
	b, err := io.ReadAll(in)
	if s.product != nil && err == nil && r.Method == nethttp.MethodPost {
		return b
	}
	if err != nil || len(b) == 0 || b[len(b)-1] != '\n' || r.Header.Get("Content-Type") != "application/x-ndjson" || r.Method != nethttp.MethodPost {
		s.t.Errorf("%s of %d bytes of %q, %v", r.Method, len(b), r.Header.Get("Content-Type"), err)
	}
	return b
}

// answered uses up one fault. The caller holds s.mu.
func (s *server) answered(w nethttp.ResponseWriter, faults *[]int) bool {
	if len(*faults) == 0 {
		return false
	}
	status := (*faults)[0]
	*faults = (*faults)[1:]
	if status == 0 {
		panic(nethttp.ErrAbortHandler)
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, "answer %d", status)
	return true
}

func split(body []byte) []string {
	return strings.Split(strings.TrimSuffix(string(body), "\n"), "\n")
}

func (s *server) bulk(index string, body []byte) []byte {
	var items []any
	for pair := range slices.Chunk(split(body), 2) {
		var action struct {
			Index struct {
				ID string `json:"_id"`
			}
		}
		if err := json.Unmarshal([]byte(pair[0]), &action); err != nil || len(pair) != 2 || action.Index.ID == "" {
			s.t.Errorf("bad action %q: %v", pair[0], err)
		}
		status, kind, reason := 201, "", ""
		if s.item != nil {
			status, kind, reason = s.item(action.Index.ID, pair[1])
		}
		item := map[string]any{"status": status}
		if status/100 == 2 {
			s.docs[index+"/"+action.Index.ID] = pair[1]
		} else {
			item["error"] = map[string]any{"type": kind, "reason": reason}
		}
		items = append(items, map[string]any{"index": item})
	}
	b, err := json.Marshal(map[string]any{"errors": s.item != nil, "items": items})
	if err != nil {
		s.t.Error(err)
	}
	return b
}

func (s *server) stored() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Clone(s.lines)
	for _, d := range s.docs {
		all = append(all, d)
	}
	return all
}

// stalled makes requests wait until resume is called.
func (s *server) stalled() (resume func()) {
	c := make(chan struct{})
	s.set(func() { s.stall = c })
	return func() { s.set(func() { s.stall = nil }); close(c) }
}

func (s *server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// letters keeps dead letters.
type letters struct {
	mu  sync.Mutex
	all map[string]string // reason by id
}
