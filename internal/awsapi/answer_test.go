package awsapi_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// reply is a whole answer as it goes over the wire. Then the connection ends.
func reply(status, headers, body string) string {
	return "HTTP/1.1 " + status + "\r\nConnection: close\r\n" + headers + "\r\n" + body
}

// sized is a reply with a Content-Length.
func sized(status, headers, body string) string {
	return reply(status, headers+fmt.Sprintf("Content-Length: %d\r\n", len(body)), body)
}

func errorDocument(code string) string {
	return `<?xml version="1.0" encoding="UTF-8"?>` + "\n<Error><Code>" + code + "</Code><Message>It is so.</Message></Error>"
}

const (
	tag      = "ETag: \"0123\"\r\n"
	asXML    = "Content-Type: application/xml\r\n"
	asHTML   = "Content-Type: text/html\r\n"
	page     = "<!DOCTYPE html><html><body>Welcome</body></html>"
	notThere = "404 Not Found"
)

// Content and absence are facts only where S3 itself says so. Each answer comes
// once to our own request, which hands it to the SDK, and once to the SDK's.
func TestAnswersToGet(t *testing.T) {
	gone, noBucket := []error{fs.ErrNotExist}, []error{fs.ErrNotExist, finding.ErrNoBucket}
	zipped := string(testtrail.Gzip([]byte("{}")))
	const notAnObject = "the answer is not an object of S3: HTTP "
	for _, tt := range []struct {
		name, answer string
		body         string // of the object
		text         string // of the error; "" where the answer is an object
		is           []error
	}{
		{"control", sized("200 OK", tag, "body"), "body", "", nil},
		{"an empty object", sized("200 OK", tag, ""), "", "", nil},
		{"an object that calls itself a page", sized("200 OK", tag+asHTML, page), page, "", nil},
		{"an object that is encoded", sized("200 OK", tag+"Content-Encoding: gzip\r\n", zipped), zipped, "", nil},
		{"an object that lies about its encoding", sized("200 OK", tag+"Content-Encoding: gzip, aws-chunked\r\n", "body"), "body", "", nil},
		{"more bytes than announced", reply("200 OK", tag+"Content-Length: 4\r\n", "body and more"), "body", "", nil},
		{"fewer bytes than announced", reply("200 OK", tag+"Content-Length: 5\r\n", "body"), "", "unexpected EOF", nil},

		{"no ETag", sized("200 OK", "", "body"), "", notAnObject + "200 OK without an ETag", nil},
		{"nothing", sized("200 OK", "", ""), "", notAnObject + "200 OK without an ETag", nil},
		{"an empty ETag", sized("200 OK", "ETag: \"\"\r\n", "body"), "", notAnObject + "200 OK without an ETag", nil},
		{"a weak ETag", sized("200 OK", "ETag: W/\"0123\"\r\n", "body"), "", notAnObject + "200 OK with a weak ETag", nil},
		{"a page", sized("200 OK", asHTML, page), "", notAnObject + "200 OK without an ETag", nil},
		{"absence with a good status", sized("200 OK", asXML, errorDocument("NoSuchKey")), "", notAnObject + "200 OK without an ETag", nil},
		{"a part", sized("206 Partial Content", tag+"Content-Range: bytes 0-3/10\r\n", "body"), "", notAnObject + "206 Partial Content", nil},
		{"all as a part", sized("206 Partial Content", tag, "body"), "", notAnObject + "206 Partial Content", nil},
		{"a part with the status of all", sized("200 OK", tag+"Content-Range: bytes 0-3/10\r\n", "body"), "", notAnObject + "200 OK with a Content-Range", nil},
		{"201", sized("201 Created", tag, "body"), "", notAnObject + "201 Created", nil},
		{"changed on the way", sized("203 Non-Authoritative Information", tag, "body"), "", notAnObject + "203 Non-Authoritative Information", nil},
		{"204", reply("204 No Content", tag, ""), "", notAnObject + "204 No Content", nil},
		{"a made-up status", sized("299 Fine", tag, "body"), "", notAnObject + "299", nil},
		{"chunks", reply("200 OK", tag+"Transfer-Encoding: chunked\r\n", "4\r\nbody\r\n0\r\n\r\n"), "", notAnObject + "200 OK without a Content-Length", nil},
		{"chunks and a length", reply("200 OK", tag+"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "4\r\nbody\r\n0\r\n\r\n"), "", notAnObject + "200 OK without a Content-Length", nil},
		{"until the connection ends", reply("200 OK", tag, "body"), "", notAnObject + "200 OK without a Content-Length", nil},
		{"two lengths", reply("200 OK", tag+"Content-Length: 4\r\nContent-Length: 3\r\n", "body"), "", "Content-Length", nil},
		{"another encoding of the transfer", reply("200 OK", tag+"Transfer-Encoding: gzip\r\n", zipped), "", "transfer encoding", nil},

		{"absent", sized(notThere, asXML, errorDocument("NoSuchKey")), "", "NoSuchKey: It is so.", gone},
		{"deleted", sized(notThere, asXML+"X-Amz-Delete-Marker: true\r\n", errorDocument("NoSuchKey")), "", "NoSuchKey", gone},
		{"absent, in chunks", reply(notThere, asXML+"Transfer-Encoding: chunked\r\n", "2f\r\n<Error><Code>NoSuchKey</Code><Message/></Error>\r\n0\r\n\r\n"), "", "NoSuchKey", gone},
		{"no bucket", sized(notThere, asXML, errorDocument("NoSuchBucket")), "", "NoSuchBucket", noBucket},
		{"no access point", sized(notThere, asXML, errorDocument("NoSuchAccessPoint")), "", "NoSuchAccessPoint", nil},
		{"another absence", sized(notThere, asXML, errorDocument("NoSuchVersion")), "", "NoSuchVersion", nil},
		{"absence of a queue", sized(notThere, asXML, errorDocument("QueueDoesNotExist")), "", "QueueDoesNotExist", nil},
		{"absence without a document", sized(notThere, "", ""), "", "HTTP 404 Not Found without an error code", nil},
		{"a deletion without a document", sized(notThere, "X-Amz-Delete-Marker: true\r\n", ""), "", "HTTP 404", nil},
		{"absence as a page", sized(notThere, asHTML, page), "", "HTTP 404 Not Found without an error code", nil},
		{"absence in another document", sized(notThere, asXML, "<html><Code>NoSuchKey</Code></html>"), "", "HTTP 404", nil},
		{"absence as JSON", sized(notThere, "Content-Type: application/json\r\n", `{"Code":"NoSuchKey"}`), "", "HTTP 404", nil},
		{"absence in a document without an end", sized(notThere, asXML, "<Error><Code>NoSuchKey</Code>"), "", "HTTP 404", nil},
		{"absence in a long document", sized(notThere, asXML, errorDocument("NoSuchKey")+strings.Repeat(" ", 1<<17)), "", "HTTP 404", nil},
		{"absence that is cut short", reply(notThere, asXML+"Content-Length: 1000\r\n", errorDocument("NoSuchKey")), "", "HTTP 404", nil},
		{"absence with another status", sized("410 Gone", asXML, errorDocument("NoSuchKey")), "", "NoSuchKey", nil},
		{"a deleted version", sized("405 Method Not Allowed", asXML+"X-Amz-Delete-Marker: true\r\n", errorDocument("MethodNotAllowed")), "", "MethodNotAllowed", nil},
		{"not modified", reply("304 Not Modified", tag, ""), "", "HTTP 304", nil},
		{"sent to a page", sized("302 Found", "Location: /login\r\n", ""), "", "HTTP 302 Found without an error code", nil},
	} {
		for first, way := range map[string]string{"": "ours", sized("500 Internal Server Error", "", ""): "the SDK's"} {
			t.Run(tt.name+"/"+way, func(t *testing.T) {
				objects, asked := answering(t, first, tt.answer)
				if b, err := get(t.Context(), objects, "f00/x"); err != nil || string(b) != "x" {
					t.Fatalf("the object beside it: %q, %v", b, err)
				}
				b, err := get(t.Context(), objects, key)
				if tt.text == "" {
					if err != nil || string(b) != tt.body {
						t.Errorf("got %q, %v; want %q", b, err, tt.body)
					}
					return
				}
				expect(t, err, tt.text, tt.is...)
				if finding.IsFact(err) != (len(tt.is) > 0) || len(tt.is) == 0 && finding.ReasonOf(err) != finding.Network {
					t.Errorf("%v: a fact: %v, reason %s", err, finding.IsFact(err), finding.ReasonOf(err))
				}
				want := int64(1)
				if first != "" {
					want = 2
				}
				if strings.Contains(tt.text, notAnObject) && asked.Load() != want {
					t.Errorf("asked %d times, want %d", asked.Load(), want)
				}
			})
		}
	}
}

// answering returns S3 that gives first, unless it is empty, and then always
// the same answer to a GET of key. asked counts these.
func answering(t *testing.T, first, always string) (objects *awsapi.S3, asked *atomic.Int64) {
	t.Helper()
	w, _ := world()
	fake := serve(t, w)
	asked = new(atomic.Int64)
	url := before(t, fake, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || r.URL.Path != "/"+bucket+"/"+key {
			return false
		}
		answer := always
		if asked.Add(1) == 1 && first != "" {
			answer = first
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return true
		}
		_, err = io.WriteString(conn, answer)
		if err = errors.Join(err, conn.Close()); err != nil {
			t.Error(err)
		}
		return true
	})
	return load(t, func(o *awsapi.Options) { o.Endpoint = url }).S3(), asked
}

// A refused answer is not read to its end.
func TestRefusedAnswerIsLeft(t *testing.T) {
	w, _ := world()
	fake := serve(t, w)
	url := before(t, fake, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet {
			return false
		}
		for { // until the client leaves
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return true
			}
		}
	})
	objects := load(t, func(o *awsapi.Options) { o.Endpoint = url }).S3()
	_, _, err := objects.Get(t.Context(), trail.Object{Bucket: bucket, Key: key})
	expect(t, err, "HTTP 200 OK without an ETag")
}
