// Package ops serves what operators and their machines ask of a running
// program: /metrics, /livez, /readyz, /statusz and, when asked for, pprof. TLS
// and basic auth come from a Prometheus web configuration file and then hold
// for every path.
//
// It only reads: no request changes anything. It uses neither Prometheus's
// default registry nor Go's default mux, and knows nothing of what the program
// does: checks and status are functions that it is given.
package ops

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/exporter-toolkit/web"
)

// Limits for peers that are slow, many or gone.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 2 * time.Minute
	scrapeTimeout = 10 * time.Second
	scrapes       = 8 // at once
	maxHeader     = 16 << 10
	grace         = 5 * time.Second // for answers under way when the server ends

	// profileTimeout is in place of writeTimeout where pprof is on: a CPU
	// profile takes 30 s unless told otherwise, and must end before it.
	profileTimeout = 3 * time.Minute
)

// Config says what is served. Registry and Log are required.
type Config struct {
	Addr      string // host:port, such as :9090; port 0 is any free one
	WebConfig string // path of a web configuration file: TLS, basic auth; "" is plain HTTP
	Registry  *prometheus.Registry
	Checks    []Check    // of readiness
	Status    func() any // a snapshot that encodes to JSON, without secrets; may be nil
	Pprof     bool
	Log       *slog.Logger
}

// Server is a listening server. Serve ends it.
type Server struct {
	config   Config
	http     *http.Server
	listener net.Listener
}

// Listen checks the web configuration file and takes the address, so that
// errors of either come before any work starts. Requests wait for Serve, which
// must follow.
func Listen(ctx context.Context, c Config) (*Server, error) {
	if err := web.Validate(c.WebConfig); err != nil {
		return nil, fmt.Errorf("web config %s: %w", c.WebConfig, err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", c.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", c.Addr, err)
	}
	s := &Server{config: c, listener: l, http: &http.Server{
		Handler:           handler(c),
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader,
		ErrorLog:       slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug), // of handshakes and the like: whoever scans ports writes it
	}}
	if c.Pprof {
		s.http.WriteTimeout = profileTimeout
	}
	return s, nil
}

// Addr returns the address that is listened on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Serve answers requests until ctx ends, and then those under way for a short
// grace. It returns nil when it was ended by ctx.
func (s *Server) Serve(ctx context.Context) error {
	done := make(chan error, 1) // web.Serve's result; one value
	go func() {
		done <- web.Serve(s.listener, s.http, &web.FlagConfig{WebConfigFile: &s.config.WebConfig}, s.config.Log)
	}()
	defer s.listener.Close() // a web config that has become bad ends web.Serve before it owns the listener
	select {
	case err := <-done:
		return fmt.Errorf("serve %s: %w", s.Addr(), err)
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := s.http.Shutdown(last); err != nil {
		s.config.Log.Warn("requests cut off", "address", s.Addr())
		_ = s.http.Close() // what is left was told above
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", s.Addr(), err)
	}
	return nil
}

func handler(c Config) http.Handler {
	p := &pages{ready: newReadiness(c.Checks), status: c.Status, log: c.Log}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(c.Registry, promhttp.HandlerOpts{
		ErrorLog: scrapeLog{c.Log}, ErrorHandling: promhttp.ContinueOnError, // one bad collector must not hide the others
		MaxRequestsInFlight: scrapes, Timeout: scrapeTimeout,
	}))
	mux.HandleFunc("GET /livez", p.livez)
	mux.HandleFunc("GET /readyz", p.readyz)
	mux.HandleFunc("GET /statusz", p.statusz)
	mux.Handle("GET /{$}", http.RedirectHandler("/statusz", http.StatusFound))
	if c.Pprof {
		// Without cmdline: arguments can hold what is nobody's business.
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		mux.ServeHTTP(w, r)
	})
}

// scrapeLog writes what promhttp reports to the structured log.
type scrapeLog struct{ log *slog.Logger }

func (l scrapeLog) Println(v ...any) { l.log.Error("scrape", "error", fmt.Sprint(v...)) }
