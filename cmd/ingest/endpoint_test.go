package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// endpoint takes events at $ENDPOINT. The path says how it answers until it is healed: a
// status, hang, or endless for a 200 whose body has no end.
type endpoint struct {
	healed chan struct{} // closed by heal
	heal   func()
}

func newEndpoint(e *testscript.Env) *endpoint {
	p := &endpoint{healed: make(chan struct{})}
	p.heal = sync.OnceFunc(func() { close(p.healed) })
	srv := httptest.NewServer(p)
	e.Defer(srv.Close)
	e.Setenv("ENDPOINT", srv.URL)
	return p
}

func (p *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	how := strings.TrimPrefix(r.URL.Path, "/")
	status, err := strconv.Atoi(how)
	if how == "endless" {
		for chunk := make([]byte, 1<<10); err != nil; {
			if _, failed := w.Write(chunk); failed != nil {
				return
			}
		}
	}
	select {
	case <-p.healed:
		return
	default:
	}
	if how == "hang" {
		select {
		case <-r.Context().Done():
		case <-p.healed:
		}
		return
	}
	w.WriteHeader(status)
}
