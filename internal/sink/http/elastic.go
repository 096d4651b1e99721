package http

import (
	"bytes"
	"time"

	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/pkg/trail"
)

// stream makes p a data stream of Elasticsearch or OpenSearch. Sources:
//
//   - "Use a data stream" (elastic.co, Elasticsearch 8.17): the bulk API takes only create
//     actions, and an id with them.
//   - "Data streams" (docs.opensearch.org): a document without a timestamp is rejected.
//   - "Bulk API" (elastic.co): an item with status 409 says that the id exists.
//
// An id is unique within the index that a stream writes to now. So a repeat after a
// rollover makes a second document.
func stream(p *product, name string) {
	action := bulk(p, name, "create")
	size := p.size
	p.event = func(dst []byte, p part, ev *sink.Event) ([]byte, error) {
		dst, err := action(dst, ev)
		if err != nil {
			return nil, err
		}
		return appendStamped(dst, p, ev), nil
	}
	p.size = func(p part, ev *sink.Event) int {
		return size(p, ev) + len(stampBegin) + len(time.RFC3339Nano) + len(`"`)
	}
}

const stampBegin = `{"@timestamp":"`

// appendStamped appends an event with the member @timestamp in front. The event's own
// bytes stay as they are.
func appendStamped(dst []byte, p part, ev *sink.Event) []byte {
	at := stampOf(p.log, ev)
	if at.IsZero() {
		return p.encoder.Append(dst, ev) // the stream refuses it
	}
	dst = at.AppendFormat(append(dst, stampBegin...), time.RFC3339Nano)
	dst = append(dst, '"')
	begin := len(dst)
	dst = p.encoder.Append(dst, ev)
	dst[begin] = ',' // was the brace that is in front of the member now
	if rest := bytes.TrimLeft(dst[begin+1:], " \t"); len(rest) > 0 && rest[0] == '}' {
		dst[begin] = ' '
	}
	return dst
}

// stampOf returns the time of an event, or that of its log file if the event does not say
// it. It is equal in every repeat, and zero if neither is known.
func stampOf(log trail.Object, ev *sink.Event) time.Time {
	if at := timeOf(ev); !at.IsZero() {
		return at
	}
	key, err := trail.ParseLogKey(log.Key)
	if err != nil {
		return time.Time{}
	}
	return key.Stamp
}
