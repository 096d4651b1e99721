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
	"unicode/utf8"
)

// ErrRecords is wrapped by the errors of Records.
var ErrRecords = errors.New("not a log file")

// Records yields the records of an inflated log file, {"Records":[...]}, as
// their own bytes, one at a time, whatever the file's size. A yielded slice is
// valid until the next one. The sequence ends at the first error, which wraps
// ErrRecords or is the reader's own. Only a sequence that ended without one has
// read r to its end and found nothing after the object and no second Records,
// of which other readers would take the last.
func Records(r io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		src := &source{r: r}
		d := json.NewDecoder(src)
		if err := enterRecords(d); err != nil {
			yield(nil, src.explain(err))
			return
		}
		var raw json.RawMessage
		for d.More() {
			raw = raw[:0]
			if err := d.Decode(&raw); err != nil {
				yield(nil, src.explain(err))
				return
			}
			if !yield(raw, nil) {
				return
			}
		}
		if err := leaveRecords(d); err != nil {
			yield(nil, src.explain(err))
		}
	}
}

// enterRecords reads up to and including the bracket that opens Records.
func enterRecords(d *json.Decoder) error {
	if err := expectDelim(d, '{'); err != nil {
		return err
	}
	found, err := nextRecords(d)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("no Records: %w", ErrRecords)
	}
	return expectDelim(d, '[')
}

// leaveRecords reads from the bracket that closes Records to the end.
func leaveRecords(d *json.Decoder) error {
	if err := expectDelim(d, ']'); err != nil {
		return err
	}
	switch found, err := nextRecords(d); {
	case err != nil:
		return err
	case found:
		return fmt.Errorf("two Records: %w", ErrRecords)
	}
	if err := expectDelim(d, '}'); err != nil {
		return err
	}
	switch t, err := d.Token(); err {
	case io.EOF:
		return nil
	case nil:
		return fmt.Errorf("%v after the end: %w", t, ErrRecords)
	default:
		return err
	}
}

// nextRecords passes over members up to the name Records, and reports whether
// the object had one.
func nextRecords(d *json.Decoder) (bool, error) {
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return false, err
		}
		if name == "Records" {
			return true, nil
		}
		var skip json.RawMessage
		if err := d.Decode(&skip); err != nil {
			return false, err
		}
	}
	return false, nil
}

func expectDelim(d *json.Decoder, want json.Delim) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	if t != want {
		return fmt.Errorf("%v where %v should be: %w", t, want, ErrRecords)
	}
	return nil
}

// source remembers why reading stopped: a decoder's own io.ErrUnexpectedEOF
// says something about the file, the network's says nothing about it.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

func (s *source) explain(err error) error {
	switch {
	case s.err != nil:
		return s.err
	case errors.Is(err, ErrRecords):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("cut off: %w", ErrRecords)
	}
	return fmt.Errorf("%v: %w", err, ErrRecords)
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

func (m members) text(name string) string { return text(m.get(name)) }

func (m members) object(name string) members { return membersOf(m.get(name), 8) }

// truth reports whether a member is true, as a boolean or as text: CloudTrail
// writes both.
func (m members) truth(name string) bool {
	v := string(m.get(name))
	return v == "true" || v == `"true"`
}

// number returns 0 for what is none.
func (m members) number(name string) float64 {
	f, err := strconv.ParseFloat(string(m.get(name)), 64)
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
