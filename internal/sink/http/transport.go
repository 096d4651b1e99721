package http

import (
	"net"
	nethttp "net/http"
	"time"
)

const (
	idle           = 64 // connections that are kept
	idleTimeout    = 90 * time.Second
	connectTimeout = 10 * time.Second
)

// transport is the standard library's, with its TLS and the environment's
// proxies.
func transport(o Options) nethttp.RoundTripper {
	if o.Transport != nil {
		return o.Transport
	}
	return &nethttp.Transport{
		Proxy:               nethttp.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: connectTimeout}).DialContext,
		TLSHandshakeTimeout: connectTimeout,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: idle,
		IdleConnTimeout:     idleTimeout,
		DisableCompression:  true, // only internal/inflate inflates
	}
}

// stayHome is the policy for redirections: to another place of the same host,
// with the same method. Elsewhere the headers and the events would go to
// somebody else, and a POST that became a GET would be answered with 200 and
// lose its events. What is not followed is an answer like others.
func stayHome(r *nethttp.Request, via []*nethttp.Request) error {
	first := via[0]
	if len(via) > 5 || r.URL.Host != first.URL.Host || r.URL.Scheme != first.URL.Scheme || r.Method != first.Method {
		return nethttp.ErrUseLastResponse
	}
	return nil
}
