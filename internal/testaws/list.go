package testaws

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// page is one answer to a listing.
type page struct {
	keys     []string
	prefixes []string
	last     string // key or common prefix after which the next page begins
	more     bool
}

// pageOf returns the page of up to size entries after after. keys are sorted
// and begin with prefix.
func pageOf(keys []string, prefix, delimiter, after string, size int) page {
	var p page
	if size == 0 {
		return p
	}
	at, found := slices.BinarySearch(keys, after)
	if found {
		at++
	}
	if delimiter != "" && len(after) > len(prefix) && strings.HasSuffix(after, delimiter) {
		at += below(keys[at:], after) // the page before ended in this common prefix
	}
	for ; at < len(keys); size-- {
		if size == 0 {
			p.more = true
			return p
		}
		key := keys[at]
		if i := strings.Index(key[len(prefix):], delimiter); delimiter != "" && i >= 0 {
			p.last = key[:len(prefix)+i+len(delimiter)]
			p.prefixes = append(p.prefixes, p.last)
			at += below(keys[at:], p.last)
			continue
		}
		p.last = key
		p.keys = append(p.keys, key)
		at++
	}
	return p
}

// below returns how many of the sorted keys, from the first on, begin with
// prefix.
func below(keys []string, prefix string) int {
	return sort.Search(len(keys), func(i int) bool { return !strings.HasPrefix(keys[i], prefix) })
}

// list answers ListObjects and ListObjectsV2.
func (s *Server) list(w http.ResponseWriter, r *http.Request, c call, empty bool) {
	q := r.URL.Query()
	v2 := c.op == "ListObjectsV2"
	after, size, bad := s.listParameters(q, v2)
	if bad != "" {
		fail(w, c, apiError{status: 400, code: "InvalidArgument", message: bad})
		return
	}
	text := func(v string) string { return v }
	if q.Get("encoding-type") == "url" {
		text = urlText
	}
	prefix, delimiter := q.Get("prefix"), q.Get("delimiter")
	var p page
	if !empty {
		keys, _ := s.World.Keys(c.bucket, prefix)
		p = pageOf(keys, prefix, delimiter, after, size)
	}

	var b bytes.Buffer
	b.Grow(1024 + 400*len(p.keys))
	b.WriteString(xml.Header + `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`)
	element(&b, "Name", c.bucket)
	element(&b, "Prefix", text(prefix))
	element(&b, "MaxKeys", strconv.Itoa(size))
	element(&b, "IsTruncated", strconv.FormatBool(p.more))
	if delimiter != "" {
		element(&b, "Delimiter", text(delimiter))
	}
	if q.Get("encoding-type") == "url" {
		element(&b, "EncodingType", "url")
	}
	switch {
	case v2:
		continued(&b, q, p, text)
	default:
		element(&b, "Marker", text(after))
		if p.more && delimiter != "" {
			element(&b, "NextMarker", text(p.last))
		}
	}
	s.contents(&b, c.bucket, p, text)
	b.WriteString(`</ListBucketResult>`)
	writeXML(w, http.StatusOK, b.Bytes())
}

func continued(b *bytes.Buffer, q url.Values, p page, text func(string) string) {
	element(b, "KeyCount", strconv.Itoa(len(p.keys)+len(p.prefixes)))
	if v := q.Get("start-after"); v != "" {
		element(b, "StartAfter", text(v))
	}
	if v := q.Get("continuation-token"); v != "" {
		element(b, "ContinuationToken", v)
	}
	if p.more {
		element(b, "NextContinuationToken", base64.StdEncoding.EncodeToString([]byte(p.last)))
	}
}

func (s *Server) contents(b *bytes.Buffer, bucket string, p page, text func(string) string) {
	for _, k := range p.keys {
		o, _ := s.World.Stored(bucket, k)
		b.WriteString("<Contents>")
		element(b, "Key", text(k))
		element(b, "LastModified", modified(o).Format("2006-01-02T15:04:05.000Z"))
		element(b, "ETag", etag(o.Body))
		element(b, "Size", strconv.Itoa(len(o.Body)))
		b.WriteString("<StorageClass>STANDARD</StorageClass></Contents>")
	}
	for _, f := range p.prefixes {
		b.WriteString("<CommonPrefixes>")
		element(b, "Prefix", text(f))
		b.WriteString("</CommonPrefixes>")
	}
}

// listParameters returns where a page begins and how much it holds; bad says
// what is wrong with the request.
func (s *Server) listParameters(q url.Values, v2 bool) (after string, size int, bad string) {
	size = s.PageSize
	if size == 0 {
		size = 1000
	}
	if v := q.Get("max-keys"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			return "", 0, "Provided max-keys not an integer or within integer range"
		}
		size = min(size, n)
	}
	if !v2 {
		return q.Get("marker"), size, ""
	}
	after = q.Get("start-after")
	if q.Has("continuation-token") {
		b, err := base64.StdEncoding.DecodeString(q.Get("continuation-token"))
		if err != nil || len(b) == 0 {
			return "", 0, "The continuation token provided is incorrect"
		}
		after = string(b)
	}
	return after, size, ""
}

// urlText encodes a key as encoding-type=url asks for it.
func urlText(s string) string {
	if plain(s) {
		return s
	}
	return strings.ReplaceAll(url.QueryEscape(s), "%2F", "/")
}

// plain reports whether s is the same in XML and URL encoding, as CloudTrail's
// own keys are.
func plain(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '/' || c == '_' || c == '-' || c == '.':
		default:
			return false
		}
	}
	return true
}
