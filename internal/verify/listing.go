package verify

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// lookBack is how far before the asked range the listing begins: far enough to
// see that a chain existed, and how it ended. That of another trail in the same
// folder must not hide that one was deleted. A chain has 744 digests in that
// time, which is one page of a listing.
const lookBack = 31 * 24 * time.Hour

// lookAhead is how far beyond the asked range the listing goes: the digest
// after the last in the range repeats its signature.
const lookAhead = 2 * window

// scope is an account and region with all the places it has: a trail whose
// prefix was changed, or that became an organization's, goes on in another.
type scope struct {
	account, region string
	places          []discover.Place
}

func scopes(places []discover.Place) []scope {
	type name struct{ account, region string }
	var all []scope
	index := map[name]int{} // an organization has a hundred thousand
	for _, p := range places {
		n := name{p.Account, p.Region}
		i, ok := index[n]
		if !ok {
			i = len(all)
			index[n] = i
			all = append(all, scope{account: p.Account, region: p.Region})
		}
		all[i].places = append(all[i].places, p)
	}
	return all
}

// list finds the chains of a scope and the digests each has in and around the
// asked range. It returns false where a place could not be listed; its chains
// are then not walked, since a part of a listing proves nothing. Chains of
// trails that are not asked for are walked in silence, since log files in the
// same folders may be theirs.
func (r *run) list(ctx context.Context, s scope) (chains []*chain, ok bool) {
	stretches := map[trail.Chain][][]discover.Digest{} // by name alone, a stretch a place
	for _, p := range s.places {
		found, err := r.finder.Digests(ctx, r.Source.Bucket, p.Place, r.Start.Add(-lookBack), r.End.Add(lookAhead))
		if err == nil && len(found) == 0 && p.Digests {
			found, err = r.quiet.Last(ctx, p.Place, r.End)
		}
		if err != nil {
			folder := trail.Object{Bucket: r.Source.Bucket, Key: p.Folder(trail.DigestFolder)}
			r.doubt(ctx, subject(trail.Chain{Place: p.Place}, folder, r.Start), err)
			return nil, false
		}
		for name, items := range found {
			stretches[bare(name)] = append(stretches[bare(name)], items)
		}
		if len(found) == 0 && p.Digests && len(r.Trails) == 0 {
			r.absent(p.Account, p.Region, "the digest folder holds no digest")
		}
	}
	for name, s := range stretches {
		for _, items := range join(s) {
			c := newChain(r, items)
			c.silent = !wanted(r.Trails, name.Trail)
			if !c.silent || !r.NoUnlisted {
				chains = append(chains, c)
			}
		}
	}
	slices.SortFunc(chains, func(a, b *chain) int {
		return cmp.Or(strings.Compare(a.name.String(), b.name.String()), strings.Compare(a.name.Prefix, b.name.Prefix), strings.Compare(a.name.Organization, b.name.Organization))
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.chains = append(r.chains, chains...)
	return chains, true
}

// join puts together what a trail wrote in one place after another. Where the
// times overlap there are two trails of one name, an account's own and an
// organization's, or a copy of the same chain: each is a chain of its own.
func join(stretches [][]discover.Digest) (chains [][]discover.Digest) {
	first := func(s []discover.Digest) discover.Digest { return s[0] }
	last := func(s []discover.Digest) discover.Digest { return s[len(s)-1] }
	slices.SortFunc(stretches, func(a, b []discover.Digest) int {
		return cmp.Or(first(a).End.Compare(first(b).End), strings.Compare(first(a).String(), first(b).String()))
	})
	for _, s := range stretches {
		i := slices.IndexFunc(chains, func(c []discover.Digest) bool { return last(c).End.Before(first(s).End) })
		if i < 0 {
			chains = append(chains, s)
		} else {
			chains[i] = append(chains[i], s...)
		}
	}
	return chains
}

// bare returns a chain's name without the prefix and organization that its
// files happen to lie below: a trail is known by its name and home region.
func bare(c trail.Chain) trail.Chain {
	c.Prefix, c.Organization = "", ""
	return c
}

var errStay = errors.New("in another bucket, and not to be followed (--stay-in-source)")

func (r *run) mayFollow(bucket string) bool {
	return r.Source.IsCopy() || !r.StayInside || bucket == r.Source.Bucket
}

// stayed records an object that was left unread on request.
func (r *run) stayed(s finding.Subject) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unverified = append(r.unverified, finding.Unverified{Reason: finding.AccessDenied, Subject: s, Detail: errStay.Error()})
}

// expect reports the accounts and regions that are expected, or asked for by
// name, and have no digests. What could not be listed is not called absent.
func (r *run) expect(places []discover.Place) {
	has := func(account, region string) bool {
		return slices.ContainsFunc(places, func(p discover.Place) bool {
			return p.Digests && (account == "" || p.Account == account) && (region == "" || p.Region == region)
		}) || slices.ContainsFunc(r.unverified, func(u finding.Unverified) bool {
			return u.Account == account || u.Account == ""
		})
	}
	for _, a := range union(r.ExpectAccounts, r.Accounts) {
		if !has(a, "") {
			r.absent(a, "", "the account has no digests")
		}
	}
	for _, region := range r.Regions {
		if !has("", region) {
			r.absent("", region, "the region has no digests")
		}
	}
	accounts := r.ExpectAccounts
	if len(accounts) == 0 {
		for _, p := range places {
			accounts = union(accounts, []string{p.Account})
		}
	}
	for _, a := range accounts {
		for _, region := range r.ExpectRegions {
			if has(a, "") && !has(a, region) {
				r.absent(a, region, "the account has no digests for the expected region")
			}
		}
	}
}

// expectTrails reports the trails that were asked for by name and found
// nowhere.
func (r *run) expectTrails() {
	for _, name := range r.Trails {
		if !slices.ContainsFunc(r.chains, func(c *chain) bool { return !c.silent && c.name.Trail == name }) {
			r.absent("", "", "no digest chain of a trail named "+name)
		}
	}
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

func (r *run) absent(account, region, why string) {
	r.find(finding.Finding{
		Class: finding.Coverage, Detail: why,
		Subject:  finding.Subject{Account: account, Region: region, Bucket: r.Source.Bucket, Time: r.Start.UTC()},
		Evidence: finding.Evidence{From: r.Start.UTC(), To: r.End.UTC()},
	})
}

func (r *run) foreign(p trail.Place, o trail.Object, why string) {
	if strings.HasPrefix(o.Key, p.Folder(trail.DigestFolder)) && o.Key < p.Day(trail.DigestFolder, r.Start.AddDate(0, 0, -1)) {
		return // of a time that is only looked back to
	}
	r.find(finding.Finding{
		Class: finding.ForeignObject, Detail: why,
		Subject: finding.Subject{Account: p.Account, Region: p.Region, Bucket: o.Bucket, Key: o.Key, Time: o.Modified.UTC()},
	})
}

func wanted(only []string, s string) bool { return len(only) == 0 || slices.Contains(only, s) }
