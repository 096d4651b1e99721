package http

import (
	"net/url"
	"strings"

	nethttp "net/http"
)

// shortest is the least length of what is taken for a secret: to hide every
// "1" would hide everything.
const shortest = 4

// tokenLike is the least length of such a part of the path.
const tokenLike = 16

// secrets returns what hides all values of headers and of the URL's query,
// user and path, in texts that a server or the transport gives back.
func secrets(header nethttp.Header, u *url.URL) *strings.Replacer {
	var hide []string
	add := func(s string) {
		if len(s) >= shortest {
			hide = append(hide, s, "(hidden)", url.QueryEscape(s), "(hidden)")
		}
	}
	for _, values := range header {
		for _, v := range values {
			add(v)
			for _, word := range strings.Fields(v) { // "Bearer TOKEN"
				add(word)
			}
		}
	}
	for _, values := range u.Query() {
		for _, v := range values {
			add(v)
		}
	}
	for word := range strings.SplitSeq(u.Path, "/") {
		if len(word) >= tokenLike {
			add(word)
		}
	}
	if u.User != nil {
		password, _ := u.User.Password()
		add(password)
	}
	return strings.NewReplacer(hide...)
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

// idle is how many connections are kept.
const idle = 64

func transport(o Options) nethttp.RoundTripper {
	if o.Transport != nil {
		return o.Transport
	}
	t := nethttp.DefaultTransport.(*nethttp.Transport).Clone()
	t.MaxIdleConnsPerHost = idle
	t.DisableCompression = true // only internal/inflate inflates
	return t
}
