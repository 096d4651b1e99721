package trail

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ErrRecords is wrapped by the errors of Records and Splitter that say what is
// wrong with a file.
var ErrRecords = errors.New("not a log file")

// Records yields the records of an inflated log file as their own bytes, one at
// a time, in bounded memory whatever the file's size. The file is
// {"Records":[...]}, {"Records":null}, or a list of records. A yielded slice is
// valid until the next one.
//
// A record of more than MaxRecord bytes is yielded as nil with an error that
// wraps ErrRecordTooLarge. Its JSON is not checked, and the sequence goes on: the
// n-th pair that is yielded stands for the n-th record of the file.
//
// At any other error the sequence ends. The error wraps ErrRecords or is the
// reader's own. Only a sequence that ends without one has read r to its end and
// found valid JSON, nothing after it and no second Records, of which other
// readers would take the last.
func Records(r io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		n := 0
		next := func(record []byte, err error) error {
			n++
			if !yield(record, err) {
				return errStop
			}
			return nil
		}
		s := Splitter{
			strict: true,
			Record: func(record []byte) error { return next(record, nil) },
			TooLarge: func(size int64) error {
				return next(nil, fmt.Errorf("record %d (%d bytes): %w", n, size, ErrRecordTooLarge))
			},
		}
		if err := s.read(r); err != nil && !errors.Is(err, errStop) {
			yield(nil, err)
		}
	}
}

// errStop ends the splitting when its consumer wants no more.
var errStop = errors.New("stop")

// read splits what r has. The reader's own errors say nothing about the file,
// so they go before what the Splitter says of the bytes.
func (s *Splitter) read(r io.Reader) error {
	const tries = 100 // as many as bufio.Reader has
	buf := make([]byte, 32<<10)
	for empty := 0; empty < tries; {
		n, err := r.Read(buf)
		_, bad := s.Write(buf[:n])
		switch {
		case err == io.EOF, errors.Is(bad, errStop):
			return s.Close()
		case err != nil:
			return err
		case bad != nil:
			return bad
		case n > 0:
			empty = 0
		default:
			empty++
		}
	}
	return io.ErrNoProgress
}

// members are those of one JSON object, in its order.
type members []member

type member struct {
	name  []byte          // without quotes and escapes
	value json.RawMessage // as it is written
}

// membersOf cuts an object of valid JSON into its members, without looking
// into them. What is no object has none.
func membersOf(object []byte, room int) members {
	if len(object) == 0 || object[0] != '{' {
		return nil
	}
	all := make(members, 0, room)
	for rest := blank(object[1:]); len(rest) > 0 && rest[0] != '}'; {
		var m member
		var quoted []byte
		quoted, rest = cutValue(rest)
		if m.name = quoted[1 : len(quoted)-1]; bytes.IndexByte(m.name, '\\') >= 0 {
			m.name = []byte(text(quoted))
		}
		m.value, rest = cutValue(blank(blank(rest)[1:])) // behind the colon
		all = append(all, m)
		if rest = blank(rest); rest[0] == ',' {
			rest = blank(rest[1:])
		}
	}
	return all
}

// listOf cuts a list of valid JSON into its values. What is no list has none.
func listOf(list []byte) (values []json.RawMessage) {
	if len(list) == 0 || list[0] != '[' {
		return nil
	}
	for rest := blank(list[1:]); rest[0] != ']'; {
		var v []byte
		v, rest = cutValue(rest)
		values = append(values, v)
		if rest = blank(rest); rest[0] == ',' {
			rest = blank(rest[1:])
		}
	}
	return values
}

// cutValue returns the value that b begins with, and what follows it: valid
// JSON always has something behind a value within another.
func cutValue(b []byte) (v, rest []byte) {
	var at value
	end, _ := at.scan(b)
	return b[:end:end], b[end:]
}

// blank returns b without the white space it begins with.
func blank(b []byte) []byte { return bytes.TrimLeft(b, " \t\r\n") }

// get returns the value of a member, nil where there is none. Of a name that
// is there twice it is the last, as for nearly all readers.
func (m members) get(name string) json.RawMessage {
	for _, one := range slices.Backward(m) {
		if string(one.name) == name {
			return one.value
		}
	}
	return nil
}

// text returns the first value among the named members that is a string and not
// empty.
func (m members) text(names ...string) string {
	for _, name := range names {
		if s := text(m.get(name)); s != "" {
			return s
		}
	}
	return ""
}

func (m members) object(name string) members { return membersOf(m.get(name), 8) }

// truth reports whether a member is true, as a boolean or as text in any case:
// CloudTrail writes both.
func (m members) truth(name string) bool {
	v := m.get(name)
	return string(v) == "true" || strings.EqualFold(text(v), "true")
}

// number returns a number, written as such or as text, and 0 for anything else.
func (m members) number(name string) float64 {
	v := []byte(m.get(name))
	if s := text(v); s != "" {
		v = []byte(s)
	}
	if len(v) == 0 || number(v, 0) != len(v) {
		return 0
	}
	f, err := strconv.ParseFloat(string(v), 64)
	if err != nil {
		return 0
	}
	return f
}

// text returns a string's value, "" for what is no string.
func text(raw []byte) string {
	if len(raw) < 2 || raw[0] != '"' {
		return ""
	}
	if s := raw[1 : len(raw)-1]; bytes.IndexByte(s, '\\') < 0 && utf8.Valid(s) {
		return string(s)
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}
