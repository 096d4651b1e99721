package testaws

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/testtrail"
)

// place returns the bucket and key of a request: in the path, or the bucket in
// front of localhost. Of an access point it returns the bucket behind it.
func (s *Server) place(r *http.Request) (bucket, key string) {
	path := strings.TrimPrefix(r.URL.Path, "/")
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	label, _, _ := strings.Cut(host, ".")
	if b, ok := s.AccessPoints[label]; ok {
		return b, path
	}
	if b, ok := strings.CutSuffix(host, ".localhost"); ok {
		return b, path
	}
	bucket, key, _ = strings.Cut(path, "/")
	return cmp.Or(s.AccessPoints[bucket], bucket), key
}

// s3Op names the operation. What the server does not do keeps its method and
// its address as its name, so that it shows in Requests.
func s3Op(r *http.Request, c call) string {
	unknown := r.Method + " " + r.URL.RequestURI()
	q := r.URL.Query()
	known := func(names ...string) bool {
		for name := range q {
			if name != "x-id" && !slices.Contains(names, name) {
				return false
			}
		}
		return true
	}
	listing := []string{"prefix", "delimiter", "max-keys", "encoding-type", "fetch-owner", "list-type"}
	switch head, get := r.Method == http.MethodHead, r.Method == http.MethodGet; {
	case get && c.bucket == "" && known("max-buckets"):
		return "ListBuckets"
	case c.bucket == "":
	case get && c.key != "" && known():
		return "GetObject"
	case head && c.key != "" && known():
		return "HeadObject"
	case r.Method == http.MethodPut && c.key != "" && known():
		return "PutObject"
	case c.key != "":
	case head && known():
		return "HeadBucket"
	case get && q.Has("location") && known("location"):
		return "GetBucketLocation"
	case get && q.Get("list-type") == "2" && known(append(listing, "start-after", "continuation-token")...):
		return "ListObjectsV2"
	case get && !q.Has("list-type") && known(append(listing, "marker")...):
		return "ListObjects"
	}
	return unknown
}

func (s *Server) serveS3(w http.ResponseWriter, r *http.Request, c call, f Fault) {
	if c.op == "ListBuckets" {
		s.listBuckets(w)
		return
	}
	if _, there := s.World.Keys(c.bucket, "\xff"); !there && c.bucket != "" {
		f := NoSuchBucket()
		f.answer(w, c)
		return
	}
	region := s.bucketRegion(c.bucket)
	w.Header().Set("X-Amz-Bucket-Region", region)
	if s.StrictRegions && c.region != region && c.op != "GetBucketLocation" {
		sendAway(w, c, region)
		return
	}
	if owner := r.Header.Get("X-Amz-Expected-Bucket-Owner"); owner != "" && owner != s.Account {
		f := AccessDenied()
		f.answer(w, c)
		return
	}
	switch c.op {
	case "GetObject", "HeadObject":
		s.object(w, r, c)
	case "PutObject":
		s.putObject(w, r, c)
	case "HeadBucket":
		w.Header().Set("Content-Length", "0")
	case "GetBucketLocation":
		if region == "us-east-1" {
			region = "" // it has no name here
		}
		writeXML(w, http.StatusOK, []byte(xml.Header+`<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`+region+`</LocationConstraint>`))
	case "ListObjects", "ListObjectsV2":
		s.list(w, r, c, f.Empty)
	default:
		fail(w, c, apiError{status: 501, code: "NotImplemented", message: "testaws does not do " + c.op})
	}
}

func (s *Server) bucketRegion(bucket string) string {
	if r := s.Regions[bucket]; r != "" {
		return r
	}
	return Region
}

