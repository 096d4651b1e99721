package http

import (
	"cmp"
	"net/url"
	"time"

	"github.com/trailseal/trailseal/internal/sink"
)

// Limits of Datadog's intake.
const (
	datadogBytes  = 5_000_000 // of a request, before compression
	datadogLog    = 1_000_000 // of a log; what is beyond is cut off
	datadogEvents = 1000
	datadogAge    = 18 * time.Hour // of a log
	datadogMargin = 10 * time.Minute
)

// datadog makes p Datadog's intake of logs. Sources:
//
//   - "Send logs" (docs.datadoghq.com/api/latest/logs): POST /api/v2/logs takes an array of
//     objects with "message", "ddsource", "service" and others. The key is in the header
//     DD-API-KEY. A request has at most 5 MB and 1000 logs. A log that is larger than 1 MB is
//     cut off and answered with a good status. 202 says that the logs are accepted.
//   - "Log Date Remapper" (docs.datadoghq.com/logs/log_configuration/processors): the time of a
//     log is an attribute such as eventTime. Logs can be up to 18 hours in the past.
//
// The message is the event as a string. Datadog parses it and keeps its text. The user's own
// source and service may be in the query of the URL.
func datadog(p *product, query url.Values) {
	p.path = []string{"api", "v2", "logs"}
	p.maxBytes, p.maxEvents = datadogBytes, datadogEvents
	p.auth = func(_, key string) (name, value string) { return "DD-API-KEY", key }
	array(p)
	begin := `{"ddsource":` + quotedJSON(cmp.Or(query.Get("ddsource"), "cloudtrail"))
	if service := query.Get("service"); service != "" {
		begin += `,"service":` + quotedJSON(service)
	}
	query.Del("ddsource")
	query.Del("service")
	begin += `,"message":`
	p.event = func(dst []byte, p part, ev *sink.Event) ([]byte, error) {
		dst = appendString(append(dst, begin...), p.encoder.Append(nil, ev))
		return append(dst, '}'), nil
	}
	p.size = func(p part, ev *sink.Event) int { return stringSize(p, ev) + len(begin) + len("}") }
	size := p.size
	p.unfit = func(p part, ev *sink.Event, now time.Time) (why string) {
		at := timeOf(ev)
		switch {
		case size(p, ev) > datadogLog:
			return "larger than 1 MB: Datadog would cut it off"
		case !at.IsZero() && now.Sub(at) > datadogAge-datadogMargin:
			return "Datadog takes events up to 18 hours in the past: eventTime is " + at.Format(time.RFC3339)
		}
		return ""
	}
}
