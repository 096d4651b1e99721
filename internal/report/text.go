package report

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/trailseal/trailseal/pkg/finding"
)

// Text writes the report for people: the chains, what is wrong with the
// evidence for it, what could not be checked, and the verdict as the last line.
func (r *Report) Text(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "%s  from %s to %s\n\n", Quote(r.Source), stamp(r.Requested.Start), stamp(r.Requested.End))
	r.chains(b)
	r.findings(b)
	r.unverified(b)
	for _, s := range r.Skipped {
		fmt.Fprintf(b, "not checked, as asked: %s\n", s)
	}
	fmt.Fprintln(b, r.Conclusion())
	return b.Flush()
}

func (r *Report) chains(b io.Writer) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ACCOUNT\tREGION\tTRAIL\tDIGESTS\tLOGS\tVERIFIED UNTIL\tHOURS")
	for _, c := range r.Chains {
		name := c.Trail
		if c.Backfill {
			name += " (backfill)"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.Account, c.Region, name, c.Digests.ratio(), c.Logs.ratio(), c.verifiedUntil(), c.hours())
	}
	t.Flush()
	fmt.Fprintln(b)
}

func (c Count) ratio() string {
	if c.Listed() == 0 {
		return "-"
	}
	return fmt.Sprintf("%d/%d", c.Valid, c.Listed())
}

func (c Chain) verifiedUntil() string {
	for i := len(c.Covered) - 1; i >= 0; i-- {
		if c.Covered[i].State == Verified {
			return stamp(c.Covered[i].End)
		}
	}
	return "-"
}

// hours sums a chain's time up by state, the verified first.
func (c Chain) hours() string {
	var sums []string
	for _, state := range []State{Verified, Gap, Missing, Invalid, Unverified, NotDue} {
		var d time.Duration
		for _, s := range c.Covered {
			if s.State == state {
				d += s.End.Sub(s.Start)
			}
		}
		if d > 0 {
			sums = append(sums, span(d)+" "+string(state))
		}
	}
	if len(sums) == 0 {
		return "-"
	}
	return strings.Join(sums, ", ")
}

// span writes a duration without its zero parts: 8h, 51m49s.
func span(d time.Duration) string {
	s := d.Round(time.Second).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func (r *Report) findings(b io.Writer) {
	if len(r.Findings) == 0 {
		return
	}
	fmt.Fprintf(b, "FINDINGS (%d)\n", len(r.Findings))
	for _, f := range r.Findings {
		fmt.Fprintf(b, "%s  %s\n    %s\n", f.Class, subjectText(f.Subject), Quote(f.Detail))
		for _, line := range evidence(f.Evidence) {
			fmt.Fprintf(b, "    %s\n", line)
		}
	}
	fmt.Fprintln(b)
}

// evidence returns the evidence as aligned lines. The string to sign and the
// signature are left to the JSON form.
func evidence(e finding.Evidence) []string {
	var lines []string
	add := func(name, value string) {
		if value != "" {
			lines = append(lines, fmt.Sprintf("%-12s %s", name, Quote(value)))
		}
	}
	add("signed hash", e.Want)
	add("hash found", e.Got)
	add("fingerprint", e.Fingerprint)
	add("digest", e.Digest)
	if !e.From.IsZero() {
		add("time", stamp(e.From)+" to "+stamp(e.To))
	}
	if v := e.Event; v != nil {
		add("event", v.Name+" "+v.ID+" by "+v.Actor+" from "+v.From)
		add("in", v.Log)
	}
	return lines
}

func (r *Report) unverified(b io.Writer) {
	if len(r.Unverified) == 0 {
		return
	}
	fmt.Fprintf(b, "UNVERIFIED (%d)\n", len(r.Unverified))
	for _, u := range r.Unverified {
		fmt.Fprintf(b, "%s  %s\n    %s\n", u.Reason, subjectText(u.Subject), Quote(u.Detail))
	}
	fmt.Fprintln(b)
}

// Conclusion returns the verdict as one line.
func (r *Report) Conclusion() string {
	c := r.Counts
	sum := fmt.Sprintf("%d/%d digests and %d/%d log files valid in %s, %s", c.Digests.Valid, c.Digests.Listed(),
		c.Logs.Valid, c.Logs.Listed(), count(c.Chains, "chain"), bytesText(c.InflatedBytes))
	switch r.Verdict {
	case Intact:
		return "INTACT: " + sum
	case Incomplete:
		return fmt.Sprintf("INCOMPLETE: nothing wrong was found, %s could not be checked: %s", count(c.Unverified, "object"), sum)
	}
	if c.Unverified > 0 {
		return fmt.Sprintf("FINDINGS: %d, and %d unverified: %s", c.Findings, c.Unverified, sum)
	}
	return fmt.Sprintf("FINDINGS: %d: %s", c.Findings, sum)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func bytesText(n int64) string {
	const unit = 1000
	switch {
	case n < unit*unit:
		return fmt.Sprintf("%.1f kB read", float64(n)/unit)
	case n < unit*unit*unit:
		return fmt.Sprintf("%.1f MB read", float64(n)/unit/unit)
	}
	return fmt.Sprintf("%.1f GB read", float64(n)/unit/unit/unit)
}

// subjectText names the object, or else the chain and hour.
func subjectText(s finding.Subject) string {
	if s.Key != "" {
		if s.Bucket == "" {
			return Quote(s.Key)
		}
		return Quote("s3://" + s.Bucket + "/" + s.Key)
	}
	return Quote(strings.Join(strings.Fields(s.Account+" "+s.Region+" "+s.Trail), " "))
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// Quote returns s with everything that could move a terminal's cursor, hide
// text or turn its direction written as an escape.
func Quote(s string) string {
	clean := true
	for _, r := range s {
		clean = clean && strconv.IsPrint(r) && r != utf8.RuneError
	}
	if clean {
		return s
	}
	q := strconv.Quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}
