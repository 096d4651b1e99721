package report

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// JSON writes the report in its documented form, docs/formats.md. Reports are
// looked at on terminals, too, so what is not printable is escaped.
func (r *Report) JSON(w io.Writer) error {
	b, err := json.Marshal(r, jsontext.WithIndent("  "), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if _, err = w.Write(append(escape(b), '\n')); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// escape writes the unprintable characters of a JSON text, which stand nowhere
// but in strings, as \u escapes. Those below a space are escaped already.
func escape(b []byte) []byte {
	i := bytes.IndexFunc(b, unprintable)
	if i < 0 {
		return b
	}
	out := slices.Clone(b[:i])
	for _, r := range string(b[i:]) {
		switch {
		case !unprintable(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

func unprintable(r rune) bool { return r != '\n' && !strconv.IsPrint(r) }
