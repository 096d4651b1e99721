package http

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	nethttp "net/http"
	"strconv"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/trailseal/trailseal/internal/sink"
)

const (
	maxRetryAfter = 5 * time.Minute // most that a server can ask for

	// Bounds of an answer of which only the status counts. It is read so that the
	// connection can be used again.
	maxIgnored  = 64 << 10
	timeIgnored = 5 * time.Second
	// maxAnswer bounds an answer that says what became of each event.
	maxAnswer = 16 << 20
)

// outcome is what became of the events of one request. Events that no field
// holds are stored.
type outcome struct {
	again   []*sink.Event // that did not arrive
	err     error         // why
	refused []refusal     // for their content
	instead []part        // to be sent in place of the request: it was refused for one of its events
}

type refusal struct {
	event  part // of one event
	reason string
}

// attempt makes one request.
func (s *Sink) attempt(ctx context.Context, p part) outcome {
	failed := func(err error) outcome { return outcome{again: p.events, err: err} }
	body, err := s.product.body(p)
	if err == nil && s.o.Gzip {
		body, err = zipped(body)
	}
	if err != nil {
		return failed(err)
	}
	caller := ctx
	ctx, cancel := context.WithTimeout(caller, s.o.Timeout)
	defer cancel()
	r, err := nethttp.NewRequestWithContext(ctx, nethttp.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return failed(errors.New(s.secrets.clean(err)))
	}
	r.Header = s.header.Clone()
	r.Host = r.Header.Get("Host") // net/http takes it from there
	s.Counters.Requests.Add(1)
	a, err := s.client.Do(r)
	if err != nil && ctx.Err() != nil && caller.Err() == nil {
		return failed(fmt.Errorf("no answer within %s", s.o.Timeout))
	}
	if err != nil {
		return failed(errors.New(s.secrets.clean(err)))
	}
	defer a.Body.Close()
	isNeeded := a.StatusCode/100 == 2 && s.product.taken != nil
	limit := int64(maxAnswer)
	if !isNeeded {
		limit = maxIgnored
		defer time.AfterFunc(timeIgnored, cancel).Stop()
	}
	text, err := io.ReadAll(io.LimitReader(a.Body, limit))
	if err != nil && isNeeded {
		return failed(fmt.Errorf("HTTP %d, and no whole answer within %s: %s", a.StatusCode, s.o.Timeout, s.secrets.clean(err)))
	}
	err = errors.New(s.answerText(a, text))
	if mayGoBetter(a.StatusCode) {
		err = busy(retryAfter(a.Header.Get("Retry-After"), time.Now()), err)
	}
	return s.product.judge(p, reply{a.StatusCode, text, s.secrets.quoted}, err)
}

// Ask sends a HEAD request and returns the status of the answer.
func (s *Sink) Ask(ctx context.Context) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	r, err := nethttp.NewRequestWithContext(ctx, nethttp.MethodHead, s.url, nil)
	if err != nil {
		return 0, errors.New(s.secrets.clean(err))
	}
	r.Header, r.Host = s.header.Clone(), s.header.Get("Host")
	r.Header.Del("Content-Type")
	r.Header.Del("Content-Encoding")
	a, err := s.client.Do(r)
	if err != nil {
		return 0, errors.New(s.secrets.clean(err))
	}
	a.Body.Close()
	return a.StatusCode, nil
}

// zipped returns a body compressed.
func zipped(body []byte) ([]byte, error) {
	var z bytes.Buffer
	w, err := gzip.NewWriterLevel(&z, gzip.BestSpeed)
	if err == nil {
		_, err = w.Write(body)
	}
	if err == nil {
		err = w.Close()
	}
	return z.Bytes(), err
}

// busy returns an error that asks for a pause.
func busy(after time.Duration, err error) error {
	if after == 0 {
		return err
	}
	return &sink.BusyError{After: after, Err: err}
}

// answerText is an answer as an error tells it.
func (s *Sink) answerText(a *nethttp.Response, text []byte) string {
	t := fmt.Sprintf("HTTP %d %s", a.StatusCode, nethttp.StatusText(a.StatusCode))
	if a.StatusCode/100 == 3 {
		host := "nowhere"
		if to, err := a.Location(); err == nil {
			host = to.Host
		}
		return t + ": redirected to " + strconv.Quote(host) + ", which is not followed"
	}
	if len(text) > 0 {
		t += ": " + s.secrets.quoted(string(text))
	}
	return t
}

// retryAfter reads the header: seconds, or a date.
func retryAfter(v string, now time.Time) time.Duration {
	var d time.Duration
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		d = time.Duration(n) * time.Second
	} else if at, err := nethttp.ParseTime(v); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}
