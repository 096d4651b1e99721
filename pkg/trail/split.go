package trail

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// MaxRecord is the most bytes that a Splitter lets one record have. CloudTrail
// limits an event to 256 KB (AWS CloudTrail User Guide, "CloudTrail record
// contents").
const MaxRecord = 4 << 20

// Splitter cuts an inflated log file, {"Records":[...]}, into its records as
// its bytes arrive, at about the speed of memory: it looks at strings and
// brackets only. So it is for bytes that are proven: whatever the input, it
// ends in an error or hands out all of it, but a record of malformed input can
// be malformed. The zero Splitter with Record set is ready.
type Splitter struct {
	// Record is called with the bytes of each value of Records, in order,
	// without the white space around it. They are valid until it returns. Its
	// error ends the splitting and is returned by Write.
	Record func(record []byte) error

	state splitState
	where value  // of the value under way
	held  []byte // its bytes so far, or those of a token cut in two
	found bool   // Records was seen
	skip  bool   // the value under way is not a record
	err   error
}

// splitState is what comes next in the document.
type splitState uint8

const (
	wantObject   splitState = iota // {
	wantName                       // a name or }
	wantNextName                   // a name
	wantColon                      // :
	wantValue                      // the value of a member that is not Records
	wantList                       // [ of Records
	wantRecord                     // a record or ]
	wantNextRec                    // a record
	afterRecord                    // , or ]
	afterMember                    // , or }
	wantNothing                    // white space
	inName                         // within a name
	inValue                        // within a value or record
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

// step takes at least one byte of p.
func (s *Splitter) step(p []byte) (int, error) {
	if s.state == inName || s.state == inValue {
		return s.more(p)
	}
	c := p[0]
	if c == ' ' || c == '\t' || c == '\n' || c == '\r' {
		return 1, nil
	}
	switch {
	case s.state == wantObject && c == '{':
		s.state = wantName
	case s.state == wantName && c == '}', s.state == afterMember && c == '}':
		s.state = wantNothing
	case s.state == wantName && c == '"', s.state == wantNextName && c == '"':
		return s.begin(inName, p)
	case s.state == wantColon && c == ':':
		s.state = wantValue
		if s.found && !s.skip {
			s.state = wantList
		}
	case s.state == wantList && c == '[':
		s.state = wantRecord
	case s.state == wantRecord && c == ']', s.state == afterRecord && c == ']':
		s.state, s.skip = afterMember, true
	case s.state == afterRecord && c == ',':
		s.state = wantNextRec
	case s.state == afterMember && c == ',':
		s.state = wantNextName
	case s.state == wantValue, s.state == wantRecord, s.state == wantNextRec:
		return s.begin(inValue, p)
	default:
		return 0, fmt.Errorf("unexpected %q: %w", c, ErrRecords)
	}
	return 1, nil
}

// begin starts a name or a value at the beginning of p.
func (s *Splitter) begin(state splitState, p []byte) (int, error) {
	if state == inValue {
		s.skip = s.state == wantValue
	}
	s.state, s.held = state, s.held[:0]
	s.where = value{}
	end, err := s.where.scan(p)
	if err != nil {
		return 0, err
	}
	if end < 0 {
		s.held = append(s.held, p...)
		return len(p), s.checkLength(len(p))
	}
	return end, s.end(p[:end])
}

// more goes on within a name or value that began in an earlier Write.
func (s *Splitter) more(p []byte) (int, error) {
	before := len(s.held)
	s.held = append(s.held, p...)
	end, err := s.where.scan(s.held)
	if err != nil {
		return 0, err
	}
	if end < 0 {
		return len(p), s.checkLength(len(s.held))
	}
	return end - before, s.end(s.held[:end])
}

func (s *Splitter) checkLength(n int) error {
	if n > MaxRecord {
		return fmt.Errorf("a value of more than %d bytes: %w", MaxRecord, ErrRecords)
	}
	return nil
}

// end takes a whole name or value.
func (s *Splitter) end(token []byte) error {
	if s.state == inName {
		return s.name(token)
	}
	if err := s.checkLength(len(token)); err != nil {
		return err
	}
	if s.skip {
		s.state = afterMember
		return nil
	}
	s.state = afterRecord
	return s.Record(token)
}

func (s *Splitter) name(token []byte) error {
	s.state, s.skip = wantColon, true
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
	s.found, s.skip = true, false
	return nil
}

// value is how far the scan of one JSON value has come.
type value struct {
	pos    int // bytes scanned
	depth  int
	text   bool // within a string
	scalar bool // a number or word
}

// scan goes on in b, which begins with the value and holds at least the bytes
// that were scanned before, and returns the value's length, or -1 while it has
// not ended.
func (v *value) scan(b []byte) (int, error) {
	if v.pos == 0 {
		switch c := b[0]; {
		case c == '{' || c == '[':
			v.depth = 1
		case c == '"':
			v.text = true
		case c == '-' || isAlnum(c):
			v.scalar = true
		default:
			return 0, fmt.Errorf("unexpected %q: %w", c, ErrRecords)
		}
		v.pos = 1
	}
	if v.scalar {
		return v.scanScalar(b), nil
	}
	for {
		if v.text && !v.endString(b) {
			return -1, nil
		}
		if v.depth == 0 {
			return v.pos, nil
		}
		if !v.toString(b) {
			return -1, nil
		}
	}
}

// endString moves behind the string's closing quote.
func (v *value) endString(b []byte) bool {
	for {
		i := bytes.IndexByte(b[v.pos:], '"')
		if i < 0 {
			v.pos = len(b)
			return false
		}
		quote := v.pos + i
		v.pos = quote + 1
		escapes := 0
		for quote-escapes > 0 && b[quote-escapes-1] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			v.text = false
			return true
		}
	}
}

// toString moves behind the next string's opening quote, or behind the bracket
// that ends the value: then depth is 0.
func (v *value) toString(b []byte) bool {
	for i := v.pos; i < len(b); i++ {
		switch b[i] {
		case '"':
			v.pos, v.text = i+1, true
			return true
		case '{', '[':
			v.depth++
		case '}', ']':
			if v.depth--; v.depth == 0 {
				v.pos = i + 1
				return true
			}
		}
	}
	v.pos = len(b)
	return false
}

func (v *value) scanScalar(b []byte) int {
	for ; v.pos < len(b); v.pos++ {
		if c := b[v.pos]; !isAlnum(c) && c != '.' && c != '-' && c != '+' {
			return v.pos
		}
	}
	return -1
}
