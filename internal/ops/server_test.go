package ops

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// logged is a log that tests read while it is written.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// config is a server with one metric.
func config(log io.Writer) Config {
	r := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "trailseal_test_total", Help: "A test."})
	c.Add(7)
	r.MustRegister(c)
	return Config{Addr: "127.0.0.1:0", Registry: r, Log: slog.New(slog.NewTextHandler(log, nil))}
}

// start serves c until the test ends, which fails where the server did.
func start(t *testing.T, c Config) (url string, stop func() error) {
	t.Helper()
	s, err := Listen(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return "http://" + s.Addr(), stop
}

func ask(t *testing.T, method, url string, header ...string) (status int, media, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	client := &http.Transport{DisableKeepAlives: true}
	p, err := client.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(p.Body)
	if err = errors.Join(err, p.Body.Close()); err != nil {
		t.Fatal(err)
	}
	if p.Header.Get("X-Content-Type-Options") != "nosniff" || p.Header.Get("Content-Security-Policy") == "" {
		t.Errorf("%s: headers %v", url, p.Header)
	}
	return p.StatusCode, p.Header.Get("Content-Type"), string(b)
}

func TestPaths(t *testing.T) {
	c := config(io.Discard)
	c.Checks = []Check{{"queue", func(context.Context) error { return nil }}}
	c.Status = func() any { return map[string]string{"chain": "<script>"} }
	url, _ := start(t, c)
	const html = "text/html,application/xhtml+xml"
	for _, tt := range []struct {
		method, path, accept string
		status               int
		media, text          string
	}{
		{"GET", "/metrics", "", 200, "text/plain", "trailseal_test_total 7\n"},
		{"GET", "/livez", "", 200, "text/plain", "ok\n"},
		{"HEAD", "/livez", "", 200, "text/plain", ""},
		{"GET", "/readyz", "", 200, "text/plain", "ok   queue\nready\n"},
		{"GET", "/readyz", "application/json", 200, "application/json", `{"ready":true,"checks":[{"name":"queue","ok":true}]}`},
		{"GET", "/readyz?format=json", html, 200, "application/json", `{"ready":true,`},
		{"GET", "/statusz", "", 200, "application/json", `"status":{"chain":"\u003cscript\u003e"}}`},
		{"GET", "/statusz", html, 200, "text/html", "&#34;chain&#34;: &#34;\\u003cscript\\u003e&#34;"},
		{"GET", "/statusz?format=json", html, 200, "application/json", `"ready":true`},
		{"GET", "/", "", 302, "text/html", "/statusz"},
		{"GET", "/nothing", "", 404, "text/plain", ""},
		{"POST", "/metrics", "", 405, "text/plain", ""},
		{"DELETE", "/statusz", "", 405, "text/plain", ""},
		{"GET", "/debug/pprof/", "", 404, "text/plain", ""},
		{"GET", "/debug/pprof/heap", "", 404, "text/plain", ""},
	} {
		status, media, body := ask(t, tt.method, url+tt.path, "Accept", tt.accept)
		if status != tt.status || !strings.HasPrefix(media, tt.media) || !strings.Contains(body, tt.text) {
			t.Errorf("%s %s for %q: %d %s\n%s", tt.method, tt.path, tt.accept, status, media, body)
		}
		if strings.Contains(body, "<script>") {
			t.Errorf("%s %s for %q: not escaped\n%s", tt.method, tt.path, tt.accept, body)
		}
	}
	if _, _, body := ask(t, "GET", url+"/metrics"); strings.Contains(body, "go_goroutines") || strings.Contains(body, "promhttp") {
		t.Errorf("metrics of another registry:\n%s", body)
	}
}

func TestPprof(t *testing.T) {
	c := config(io.Discard)
	c.Pprof = true
	url, _ := start(t, c)
	for path, want := range map[string]int{
		"/debug/pprof/": 200, "/debug/pprof/goroutine?debug=1": 200, "/debug/pprof/symbol": 200,
		"/debug/pprof/trace?seconds=0.01": 200, "/debug/pprof/cmdline": 404,
	} {
		if status, _, body := ask(t, "GET", url+path); status != want {
			t.Errorf("%s: %d, want %d\n%.200s", path, status, want, body)
		}
	}
}

// badCollector has nothing but an error.
type badCollector struct{ desc *prometheus.Desc }

func (b badCollector) Describe(to chan<- *prometheus.Desc) { to <- b.desc }
func (b badCollector) Collect(to chan<- prometheus.Metric) {
	to <- prometheus.NewInvalidMetric(b.desc, errors.New("bad collector"))
}

// What cannot be shown is an error, and what is broken beside it is not.
func TestBrokenParts(t *testing.T) {
	var log logged
	c := config(&log)
	c.Status = func() any { return func() {} }
	c.Registry.MustRegister(badCollector{prometheus.NewDesc("trailseal_bad", "Bad.", nil, nil)})
	url, _ := start(t, c)
	for _, accept := range []string{"text/html", "application/json"} {
		if status, _, body := ask(t, "GET", url+"/statusz", "Accept", accept); status != 500 || strings.Contains(body, "func") {
			t.Errorf("%s: %d %s", accept, status, body)
		}
	}
	if !strings.Contains(log.String(), "encode status") {
		t.Errorf("not logged:\n%s", log.String())
	}
	if status, _, body := ask(t, "GET", url+"/metrics"); status != 200 || !strings.Contains(body, "trailseal_test_total 7") {
		t.Errorf("beside a bad collector: %d %s", status, body)
	}
	if !strings.Contains(log.String(), "level=ERROR msg=scrape") {
		t.Errorf("not logged:\n%s", log.String())
	}
}

func TestListenErrors(t *testing.T) {
	url, _ := start(t, config(io.Discard))
	file := filepath.Join(t.TempDir(), "web.yml")
	for name, tt := range map[string]struct{ addr, file, text string }{
		"taken":        {strings.TrimPrefix(url, "http://"), "", "listen on 127.0.0.1:"},
		"no address":   {"127.0.0.1:x", "", "listen on 127.0.0.1:x"},
		"no file":      {"127.0.0.1:0", file + "x", "web config " + file + "x"},
		"not its YAML": {"127.0.0.1:0", file, "web config " + file},
	} {
		if err := os.WriteFile(file, []byte("tls: yes\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		c := config(io.Discard)
		c.Addr, c.WebConfig = tt.addr, tt.file
		if _, err := Listen(t.Context(), c); err == nil || !strings.HasPrefix(err.Error(), tt.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A web config that goes bad between Listen and Serve ends Serve, and gives
// the address back.
func TestServeFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "web.yml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := config(io.Discard)
	c.WebConfig = file
	s, err := Listen(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "serve "+s.Addr()) {
		t.Errorf("Serve: %v", err)
	}
	l, err := net.Listen("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// Serve that is told to end before it began gives the address back too.
func TestServeOfAnEndedContext(t *testing.T) {
	s, err := Listen(t.Context(), config(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Serve(ctx); err != nil {
		t.Error(err)
	}
	l, err := net.Listen("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// An answer under way is finished; new requests find nobody.
func TestGracefulEnd(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	c := config(io.Discard)
	c.Status = func() any {
		close(entered)
		<-release
		return "last words"
	}
	url, stop := start(t, c)
	answer, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		_, _, body := ask(t, "GET", url+"/statusz")
		answer <- body
	}()
	<-entered
	go func() { ended <- stop() }()
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			break
		}
		conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("still listening")
		}
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-ended:
		t.Errorf("ended before its last answer: %v", err)
	default:
	}
	close(release)
	if body := <-answer; !strings.Contains(body, "last words") {
		t.Errorf("answered %q", body)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// What does not end within the grace is cut off, and said.
func TestUngracefulEnd(t *testing.T) {
	var log logged
	entered, release, left := make(chan struct{}), make(chan struct{}), make(chan struct{})
	c := config(&log)
	c.Status = func() any {
		defer close(left)
		close(entered)
		<-release
		return nil
	}
	url, stop := start(t, c)
	failed := make(chan error, 1)
	go func() {
		transport := &http.Transport{DisableKeepAlives: true}
		r, err := http.NewRequest("GET", url+"/statusz", nil)
		if err == nil {
			_, err = transport.RoundTrip(r)
		}
		failed <- err
	}()
	<-entered
	began := time.Now()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if d := time.Since(began); d < grace || d > 4*grace {
		t.Errorf("ended after %v", d)
	}
	if err := <-failed; err == nil {
		t.Error("the request got an answer")
	}
	if !strings.Contains(log.String(), "requests cut off") {
		t.Errorf("not said:\n%s", log.String())
	}
	close(release)
	<-left
}

// "correct horse" of the user ops.
const users = "basic_auth_users:\n  ops: $2a$04$0GelsNp7JmOfvN88G7cPh.Tyxg2mQ8VpgBm3swBxL38p5/ioA9tXm\n"

func TestTLSAndBasicAuth(t *testing.T) {
	dir := t.TempDir()
	roots := certificate(t, dir)
	file := filepath.Join(dir, "web.yml")
	if err := os.WriteFile(file, []byte("tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n"+users), 0o600); err != nil {
		t.Fatal(err)
	}
	c := config(io.Discard)
	c.WebConfig, c.Pprof = file, true
	url, _ := start(t, c)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}
	get := func(path, user, password string) (int, error) {
		r, err := http.NewRequestWithContext(t.Context(), "GET", strings.Replace(url, "http:", "https:", 1)+path, nil)
		if err != nil {
			return 0, err
		}
		if user != "" {
			r.SetBasicAuth(user, password)
		}
		p, err := transport.RoundTrip(r)
		if err != nil {
			return 0, err
		}
		return p.StatusCode, p.Body.Close()
	}
	for _, path := range []string{"/metrics", "/livez", "/readyz", "/statusz", "/debug/pprof/"} {
		for _, tt := range []struct {
			user, password string
			want           int
		}{{"ops", "correct horse", 200}, {"", "", 401}, {"ops", "wrong", 401}, {"nobody", "correct horse", 401}} {
			if got, err := get(path, tt.user, tt.password); err != nil || got != tt.want {
				t.Errorf("%s as %q: %d, %v, want %d", path, tt.user, got, err, tt.want)
			}
		}
	}
	p, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(must(http.NewRequest("GET", url+"/metrics", nil)))
	if err != nil || p.StatusCode != http.StatusBadRequest {
		t.Fatalf("without TLS: %+v, %v", p, err)
	}
	p.Body.Close()
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// certificate writes cert.pem and key.pem and returns who trusts them.
func certificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key))
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: der},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(key))},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots := x509.NewCertPool()
	roots.AddCert(must(x509.ParseCertificate(der)))
	return roots
}
