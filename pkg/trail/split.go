package trail

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// MaxRecord is the most bytes that a record may have. CloudTrail limits an
// event to 256 KB (AWS CloudTrail User Guide, "CloudTrail record contents").
const MaxRecord = 4 << 20

// ErrRecordTooLarge says that a record has more than MaxRecord bytes. The
// records behind it are not affected.
var ErrRecordTooLarge = fmt.Errorf("larger than %d bytes", MaxRecord)

// Splitter cuts an inflated log file into its records as its bytes arrive, at
// about 1 GB/s. A log file is an object with a list Records, or a list of
// records. Records may also be null, which is an empty list.
//
// A Splitter is for bytes that are proven. It refuses a file whose structure is
// broken. Of a malformed record it looks at strings and brackets only: as long
// as these are balanced, the records around it are not affected. It holds at
// most one record, of at most MaxRecord bytes.
//
// Each record of the file is in exactly one call of Record, Odd or TooLarge, in
// the order of the file. The error of a call ends the splitting and is returned
// by Write.
//
// The zero Splitter with Record set is ready.
type Splitter struct {
	// Record is called with the bytes of a record, without the white space
	// around it. They are valid until it returns.
	Record func(record []byte) error
	// Odd is called instead of Record for a record that CheckRecord refuses,
	// with CheckRecord's error. Without Odd such a record goes to Record.
	Odd func(record []byte, why error) error
	// TooLarge is called instead of Record for a record of more than MaxRecord
	// bytes, with its size. Without TooLarge such a record ends the splitting
	// with an error that wraps ErrRecordTooLarge and ErrRecords.
	TooLarge func(size int64) error

	strict bool // names, records and other values must be valid JSON
	state  splitState
	where  value  // how far the value under way is scanned
	held   []byte // its bytes so far where it began in an earlier Write, at most MaxRecord+1
	passed int64  // its bytes so far where it has too many to be held
	found  bool   // the list of records was seen
	bare   bool   // that list is the document
	count  int    // records that Record, Odd and TooLarge were called for
	err    error
}

// splitState is what comes next in the document.
type splitState uint8

const (
	wantDocument   splitState = iota // { or the [ of a bare list
	wantName                         // a name or }
	wantNextName                     // a name
	wantColon                        // : of a member that is not Records
	wantListColon                    // : of Records
	wantValue                        // the value of a member that is not Records
	wantList                         // [ or null
	wantRecord                       // a record or ]
	wantNextRecord                   // a record
	afterRecord                      // , or ]
	afterMember                      // , or }
	wantNothing                      // white space
	inMark                           // within a byte order mark
	inName                           // within a name
	inValue                          // within the value of a member that is not Records
	inNull                           // within the null of Records
	inRecord                         // within a record
)

// Write takes the next bytes of the document.
func (s *Splitter) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	for rest := p; len(rest) > 0; {
		n, err := s.step(rest)
		if err != nil {
			s.err = err
			return len(p) - len(rest), err
		}
		rest = rest[n:]
	}
	return len(p), nil
}

// Close reports whether the document has ended where it should. Errors wrap
// ErrRecords.
func (s *Splitter) Close() error {
	switch {
	case s.err != nil:
		return s.err
	case s.state != wantNothing:
		return fmt.Errorf("cut off: %w", ErrRecords)
	case !s.found:
		return fmt.Errorf("no Records: %w", ErrRecords)
	}
	return nil
}

// Count returns how many records were split: how often Record, Odd and TooLarge
// were called, a call under way included. Within a call, Count()-1 is the
// record's index in the file.
func (s *Splitter) Count() int { return s.count }

// step takes at least one byte of p.
func (s *Splitter) step(p []byte) (int, error) {
	if s.state >= inMark {
		return s.more(p)
	}
	c := p[0]
	if c == ' ' || c == '\t' || c == '\n' || c == '\r' {
		return 1, nil
	}
	switch {
	case s.state == afterRecord && c == ',':
		s.state = wantNextRecord
	case s.state == wantRecord && c == ']', s.state == afterRecord && c == ']':
		s.state = afterMember
		if s.bare {
			s.state = wantNothing
		}
	case s.state == wantRecord, s.state == wantNextRecord:
		// Most records are whole, and as they should be: one pass says both.
		if n := objectEnd(p[:min(len(p), MaxRecord)]); n > 0 {
			return n, s.record(p[:n:n])
		}
		return s.begin(inRecord, p)
	case s.state == wantDocument && c == '{':
		s.state = wantName
	case s.state == wantDocument && c == '[':
		s.state, s.found, s.bare = wantRecord, true, true
	case s.state == wantDocument && c == byteOrderMark[0]:
		return s.begin(inMark, p)
	case s.state == wantName && c == '}', s.state == afterMember && c == '}':
		s.state = wantNothing
	case s.state == wantName && c == '"', s.state == wantNextName && c == '"':
		return s.begin(inName, p)
	case s.state == wantColon && c == ':':
		s.state = wantValue
	case s.state == wantListColon && c == ':':
		s.state = wantList
	case s.state == wantList && c == '[':
		s.state = wantRecord
	case s.state == wantList && c == 'n':
		return s.begin(inNull, p)
	case s.state == afterMember && c == ',':
		s.state = wantNextName
	case s.state == wantValue:
		return s.begin(inValue, p)
	default:
		return 0, unexpected(c)
	}
	return 1, nil
}

