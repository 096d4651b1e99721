package discover

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/trailseal/trailseal/pkg/trail"
)

// Found is what a search found.
type Found struct {
	Places []Place // in the order of their keys
	// Accounts and Regions are all that were seen, those that Keep left out
	// included: they tell someone who asked for others what is there.
	Accounts, Regions []string
}

// Absent returns why there are no places: ErrNothing, or ErrNoMatch with what is
// there. It returns nil where there are some.
func (f Found) Absent() error {
	switch {
	case len(f.Places) > 0:
		return nil
	case len(f.Accounts) == 0:
		return ErrNothing
	case len(f.Regions) == 0:
		return fmt.Errorf("%w; accounts found: %s", ErrNoMatch, listOf(f.Accounts))
	}
	return fmt.Errorf("%w; accounts found: %s; regions found: %s", ErrNoMatch, listOf(f.Accounts), listOf(f.Regions))
}

// listOf names at most twenty.
func listOf(names []string) string {
	const most = 20
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// Places finds the accounts and regions below the source. An error means that
// the source itself could not be listed.
func (f *Finder) Places(ctx context.Context) (Found, error) {
	accounts, err := f.accounts(ctx)
	if err != nil {
		return Found{}, err
	}
	var (
		mu    sync.Mutex // guards found
		found Found
	)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, f.Concurrency))
	for _, a := range accounts {
		found.Accounts = append(found.Accounts, a.Account)
		if !f.keep(a) {
			continue
		}
		f.Source.AddAccount(a)
		g.Go(func() error {
			places, regions := f.regions(ctx, a)
			mu.Lock()
			defer mu.Unlock()
			found.Places, found.Regions = append(found.Places, places...), append(found.Regions, regions...)
			return ctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return Found{}, err
	}
	found.Accounts, found.Regions = distinct(found.Accounts), distinct(found.Regions)
	found.Places = f.merge(found.Places)
	return found, nil
}

func distinct(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

// merge sorts the places. In a copy it makes one place of those that differ in
// their roots alone: all of them together are one copy.
func (f *Finder) merge(places []Place) []Place {
	if f.Source.IsCopy() {
		for i, p := range places {
			root := ""
			if p.Prefix != "" {
				root = p.Prefix + "/"
			}
			places[i].Roots, places[i].Prefix = []string{root}, ""
		}
	}
	slices.SortFunc(places, func(a, b Place) int {
		return cmp.Or(
			strings.Compare(a.Folder(trail.LogFolder), b.Folder(trail.LogFolder)),
			slices.Compare(a.Roots, b.Roots),
		)
	})
	var merged []Place
	for _, p := range places {
		if n := len(merged); n > 0 && merged[n-1].Place == p.Place {
			last := &merged[n-1]
			last.Digests, last.Logs = last.Digests || p.Digests, last.Logs || p.Logs
			last.Roots = append(last.Roots, p.Roots...)
			continue
		}
		merged = append(merged, p)
	}
	return merged
}

// regions returns the places of an account, and the regions that it has folders
// of, asked for or not.
func (f *Finder) regions(ctx context.Context, account trail.Place) (places []Place, all []string) {
	var (
		digests, logs map[string]bool
		isListed      bool // the digest folder
	)
	var wait sync.WaitGroup // one listing after the other would take twice as long
	wait.Go(func() { digests, isListed = f.regionsOf(ctx, account, trail.DigestFolder) })
	wait.Go(func() { logs, _ = f.regionsOf(ctx, account, trail.LogFolder) })
	wait.Wait()
	for _, of := range []map[string]bool{digests, logs} {
		for region := range of {
			all = append(all, region)
		}
	}
	all = distinct(all)
	for _, region := range all {
		// Where the folder of the regions cannot be listed, one of them may be.
		p := Place{Place: account, Digests: digests[region] || !isListed, Logs: logs[region], Roots: []string{""}}
		p.Region = region
		if f.keep(p.Place) {
			places = append(places, p)
		}
	}
	return places, all
}

// regionsOf returns the regions that an account has folders of one kind of, and
// whether all could be listed.
func (f *Finder) regionsOf(
	ctx context.Context,
	account trail.Place,
	kind string,
) (found map[string]bool, isListed bool) {
	found = map[string]bool{}
	folder := account.Regions(kind)
	if f.IsExcepted(folder) {
		return found, true
	}
	for o, err := range f.Objects.Children(ctx, f.Source.Signed(), folder) {
		switch {
		case err != nil:
			f.unlistable(account, folder, err)
			return found, false
		case f.IsExcepted(o.Key), o.Key == folder:
		case !IsFolder(o, folder):
			f.foreign(account, o, "directly below the folder of the regions")
		case !trail.ValidRegion(base(o.Key)):
			f.foreign(account, o, "a folder whose name is not a region's")
		default:
			found[base(o.Key)] = true
		}
	}
	return found, true
}

// keep reports whether a place is asked for: by Keep, and by a source prefix
// that reaches below AWSLogs.
func (f *Finder) keep(p trail.Place) bool {
	only := narrow(f.Source.Prefix)
	ok := func(want, got string) bool { return got == "" || want == "" || want == got }
	return ok(only.Organization, p.Organization) && ok(only.Account, p.Account) && ok(only.Region, p.Region) &&
		(only.Organization == "" || p.Organization != "") && (f.Keep == nil || f.Keep(p))
}

// narrow reads a source prefix that reaches below AWSLogs,
// [o-ID/]ACCOUNT/KIND/REGION/, as the organization, account and region to keep
// to. Anything else there is part of a trail's prefix.
func narrow(prefix string) (only trail.Place) {
	_, rest, _ := cutAWSLogs(prefix)
	parts := strings.Split(rest, "/")
	if trail.ValidOrganization(parts[0]) {
		only.Organization, parts = parts[0], parts[1:]
	}
	if len(parts) > 0 && trail.ValidAccount(parts[0]) {
		only.Account = parts[0]
		if len(parts) > 2 {
			only.Region = parts[2]
		}
	}
	return only
}
