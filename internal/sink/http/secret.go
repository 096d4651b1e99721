package http

import (
	nethttp "net/http"
	"net/url"
	"strings"
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
