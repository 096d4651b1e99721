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
	for i, l := range p.lines {
		size += len(l) + len(p.ids[i]) + 32
	}
	b := make([]byte, 0, size)
	for i, l := range p.lines {
		if s.o.Index != "" {
			if p.ids[i] == "" {
				return nil, fmt.Errorf("line %d has no id", i) // the server would make one up, another each time
			}
			id, err := json.Marshal(p.ids[i])
			if err != nil {
				return nil, err
			}
			b = append(append(append(b, `{"index":{"_id":`...), id...), "}}\n"...)
		}
		b = append(append(b, l...), '\n')
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
	if err := json.Unmarshal(text, &a); err != nil || len(a.Items) != len(p.lines) {
		return outcome{fail: fmt.Errorf("the answer is none of a bulk API for %d lines: %s", len(p.lines), s.quoted(string(text)))}
	}
	var out outcome
	for i, item := range a.Items {
		for _, r := range item {
			line, reason := p.only(i), fmt.Sprintf("HTTP %d %s: %s", r.Status, r.Error.Type, s.quoted(r.Error.Reason))
			switch {
			case r.Status/100 == 2 || r.Status == nethttp.StatusConflict:
				// there, or a newer one is
			case mayGoBetter(r.Status) || r.Error.Type == "cluster_block_exception":
				out.again.lines, out.again.ids = append(out.again.lines, line.lines...), append(out.again.ids, line.ids...)
				out.cause = reason
			case r.Status/100 != 4 || aboutEverybody(r.Status):
				out.fail = fmt.Errorf("event %s: %s", p.ids[i], reason)
			default:
				out.refused = append(out.refused, refusal{line, reason})
			}
		}
		if len(item) != 1 {
			out.fail = fmt.Errorf("event %s: the answer has %d results for it", p.ids[i], len(item))
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
