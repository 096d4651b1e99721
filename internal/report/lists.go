package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/trailseal/trailseal/pkg/finding"
)

// maxChains is how many of a finding's chains the text names. The JSON form
// names all of them.
const maxChains = 10

func (r *Report) findings(b io.Writer) {
	omitted := r.omittedOf(func(o Omitted) bool { return o.Class != "" })
	if !heading(b, "FINDINGS", len(r.Findings), omitted) {
		return
	}
	for _, f := range r.Findings {
		fmt.Fprintf(b, "%s  %s\n    %s\n", Quote(string(f.Class)), subjectText(f.Subject), Quote(f.Detail))
		for _, line := range evidence(f.Evidence) {
			fmt.Fprintf(b, "    %s\n", line)
		}
	}
	rest(b, omitted)
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
		if v.Possible {
			add("possibly", "about another trail of this name: the owner of the trail is not known")
		}
	}
	for i, c := range e.Chains {
		if i == maxChains {
			add("", fmt.Sprintf("and %s", count(len(e.Chains)-i, "more chain")))
			break
		}
		add("chain", c)
	}
	return lines
}

func (r *Report) unverified(b io.Writer) {
	omitted := r.omittedOf(func(o Omitted) bool { return o.Reason != "" })
	if !heading(b, "UNVERIFIED", len(r.Unverified), omitted) {
		return
	}
	for _, u := range r.Unverified {
		fmt.Fprintf(b, "%s  %s", Quote(string(u.Reason)), subjectText(u.Subject))
		if u.Objects > 1 {
			fmt.Fprintf(b, "  (%s)", count(u.Objects, "object"))
		}
		fmt.Fprintf(b, "\n    %s\n", Quote(u.Detail))
	}
	rest(b, omitted)
}

func (r *Report) notes(b io.Writer) {
	omitted := r.omittedOf(func(o Omitted) bool { return o.Kind != "" })
	if !heading(b, "NOTES", len(r.Notes), omitted) {
		return
	}
	for _, n := range r.Notes {
		fmt.Fprintf(b, "%s  %s\n    %s\n", Quote(n.Kind), subjectText(n.Subject), Quote(n.Detail))
		for _, d := range n.Digests {
			fmt.Fprintf(b, "    digest       %s\n", Quote(d))
		}
	}
	rest(b, omitted)
}

func (r *Report) omittedOf(is func(Omitted) bool) []Omitted {
	var all []Omitted
	for _, o := range r.Omitted {
		if is(o) {
			all = append(all, o)
		}
	}
	return all
}

// heading begins a list. It reports whether there is something to list.
func heading(b io.Writer, title string, listed int, omitted []Omitted) bool {
	total := listed
	for _, o := range omitted {
		total += o.Count
	}
	switch {
	case total == 0:
		return false
	case total == listed:
		fmt.Fprintf(b, "%s (%s)\n", title, number(total))
	default:
		fmt.Fprintf(b, "%s (%s, %s listed)\n", title, number(total), number(listed))
	}
	return true
}

// rest ends a list with what it leaves out.
func rest(b io.Writer, omitted []Omitted) {
	for _, o := range omitted {
		where := "in other places"
		switch {
		case o.Folder != "":
			where = "below " + o.Folder
		case o.Account != "" || o.Region != "":
			where = "of " + strings.TrimSpace(o.Account+" "+o.Region)
		}
		fmt.Fprintf(
			b,
			"and %s more %s %s\n",
			number(o.Count),
			Quote(string(o.Class)+string(o.Reason)+o.Kind),
			Quote(where),
		)
	}
	fmt.Fprintln(b)
}

func chainEnds(b io.Writer, title, meaning string, ends []ChainEnd) {
	if len(ends) == 0 {
		return
	}
	fmt.Fprintf(b, "%s (%s): %s\n", title, number(len(ends)), meaning)
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, e := range ends {
		trail := e.Trail
		if e.HomeRegion != e.Region {
			trail += " (" + e.HomeRegion + ")"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", Quote(e.Account), Quote(e.Region), Quote(trail), stamp(e.At))
	}
	t.Flush()
	fmt.Fprintln(b)
}

// remarks writes what has no list of its own, a line each.
func (r *Report) remarks(b io.Writer) {
	if n := r.Counts.UnprovenDigests; n.Listed() > 0 {
		what := "1 digest name does"
		if n.Listed() > 1 {
			what = number(n.Listed()) + " digest names do"
		}
		fmt.Fprintf(
			b,
			"%s not belong to a proven chain: %s invalid, %s unverified\n",
			what,
			number(n.Invalid),
			number(n.Unverified),
		)
	}
	if n := r.Counts.Litter; n > 0 {
		fmt.Fprintf(b, "skipped: %s that a desktop leaves behind, such as .DS_Store\n", count(n, "file"))
	}
	for _, s := range r.NotCovered {
		fmt.Fprintf(b, "not covered by any digest: %s\n", Quote(s))
	}
	for _, s := range r.Skipped {
		fmt.Fprintf(b, "not checked, as asked: %s\n", Quote(s))
	}
	if a := r.AskAgain; a != nil {
		from, to := stamp(a.Start), stamp(a.End)
		fmt.Fprintf(b, "not everything is judged yet; ask again later with --start-time %s --end-time %s\n", from, to)
	}
}
