package http

import (
	"bytes"
	"encoding/json"
	"fmt"
	nethttp "net/http"

	"github.com/klauspost/compress/gzip"
)

// body returns the request for p.
func (s *Sink) body(p part) ([]byte, error) {
	size := 0
	for _, ev := range p.events {
		size += p.encoder.Size(ev) + len(ev.ID) + 32
	}
	b := make([]byte, 0, size)
	for _, ev := range p.events {
		if s.o.Index != "" {
			if ev.ID == "" {
				return nil, fmt.Errorf("event %d has no id", ev.Index) // the server would make one up, another each time
			}
			id, err := json.Marshal(ev.ID)
			if err != nil {
				return nil, err
			}
			b = append(append(append(b, `{"index":{"_id":`...), id...), "}}\n"...)
		}
		b = append(p.encoder.Append(b, ev), '\n')
	}
	if !s.o.Gzip {
		return b, nil
	}
	var z bytes.Buffer
	w, err := gzip.NewWriterLevel(&z, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return z.Bytes(), nil
}

// bulkAnswer is what the bulk API says: a result for each line, in their order.
type bulkAnswer struct {
	Items []map[string]struct {
		Status int
		Error  struct{ Type, Reason string }
	}
}

// judgeItems says what became of each line. A result may be bad though the
// request's own status is 200.
func (s *Sink) judgeItems(p part, text []byte) outcome {
	var a bulkAnswer
	if err := json.Unmarshal(text, &a); err != nil || len(a.Items) != len(p.events) {
		return outcome{fail: fmt.Errorf("the answer is none of a bulk API for %d events: %s", len(p.events), s.quoted(string(text)))}
	}
	var out outcome
	for i, item := range a.Items {
		for _, r := range item {
			reason := fmt.Sprintf("HTTP %d %s: %s", r.Status, r.Error.Type, s.quoted(r.Error.Reason))
			switch {
			case r.Status/100 == 2 || r.Status == nethttp.StatusConflict:
				// there, or a newer one is
			case mayGoBetter(r.Status) || r.Error.Type == "cluster_block_exception":
				out.again.encoder, out.again.events = p.encoder, append(out.again.events, p.events[i])
				out.cause = reason
			case r.Status/100 != 4 || aboutEverybody(r.Status):
				out.fail = fmt.Errorf("event %s: %s", p.events[i].ID, reason)
			default:
				out.refused = append(out.refused, refusal{p.only(i), reason})
			}
		}
		if len(item) != 1 {
			out.fail = fmt.Errorf("event %s: the answer has %d results for it", p.events[i].ID, len(item))
		}
	}
	return out
}

// aboutEverybody reports whether a line was refused for what every other would
// be: who asks, and where to.
func aboutEverybody(status int) bool {
	return status == nethttp.StatusUnauthorized || status == nethttp.StatusForbidden || status == nethttp.StatusNotFound
}

// Letter returns a dead letter: one JSON object that holds the event's own
// bytes, its id and why it was refused.
func Letter(line []byte, id, reason string) []byte {
	text := func(s string) []byte {
		b, _ := json.Marshal(s) // a string always can be
		return b
	}
	var b []byte
	b = append(append(b, `{"id":`...), text(id)...)
	b = append(append(b, `,"reason":`...), text(reason)...)
	b = append(append(b, `,"event":`...), line...)
	return append(b, '}')
}
