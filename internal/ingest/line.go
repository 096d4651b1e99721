package ingest

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

// liner makes the lines of one proven log file: each record's own bytes with
// the member "trailseal" spliced in front. Nothing of the record is
// re-encoded; only line feeds between its tokens go, since a record is one
// line.
type liner struct {
	raw    bool   // leave the member out
	id     string // of the log: the record's number makes it the event's
	before []byte // the member up to the record's number
	after  []byte // from there to the id
	n      int    // records so far
}

// newLiner returns a liner for a log that a digest lists.
func newLiner(raw bool, log trail.Object, l digest.Log, signed trail.Object, fingerprint string) *liner {
	sum := sha256.Sum256([]byte(l.Bucket + "/" + l.Object))
	return &liner{
		raw: raw, id: hex.EncodeToString(sum[:12]),
		before: []byte(`{"trailseal":{"status":"verified","log":` + quoted(log.String()) + `,"sha256":"` + l.Hash.String() + `","record":`),
		after:  []byte(`,"digest":` + quoted(signed.String()) + `,"fingerprint":` + quoted(fingerprint) + `,"id":"`),
	}
}

var errNoObject = errors.New("record is no JSON object")

// line appends a record's line to dst and returns it with the event's id,
// which is the same in every repeat. A record that is no object has none.
func (l *liner) line(dst, record []byte) (line []byte, id string, err error) {
	n := l.n
	l.n++
	if len(record) < 2 || record[0] != '{' {
		return dst, "", errNoObject
	}
	id = l.id + "-" + strconv.Itoa(n)
	if l.raw {
		return appendLine(dst, record), id, nil
	}
	dst = append(dst, l.before...)
	dst = strconv.AppendInt(dst, int64(n), 10)
	dst = append(append(append(dst, l.after...), id...), `"}`...)
	if rest := bytes.TrimLeft(record[1:], " \t\r\n"); len(rest) > 0 && rest[0] != '}' {
		dst = append(dst, ',')
	}
	return appendLine(dst, record[1:]), id, nil
}

// appendLine appends b without its line feeds: in JSON they stand between
// tokens only.
func appendLine(dst, b []byte) []byte {
	for {
		i := bytes.IndexAny(b, "\n\r")
		if i < 0 {
			return append(dst, b...)
		}
		dst, b = append(dst, b[:i]...), b[i+1:]
	}
}

func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return `""` // no string fails to marshal
	}
	return string(b)
}
