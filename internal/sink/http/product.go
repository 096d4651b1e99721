package http

import (
	"encoding/base64"
	"fmt"
	nethttp "net/http"
	"net/url"
	"time"

	"github.com/trailseal/trailseal/internal/sink"
)

// Product is what takes the events: it says how requests look and what the
// answers mean.
type Product string

// The products.
const (
	NDJSON     Product = ""           // anything that takes one JSON object a line
	JSON       Product = "json"       // anything that takes an array of JSON objects
	OpenSearch Product = "opensearch" // an index of OpenSearch or Elasticsearch, by the bulk API
	Elastic    Product = "elastic"    // a data stream of Elasticsearch or OpenSearch
	Loki       Product = "loki"       // Loki's push API
	Datadog    Product = "datadog"    // Datadog's intake of logs
	Splunk     Product = "splunk"     // Splunk's HTTP Event Collector
)

// product is how a Product takes events. Each function is pure.
type product struct {
	path        []string          // below the URL
	query       map[string]string // of the requests
	contentType string            // unless the user's headers say another
	// auth returns the header that a user and password in the URL become.
	auth func(user, password string) (name, value string)

	begin        func(dst []byte, p part) []byte // appends what comes before the events; nil: nothing
	between, end string                          // of a body, around the events
	// event appends an event as it is between those.
	event func(dst []byte, p part, ev *sink.Event) ([]byte, error)
	// size is the most that event appends.
	size func(p part, ev *sink.Event) int

	maxBytes  int // of a request before compression, where Options say nothing
	maxEvents int // of a request, 0 for any number

	// unfit says why an event is not sent, "" if it is. It may be nil.
	unfit func(p part, ev *sink.Event, now time.Time) (why string)

	stored int // the only status that says that the events are stored, 0 for any 2xx
	// refused says what became of the events of a request with a bad status. It
	// returns false where it has nothing to say, or is nil.
	refused func(p part, r reply, err error) (outcome, bool)
	// taken says what became of the events of a request with a good status. It is
	// nil where all are stored then, whatever the answer says.
	taken func(p part, r reply) outcome
}

// reply is an answer. quoted returns a text of it safe to print.
type reply struct {
	status int
	text   []byte
	quoted func(string) string
}

// productOf returns how the product of o takes events. It takes what is the sink's own from
// the query of the URL.
func productOf(o Options, query url.Values) (product, error) {
	p := product{
		contentType: "application/json", auth: basic, maxBytes: DefaultMaxBytes,
		event: func(dst []byte, p part, ev *sink.Event) ([]byte, error) { return p.encoder.Append(dst, ev), nil },
		size:  func(p part, ev *sink.Event) int { return p.encoder.Size(ev) },
	}
	switch o.Product {
	case NDJSON:
		p.contentType, p.between, p.end = "application/x-ndjson", "\n", "\n"
	case JSON:
		array(&p)
	case OpenSearch:
		bulk(&p, o.Index, "index")
	case Elastic:
		stream(&p, o.Index)
	case Loki:
		loki(&p, query)
	case Datadog:
		datadog(&p, query)
	case Splunk:
		collector(&p, query)
	default:
		return p, fmt.Errorf("http sink: no product is named %q", o.Product)
	}
	return p, nil
}

// array makes p an array of events.
func array(p *product) {
	p.begin = func(dst []byte, _ part) []byte { return append(dst, '[') }
	p.between, p.end = ",", "]"
}

func basic(user, password string) (name, value string) {
	return "Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// body returns the request for p.
func (d *product) body(p part) ([]byte, error) {
	var begin []byte
	if d.begin != nil {
		begin = d.begin(nil, p)
	}
	size := len(begin) + len(d.end)
	for _, ev := range p.events {
		size += d.size(p, ev) + len(d.between)
	}
	b := append(make([]byte, 0, size), begin...)
	for i, ev := range p.events {
		if i > 0 {
			b = append(b, d.between...)
		}
		var err error
		if b, err = d.event(b, p, ev); err != nil {
			return nil, err
		}
	}
	return append(b, d.end...), nil
}

// judge says what an answer means. The status of a whole request is an event's
// fault only where it speaks of the content.
func (d *product) judge(p part, r reply, err error) outcome {
	switch {
	case r.status/100 == 2 && d.stored != 0 && d.stored != r.status:
		return outcome{again: p.events, err: err}
	case r.status/100 == 2 && d.taken != nil:
		return d.taken(p, r)
	case r.status/100 == 2:
		return outcome{}
	}
	if d.refused != nil {
		if out, isKnown := d.refused(p, r, err); isKnown {
			return out
		}
	}
	if aboutContent(r.status) {
		return doubt(p, -1, err)
	}
	return outcome{again: p.events, err: err}
}

// doubt is the outcome of a request that was refused for the content of one of its
// events: that one is looked for. Suspect is its number, -1 if it is not known. An
// event counts as refused only where it was sent alone.
func doubt(p part, suspect int, err error) outcome {
	n := len(p.events)
	switch {
	case n == 1:
		return outcome{refused: []refusal{{p, err.Error()}}}
	case suspect < 0 || suspect >= n:
		return outcome{instead: []part{p.at(0, n/2), p.at(n/2, n)}}
	}
	var out outcome
	for _, some := range []part{p.at(0, suspect), p.only(suspect), p.at(suspect+1, n)} {
		if len(some.events) > 0 {
			out.instead = append(out.instead, some)
		}
	}
	return out
}

func mayGoBetter(status int) bool {
	return status >= 500 || status == nethttp.StatusTooManyRequests || status == nethttp.StatusRequestTimeout || status == nethttp.StatusTooEarly
}

func aboutContent(status int) bool {
	return status == nethttp.StatusBadRequest || status == nethttp.StatusRequestEntityTooLarge || status == nethttp.StatusUnprocessableEntity
}
