package ops

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A server that runs lives, whatever it wants to be shown.
func TestLive(t *testing.T) {
	dir := t.TempDir()
	certificate(t, dir)
	const files = "  cert_file: cert.pem\n  key_file: key.pem\n"
	for name, settings := range map[string]string{
		"plain": "", "password": users, "TLS": "tls_server_config:\n" + files,
		"TLS and password": "tls_server_config:\n" + files + users,
		"certificates":     "tls_server_config:\n" + files + "  client_ca_file: cert.pem\n  client_auth_type: RequireAndVerifyClientCert\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := config(io.Discard)
			if settings != "" {
				c.WebConfig = filepath.Join(dir, "web.yml")
				if err := os.WriteFile(c.WebConfig, []byte(settings), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			url, _ := start(t, c)
			_, port, err := net.SplitHostPort(strings.TrimPrefix(url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			for _, host := range []string{"127.0.0.1", "localhost", "", "0.0.0.0"} {
				c.Addr = net.JoinHostPort(host, port)
				if err := Live(t.Context(), c); err != nil {
					t.Errorf("%q: %v", c.Addr, err)
				}
			}
		})
	}
}

// What does not answer, or answers as no server of ours, does not live.
func TestNotLive(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err := errors.Join(err, gone.Close()); err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, tt := range []struct{ addr, want string }{
		{gone.Addr().String(), "connection refused"},
		{silent.Addr().String(), "deadline exceeded"},
		{other.Listener.Addr().String(), "HTTP 404"},
		{"nowhere", "missing port"},
		{"", "missing port"},
	} {
		for _, web := range []string{"", "web.yml"} {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			if err := Live(ctx, Config{Addr: tt.addr, WebConfig: web}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%q with %q: %v, want %s", tt.addr, web, err, tt.want)
			}
			cancel()
		}
	}
}
