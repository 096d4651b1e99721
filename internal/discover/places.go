package discover

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/trailseal/trailseal/pkg/trail"
)

// Place is an account and region that the source has folders of.
type Place struct {
	trail.Place
	Digests, Logs bool // which folders are there
}

// Bounds of the search for AWSLogs folders, so that a bucket that holds much
// else is not read for hours: prefixes have few levels.
const (
	maxPrefixDepth   = 5
	maxPrefixFolders = 5000
)

// Places finds the accounts and regions below the source, in the order of
// their keys. An error means that the source itself could not be looked into.
func (f *Finder) Places(ctx context.Context) ([]Place, error) {
	roots, err := f.roots(ctx)
	if err != nil {
		return nil, err
	}
	var accounts []trail.Place
	for _, root := range roots {
		found, err := f.accounts(ctx, root)
		if err != nil {
			return nil, err
		}
		accounts = append(accounts, found...)
	}
	var (
		mu     sync.Mutex
		places []Place
	)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, f.Concurrency))
	for _, a := range accounts {
		g.Go(func() error {
			found := f.regions(ctx, a)
			mu.Lock()
			defer mu.Unlock()
			places = append(places, found...)
			return ctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	slices.SortFunc(places, func(a, b Place) int {
		return strings.Compare(a.Folder(trail.LogFolder), b.Folder(trail.LogFolder))
	})
	return places, nil
}

// roots returns the prefixes, ending in AWSLogs/, that trails write below,
// level by level.
func (f *Finder) roots(ctx context.Context) ([]string, error) {
	if at, _, ok := cutAWSLogs(f.Source.Prefix); ok {
		return []string{at}, nil
	}
	var roots []string
	level, seen := []string{f.Source.Prefix}, 0
	for range maxPrefixDepth {
		var deeper []string
		for _, folder := range level {
			for child, err := range f.folders(ctx, folder) {
				if err != nil {
					return nil, err
				}
				if seen++; seen > maxPrefixFolders {
					return nil, fmt.Errorf("look into %s: more than %d folders and no end: name the trail's prefix", f.Source.Name, maxPrefixFolders)
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
func (f *Finder) accounts(ctx context.Context, root string) ([]trail.Place, error) {
	prefix := strings.TrimSuffix(strings.TrimSuffix(root, "AWSLogs/"), "/")
	var found []trail.Place
	for folder, err := range f.folders(ctx, root) {
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
		for member, err := range f.folders(ctx, folder) {
			if err != nil {
				f.Unlistable(trail.Place{}, f.object(folder), err)
				break
			}
			if trail.ValidAccount(base(member)) {
				found = append(found, trail.Place{Prefix: prefix, Organization: name, Account: base(member)})
			}
		}
	}
	return slices.DeleteFunc(found, func(p trail.Place) bool { return !f.keep(p) }), nil
}

// regions returns the regions for which an account has folders.
func (f *Finder) regions(ctx context.Context, account trail.Place) []Place {
	var digests, logs map[string]bool
	var both sync.WaitGroup // one after the other would be a latency more
	both.Go(func() { digests = f.regionsOf(ctx, account, trail.DigestFolder) })
	both.Go(func() { logs = f.regionsOf(ctx, account, trail.LogFolder) })
	both.Wait()
	all := maps.Clone(digests)
	maps.Copy(all, logs)
	var places []Place
	for region := range all {
		p := Place{Place: account, Digests: digests[region], Logs: logs[region]}
		p.Region = region
		if f.keep(p.Place) {
			places = append(places, p)
		}
	}
	return places
}

// regionsOf returns the regions that an account has folders of one kind of.
func (f *Finder) regionsOf(ctx context.Context, account trail.Place, kind string) map[string]bool {
	found := map[string]bool{}
	for sub, err := range f.folders(ctx, account.Regions(kind)) {
		if err != nil {
			f.Unlistable(account, f.object(account.Regions(kind)), err)
			break
		}
		region := base(sub)
		if !trail.ValidRegion(region) {
			f.Foreign(account, f.object(sub), "folder named like no region")
			continue
		}
		found[region] = true
	}
	return found
}

// keep reports whether a place is asked for: by Keep, and by a source prefix
// that reaches below AWSLogs.
func (f *Finder) keep(p trail.Place) bool {
	only := narrow(f.Source.Prefix)
	ok := func(want, got string) bool { return got == "" || want == "" || want == got }
	return ok(only.Organization, p.Organization) && ok(only.Account, p.Account) && ok(only.Region, p.Region) &&
		(only.Organization == "" || p.Organization != "") && f.Keep(p)
}

// narrow reads a source prefix that reaches below AWSLogs,
// [o-ID/]ACCOUNT/KIND/REGION/, as the organization, account and region to keep
// to.
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

// base returns the last name of a folder's key.
func base(folder string) string {
	folder = strings.TrimSuffix(folder, "/")
	return folder[strings.LastIndexByte(folder, '/')+1:]
}
