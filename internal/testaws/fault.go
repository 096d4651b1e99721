package testaws

import (
	"cmp"
	"net"
	"net/http"
	"strings"
	"time"
)

// Fault makes requests go wrong. The fields that are not empty choose the
// requests; of several faults that match one the oldest takes effect.
type Fault struct {
	Op     string // as the API names it: GetObject, ListObjectsV2, ListPublicKeys
	Bucket string // or the name of a queue
	Key    string // of an object, or the prefix of a listing
	Region string // for which the request is signed

	Skip  int // so many matching requests pass first: 2 is the third page of a listing
	Times int // how often; 0 is always

	Delay   time.Duration // before the answer
	Stall   time.Duration // in the middle of the body
	CutBody int           // so many bytes of the body, then the connection ends; Content-Length is that of the whole
	Reset   bool          // the connection is reset before the answer; Go's transport repeats a GET by itself if it had been used before

	// Status is answered instead of the result, with Code and Message in the
	// service's way, or without a body if Empty. Empty without a Status makes
	// a list come back empty.
	Status        int
	Code, Message string
	Empty         bool

	// Page is answered instead of the result, as a proxy does it: HTML, with
	// Status, or 200 without one, and without any header of the service.
	Page string
	// As and Without change a good result: its status becomes As, and it lacks
	// the header Without. Without its Content-Length the body is chunked.
	As      int
	Without string

	// After makes the operation take effect before Status or Reset lie about
	// it. It takes effect in any case where only the body is cut or stalls.
	After bool
	// Entry makes the n-th entry of a batch, from 1, fail with Code and Message
	// alone; with After it has taken effect all the same.
	Entry int
}

// lost is an answer that nobody gets.
type lost struct{ header http.Header }

func (l *lost) Header() http.Header         { return l.header }
func (l *lost) Write(b []byte) (int, error) { return len(b), nil }
func (l *lost) WriteHeader(int)             {}

// AccessDenied is S3's answer where a policy forbids or, without the right to
// list, where there is no object.
func AccessDenied() Fault {
	return Fault{Status: 403, Code: "AccessDenied", Message: "Access Denied"}
}

// KMSDenied is S3's answer where the key of an encrypted object is forbidden.
func KMSDenied() Fault {
	return Fault{Status: 403, Code: "AccessDenied", Message: "User: arn:aws:sts::" + Account + ":assumed-role/audit/x is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:us-east-1:" + Account + ":key/1 because no identity-based policy allows the kms:Decrypt action"}
}

// Archived is S3's answer for an object in Glacier.
func Archived() Fault {
	return Fault{Status: 403, Code: "InvalidObjectState", Message: "The operation is not valid for the object's storage class"}
}

// NoSuchKey is S3's answer where there is no object.
func NoSuchKey() Fault {
	return Fault{Status: 404, Code: "NoSuchKey", Message: "The specified key does not exist."}
}

// NoSuchBucket is S3's answer where there is no bucket.
func NoSuchBucket() Fault {
	return Fault{Status: 404, Code: "NoSuchBucket", Message: "The specified bucket does not exist"}
}

// EmptyNotFound is a 404 without a body, as a proxy gives it.
func EmptyNotFound() Fault { return Fault{Status: 404, Empty: true} }

// ProxyPage is a page that a proxy gives in place of the service: with status
// 200 one to log in at, with 404 or 502 one that says so.
func ProxyPage(status int) Fault {
	return Fault{Status: status, Page: "<!DOCTYPE html>\n<html><head><title>Proxy</title></head><body><h1>Welcome</h1></body></html>\n"}
}

// Partial is a whole result with the status of a part.
func Partial() Fault { return Fault{As: http.StatusPartialContent} }

// NoETag is a good result without its ETag.
func NoETag() Fault { return Fault{Without: "Etag"} }

// InternalError is S3's 500.
func InternalError() Fault {
	return Fault{Status: 500, Code: "InternalError", Message: "We encountered an internal error. Please try again."}
}

// SlowDown is S3's 503.
func SlowDown() Fault {
	return Fault{Status: 503, Code: "SlowDown", Message: "Please reduce your request rate."}
}

// Throttled is the answer of CloudTrail and Organizations to too many requests.
func Throttled() Fault {
	return Fault{Status: 400, Code: "ThrottlingException", Message: "Rate exceeded"}
}

// Denied is the answer of CloudTrail and Organizations where a policy forbids.
func Denied() Fault {
	return Fault{Status: 400, Code: "AccessDeniedException", Message: "User: arn:aws:sts::" + Account + ":assumed-role/audit/x is not authorized to perform this action"}
}

// On returns f for the requests that op, bucket and key choose.
func (f Fault) On(op, bucket, key string) Fault {
	f.Op, f.Bucket, f.Key = op, bucket, key
	return f
}

// Fail adds a fault.
func (s *Server) Fail(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Times == 0 {
		f.Times = -1
	}
	s.faults = append(s.faults, &f)
}

// Heal ends all faults.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// match returns the fault that takes effect on c and uses it up. The caller
// holds s.mu.
func (s *Server) match(c call) Fault {
	for _, f := range s.faults {
		if f.Times == 0 || !f.matches(c) {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		if f.Times > 0 {
			f.Times--
		}
		return *f
	}
	return Fault{}
}

func (f *Fault) matches(c call) bool {
	is := func(want, got string) bool { return want == "" || want == got }
	return is(f.Op, c.op) && is(f.Bucket, c.bucket) && is(f.Key, c.key) && is(f.Region, c.region)
}

// answer writes the fault's own answer.
func (f Fault) answer(w http.ResponseWriter, c call) {
	if f.Page != "" {
		write(w, cmp.Or(f.Status, http.StatusOK), "text/html", []byte(f.Page))
		return
	}
	if f.Empty {
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(f.Status)
		return
	}
	fail(w, c, apiError{status: f.Status, code: f.Code, message: f.Message})
}

// reset ends the connection so that the client's read fails with a reset.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// wrap returns w, made to change the result where f says so.
func (f Fault) wrap(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
	if f.As != 0 || f.Without != "" {
		w = &changed{ResponseWriter: w, f: f}
	}
	if f.CutBody == 0 && f.Stall == 0 {
		return w
	}
	return &faulty{ResponseWriter: w, r: r, f: f}
}

// changed gives a good result another status, or takes a header away.
type changed struct {
	http.ResponseWriter
	f Fault
}

func (w *changed) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *changed) WriteHeader(status int) {
	if status == http.StatusOK {
		status = cmp.Or(w.f.As, status)
		w.Header().Del(w.f.Without)
	}
	w.ResponseWriter.WriteHeader(status)
	if strings.EqualFold(w.f.Without, "Content-Length") {
		_ = http.NewResponseController(w.ResponseWriter).Flush() // or net/http would count for us
	}
}

// faulty relies on every answer being one Write with its Content-Length set.
type faulty struct {
	http.ResponseWriter
	r *http.Request
	f Fault
}

func (w *faulty) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *faulty) Write(b []byte) (int, error) {
	if w.f.CutBody > 0 {
		_, _ = w.ResponseWriter.Write(b[:min(w.f.CutBody, max(0, len(b)-1))])
		_ = http.NewResponseController(w.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	half := len(b) / 2
	n, err := w.ResponseWriter.Write(b[:half])
	if err != nil {
		return n, err
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush()
	wait(w.r, w.f.Stall)
	m, err := w.ResponseWriter.Write(b[half:])
	return n + m, err
}
