package ops

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
)

// Live asks /livez of the server that another process of this machine runs with
// Addr and WebConfig, and returns why it does not live. It has no password and
// no certificate to show: who asks for one lives.
func Live(ctx context.Context, c Config) error {
	host, port, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return fmt.Errorf("ask %q: %w", c.Addr, err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	at := net.JoinHostPort(host, port) + "/livez"
	// The certificate need not be for this name, and nothing is told to whoever
	// answers. The environment's proxy is for others.
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if c.WebConfig != "" {
		// The file may set a password alone.
		if err = lives(ctx, client, "https://"+at); !errors.Is(err, http.ErrSchemeMismatch) {
			return err
		}
	}
	return lives(ctx, client, "http://"+at)
}

func lives(ctx context.Context, client *http.Client, address string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(r)
	if refusal := (*net.OpError)(nil); errors.As(err, &refusal) && refusal.Op == "remote error" {
		return nil // a TLS alert: it wants a certificate
	}
	if err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusUnauthorized {
		return fmt.Errorf("ask %s: HTTP %s", address, answer.Status)
	}
	return nil
}
