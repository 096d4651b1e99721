// Package http emits events over HTTP: as NDJSON to any endpoint, or to
// OpenSearch and Elasticsearch by their bulk API, each event under its id, so
// that a repeat replaces what is there.
//
// Emit makes one attempt. An attempt that fails returns an error: the caller
// tries again, knows that the endpoint fails, and says so. A Delivery goes on
// where it failed. An event that the server refuses for its content is handed to
// the dead letters with the reason. No secret of the URL or the headers ever
// shows in an error.
package http

import (
	"cmp"
	"context"
	"errors"
	nethttp "net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/trailseal/trailseal/internal/sink"
)

// Defaults of Options.
const (
	DefaultMaxBytes = 5 << 20
	DefaultTimeout  = time.Minute
)

// Options describe the endpoint.
type Options struct {
	// URL takes the requests. Where it has no path, the product's own is added. A
	// user and password in it become the authentication that the product asks for.
	URL     string
	Product Product
	Index   string // of OpenSearch; of Elastic the data stream
	Format  sink.Format
	// Header is sent with every request, such as Authorization. It goes before
	// headers of the sink's own.
	Header nethttp.Header
	// Gzip compresses requests.
	Gzip bool
	// MaxBytes is the most of a request, before compression. A single event may
	// be larger. Zero is what suits the product.
	MaxBytes int
	// Timeout ends one request.
	Timeout time.Duration
	// DeadLetter keeps a line that the server refuses for its content, durably
	// when it returns nil. It is safe for concurrent use. Without it such a
	// line fails its batch. See Letter.
	DeadLetter func(ctx context.Context, line []byte, id, reason string) error
	// Now is the clock, time.Now where it is nil.
	Now func() time.Time
	// Transport replaces the standard library's.
	Transport nethttp.RoundTripper
}

// Counters are what a sink has done so far.
type Counters struct {
	Requests    atomic.Uint64
	DeadLetters atomic.Uint64 // lines
}

// Sink sends batches. It is safe for concurrent use.
type Sink struct {
	Counters Counters

	o       Options
	url     string // of the requests
	name    string // of the endpoint, for errors
	header  nethttp.Header
	secrets secrets
	product product
	client  *nethttp.Client
	closed  atomic.Bool
}

// New returns a sink. It connects to nothing yet.
func New(o Options) (*Sink, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("http sink: the URL cannot be used: want https://HOST/PATH") // it may hold a password
	}
	s := &Sink{o: o, header: nethttp.Header{}, name: u.Scheme + "://" + u.Host} // some services have their tokens in the path
	q := u.Query()
	if s.product, err = productOf(o, q); err != nil {
		return nil, err
	}
	s.o.MaxBytes = cmp.Or(o.MaxBytes, s.product.maxBytes)
	if o.Now == nil {
		s.o.Now = time.Now
	}
	s.o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	s.client = &nethttp.Client{Transport: transport(o), CheckRedirect: stayHome}
	s.header.Set("Content-Type", s.product.contentType)
	if o.Gzip {
		s.header.Set("Content-Encoding", "gzip")
	}
	if u.User != nil {
		password, _ := u.User.Password()
		s.header.Set(s.product.auth(u.User.Username(), password))
	}
	for name, values := range o.Header {
		s.header[nethttp.CanonicalHeaderKey(name)] = slices.Clone(values)
	}
	if o.Product != NDJSON && o.Product != JSON { // those get the query as it is
		u.RawQuery = q.Encode()
	}
	s.secrets = secretsOf(s.header, u)
	u.User, u.Fragment = nil, ""
	if len(s.product.path) > 0 && (o.Index != "" || strings.Trim(u.Path, "/") == "") {
		u = u.JoinPath(s.product.path...)
	}
	for name, value := range s.product.query {
		q.Set(name, value)
		u.RawQuery = q.Encode()
	}
	s.url = u.String()
	return s, nil
}

// Emit sends the events of b, in several requests where they are large, and
// returns nil when the server has taken each or it is a dead letter. After an
// error some can have arrived.
func (s *Sink) Emit(ctx context.Context, b sink.Batch) error {
	d := s.Begin(b)
	for {
		if isDone, err := d.Try(ctx); isDone || err != nil {
			return err
		}
	}
}

// Flush returns nil: the server has what Emit took, or it is a dead letter.
func (s *Sink) Flush(context.Context) error { return nil }

// Close refuses further batches and ends idle connections. Those under way end
// with their own contexts.
func (s *Sink) Close() error {
	s.closed.Store(true)
	s.client.CloseIdleConnections()
	return nil
}
