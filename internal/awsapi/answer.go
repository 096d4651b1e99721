package awsapi

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithyxml "github.com/aws/smithy-go/encoding/xml"
	smithymw "github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// A proxy, a captive portal or a cache can answer in place of S3. This file
// decides which answers are S3's own. Only these are facts about an object.

// oddAnswer is the error of an answer that is not S3's own. It wraps none of
// the errors that callers act on, so that it counts as the network's.
type oddAnswer string

func (o oddAnswer) Error() string { return string(o) }

// checkObject returns an oddAnswer if an answer is not an object as S3 sends
// it: status 200, the whole object, with its ETag and its length. The SDK takes
// any status from 200 to 299 and needs no header.
//
// S3 announces the length of every object. Without a length, net/http could not
// tell the end of a body from the end of a connection.
//
// Content-Type and Content-Encoding do not count. The writer of an object
// chooses them: a modified log file that calls itself HTML would be a failure of
// the network, and not a finding.
func checkObject(r *http.Response) error {
	tag := r.Header.Get("Etag")
	odd := ""
	switch {
	case r.StatusCode != http.StatusOK:
	case strings.Trim(tag, `"`) == "":
		odd = " without an ETag"
	case strings.HasPrefix(tag, "W/"):
		odd = " with a weak ETag" // a proxy marks a body so that it transformed
	case r.Header.Get("Content-Range") != "":
		odd = " with a Content-Range"
	case r.ContentLength < 0:
		odd = " without a Content-Length"
	default:
		return nil
	}
	return oddAnswer("the answer is not an object of S3: " + statusLine(r.StatusCode) + odd)
}

// checkListing returns an oddAnswer if an answer is not a page of a listing. An
// answer that is not XML passes: the SDK reports what is wrong with it.
func checkListing(r *http.Response) error {
	if r.StatusCode != http.StatusOK {
		return oddAnswer(errNoListing.Error() + ": " + statusLine(r.StatusCode))
	}
	var read bytes.Buffer
	root, err := smithyxml.FetchRootElement(xml.NewDecoder(io.TeeReader(r.Body, &read)))
	if err == nil && root.Name.Local != "ListBucketResult" {
		return oddAnswer(errNoListing.Error())
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(&read, r.Body), r.Body}
	return nil
}

// maxErrorDocument bounds the answers that are read into memory to find out
// what went wrong. S3's are smaller than one KiB.
const maxErrorDocument = 64 << 10

// checkError replaces the body of a failed request with an empty one, unless
// the body is an error document. The SDK takes a code from any XML; without a
// body it makes one up from the status, and service knows such codes.
func checkError(r *http.Response) error {
	b, err := io.ReadAll(io.LimitReader(r.Body, maxErrorDocument+1))
	if err != nil {
		return err
	}
	root, err := smithyxml.FetchRootElement(xml.NewDecoder(bytes.NewReader(b)))
	if err != nil || root.Name.Local != "Error" || len(b) > maxErrorDocument {
		b = nil
	}
	_ = r.Body.Close() // all that counts is read
	r.Body = io.NopCloser(bytes.NewReader(b))
	return nil
}

// checked returns the option of a call whose answers must be S3's own. good
// checks those with a status from 200 to 299. A refused answer is not asked for
// again.
func checked(good func(*http.Response) error) func(*s3.Options) {
	check := smithymw.DeserializeMiddlewareFunc("trailseal:answer", func(ctx context.Context, in smithymw.DeserializeInput, next smithymw.DeserializeHandler) (smithymw.DeserializeOutput, smithymw.Metadata, error) {
		out, meta, err := next.HandleDeserialize(ctx, in)
		r, ok := out.RawResponse.(*smithyhttp.Response)
		if err != nil || !ok {
			return out, meta, err
		}
		if r.StatusCode < 200 || r.StatusCode >= 300 {
			return out, meta, checkError(r.Response)
		}
		if err = good(r.Response); err != nil {
			_ = r.Body.Close() // the SDK would read it to its end first
			r.Body = http.NoBody
		}
		return out, meta, err
	})
	return s3.WithAPIOptions(func(stack *smithymw.Stack) error {
		return stack.Deserialize.Insert(check, "OperationDeserializer", smithymw.After)
	})
}

func statusLine(status int) string {
	return strings.TrimSpace(fmt.Sprintf("HTTP %d %s", status, http.StatusText(status)))
}
