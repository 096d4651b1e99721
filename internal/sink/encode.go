package sink

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/trailseal/trailseal/pkg/trail"
)

// Format is how a sink writes an event.
type Format int

const (
	// Trailseal is the record with the member "trailseal" spliced in front: it
	// says where the record is from and what proves it.
	Trailseal Format = iota
	// Raw is the record alone.
	Raw
)

// Encoder encodes the events of one batch. Nothing of a record is re-encoded.
// Only its line feeds and carriage returns go, since an event is one line.
type Encoder struct {
	raw    bool
	before []byte // the member up to the record's number
	after  []byte // from there to the id
}

// Encoder returns an encoder of the events of b.
func (f Format) Encoder(b *Batch) Encoder {
	if f == Raw {
		return Encoder{raw: true}
	}
	text := make([]byte, 0, encoderSize+len(b.Log.Bucket)+len(b.Log.Key)+len(b.Proof.Digest.Bucket)+len(b.Proof.Digest.Key))
	text = appendObject(append(text, `{"trailseal":{"status":"verified","log":`...), b.Log)
	text = hex.AppendEncode(append(text, `,"sha256":"`...), b.Sum[:])
	text = append(text, `","record":`...)
	n := len(text)
	text = appendObject(append(text, `,"digest":`...), b.Proof.Digest)
	text = appendQuoted(append(text, `,"fingerprint":`...), b.Proof.Fingerprint)
	text = append(text, `,"id":`...)
	return Encoder{before: text[:n:n], after: text[n:]}
}

// encoderSize is room for what an encoder holds beside the names of the objects.
const encoderSize = 256

// Append appends one event to dst: one JSON object without a line feed.
func (e *Encoder) Append(dst []byte, ev *Event) []byte {
	if e.raw {
		return appendLine(dst, ev.Record)
	}
	dst = strconv.AppendInt(append(dst, e.before...), int64(ev.Index), 10)
	dst = appendQuoted(append(dst, e.after...), ev.ID)
	dst = append(dst, '}')
	if rest := bytes.TrimLeft(ev.Record[1:], " \t\r\n"); len(rest) > 0 && rest[0] != '}' {
		dst = append(dst, ',')
	}
	return appendLine(dst, ev.Record[1:])
}

// Size returns the size of an event and a line feed. Append can need less and,
// where an id needs escapes, more.
func (e *Encoder) Size(ev *Event) int {
	if e.raw {
		return len(ev.Record) + len("\n")
	}
	return len(e.before) + digits(ev.Index) + len(e.after) + len(ev.ID) + len(ev.Record) + len(`""}`) + len("\n")
}

// AppendLines appends the events of b to dst as NDJSON. It grows dst at most
// once.
func (f Format) AppendLines(dst []byte, b *Batch) []byte {
	e := f.Encoder(b)
	size := 0
	for i := range b.Events {
		size += e.Size(&b.Events[i])
	}
	dst = slices.Grow(dst, size)
	for i := range b.Events {
		dst = append(e.Append(dst, &b.Events[i]), '\n')
	}
	return dst
}

// Overhead returns the most that an event of b takes in memory beside its
// record: its Event, its id and what the largest format adds.
func (b *Batch) Overhead() int {
	e := Trailseal.Encoder(b)
	return eventSize + idSize + e.Size(&Event{}) + idSize
}

// eventSize is the size of an Event in memory.
const eventSize = 56

// appendLine appends b without its line feeds and carriage returns.
func appendLine(dst, b []byte) []byte {
	if bytes.IndexByte(b, '\n') < 0 && bytes.IndexByte(b, '\r') < 0 {
		return append(dst, b...)
	}
	for _, c := range b {
		if c != '\n' && c != '\r' {
			dst = append(dst, c)
		}
	}
	return dst
}

// appendObject appends the location of an object as a JSON string.
func appendObject(dst []byte, o trail.Object) []byte {
	if o.Bucket == "" || !isPlain(o.Bucket) || !isPlain(o.Key) {
		return appendQuoted(dst, o.String())
	}
	dst = append(append(dst, `"s3://`...), o.Bucket...) // as o.String, without an allocation
	return append(append(append(dst, '/'), o.Key...), '"')
}

// appendQuoted appends s as a JSON string.
func appendQuoted(dst []byte, s string) []byte {
	if !isPlain(s) {
		b, _ := json.Marshal(s) // a string always can be
		return append(dst, b...)
	}
	return append(append(append(dst, '"'), s...), '"')
}

// isPlain reports whether s needs no escapes in JSON. Names hardly ever do.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
