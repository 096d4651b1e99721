package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/trailseal/trailseal/internal/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// place is an account and region that the source has folders of.
type place struct {
	trail.Place
	digests, logs bool // which folders are there
}

// scope is an account and region with all the places it has: a trail whose
// prefix was changed, or that became an organization's, goes on in another.
type scope struct {
	account, region string
	places          []place
}

func scopes(places []place) []scope {
	var all []scope
	for _, p := range places {
		i := slices.IndexFunc(all, func(s scope) bool { return s.account == p.Account && s.region == p.Region })
		if i < 0 {
			i = len(all)
			all = append(all, scope{account: p.Account, region: p.Region})
		}
		all[i].places = append(all[i].places, p)
	}
	return all
}

// Bounds of the search for AWSLogs folders, so that a bucket that holds much
// else is not read for hours: prefixes have few levels.
const (
	maxPrefixDepth   = 5
	maxPrefixFolders = 5000
)

// discover finds the accounts and regions below the source.
func (r *run) discover(ctx context.Context) ([]place, error) {
	roots, err := r.roots(ctx)
	if err != nil {
		return nil, err
	}
	var accounts []trail.Place
	for _, root := range roots {
		found, err := r.accounts(ctx, root)
		if err != nil {
			return nil, err
		}
		accounts = append(accounts, found...)
	}
	var (
		mu     sync.Mutex
		places []place
	)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(4, r.Concurrency/2))
	for _, a := range accounts {
		g.Go(func() error {
			found := r.regions(ctx, a)
			mu.Lock()
			defer mu.Unlock()
			places = append(places, found...)
			return ctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if len(places) == 0 && len(r.unverified) == 0 {
		return nil, fmt.Errorf("look into %s: %w", r.Source.Name, ErrNothing)
	}
	slices.SortFunc(places, func(a, b place) int {
		return strings.Compare(a.Folder(trail.LogFolder), b.Folder(trail.LogFolder))
	})
	return places, nil
}

// roots returns the prefixes, ending in AWSLogs/, that trails write below,
// level by level.
func (r *run) roots(ctx context.Context) ([]string, error) {
	if at, _, ok := cutAWSLogs(r.Source.Prefix); ok {
		return []string{at}, nil
	}
	var roots []string
	level, seen := []string{r.Source.Prefix}, 0
	for range maxPrefixDepth {
		var deeper []string
		for _, folder := range level {
			for child, err := range r.objects.Folders(ctx, r.Source.Bucket, folder) {
				if err != nil {
					return nil, err
				}
				if seen++; seen > maxPrefixFolders {
					return nil, fmt.Errorf("look into %s: more than %d folders and no end: name the trail's prefix", r.Source.Name, maxPrefixFolders)
				}
				if child == folder+"AWSLogs/" {
					roots = append(roots, child)
				} else {
					deeper = append(deeper, child)
				}
			}
		}
		level = deeper
	}
	return roots, nil
}

// cutAWSLogs splits a source prefix that reaches into an AWSLogs folder.
func cutAWSLogs(prefix string) (root, rest string, ok bool) {
	tail := trail.Tail(prefix)
	if tail == "" {
		return "", "", false
	}
	return strings.TrimSuffix(prefix, tail) + "AWSLogs/", strings.TrimPrefix(tail, "AWSLogs/"), true
}

// accounts returns the account folders of a root, those of organization trails
// among them.
func (r *run) accounts(ctx context.Context, root string) ([]trail.Place, error) {
	prefix := strings.TrimSuffix(strings.TrimSuffix(root, "AWSLogs/"), "/")
	var found []trail.Place
	for folder, err := range r.objects.Folders(ctx, r.Source.Bucket, root) {
		if err != nil {
			return nil, err // with the root unread, hardly anything would be left
		}
		name := base(folder)
		if trail.ValidAccount(name) {
			found = append(found, trail.Place{Prefix: prefix, Account: name})
		}
		if !trail.ValidOrganization(name) {
			continue
		}
		for member, err := range r.objects.Folders(ctx, r.Source.Bucket, folder) {
			if err != nil {
				r.unlistable(ctx, trail.Place{}, folder, err)
				break
			}
			if trail.ValidAccount(base(member)) {
				found = append(found, trail.Place{Prefix: prefix, Organization: name, Account: base(member)})
			}
		}
	}
	return slices.DeleteFunc(found, func(p trail.Place) bool { return !r.keep(p) }), nil
}

// regions returns the regions for which an account has folders.
func (r *run) regions(ctx context.Context, account trail.Place) []place {
	found := map[string]*place{}
	for _, kind := range []string{trail.DigestFolder, trail.LogFolder} {
		for sub, err := range r.objects.Folders(ctx, r.Source.Bucket, account.Regions(kind)) {
			if err != nil {
				r.unlistable(ctx, account, account.Regions(kind), err)
				break
			}
			region := base(sub)
			if !trail.ValidRegion(region) {
				r.foreign(account, trail.Object{Bucket: r.Source.Bucket, Key: sub}, "folder named like no region")
				continue
			}
			p := found[region]
			if p == nil {
				p = &place{Place: account}
				p.Region = region
				found[region] = p
			}
			if kind == trail.DigestFolder {
				p.digests = true
			} else {
				p.logs = true
			}
		}
	}
	var places []place
	for _, p := range found {
		if r.keep(p.Place) {
			places = append(places, *p)
		}
	}
	return places
}

// unlistable records a folder that could not be listed: what lies below it is
// not known, the rest goes on.
func (r *run) unlistable(ctx context.Context, p trail.Place, folder string, err error) {
	o := trail.Object{Bucket: r.Source.Bucket, Key: folder}
	r.doubt(ctx, subject(trail.Chain{Place: p}, o, r.Start), err)
}

// narrow reads a source prefix that reaches below AWSLogs, [o-ID/]ACCOUNT/KIND/REGION/,
// as the organization, account and region to keep to.
func narrow(prefix string) (only trail.Place) {
	_, rest, _ := cutAWSLogs(prefix)
	parts := strings.Split(rest, "/")
	if trail.ValidOrganization(parts[0]) {
		only.Organization, parts = parts[0], parts[1:]
	}
	if len(parts) > 0 {
		only.Account = parts[0]
	}
	if len(parts) > 2 {
		only.Region = parts[2]
	}
	return only
}

// keep reports whether a place, whose Region may not be known yet, is asked for.
func (r *run) keep(p trail.Place) bool {
	only := narrow(r.Source.Prefix)
	ok := func(want, got string, chosen []string) bool {
		return got == "" || (want == "" || want == got) && wanted(chosen, got)
	}
	return ok(only.Organization, p.Organization, nil) && ok(only.Account, p.Account, r.Accounts) && ok(only.Region, p.Region, r.Regions) &&
		(only.Organization == "" || p.Organization != "")
}

// expect reports the accounts and regions that are expected, or asked for by
// name, and have no digests. What could not be listed is not called absent.
func (r *run) expect(places []place) {
	has := func(account, region string) bool {
		return slices.ContainsFunc(places, func(p place) bool {
			return p.digests && (account == "" || p.Account == account) && (region == "" || p.Region == region)
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
		if !slices.ContainsFunc(r.chains, func(c *chain) bool { return c.name.Trail == name }) {
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
	r.find(finding.Finding{
		Class: finding.ForeignObject, Detail: why,
		Subject: finding.Subject{Account: p.Account, Region: p.Region, Bucket: o.Bucket, Key: o.Key, Time: o.Modified.UTC()},
	})
}

func wanted(only []string, s string) bool { return len(only) == 0 || slices.Contains(only, s) }

// base returns the last name of a folder's key.
func base(folder string) string {
	folder = strings.TrimSuffix(folder, "/")
	return folder[strings.LastIndexByte(folder, '/')+1:]
}
