package verify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/pkg/finding"
)

// expect reports the accounts, regions and trails that are expected, or asked for
// by name, and do not have a proven digest. What was not listed or not read is not
// called absent.
func (r *run) expect(found discover.Found) {
	for _, a := range union(r.cfg.Accounts, r.cfg.ExpectAccounts) {
		if !r.has(a, "", "") {
			r.absent(finding.Subject{Account: a}, unmatched("account", a, r.cfg.Accounts, found.Accounts))
		}
	}
	for _, region := range r.cfg.Regions {
		if !r.has("", region, "") {
			r.absent(finding.Subject{Region: region}, unmatched("region", region, r.cfg.Regions, found.Regions))
		}
	}
	accounts := r.cfg.ExpectAccounts
	if len(accounts) == 0 {
		for _, p := range found.Places {
			accounts = union(accounts, []string{p.Account})
		}
	}
	for _, region := range r.cfg.ExpectRegions {
		if len(accounts) == 0 {
			r.absent(finding.Subject{Region: region}, "no account has digests for the expected region")
		}
		for _, a := range accounts {
			if r.has(a, "", "") && !r.has(a, region, "") {
				r.absent(
					finding.Subject{Account: a, Region: region},
					"the account does not have digests for the expected region",
				)
			}
		}
	}
	for _, name := range union(r.cfg.Trails, r.cfg.ExpectTrails) {
		if !r.has("", "", name) {
			r.absent(finding.Subject{Trail: name}, unmatched("trail", name, r.cfg.Trails, r.trails()))
		}
	}
}

// unmatched says that no proven chain has a name that was asked for or is
// expected.
func unmatched(what, name string, asked, found []string) string {
	flag := "--" + what
	if !slices.Contains(asked, name) {
		flag = "--expect-" + what
	}
	if slices.Contains(found, name) {
		return fmt.Sprintf("no digest of the %s %s is proven", what, name)
	}
	return fmt.Sprintf("no chain matches %s %s; %ss found: %s", flag, name, what, listOf(found))
}

// has reports whether a chain of the account, region and trail is proven, or may
// be there and was not read. An empty name stands for any.
func (r *run) has(account, region, trail string) bool {
	matches := func(c *strands) bool {
		return (account == "" || c.name.Account == account) && (region == "" || c.name.Region == region) &&
			(trail == "" || c.name.Trail == trail)
	}
	return slices.ContainsFunc(r.chains, func(c *strands) bool { return matches(c) && !r.beginsAfter(c) }) ||
		slices.ContainsFunc(r.unproven, func(c *strands) bool { return matches(c) && c.digests.Unverified > 0 }) ||
		r.unsearched.Load()
}

// beginsAfter reports whether a chain began after the range.
func (r *run) beginsAfter(c *strands) bool {
	return !c.began.IsZero() && !c.began.Add(-window).Before(r.cfg.End)
}

// trails returns the names of the trails whose chains are proven.
func (r *run) trails() (names []string) {
	for _, c := range r.chains {
		names = append(names, c.name.Trail)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// listOf names at most twenty.
func listOf(names []string) string {
	const most = 20
	switch {
	case len(names) == 0:
		return "none"
	case len(names) > most:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

func union(a, b []string) []string {
	u := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(u, s) {
			u = append(u, s)
		}
	}
	return u
}

// absent reports that an account, a region or a trail does not have proven digests.
func (r *run) absent(s finding.Subject, why string) {
	s.Bucket, s.Time = r.cfg.Source.Signed(), r.cfg.Start.UTC()
	r.find(finding.Finding{
		Class: finding.Coverage, Detail: why, Subject: s,
		Evidence: finding.Evidence{From: r.cfg.Start.UTC(), To: r.cfg.End.UTC()},
	})
}

func isWanted(only []string, s string) bool { return len(only) == 0 || slices.Contains(only, s) }
