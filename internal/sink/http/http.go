// Package http emits events over HTTP: as NDJSON to any endpoint, or to
// OpenSearch and Elasticsearch by their bulk API, each event under its id, so
// that a repeat replaces what is there.
//
// What may go better is tried again for as long as the caller waits: a server
// that is down holds its callers, and with them the source. An event that the
// server refuses for its content is handed to the dead letters with the
// reason. A server that refuses everybody (a wrong token, no such index) fails
// the batch instead: that is no event's fault. No secret of the URL or the
// headers ever shows in an error or a log line.
package http

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	nethttp "net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/trailseal/trailseal/internal/sink"
)

// Defaults of Options.
const (
	DefaultMaxBytes   = 5 << 20
	DefaultTimeout    = time.Minute
	DefaultMaxBackoff = 30 * time.Second
)

// Options describe the endpoint.
type Options struct {
	// URL takes the requests, for Index the root of the cluster. A user and
	// password in it become basic authentication.
	URL string
	// Index is the OpenSearch or Elasticsearch index that takes the events by
	// the bulk API; "" is plain NDJSON.
	Index  string
	Format sink.Format
	// Header is sent with every request, such as Authorization.
	Header nethttp.Header
	// Gzip compresses requests.
	Gzip bool
	// MaxBytes is the most of a request, before compression. A single line may
	// be larger.
	MaxBytes int
	// Timeout ends one attempt, MaxBackoff is the longest pause between two,
	// where the server does not ask for more.
	Timeout    time.Duration
	MaxBackoff time.Duration
	// DeadLetter keeps a line that the server refuses for its content, durably
	// when it returns nil. It is safe for concurrent use. Without it such a
	// line fails its batch. See Letter.
	DeadLetter func(ctx context.Context, line []byte, id, reason string) error
	// Log is told of attempts that failed; nil is nobody.
	Log *slog.Logger
	// Transport replaces the standard library's.
	Transport nethttp.RoundTripper
}

// Counters are what a sink has done so far.
type Counters struct {
	Requests    atomic.Uint64 // attempts
	Retries     atomic.Uint64 // of them, such that were not the first of their lines
	DeadLetters atomic.Uint64 // lines
}

// Sink sends batches. It is safe for concurrent use.
type Sink struct {
	Counters Counters

	o       Options
	url     string // of the requests
	name    string // of the endpoint, for errors
	header  nethttp.Header
	secrets *strings.Replacer
	client  *nethttp.Client
	closed  atomic.Bool
}

// New returns a sink. It connects to nothing yet.
func New(o Options) (*Sink, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("http sink: the URL cannot be used: want https://HOST/PATH") // it may hold a password
	}
	o.MaxBytes = cmp.Or(o.MaxBytes, DefaultMaxBytes)
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	o.MaxBackoff = cmp.Or(o.MaxBackoff, DefaultMaxBackoff)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Sink{o: o, header: o.Header.Clone(), client: &nethttp.Client{Transport: transport(o), CheckRedirect: stayHome}}
	if s.header == nil {
		s.header = nethttp.Header{}
	}
	if u.User != nil {
		password, _ := u.User.Password()
		s.header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password)))
	}
	s.secrets = secrets(s.header, u)
	u.User, u.Fragment = nil, ""
	if o.Index != "" {
		u = u.JoinPath(o.Index, "_bulk")
		q := u.Query()
		q.Set("filter_path", "errors,items.*.status,items.*.error.type,items.*.error.reason")
		u.RawQuery = q.Encode()
	}
	s.url = u.String()
	s.name = u.Scheme + "://" + u.Host // some services have their tokens in the path
	s.header.Set("Content-Type", "application/x-ndjson")
	if o.Gzip {
		s.header.Set("Content-Encoding", "gzip")
	}
	return s, nil
}

// Emit sends the events of b, in several requests where they are large, and
// returns when the server has taken each or it is a dead letter. It tries for
// as long as ctx lasts.
func (s *Sink) Emit(ctx context.Context, b sink.Batch) error {
	if err := s.emit(ctx, b); err != nil {
		return fmt.Errorf("emit to %s: %w", s.name, err)
	}
	return nil
}

func (s *Sink) emit(ctx context.Context, b sink.Batch) error {
	if s.closed.Load() {
		return sink.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	e := s.o.Format.Encoder(&b)
	rest := part{encoder: &e, events: make([]*sink.Event, len(b.Events))}
	for i := range b.Events {
		rest.events[i] = &b.Events[i]
	}
	for len(rest.events) > 0 {
		var next part
		next, rest = rest.cut(s.o.MaxBytes)
		if err := s.deliver(ctx, next); err != nil {
			return err
		}
	}
	return nil
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

// part is some events of a batch.
type part struct {
	encoder *sink.Encoder
	events  []*sink.Event
}

// cut returns as many of the first events as fit, one at least, and the rest.
func (p part) cut(most int) (first, rest part) {
	n, size := 0, 0
	for n < len(p.events) {
		size += p.encoder.Size(p.events[n])
		if n > 0 && size > most {
			break
		}
		n++
	}
	return p.at(0, n), p.at(n, len(p.events))
}

func (p part) at(from, to int) part { return part{p.encoder, p.events[from:to]} }

func (p part) only(i int) part { return p.at(i, i+1) }

// line returns the only event as it is sent.
func (p part) line() []byte { return p.encoder.Append(nil, p.events[0]) }
