// Package ledger keeps what a worker must not forget, over a state.Store: the head of
// each chain, and when each account folder was last listed in full.
//
// Names in the store:
//
//	chain/SOURCE/ORGANIZATION/ACCOUNT/REGION/HOMEREGION/TRAIL[/backfill]   a head
//	listed/SOURCE                                                           folders listed in full
//
// SOURCE is the source's identity (source.Source.Identity), and ORGANIZATION is "-" for
// a trail of one account. A prefix is not part of the name, so a chain is found after
// its trail has changed that. In SOURCE a slash is written as %2F and a percent sign as
// %25. Other bytes stay, so that the paths of folders fit into a name (state.MaxName).
package ledger

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Ledger reads and writes heads. It is safe for concurrent use.
type Ledger struct{ store state.Store }

// New returns a ledger over a store.
func New(s state.Store) *Ledger { return &Ledger{store: s} }

// Entry is a chain's head as it is stored. The zero Version says that it is not.
type Entry struct {
	Name    string
	Head    follow.Head
	Version state.Version
}

// IsStored reports whether the store has the head.
func (e Entry) IsStored() bool { return e.Version != "" }

const (
	heads    = "chain/"
	listed   = "listed/"
	backfill = "backfill"
)

// escape and unescape write a source's identity as one part of a name, and read it.
func escape(source string) string {
	return strings.ReplaceAll(strings.ReplaceAll(source, "%", "%25"), "/", "%2F")
}

func unescape(part string) string {
	return strings.ReplaceAll(strings.ReplaceAll(part, "%2F", "/"), "%25", "%")
}

// Name returns the name of a chain's head.
func Name(source string, c trail.Chain) string {
	organization := c.Organization
	if organization == "" {
		organization = "-"
	}
	parts := []string{organization, c.Account, c.Region, c.HomeRegion, c.Trail}
	if c.Backfill {
		parts = append(parts, backfill)
	}
	return heads + escape(source) + "/" + strings.Join(parts, "/")
}

// Parse returns the source and the chain that a head's name stands for. The error says
// that Name does not make such a name.
func Parse(name string) (source string, c trail.Chain, err error) {
	rest, isHead := strings.CutPrefix(name, heads)
	parts := strings.Split(rest, "/")
	if len(parts) == 7 && parts[6] == backfill {
		c.Backfill = true
		parts = parts[:6]
	}
	if !isHead || len(parts) != 6 {
		return "", trail.Chain{}, fmt.Errorf("%q is not the name of a head", name)
	}
	source = unescape(parts[0])
	if c.Organization = parts[1]; c.Organization == "-" {
		c.Organization = ""
	}
	c.Account, c.Region, c.HomeRegion, c.Trail = parts[2], parts[3], parts[4], parts[5]
	isChain := trail.ValidAccount(c.Account) && trail.ValidRegion(c.Region) && trail.ValidRegion(c.HomeRegion) &&
		trail.ValidName(c.Trail) && (c.Organization == "" || trail.ValidOrganization(c.Organization))
	if !isChain || Name(source, c) != name {
		return "", trail.Chain{}, fmt.Errorf("%q is not the name of a head", name)
	}
	return source, c, nil
}

// Open returns the entry of a chain. Where the store has none, the head is zero.
func (l *Ledger) Open(ctx context.Context, name string) (Entry, error) {
	e := Entry{Name: name}
	v, err := l.store.Get(ctx, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return e, nil
	case err != nil:
		return e, fmt.Errorf("load head %s: %w", name, err)
	}
	if e.Head, err = follow.ParseHead(v.Bytes); err != nil {
		return e, fmt.Errorf("load head %s: %w", name, err)
	}
	e.Version = v.Version
	return e, nil
}

// Commit stores the head of an entry and returns the entry as it is then. An error
// that wraps state.ErrConflict says that another worker has changed it: the caller
// opens it again. After any other error it is not known whether it took effect.
func (l *Ledger) Commit(ctx context.Context, e Entry, h follow.Head) (Entry, error) {
	b, err := json.Marshal(h)
	if err == nil {
		e.Version, err = l.store.Put(ctx, e.Name, b, e.Version)
	}
	if err != nil {
		return Entry{}, fmt.Errorf("store head %s: %w", e.Name, err)
	}
	e.Head = h
	return e, nil
}

// Delete removes the head of an entry.
func (l *Ledger) Delete(ctx context.Context, e Entry) error {
	if err := l.store.Delete(ctx, e.Name, e.Version); err != nil {
		return fmt.Errorf("delete head %s: %w", e.Name, err)
	}
	return nil
}

// Names returns the names of all heads, of all sources.
func (l *Ledger) Names(ctx context.Context) (names []string, err error) {
	for e, err := range l.store.List(ctx, heads) {
		if err != nil {
			return nil, fmt.Errorf("list heads: %w", err)
		}
		names = append(names, e.Name)
	}
	return names, nil
}

// Listings says which account folders of a source were listed in full, and when.
type Listings struct {
	// Since is where chains begin whose account folder was never listed in full: what the
	// first run was asked for. A later run that begins later would leave out what lies
	// between.
	Since time.Time `json:"since,omitzero"`
	// Whole is when all account folders of the source were listed in full, zero for
	// never. An account folder that was absent then was empty.
	Whole time.Time `json:"whole,omitzero"`
	// Accounts are the account folders that were listed in full after Whole, or
	// without the others: at most the newest 10,000. The keys are ORGANIZATION/ACCOUNT.
	Accounts map[string]time.Time `json:"accounts,omitempty"`

	version state.Version
}

// Account returns the key of a place's account folder in Listings.Accounts.
func Account(p trail.Place) string {
	if p.Organization == "" {
		return "-/" + p.Account
	}
	return p.Organization + "/" + p.Account
}

// Last returns when the account folder of a place was last listed in full. A zero
// time says never.
func (l Listings) Last(p trail.Place) time.Time {
	if t := l.Accounts[Account(p)]; t.After(l.Whole) {
		return t
	}
	return l.Whole
}

// Listings returns which folders of a source were listed.
func (l *Ledger) Listings(ctx context.Context, source string) (Listings, error) {
	var all Listings
	v, err := l.store.Get(ctx, listed+escape(source))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return all, nil
	case err != nil:
		return all, fmt.Errorf("load listings of %s: %w", source, err)
	}
	if err := json.Unmarshal(v.Bytes, &all); err != nil {
		return all, fmt.Errorf("load listings of %s: %w", source, err)
	}
	all.version = v.Version
	return all, nil
}

// maxAccounts bounds Listings.Accounts, so that they fit into a value of the store
// (state.MaxValue). Anyone who can write to the bucket can make account folders.
const maxAccounts = 10_000

// SetListings stores which folders of a source were listed and returns them as they
// are then. Errors are those of Commit.
func (l *Ledger) SetListings(ctx context.Context, source string, all Listings) (Listings, error) {
	if len(all.Accounts) > maxAccounts {
		newest := slices.SortedFunc(maps.Keys(all.Accounts), func(a, b string) int {
			return cmp.Or(all.Accounts[b].Compare(all.Accounts[a]), cmp.Compare(a, b))
		})
		all.Accounts = maps.Clone(all.Accounts)
		for _, account := range newest[maxAccounts:] {
			delete(all.Accounts, account)
		}
	}
	b, err := json.Marshal(all)
	if err == nil {
		all.version, err = l.store.Put(ctx, listed+escape(source), b, all.version)
	}
	if err != nil {
		return Listings{}, fmt.Errorf("store listings of %s: %w", source, err)
	}
	return all, nil
}
