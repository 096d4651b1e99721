package http

import (
	"errors"
	nethttp "net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	shortest  = 4   // least length of what is taken for a secret: to hide every "1" would hide everything
	tokenLike = 16  // least length of such a part of the path
	maxText   = 300 // most of an answer that an error repeats
)

// plainHeaders have values that are not secrets. Every other header may hold one.
var plainHeaders = []string{
	"Accept", "Content-Encoding", "Content-Language", "Content-Type", "Host", "User-Agent", "X-Scope-Orgid",
	"X-Splunk-Request-Channel",
}

// schemes are words before a secret that are not secrets.
var schemes = []string{"apikey", "basic", "bearer", "digest", "key", "splunk", "token"}

// secrets hides what is secret in texts that a server or the transport gives back.
type secrets struct{ hide *strings.Replacer }

// secretsOf are the values of headers that may be secret, and of the URL's query, password
// and path.
func secretsOf(header nethttp.Header, u *url.URL) secrets {
	var hide []string
	add := func(s string) {
		if len(s) >= shortest {
			hide = append(hide, s, "(hidden)", url.QueryEscape(s), "(hidden)")
		}
	}
	for name, values := range header {
		if slices.Contains(plainHeaders, name) {
			continue
		}
		for _, v := range values {
			add(v)
			for _, word := range strings.Fields(v) { // "Bearer TOKEN"
				if !slices.Contains(schemes, strings.ToLower(word)) {
					add(word)
				}
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
	return secrets{strings.NewReplacer(hide...)}
}

// quoted returns a text of the server without secrets, short and safe to print.
func (s secrets) quoted(text string) string {
	text = s.hide.Replace(text) // before the cut: half a secret would pass
	if len(text) > maxText {
		text = text[:maxText] + "..."
	}
	return strconv.Quote(text)
}

// clean returns the text of an error of the transport without the URL, whose
// query may be secret.
func (s secrets) clean(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return s.hide.Replace(err.Error())
}
