package trail

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
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

// Event holds the members of a record that say who did what, when and from
// where (AWS CloudTrail User Guide, "CloudTrail record contents"). A member
// of another type than documented is left empty.
type Event struct {
	ID        string    // eventID
	Time      time.Time // eventTime
	Source    string    // eventSource, such as cloudtrail.amazonaws.com
	Name      string    // eventName, such as StopLogging
	Actor     string    // userIdentity's arn, or the nearest to it that is there
	From      string    // sourceIPAddress: an address or an AWS service's name
	ErrorCode string    // errorCode: set when the call failed

	Request json.RawMessage // requestParameters
}

// ParseEvent reads the documented members of one record.
func ParseEvent(record []byte) (Event, error) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(record, &m); err != nil {
		return Event{}, fmt.Errorf("record: %v: %w", err, ErrRecords)
	}
	e := Event{
		ID: text(m["eventID"]), Source: text(m["eventSource"]), Name: text(m["eventName"]),
		From: text(m["sourceIPAddress"]), ErrorCode: text(m["errorCode"]), Request: m["requestParameters"],
	}
	e.Time, _ = time.Parse(time.RFC3339, text(m["eventTime"]))
	var identity map[string]json.RawMessage
	if json.Unmarshal(m["userIdentity"], &identity) == nil {
		for _, member := range []string{"arn", "principalId", "invokedBy", "accountId", "type"} {
			if e.Actor = text(identity[member]); e.Actor != "" {
				break
			}
		}
	}
	return e, nil
}

func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}
