package trail

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// ErrOddRecord is wrapped by the errors of CheckRecord: the record is not to be
// emitted as an event.
var ErrOddRecord = errors.New("not one event")

// ownMember is the name of the member that trailseal's programs add to an event.
// Readers see that member first and many of them let the last one win.
const ownMember = "trailseal"

// CheckRecord reports whether a record, as Splitter and Records give it, is one
// event. It returns nil, or an error that wraps ErrOddRecord and says what is
// odd. An odd record of a proven log file is signed as it is, so it is no sign
// of tampering.
//
// A record is one event when all readers of JSON find the same object in it, and
// when a member trailseal can be added to that object:
//
//   - It is one JSON object (RFC 8259) and nothing else, without white space
//     around it, and at most 512 levels deep.
//   - It has no raw control character (below U+0020) in a string. RFC 8259
//     forbids these, and lenient readers keep or drop them. Line feeds, carriage
//     returns and tabs between tokens are white space.
//   - It has no member trailseal at its top level, in any spelling that a reader
//     can take for that name: with escapes, in another case, with dashes or
//     underscores. encoding/json and SQL engines such as Athena ignore case, and
//     encoding/json/v2 can ignore dashes and underscores. Such a reader would
//     find the record's own member in place of the proof that trailseal adds.
//     Objects within the record may have a member trailseal.
//
// Everything else is accepted, because the bytes are signed and stay as they
// are: bytes that are not UTF-8, escapes of half a surrogate pair, a name that
// is there twice, numbers of any size.
//
// CheckRecord does not allocate for an event. A Splitter with Odd set makes the
// same check while it looks for a record's end, which costs next to nothing.
func CheckRecord(record []byte) error {
	if n := objectEnd(record); n > 0 && n == len(record) {
		return nil
	}
	if !json.Valid(record) {
		return fmt.Errorf("%w: %w", syntaxError(record), ErrOddRecord)
	}
	if record[0] != '{' || record[len(record)-1] != '}' {
		if object := blank(record); object[0] != '{' {
			return fmt.Errorf("not a JSON object: %w", ErrOddRecord)
		}
		return fmt.Errorf("white space around the object: %w", ErrOddRecord)
	}
	if tooDeep(record) {
		return fmt.Errorf("deeper than %d levels: %w", maxDepth, ErrOddRecord)
	}
	for _, m := range membersOf(record, usualMembers) {
		if isOwnMember(m.name) {
			return fmt.Errorf("a member %q of its own: %w", m.name, ErrOddRecord)
		}
	}
	return nil
}

// isOwnMember reports whether a reader can take a name for trailseal.
func isOwnMember(name []byte) bool {
	for _, ignored := range []byte("-_") {
		if bytes.IndexByte(name, ignored) >= 0 {
			name = bytes.ReplaceAll(name, []byte{ignored}, nil)
		}
	}
	return bytes.EqualFold(name, []byte(ownMember))
}

// mayBeOwnMember reports whether a name, as it is written between its quotes, is
// or may be one that isOwnMember accepts. The first byte rules out most names,
// because only t and T are equal to t in any case.
func mayBeOwnMember(written []byte) bool {
	switch written[0] {
	case '\\':
		return true
	case 't', 'T', '-', '_':
		return bytes.IndexByte(written, '\\') >= 0 || isOwnMember(written)
	}
	return false
}

// tooDeep reports whether valid JSON has more than maxDepth levels.
func tooDeep(b []byte) bool {
	v, depth := value{}, 0
	for v.pos = 0; v.pos < len(b); v.pos++ {
		switch b[v.pos] {
		case '"':
			v.pos++
			v.endString(b)
			v.pos-- // the closing quote
		case '{', '[':
			if depth++; depth > maxDepth {
				return true
			}
		case '}', ']':
			depth--
		}
	}
	return false
}

// syntaxError says why b is not valid JSON, and where.
func syntaxError(b []byte) error {
	var v json.RawMessage
	err := json.Unmarshal(b, &v)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("%w, after %d bytes", err, syntax.Offset)
	}
	return err
}
