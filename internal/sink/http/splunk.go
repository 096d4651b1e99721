package http

import (
	"cmp"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/trailseal/trailseal/internal/sink"
)

// collectorBytes is well below what a collector takes by default: 838,860,800 bytes, of
// which OpenTelemetry's exporter uses 2 MiB (exporter/splunkhecexporter, README).
const collectorBytes = 1_000_000

// collector makes p Splunk's HTTP Event Collector. Sources:
//
//   - "Format events for HTTP Event Collector" (help.splunk.com): events are JSON
//     objects one after the other in /services/collector/event. Beside "event" each has
//     its metadata: "time" in seconds since 1970 with milliseconds as a fraction, "source",
//     "sourcetype" and "index". The token is in the header "Authorization: Splunk TOKEN".
//   - "Troubleshoot HTTP Event Collector" (help.splunk.com): the codes of answers. 429 and
//     503 say that queues are full.
//   - The answer to a batch names the first event that is refused, from 0, as
//     "invalid-event-number" (splunk/kafka-connect-splunk issue 215). Whether those before
//     it are indexed is not documented, so they are sent again.
//
// The user's own index and source type may be in the query of the URL.
func collector(p *product, query url.Values) {
	p.path = []string{"services", "collector", "event"}
	p.maxBytes = collectorBytes
	p.between = "\n"
	p.auth = func(_, token string) (name, value string) { return "Authorization", "Splunk " + token }
	begin := `"sourcetype":` + quotedJSON(cmp.Or(query.Get("sourcetype"), "aws:cloudtrail"))
	if index := query.Get("index"); index != "" {
		begin += `,"index":` + quotedJSON(index)
	}
	query.Del("sourcetype")
	query.Del("index")
	p.event = func(dst []byte, p part, ev *sink.Event) ([]byte, error) {
		dst = append(append(dst, '{'), begin...)
		dst = append(append(dst, `,"source":`...), quotedJSON(p.log.String())...)
		if at := timeOf(ev); !at.IsZero() {
			dst = strconv.AppendInt(append(dst, `,"time":`...), at.Unix(), 10)
			dst = append(dst, at.UTC().Format(".000")...)
		}
		dst = p.encoder.Append(append(dst, `,"event":`...), ev)
		return append(dst, '}'), nil
	}
	p.size = func(p part, ev *sink.Event) int {
		const rest = len(`{,"source":"","time":1234567890.123,"event":}`)
		return p.encoder.Size(ev) + len(begin) + len(p.log.Bucket) + len(p.log.Key) + len("s3:///") + rest
	}
	p.refused = collectorRefused
}

// eventCodes are the codes of the collector that speak of one event: invalid data format,
// no event, a blank event, indexed fields.
var eventCodes = []int{6, 12, 13, 15}

func collectorRefused(p part, r reply, err error) (outcome, bool) {
	a := struct {
		Code  *int
		Event *int `json:"invalid-event-number"`
	}{}
	if r.status != 400 || json.Unmarshal(r.text, &a) != nil || a.Code == nil {
		return outcome{}, false
	}
	if !slices.Contains(eventCodes, *a.Code) {
		return outcome{again: p.events, err: err}, true // the token's index, the channel: no event's fault
	}
	suspect := -1
	if a.Event != nil {
		suspect = *a.Event
	}
	return doubt(p, suspect, err), true
}

// timeOf returns the time of an event, zero if the event does not say it.
func timeOf(ev *sink.Event) time.Time {
	e, err := ev.Parsed()
	if err != nil {
		return time.Time{}
	}
	return e.Time()
}

// quotedJSON returns s as a JSON string.
func quotedJSON(s string) string {
	b, _ := json.Marshal(s) // a string always can be
	return string(b)
}
