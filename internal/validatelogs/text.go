package validatelogs

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	noDigests      = "No digests found\n"
	noValidDigests = "No valid digests found in range\n"
)

// text writes outcomes as the reference does: valid files on stdout where that
// was asked for, all else on stderr, the summary on stdout. Blank lines depend
// on what was written before, whatever the stream.
type text struct {
	out, err io.Writer
	request  Request
	result   Result

	afterValid bool      // the last status was the line of a valid file
	from, to   time.Time // earliest start and latest end of the valid digests, within the request
	failed     error     // the first failed write; nothing is written after it
}

func (t *text) begin() {
	t.print(t.out, "Validating log files for trail %s between %s and %s\n\n", printable(t.request.ARN), stamp(t.request.Start), stamp(t.request.End))
}

func (t *text) write(o Outcome) {
	prefix := ""
	if o.Backfill && o.Kind != LogFile {
		prefix = "(backfill) "
	}
	if o.Kind == Gap {
		t.problem("%sNo log files were delivered by CloudTrail between %s and %s", prefix, stamp(o.From), stamp(o.To))
		return
	}
	name, tally := "Digest file", &t.result.Digests
	switch {
	case o.Kind == LogFile:
		name, tally = "Log file", &t.result.Logs
	case o.Backfill:
		tally = &t.result.Backfill
	}
	subject := fmt.Sprintf("%s%s\ts3://%s/%s\t", prefix, name, printable(o.Object.Bucket), printable(o.Object.Key))
	switch o.Verdict {
	case Valid:
		tally.Valid++
		if o.Kind == DigestFile {
			t.cover(o.From, o.To)
		}
		t.valid(subject)
	case Invalid:
		tally.Invalid++
		t.problem("%sINVALID: %s", subject, printable(o.Fault))
	case Unverified:
		tally.Unverified++
		if t.result.Unread == nil {
			t.result.Unread = o.Unread
		}
		t.problem("%sUNVERIFIED: %s", subject, o.reason())
	}
}

func (t *text) valid(subject string) {
	if t.request.Verbose {
		t.afterValid = true
		t.print(t.out, "%svalid\n", subject)
	}
}

func (t *text) problem(format string, args ...any) {
	if t.afterValid {
		format = "\n" + format
	}
	t.afterValid = false
	t.print(t.err, format+"\n\n", args...)
}

// cover widens the range of results by a valid digest's window.
func (t *text) cover(start, end time.Time) {
	if start.Before(t.request.Start) {
		start = t.request.Start
	}
	if end.After(t.request.End) {
		end = t.request.End
	}
	if t.from.IsZero() || start.Before(t.from) {
		t.from = start
	}
	if t.to.IsZero() || end.After(t.to) {
		t.to = end
	}
}

func (t *text) summary() {
	if t.afterValid {
		t.print(t.out, "\n")
	}
	t.print(t.out, "Results requested for %s to %s\n", stamp(t.request.Start), stamp(t.request.End))
	digests, backfill, logs := t.result.Digests, t.result.Backfill, t.result.Logs
	if digests.total()+backfill.total() == 0 {
		t.print(t.out, noDigests)
		return
	}
	if digests.Valid+backfill.Valid == 0 {
		t.print(t.out, noValidDigests)
	} else {
		t.print(t.out, "Results found for %s to %s:\n", stamp(t.from), stamp(t.to))
	}
	t.ratio(digests, "digest")
	t.ratio(backfill, "backfill digest")
	t.ratio(logs, "log")
	t.print(t.out, "\n")
}

// ratio begins with the line feed that ends the line before, as the reference
// does: so the first ratio has a blank line before it and the last none after.
func (t *text) ratio(n Tally, name string) {
	total := n.total()
	if total == 0 {
		return
	}
	t.print(t.out, "\n%d/%d %s files valid", n.Valid, total, name)
	if n.Invalid > 0 {
		t.print(t.out, ", %d/%d %s files INVALID", n.Invalid, total, name)
	}
	if n.Unverified > 0 {
		t.print(t.out, ", %d/%d %s files UNVERIFIED", n.Unverified, total, name)
	}
}

func (t *text) print(w io.Writer, format string, args ...any) {
	if t.failed == nil {
		_, t.failed = fmt.Fprintf(w, format, args...)
	}
}

func stamp(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05Z") }

// printable quotes what would move a terminal's cursor or change its state: an
// attacker chooses the text of a planted digest. All other text is left as it
// is, so that ordinary keys stay what the reference prints.
func printable(s string) string {
	if !strings.ContainsFunc(s, steers) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsControl(r) && r < utf8.RuneSelf:
			fmt.Fprintf(&b, `\x%02x`, r)
		case unicode.IsControl(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// steers reports whether a terminal may act on r. A byte that is no UTF-8 is
// decoded as RuneError; some terminals take it for a control character.
func steers(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError }
