// Package ended reads and writes the file of acknowledged ends: digest chains
// that have stopped for a reason that the user knows, such as a deleted trail or
// a closed account.
//
// The file is text. Each line acknowledges the end of one chain, or with "*" of
// several, by six fields that are separated by blanks:
//
//	ACCOUNT REGION TRAIL HOMEREGION ORGANIZATION LASTEND
//
//	# the account was closed
//	111122223333 us-east-1 main us-east-1 -            2026-03-01T12:08:11Z
//	# the organization trail moved to another bucket in this hour, in all accounts
//	*            *         org  us-east-1 o-0123456789 2026-02-01T00:00:00Z
//
// The first five fields name the chain. "*" stands for any value, and "-" for a
// trail of one account, which has no organization. LASTEND is the end of the
// chain's last digest, in RFC 3339 without fractions of a second. A chain that
// ends within the hour from LASTEND is acknowledged. An earlier or a later end
// is not. What follows "#" is a comment.
//
// The lines with the fewest "*" that match a chain count for it, and of these
// the one with the latest LASTEND. A backfill chain has no hours, so no line
// matches it.
package ended

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/trailseal/trailseal/pkg/trail"
)

// tolerance is how much later than acknowledged a chain may end. A digest covers
// an hour.
const tolerance = time.Hour

// Fields with a meaning of their own.
const (
	anyValue = "*"
	none     = "-" // the organization of a trail of one account
)

// Entry is one line: chains and the end of their last digest. "*" in one of the
// first five fields stands for any value. An empty Organization is that of a
// trail of one account.
type Entry struct {
	Account      string
	Region       string
	Trail        string
	HomeRegion   string
	Organization string
	Last         time.Time
}

// EntryOf returns the line that acknowledges that a chain's last digest ends at
// last.
func EntryOf(c trail.Chain, last time.Time) Entry {
	return Entry{
		Account: c.Account, Region: c.Region, Trail: c.Trail, HomeRegion: c.HomeRegion, Organization: c.Organization,
		Last: last.UTC().Truncate(time.Second),
	}
}

// List is what a file of acknowledged ends says.
type List []Entry

// Parse reads a file. The list is sorted and has each line once. Errors name the
// line.
func Parse(r io.Reader) (List, error) {
	var l List
	lines := bufio.NewScanner(r)
	n := 1
	for ; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		if n == 1 {
			text = strings.TrimPrefix(text, "\ufeff") // of an editor
		}
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		e, err := parse(fields)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		l = append(l, e)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("line %d: %w", n, err)
	}
	return l.sorted(), nil
}

func parse(fields []string) (Entry, error) {
	if len(fields) != 6 {
		return Entry{}, fmt.Errorf(
			"has %d fields: must be ACCOUNT REGION TRAIL HOMEREGION ORGANIZATION LASTEND",
			len(fields),
		)
	}
	last, err := time.Parse(time.RFC3339, fields[5])
	if err != nil {
		return Entry{}, fmt.Errorf("last end %q: must be a time such as 2026-03-01T12:08:11Z", fields[5])
	}
	e := Entry{
		Account: fields[0], Region: fields[1], Trail: fields[2], HomeRegion: fields[3], Organization: fields[4],
		Last: last.UTC(),
	}
	if e.Organization == none {
		e.Organization = ""
	}
	return e, e.check()
}

// check returns what is wrong with an entry.
func (e Entry) check() error {
	for _, f := range []struct {
		name, value string
		valid       func(string) bool
		must        string
	}{
		{"account", e.Account, trail.ValidAccount, "12 digits or *"},
		{"region", e.Region, trail.ValidRegion, "a region such as us-east-1, or *"},
		{"trail", e.Trail, trail.ValidName, "the name of a trail, or *"},
		{"home region", e.HomeRegion, trail.ValidRegion, "a region such as us-east-1, or *"},
		{"organization", e.organization(), validOrganization, "an organization such as o-0123456789, - or *"},
	} {
		if f.value != anyValue && !f.valid(f.value) {
			return fmt.Errorf("%s %q: must be %s", f.name, f.value, f.must)
		}
	}
	if e.Last.Nanosecond() != 0 {
		return fmt.Errorf("last end %s: must not have fractions of a second", e.Last.Format(time.RFC3339Nano))
	}
	if y := e.Last.UTC().Year(); y < 2000 || y > 9999 {
		return errors.New("last end: must be a time from the year 2000 to 9999")
	}
	return nil
}

func validOrganization(s string) bool { return s == none || trail.ValidOrganization(s) }

func (e Entry) organization() string {
	if e.Organization == "" {
		return none
	}
	return e.Organization
}

const header = `# Acknowledged ends of digest chains: verifier verify --ended FILE
#
# Each line names chains and the end of their last digest:
#   ACCOUNT REGION TRAIL HOMEREGION ORGANIZATION LASTEND
# "*" in one of the first five fields stands for any value, and "-" for no organization.
# An end within the hour from LASTEND is acknowledged. An earlier or a later end is a finding.
# The lines with the fewest "*" that match a chain count for it, and of these the latest.
# Keep only the lines whose end you can explain.

`

// Write writes the list as a file that Parse reads: sorted, each line once,
// below a comment that explains the format. Equal lists give equal files.
func (l List) Write(w io.Writer) error {
	b := bufio.NewWriter(w)
	b.WriteString(header)
	t := tabwriter.NewWriter(b, 0, 0, 1, ' ', 0)
	for _, e := range l.sorted() {
		if err := e.check(); err != nil {
			return fmt.Errorf("write acknowledged ends: %w", err)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", e.Account, e.Region, e.Trail, e.HomeRegion, e.organization(),
			e.Last.UTC().Format(time.RFC3339))
	}
	if err := errors.Join(t.Flush(), b.Flush()); err != nil {
		return fmt.Errorf("write acknowledged ends: %w", err)
	}
	return nil
}

func (l List) sorted() List {
	l = slices.Clone(l)
	slices.SortFunc(l, func(a, b Entry) int {
		return cmp.Or(
			cmp.Compare(a.Organization, b.Organization),
			cmp.Compare(a.Account, b.Account),
			cmp.Compare(a.Region, b.Region),
			cmp.Compare(a.Trail, b.Trail),
			cmp.Compare(a.HomeRegion, b.HomeRegion),
			a.Last.Compare(b.Last),
		)
	})
	return slices.CompactFunc(l, func(a, b Entry) bool {
		same := a.Last.Equal(b.Last)
		a.Last = b.Last
		return same && a == b
	})
}

// Find returns the acknowledged end of a chain, and false where no line matches
// the chain.
func (l List) Find(c trail.Chain) (last time.Time, ok bool) {
	fewest := 0
	for _, e := range l {
		stars, matches := e.match(c)
		if !matches {
			continue
		}
		if !ok || stars < fewest || stars == fewest && e.Last.After(last) {
			last, fewest, ok = e.Last, stars, true
		}
	}
	return last, ok
}

// match reports whether the entry is about a chain, and how many of its fields
// stand for any value.
func (e Entry) match(c trail.Chain) (stars int, ok bool) {
	for _, f := range [][2]string{
		{e.Account, c.Account}, {e.Region, c.Region}, {e.Trail, c.Trail}, {e.HomeRegion, c.HomeRegion},
		{e.Organization, c.Organization},
	} {
		switch f[0] {
		case anyValue:
			stars++
		case f[1]:
		default:
			return 0, false
		}
	}
	return stars, !c.Backfill
}
