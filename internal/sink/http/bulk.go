package http

import (
	"encoding/json"
	"errors"
	"fmt"
	nethttp "net/http"

	"github.com/trailseal/trailseal/internal/sink"
)

// bulk makes p the bulk API of OpenSearch and Elasticsearch. Each event has its id,
// so that a repeat leaves one document. It returns what appends the line of an action.
func bulk(p *product, index, action string) (actionLine func([]byte, *sink.Event) ([]byte, error)) {
	p.path = []string{index, "_bulk"}
	p.query = map[string]string{"filter_path": "errors,items.*.status,items.*.error.type,items.*.error.reason"}
	p.contentType, p.between, p.end = "application/x-ndjson", "\n", "\n"
	begin := `{"` + action + `":{"_id":`
	line := func(dst []byte, ev *sink.Event) ([]byte, error) {
		if ev.ID == "" {
			return nil, fmt.Errorf("event %d has no id", ev.Index) // the server would make one up, another each time
		}
		id, err := json.Marshal(ev.ID)
		if err != nil {
			return nil, err
		}
		return append(append(append(dst, begin...), id...), "}}\n"...), nil
	}
	p.event = func(dst []byte, p part, ev *sink.Event) ([]byte, error) {
		dst, err := line(dst, ev)
		if err != nil {
			return nil, err
		}
		return p.encoder.Append(dst, ev), nil
	}
	p.size = func(p part, ev *sink.Event) int {
		return p.encoder.Size(ev) + len(begin) + len(ev.ID) + len(`""}}`) + len("\n")
	}
	p.taken = judgeItems
	return line
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
func judgeItems(p part, answer reply) outcome {
	var a bulkAnswer
	if err := json.Unmarshal(answer.text, &a); err != nil || len(a.Items) != len(p.events) {
		err := fmt.Errorf("the answer is not one of a bulk API for %d events: %s", len(p.events), answer.quoted(string(answer.text)))
		return outcome{again: p.events, err: err}
	}
	var out outcome
	for i, item := range a.Items {
		for _, r := range item {
			reason := fmt.Sprintf("HTTP %d %s: %s", r.Status, r.Error.Type, answer.quoted(r.Error.Reason))
			switch {
			case r.Status/100 == 2 || r.Status == nethttp.StatusConflict:
				// there, or a newer one is
			case mayGoBetter(r.Status) || r.Error.Type == "cluster_block_exception":
				out.again, out.err = append(out.again, p.events[i]), errors.New(reason)
			case r.Status/100 != 4 || aboutEverybody(r.Status):
				return outcome{again: p.events, err: fmt.Errorf("event %s: %s", p.events[i].ID, reason)}
			default:
				out.refused = append(out.refused, refusal{p.only(i), reason})
			}
		}
		if len(item) != 1 {
			return outcome{again: p.events, err: fmt.Errorf("event %s: the answer has %d results for it", p.events[i].ID, len(item))}
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