// sendAway answers a request for a bucket in another region: the global
// endpoint redirects, the others find the signature's region wrong.
func sendAway(w http.ResponseWriter, c call, region string) {
	if c.region == "us-east-1" {
		fail(w, c, apiError{status: 301, code: "PermanentRedirect", message: "The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint."})
		return
	}
	fail(w, c, apiError{status: 400, code: "AuthorizationHeaderMalformed", region: region,
		message: fmt.Sprintf("The authorization header is malformed; the region '%s' is wrong; expecting '%s'", c.region, region)})
}

func (s *Server) object(w http.ResponseWriter, r *http.Request, c call) {
	o, ok := s.World.Stored(c.bucket, c.key)
	if !ok {
		f := NoSuchKey()
		f.answer(w, c)
		return
	}
	h, tag := w.Header(), etag(o.Body)
	for name, v := range o.Meta {
		// As S3 sends it. Clients that keep a header's case would see another
		// name in Go's canonical one.
		h["x-amz-meta-"+name] = []string{v}
	}
	if o.Encoding != "" {
		h.Set("Content-Encoding", o.Encoding)
	}
	h.Set("Etag", tag)
	h.Set("Last-Modified", modified(o).Format(http.TimeFormat))
	h.Set("Accept-Ranges", "bytes")
	h.Set("X-Amz-Request-Id", requestID)
	if m := r.Header.Get("If-Match"); m != "" && m != "*" && strings.Trim(m, `"`) != strings.Trim(tag, `"`) {
		h.Del("Content-Encoding")
		fail(w, c, apiError{status: 412, code: "PreconditionFailed", message: "At least one of the pre-conditions you specified did not hold"})
		return
	}
	if m := r.Header.Get("If-None-Match"); m != "" && strings.Trim(m, `"`) == strings.Trim(tag, `"`) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	from, to, status := 0, len(o.Body), http.StatusOK
	if asked := r.Header.Get("Range"); asked != "" {
		if from, to, ok = byteRange(asked, len(o.Body)); !ok {
			h.Del("Content-Encoding")
			fail(w, c, apiError{status: 416, code: "InvalidRange", message: "The requested range is not satisfiable"})
			return
		}
		status = http.StatusPartialContent
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(o.Body)))
	}
	write(w, status, "application/json", o.Body[from:to])
}

// byteRange reads a header of one range; to is past its last byte.
func byteRange(header string, size int) (from, to int, ok bool) {
	spec, ok := strings.CutPrefix(header, "bytes=")
	first, last, dash := strings.Cut(spec, "-")
	if !ok || !dash {
		return 0, 0, false
	}
	if first == "" {
		n, err := strconv.Atoi(last)
		return max(0, size-n), size, err == nil && n > 0 && size > 0
	}
	from, err := strconv.Atoi(first)
	if err != nil || from >= size {
		return 0, 0, false
	}
	to = size
	if last != "" {
		n, err := strconv.Atoi(last)
		if err != nil || n < from {
			return 0, 0, false
		}
		to = min(size, n+1)
	}
	return from, to, true
}

// etag is made of two checksums that cost next to nothing: as for objects that
// are encrypted with KMS, it changes with the body and is no MD5.
func etag(body []byte) string {
	return fmt.Sprintf(`"%08x%08x%016x"`, crc32.ChecksumIEEE(body), crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)), len(body))
}

func modified(o testtrail.Stored) time.Time {
	if o.Modified.IsZero() {
		return time.Unix(0, 0).UTC()
	}
	return o.Modified.UTC()
}

func (s *Server) listBuckets(w http.ResponseWriter) {
	var b bytes.Buffer
	b.WriteString(xml.Header + `<ListAllMyBucketsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Owner><ID>testaws</ID></Owner><Buckets>`)
	for _, name := range s.World.Buckets() {
		b.WriteString("<Bucket>")
		element(&b, "Name", name)
		element(&b, "CreationDate", "2020-01-01T00:00:00.000Z")
		b.WriteString("</Bucket>")
	}
	b.WriteString("</Buckets></ListAllMyBucketsResult>")
	writeXML(w, http.StatusOK, b.Bytes())
}
