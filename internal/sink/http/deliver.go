package http

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	nethttp "net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	baseBackoff   = 200 * time.Millisecond // doubled after each attempt
	maxRetryAfter = 5 * time.Minute        // most that a server can ask for
	maxAnswer     = 16 << 20               // most that is read of one
	maxText       = 300                    // most of an answer that an error repeats
)

// outcome is what became of the events of one request. Events that no field
// holds are stored.
type outcome struct {
	again   part      // may go better
	refused []refusal // for their content
	halve   bool      // the request was refused, and nobody knows for which of its events
	fail    error     // nothing will go better by itself
	cause   string    // why again or halve
	after   time.Duration
}

type refusal struct {
	event  part // of one event
	reason string
}

// deliver sends p until all of it is stored or a dead letter.
func (s *Sink) deliver(ctx context.Context, p part) error {
	for try := 1; ; try++ {
		out := s.attempt(ctx, p)
		if out.fail != nil {
			return out.fail
		}
		if err := s.bury(ctx, out.refused); err != nil {
			return err
		}
		if out.halve {
			return s.halve(ctx, p, out.cause)
		}
		p = out.again
		if len(p.events) == 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%w; attempt %d: %s", err, try, out.cause)
		}
		pause := s.pause(try, out.after)
		s.o.Log.WarnContext(ctx, "sink attempt failed", "sink", s.name, "attempt", try, "events", len(p.events), "cause", out.cause, "pause", pause)
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; attempt %d: %s", ctx.Err(), try, out.cause)
		case <-time.After(pause):
			s.Counters.Retries.Add(1)
		}
	}
}

// halve looks for the event that a request was refused for.
func (s *Sink) halve(ctx context.Context, p part, reason string) error {
	n := len(p.events)
	if n == 1 {
		return s.bury(ctx, []refusal{{p, reason}})
	}
	for _, half := range []part{p.at(0, n/2), p.at(n/2, n)} {
		if err := s.deliver(ctx, half); err != nil {
			return err
		}
	}
	return nil
}

func (s *Sink) bury(ctx context.Context, refused []refusal) error {
	for _, r := range refused {
		id := r.event.events[0].ID
		if s.o.DeadLetter == nil {
			return fmt.Errorf("event %s is refused: %s", id, r.reason)
		}
		if err := s.o.DeadLetter(ctx, r.event.line(), id, r.reason); err != nil {
			return fmt.Errorf("dead letter of event %s (%s): %w", id, r.reason, err)
		}
		s.Counters.DeadLetters.Add(1)
	}
	return nil
}

// attempt makes one request.
func (s *Sink) attempt(ctx context.Context, p part) outcome {
	body, err := s.body(p)
	if err != nil {
		return outcome{fail: err}
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	r, err := nethttp.NewRequestWithContext(ctx, nethttp.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return outcome{fail: errors.New(s.clean(err))}
	}
	r.Header = s.header.Clone()
	s.Counters.Requests.Add(1)
	a, err := s.client.Do(r)
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &untrusted): // nothing was sent, and waiting makes nobody trusted
		return outcome{fail: errors.New(s.clean(err))}
	case err != nil:
		return outcome{again: p, cause: s.clean(err)}
	}
	defer a.Body.Close()
	text, err := io.ReadAll(io.LimitReader(a.Body, maxAnswer))
	if err != nil && a.StatusCode < 300 {
		return outcome{again: p, cause: s.clean(err)} // it may have been stored, and is sent again
	}
	return s.judge(p, a, text)
}

// judge says what an answer means. The status of a whole request is an event's
// fault only where it speaks of the content.
func (s *Sink) judge(p part, a *nethttp.Response, text []byte) outcome {
	cause := s.answerText(a, text)
	switch status := a.StatusCode; {
	case status/100 == 2 && s.o.Index != "":
		return s.judgeItems(p, text)
	case status/100 == 2:
		return outcome{}
	case mayGoBetter(status):
		return outcome{again: p, cause: cause, after: retryAfter(a.Header.Get("Retry-After"), time.Now())}
	case aboutContent(status):
		return outcome{halve: true, cause: cause}
	}
	return outcome{fail: errors.New(cause)}
}

func mayGoBetter(status int) bool {
	return status >= 500 || status == nethttp.StatusTooManyRequests || status == nethttp.StatusRequestTimeout || status == nethttp.StatusTooEarly
}

func aboutContent(status int) bool {
	return status == nethttp.StatusBadRequest || status == nethttp.StatusRequestEntityTooLarge || status == nethttp.StatusUnprocessableEntity
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
		t += ": " + s.quoted(string(text))
	}
	return t
}

// quoted returns a text of the server without secrets, short and safe to print.
func (s *Sink) quoted(text string) string {
	text = s.secrets.Replace(text) // before the cut: half a secret would pass
	if len(text) > maxText {
		text = text[:maxText] + "..."
	}
	return strconv.Quote(text)
}

// clean returns the text of an error of the transport without the URL, whose
// query may be secret.
func (s *Sink) clean(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return s.secrets.Replace(err.Error())
}

// pause is how long to wait after attempt try: anything up to a limit that
// doubles, so that those who failed together do not come back together; at
// least as long as the server asked for.
func (s *Sink) pause(try int, after time.Duration) time.Duration {
	limit := min(s.o.MaxBackoff, baseBackoff<<min(try-1, 20))
	return after + rand.N(limit+1)
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
