// Package provenance makes the lines that leave the worker: the event's own bytes,
// and in front of them the member "trailseal" that says which proven log file
// they are from. It re-encodes nothing of an event and proves nothing itself.
package provenance

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Log makes the lines of one proven log file: each record's own bytes with
// the member "trailseal" spliced in front. Nothing of the record is
// re-encoded; only line feeds between its tokens go, since a record is one
// line. One that is reset keeps its buffers.
type Log struct {
	raw    bool   // leave the member out
	id     []byte // of the log: the record's number makes it the event's
	before []byte // the member up to the record's number
	after  []byte // from there to the id
	n      int    // records so far
}

// Reset begins a log that the digest at signed, of the key with the
// fingerprint, lists. raw leaves the member out.
func (l *Log) Reset(raw bool, log digest.Log, signed trail.Object, fingerprint string) {
	l.raw, l.n = raw, 0
	name := append(append(append(l.before[:0], log.Bucket...), '/'), log.Object...)
	sum := sha256.Sum256(name)
	l.id = hex.AppendEncode(l.id[:0], sum[:12])
	l.before = append(name[:0], `{"trailseal":{"status":"verified","log":`...)
	l.before = appendQuoted(l.before, log.Location().String())
	l.before = hex.AppendEncode(append(l.before, `,"sha256":"`...), log.Hash[:])
	l.before = append(l.before, `","record":`...)
	l.after = appendQuoted(append(l.after[:0], `,"digest":`...), signed.String())
	l.after = appendQuoted(append(l.after, `,"fingerprint":`...), fingerprint)
	l.after = append(l.after, `,"id":"`...)
}

// ErrNoObject: a record that is no JSON object has no line.
var ErrNoObject = errors.New("record is no JSON object")

// Line appends a record's line to dst and the event's id to ids. The id is the
// same in every repeat. A record that is no object has neither.
func (l *Log) Line(dst, ids, record []byte) (line, id []byte, err error) {
	n := l.n
	l.n++
	if len(record) < 2 || record[0] != '{' {
		return dst, ids, ErrNoObject
	}
	start := len(ids)
	ids = append(ids, l.id...)
	ids = strconv.AppendInt(append(ids, '-'), int64(n), 10)
	if l.raw {
		return appendLine(dst, record), ids, nil
	}
	dst = append(dst, l.before...)
	dst = strconv.AppendInt(dst, int64(n), 10)
	dst = append(append(append(dst, l.after...), ids[start:]...), `"}`...)
	if rest := bytes.TrimLeft(record[1:], " \t\r\n"); len(rest) > 0 && rest[0] != '}' {
		dst = append(dst, ',')
	}
	return appendLine(dst, record[1:]), ids, nil
}

// appendLine appends b without its line feeds: in JSON they stand between
// tokens only.
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

// appendQuoted appends s as a JSON string. Hardly any name needs an escape.
func appendQuoted(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			b, _ := json.Marshal(s) // no string fails to marshal
			return append(dst, b...)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}

// Skip counts a record that gets no line.
func (l *Log) Skip() { l.n++ }

// Records returns how many records had their turn.
func (l *Log) Records() int { return l.n }