func unexpected(c byte) error { return fmt.Errorf("unexpected %q: %w", c, ErrRecords) }

// begin starts a name or a value at the beginning of p.
func (s *Splitter) begin(state splitState, p []byte) (int, error) {
	s.state, s.held, s.passed, s.where = state, s.held[:0], 0, value{}
	return s.more(p)
}

// more goes on within a name or value.
func (s *Splitter) more(p []byte) (int, error) {
	if s.state == inMark {
		return s.mark(p[0])
	}
	if s.passed > 0 {
		return s.pass(p)
	}
	before, b := len(s.held), p
	if before > 0 {
		s.held = append(s.held, p[:min(len(p), MaxRecord+1-before)]...)
		b = s.held
	}
	end, err := s.where.scan(b)
	switch {
	case err != nil:
		return 0, err
	case end >= 0:
		return end - before, s.end(b[:end:end])
	case len(b) > MaxRecord:
		s.passed = int64(len(b))
		s.where.forget(b)
		return len(b) - before, s.mayPass()
	case before == 0:
		s.held = append(s.held, p...)
	}
	return len(b) - before, nil
}

// pass goes on within a value that is too large to be held.
func (s *Splitter) pass(p []byte) (int, error) {
	if s.where.escaped {
		s.where.escaped = false
		s.passed++
		return 1, nil
	}
	end, err := s.where.scan(p)
	switch {
	case err != nil:
		return 0, err
	case end < 0:
		s.passed += int64(len(p))
		s.where.forget(p)
		return len(p), nil
	}
	return end, s.endLarge(s.passed + int64(end))
}

// mayPass refuses what is too large and matters.
func (s *Splitter) mayPass() error {
	if s.state == inName || s.state == inNull {
		return fmt.Errorf("a name of more than %d bytes: %w", MaxRecord, ErrRecords)
	}
	return nil
}

// end takes a whole name or value.
func (s *Splitter) end(token []byte) error {
	if len(token) > MaxRecord {
		if err := s.mayPass(); err != nil {
			return err
		}
		return s.endLarge(int64(len(token)))
	}
	if s.strict && !json.Valid(token) {
		var skip json.RawMessage
		return fmt.Errorf("%v: %w", json.Unmarshal(token, &skip), ErrRecords)
	}
	switch s.state {
	case inName:
		return s.name(token)
	case inNull:
		if string(token) != "null" {
			return fmt.Errorf("Records is not a list: %w", ErrRecords)
		}
		s.state = afterMember
		return nil
	case inValue:
		s.state = afterMember
		return nil
	}
	if s.Odd != nil {
		if err := CheckRecord(token); err != nil {
			s.state = afterRecord
			s.count++
			return s.Odd(token, err)
		}
	}
	return s.record(token)
}

// record calls Record.
func (s *Splitter) record(record []byte) error {
	s.state = afterRecord
	s.count++
	return s.Record(record)
}

// endLarge takes a whole value that is too large to be looked at.
func (s *Splitter) endLarge(size int64) error {
	if s.state == inValue {
		s.state = afterMember
		return nil
	}
	s.state = afterRecord
	if s.TooLarge == nil {
		return fmt.Errorf("a record of %d bytes: %w: %w", size, ErrRecordTooLarge, ErrRecords)
	}
	s.count++
	return s.TooLarge(size)
}

const byteOrderMark = "\xef\xbb\xbf" // of UTF-8

// mark takes the next byte of what may be a byte order mark. JSON has none (RFC
// 8259, section 8.1).
func (s *Splitter) mark(c byte) (int, error) {
	s.held = append(s.held, c)
	switch {
	case string(s.held) == byteOrderMark:
		return 0, fmt.Errorf("unexpected byte order mark: %w", ErrRecords)
	case !strings.HasPrefix(byteOrderMark, string(s.held)):
		return 0, unexpected(s.held[0])
	}
	return 1, nil
}

func (s *Splitter) name(token []byte) error {
	s.state = wantColon
	name := token[1 : len(token)-1]
	if bytes.IndexByte(name, '\\') >= 0 {
		var text string
		if json.Unmarshal(token, &text) != nil {
			return fmt.Errorf("bad name: %w", ErrRecords)
		}
		name = []byte(text)
	}
	if string(name) != "Records" {
		return nil
	}
	if s.found {
		return fmt.Errorf("Records twice: %w", ErrRecords)
	}
	s.state, s.found = wantListColon, true
	return nil
}
