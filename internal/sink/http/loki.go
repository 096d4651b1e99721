package http

import (
	"bytes"
	nethttp "net/http"
	"net/url"
	"strconv"

	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/pkg/trail"
)

// lokiBytes is well below the 4 MiB that Loki's servers take of a message by default
// (grpc_server_max_recv_msg_size).
const lokiBytes = 1 << 20

// loki makes p Loki's push API. Sources:
//
//   - "Loki HTTP API" (grafana.com/docs/loki, "Ingest logs"): POST /loki/api/v1/push takes
//     {"streams":[{"stream":LABELS,"values":[[NANOSECONDS,LINE],...]}]}, where nanoseconds
//     and line are strings. Content-Encoding may be gzip. Authentication is that of what
//     stands before Loki, and the tenant is in X-Scope-OrgID. Where block_ingestion_until
//     is set, Loki stores nothing and answers with 260, or with another configured status
//     such as 200. The distributor answers 204 when it has stored the entries. So no other
//     status counts.
//   - "Enforce rate limits and push request validation" (same place): 429 says that a limit
//     is met, 400 that entries are refused: too old (reject_old_samples_max_age), too far
//     behind their stream (half of max_chunk_age), too long (max_line_size).
//   - grafana/loki pull request 12933: a request with one refused entry is answered with 400,
//     and the other entries are stored ("total ignored: 1 out of 2").
//   - "Loki architecture" (same place): entries of a stream with equal time and content are
//     returned once. So a repeat is harmless.
//
// The labels are few and bounded: job, account and region. The user's own job may be in the
// query of the URL.
func loki(p *product, query url.Values) {
	p.path = []string{"loki", "api", "v1", "push"}
	p.maxBytes = lokiBytes
	p.stored = nethttp.StatusNoContent
	job := `{"job":"trailseal"`
	if name := query.Get("job"); name != "" {
		job = `{"job":` + quotedJSON(name)
	}
	query.Del("job")
	p.begin = func(dst []byte, p part) []byte {
		dst = append(append(dst, `{"streams":[{"stream":`...), job...)
		if key, err := trail.ParseLogKey(p.log.Key); err == nil {
			dst = append(append(dst, `,"account":`...), quotedJSON(key.Account)...)
			dst = append(append(dst, `,"region":`...), quotedJSON(key.Region)...)
		}
		return append(dst, `},"values":[`...)
	}
	p.between, p.end = ",", "]}]}"
	p.event = func(dst []byte, p part, ev *sink.Event) ([]byte, error) {
		var nanoseconds int64 // too old, where the time is not known
		if at := stampOf(p.log, ev); !at.IsZero() {
			nanoseconds = at.UnixNano()
		}
		dst = strconv.AppendInt(append(dst, `["`...), nanoseconds, 10)
		dst = appendString(append(dst, `",`...), p.encoder.Append(nil, ev))
		return append(dst, ']'), nil
	}
	p.size = func(p part, ev *sink.Event) int {
		return stringSize(p, ev) + len(`["1234567890123456789",]`)
	}
}

// appendString appends a line as a JSON string. Its bytes are those of the line when the
// string is read: UTF-8 or not, none is replaced.
func appendString(dst, line []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, c := range line {
		switch {
		case c == '"', c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// stringSize is about the size of an event as a JSON string.
func stringSize(p part, ev *sink.Event) int {
	const own = 64 // quotes in the member trailseal and its values
	return p.encoder.Size(ev) + bytes.Count(ev.Record, []byte{'"'}) + bytes.Count(ev.Record, []byte{'\\'}) + own
}
