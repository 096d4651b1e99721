package report

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/trailseal/trailseal/pkg/finding"
)

// Text writes the report for people: the chains, what is wrong with the
// evidence for it, what could not be checked, what else is worth knowing, and the
// verdict as the last line.
func (r *Report) Text(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "%s  from %s to %s\n", Quote(r.Source), stamp(r.Requested.Start), stamp(r.Requested.End))
	if r.OriginalBucket != "" {
		fmt.Fprintf(b, "original bucket: %s (signed locations name this bucket)\n", Quote(r.OriginalBucket))
	}
	fmt.Fprintln(b)
	r.chains(b)
	r.findings(b)
	r.unverified(b)
	r.notes(b)
	chainEnds(b, "BEGAN", "the oldest digest of the chain is a proven starting digest", r.Began)
	chainEnds(b, "ENDED", "the end of the chain is acknowledged", r.Ended)
	r.remarks(b)
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
		fmt.Fprintf(
			t,
			"%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			Quote(c.Account),
			Quote(c.Region),
			Quote(name),
			c.Digests.ratio(),
			c.Logs.ratio(),
			c.verifiedUntil(),
			c.hours(),
		)
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

// hours sums a chain's time up by state. Each state that occurs is named, the
// verified time first.
func (c Chain) hours() string {
	total := map[State]time.Duration{}
	for _, s := range c.Covered {
		total[s.State] += s.End.Sub(s.Start)
	}
	states := []State{Verified, Gap, Missing, Invalid, Uncovered, Unverified, NotBegun, Ended, NotDue}
	for _, s := range slices.Sorted(maps.Keys(total)) { // a report of a later version may have other states
		if !slices.Contains(states, s) {
			states = append(states, s)
		}
	}
	var sums []string
	for _, s := range states {
		if total[s] > 0 {
			sums = append(sums, span(total[s])+" "+Quote(string(s)))
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

// Conclusion returns the verdict as one line. The caller has called Conclude.
func (r *Report) Conclusion() string {
	c := r.Counts
	sum := fmt.Sprintf("%d/%d digests and %d/%d log files valid in %s, %s", c.Digests.Valid, c.Digests.Listed(),
		c.Logs.Valid, c.Logs.Listed(), count(c.Chains, "chain"), bytesText(c.InflatedBytes))
	var unchecked []string
	if c.UnverifiedObjects > 0 {
		unchecked = append(unchecked, count(c.UnverifiedObjects, "object")+" could not be checked")
	}
	if c.UnverifiedFolders > 0 {
		unchecked = append(unchecked, count(c.UnverifiedFolders, "folder")+" could not be searched")
	}
	switch {
	case r.Verdict == Intact:
		return "INTACT: " + sum
	case r.Verdict == Incomplete:
		return fmt.Sprintf("INCOMPLETE: nothing wrong was found, %s: %s", strings.Join(unchecked, " and "), sum)
	case c.Unverified > 0:
		return fmt.Sprintf("FINDINGS: %s, and %s unverified: %s", number(c.Findings), number(c.Unverified), sum)
	}
	return fmt.Sprintf("FINDINGS: %s: %s", number(c.Findings), sum)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return number(n) + " " + what + "s"
}

// number writes n with commas: 3,512.
func number(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
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

// subjectText names the object, or else the chain.
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
