package ingest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/failure"
	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/pkg/finding"
)

// listing is a full poll that the state does not have yet.
type listing struct {
	began    time.Time
	isWhole  bool            // it listed all account folders
	accounts map[string]bool // the account folders that it listed in full, as ledger.Account names them
}

// remember notes which account folders a full poll has listed.
func (p *poll) remember(ctx context.Context, found discover.Found) error {
	if !p.isFull || ctx.Err() != nil {
		return nil
	}
	p.poller.reached = p.began
	err := p.found.err()
	if err != nil { // what failed is listed so again in an hour
		p.poller.reached = p.began.Add(window - reachEvery)
	}
	isWhole := err == nil && len(p.w.config.Accounts) == 0 // else it did not look at the others
	l := &listing{began: p.began.UTC(), isWhole: isWhole, accounts: p.found.accounts(found.Places)}
	p.f.mu.Lock()
	p.f.record = l
	p.f.mu.Unlock()
	return recordListing(ctx, p.w, p.f, true)
}

// recordListing stores which account folders the last full poll has listed. A folder with a
// chain that is not proven yet is left out: where the worker ends before that, the chain
// must not count as one that was absent. Where some are left out, the record stays for
// later, and only a caller that asks for it has the others stored.
func recordListing(ctx context.Context, w *Worker, f *feed, partly bool) error {
	f.mu.Lock()
	l, listings := f.record, f.listings
	f.mu.Unlock()
	if l == nil || !partly && w.chains.hasNames(f) {
		return nil
	}
	open := w.chains.unfinished(f)
	if !f.has(l) {
		return nil // a poll began meanwhile, and makes another record
	}
	switch {
	case len(open) > 0 && !partly:
		return nil
	case l.isWhole && len(open) == 0:
		listings.Whole, listings.Accounts = l.began, nil
	default:
		listings.Accounts = maps.Clone(listings.Accounts)
		if listings.Accounts == nil {
			listings.Accounts = map[string]time.Time{}
		}
		for account := range l.accounts {
			if !open[account] {
				listings.Accounts[account] = l.began
			}
		}
	}
	stored, err := w.ledger.SetListings(ctx, f.identity, listings)
	if errors.Is(err, state.ErrConflict) { // another worker polls the source, too
		stored, err = w.ledger.Listings(ctx, f.identity)
	}
	if failure.Decide(failure.Failure{Operation: failure.Head, Err: err}).Do != failure.Proceed {
		w.metrics.stateFailed(ctx, err)
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listings = stored
	if len(open) == 0 && f.record == l {
		f.record = nil
	}
	return nil
}

// has reports whether a full poll is still the last one that the state does not have.
func (f *feed) has(l *listing) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.record == l
}

// leaveOutOfRecord takes account folders out of the last full poll, which the state does not
// have yet: names of chains in them were left out, and are not known any more.
func (f *feed) leaveOutOfRecord(accounts map[string]bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.record == nil || len(accounts) == 0 {
		return
	}
	l := &listing{began: f.record.began, accounts: maps.Clone(f.record.accounts)}
	for account := range accounts {
		delete(l.accounts, account)
	}
	f.record = l
}

// tellSelected logs which of the accounts and regions that were asked for a source does not
// have, and what it has.
func tellSelected(w *Worker, f *feed, found discover.Found) {
	for _, s := range []struct {
		flag        string
		asked, have []string
	}{{"--account", w.config.Accounts, found.Accounts}, {"--region", w.config.Regions, found.Regions}} {
		for _, name := range s.asked {
			if !slices.Contains(s.have, name) {
				tellAbsent(w, f, s.flag, name, s.have)
			}
		}
	}
}

// tellTrails logs which of the trails that were asked for a source does not have, and what it
// has.
func tellTrails(w *Worker, f *feed, found map[string]bool) {
	have := slices.Sorted(maps.Keys(found))
	for _, name := range w.config.Trails {
		if !found[name] {
			tellAbsent(w, f, "--trail", name, have)
		}
	}
}

func tellAbsent(w *Worker, f *feed, flag, name string, have []string) {
	w.config.Log.Warn(fmt.Sprintf("no chain matches %s %s", flag, name),
		"source", f.source.Name, "found", strings.Join(have[:min(len(have), 20)], ", "))
}

// tellDropped logs the places whose names of chains were left out.
func tellDropped(w *Worker, f *feed) {
	dropped, _ := w.chains.leftOut(f)
	for at, n := range dropped {
		w.metrics.unverifiedBy(finding.NotSearched, 1)
		w.config.Log.Warn("names of chains are left to the next poll: too many wait for a proof",
			"source", f.source.Name, "account", at.account, "region", at.region, "names", n, "bound", maxUnproven)
	}
}
