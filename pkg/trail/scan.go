package trail

import "bytes"

// value is how far the scan of one JSON value has come.
type value struct {
	pos     int // bytes scanned
	depth   int
	text    bool // within a string
	scalar  bool // a number or word
	begun   bool
	escaped bool // the next byte does not count: a backslash that was forgotten is before it
}

// scan goes on in b, which begins with the value and holds at least the bytes
// that were scanned before. It returns the value's length, or -1 while the value
// has not ended. After forget b begins with the bytes that follow the forgotten
// ones.
func (v *value) scan(b []byte) (int, error) {
	if !v.begun {
		switch c := b[0]; {
		case c == '{' || c == '[':
			v.depth = 1
		case c == '"':
			v.text = true
		case c == '-' || isAlnum(c):
			v.scalar = true
		default:
			return 0, unexpected(c)
		}
		v.pos, v.begun = 1, true
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
		if !escapes(b[:quote]) {
			v.text = false
			return true
		}
	}
}

// escapes reports whether b ends in a backslash that escapes the next byte.
func escapes(b []byte) bool {
	n := 0
	for n < len(b) && b[len(b)-n-1] == '\\' {
		n++
	}
	return n%2 == 1
}

// forget lets go of b, all of which was scanned, before the value has ended.
func (v *value) forget(b []byte) { v.pos, v.escaped = 0, v.text && escapes(b) }

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
