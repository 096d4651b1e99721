package ingest

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/ledger"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// coverage is what a poll has listed of a source, and what it could not list. It is safe for
// concurrent use.
type coverage struct {
	mu       sync.Mutex // guards what follows
	errs     []error    // the first maxErrs
	failures int
	hidden   map[string]bool      // accounts with folders that could not be listed
	passing  map[region]bool      // accounts and regions where the next poll may list what this one could not
	found    map[region]bool      // regions that have folders
	listed   map[region]bool      // regions whose digest folders were listed, all of them
	unlisted map[trail.Place]bool // with a digest folder that could not be listed; of all regions where it is ""
	trails   map[string]bool      // names of trails, at most maxTrails
}

// Bounds of what a poll remembers of names that anyone can plant.
const (
	maxTrails = 1000
	maxErrs   = 20
)

func newCoverage() *coverage {
	return &coverage{
		hidden: map[string]bool{}, passing: map[region]bool{}, found: map[region]bool{}, listed: map[region]bool{},
		unlisted: map[trail.Place]bool{}, trails: map[string]bool{},
	}
}

// fail notes an error of the poll.
func (c *coverage) fail(err error) {
	if err == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failures++; len(c.errs) < maxErrs || errors.Is(err, ErrHalt) {
		c.errs = append(c.errs, err)
	}
}

// err returns the errors of the poll, nil where it listed all.
func (c *coverage) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	errs := c.errs
	if n := c.failures - len(errs); n > 0 {
		errs = append(slices.Clip(errs), fmt.Errorf("and %d more", n))
	}
	return errors.Join(errs...)
}

// missed notes that folders of an account and region could not be listed, where the next poll
// may list them. The account and the region are "" where they are not known.
func (c *coverage) missed(at region, err error) {
	if isForGood(err) || errors.Is(err, discover.ErrNothing) || errors.Is(err, discover.ErrNoMatch) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.passing[at] = true
}

// isForGood reports whether the next poll cannot list either what this one could not.
func isForGood(err error) bool {
	reason := finding.ReasonOf(err)
	return reason == finding.AccessDenied || reason == finding.NotSearched
}

// hide notes that a folder of an account, "" for one that is not known, could not be listed.
func (c *coverage) hide(p trail.Place, err error) {
	c.missed(region{account: p.Account}, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hidden[p.Account] = true
}

// find notes that a place has folders.
func (c *coverage) find(p trail.Place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.found[regionOf(p)] = true
}

// list notes that all digest folders of a place were listed.
func (c *coverage) list(p trail.Place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listed[regionOf(p)] = true
}

// failed notes that a digest folder of a place could not be listed.
func (c *coverage) failed(p trail.Place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unlisted[p] = true
}

// hasFailed reports whether a digest folder of a place could not be listed.
func (c *coverage) hasFailed(p trail.Place) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.isUnlisted(p)
}

// isUnlisted is hasFailed for a caller that holds mu.
func (c *coverage) isUnlisted(p trail.Place) bool {
	all := p
	all.Region = ""
	return c.unlisted[p] || c.unlisted[all]
}

// mayList reports whether a digest folder of a place could not be listed that the next poll may
// list.
func (c *coverage) mayList(p trail.Place) bool { return c.hasFailed(p) && !c.hasAll(p) }

// hasListed reports whether all digest folders of a place were listed, or are gone, and all others
// in which its chains can lie.
func (c *coverage) hasListed(p trail.Place) bool {
	if c.err() == nil {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return (c.listed[regionOf(p)] || !c.found[regionOf(p)]) && c.has(p)
}

// hasAll reports whether all folders were listed in which the chains of a place can lie, those
// aside that cannot be listed.
func (c *coverage) hasAll(p trail.Place) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.has(p)
}

// has is hasAll for a caller that holds mu.
func (c *coverage) has(p trail.Place) bool {
	return !c.passing[region{}] && !c.passing[region{account: p.Account}] &&
		!c.passing[region{account: p.Account, region: p.Region}]
}

// sawTrail notes the name of a trail.
func (c *coverage) sawTrail(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.trails) < maxTrails {
		c.trails[name] = true
	}
}

// accounts returns the account folders, as ledger.Account names them, of which all places
// were listed.
func (c *coverage) accounts(places []discover.Place) map[string]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	listed := map[string]bool{}
	for _, p := range places {
		// In a folder of no account that could not be listed may lie other prefixes of all.
		if c.listed[regionOf(p.Place)] && !c.hidden[p.Account] && !c.passing[region{}] {
			listed[ledger.Account(p.Place)] = true
		}
	}
	for _, p := range places {
		if c.isUnlisted(p.Place) {
			delete(listed, ledger.Account(p.Place))
		}
	}
	return listed
}
