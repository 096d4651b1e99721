// Package verify proves the trails of a bucket or of a folder: it finds the
// digest chains, walks each from its newest digest to its oldest, checks every
// log file that they list, and looks for what no digest lists.
//
//	discover ──> places (prefix, organization, account, region)
//	list     ──> chains (trail, home region) with the ends of their digests
//	walk     ──> each digest: container, place, key, signature, link, window
//	logs     ──> each listed log: place, container, hash        (in parallel)
//	unlisted ──> each object of the log folders: is it listed?
//	explain  ──> each gap: which verified event tells who switched logging off?
//
// A walk is sequential, since each digest vouches for the one before it; what
// it needs is fetched ahead, and the logs are checked beside it.
//
// The package turns facts into findings and reasons into UNVERIFIED. It never
// calls a failure to read tampering, never calls valid what was not read, and
// never lets an object that is not proven steer it: where a digest fails, the
// walk goes on by the names of the listing.
package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/prove"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// window is the length of a digest's hour.
const window = time.Hour

// Config says what to verify and how.
type Config struct {
	Source     discover.Source
	Start, End time.Time // asked range, in delivery time
	Now        time.Time
	Grace      time.Duration // how late the newest digest may be

	Accounts, Regions, Trails      []string // only these; empty: all
	ExpectAccounts, ExpectRegions  []string // their absence is a finding
	NoLogs, NoUnlisted, StayInside bool
	Concurrency                    int

	Fetcher  *fetch.Fetcher
	Keys     fetch.KeySource
	KeysFrom string    // what to call the key source in the report
	Progress *Progress // may be nil
}

// Progress counts what is under way. Run adds to it; anyone may read it at any
// time.
type Progress struct {
	DigestsListed atomic.Int64 // known to exist so far
	Digests       atomic.Int64 // checked
	LogsListed    atomic.Int64
	Logs          atomic.Int64 // checked
	InflatedBytes atomic.Int64
	Findings      atomic.Int64
}

// ErrNotDue: in the asked time no digest is there and none had to be, so that
// nothing was proven and nothing is wrong.
var ErrNotDue = errors.New("no digest is due in the asked time yet")

// Run verifies and reports. An error means that nothing can be said: the
// source could not be listed at all, or ctx ended. Whatever else fails is in
// the report.
func Run(ctx context.Context, c Config) (*report.Report, error) {
	if c.Progress == nil {
		c.Progress = new(Progress)
	}
	r := newRun(ctx, c)
	places, err := r.finder.Places(ctx)
	if err == nil && len(places) == 0 && len(r.unverified) == 0 {
		err = fmt.Errorf("look into %s: %w", r.Source.Name, discover.ErrNothing)
	}
	if err != nil {
		return nil, err
	}
	r.expect(places)
	if err := r.walkAll(ctx, scopes(places)); err != nil {
		return nil, err
	}
	r.explain(ctx)
	r.expectTrails()
	for _, c := range r.chains {
		c.cover()
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out := r.report()
	if out.Verdict == report.Intact && out.Counts.Digests.Valid == 0 {
		return nil, fmt.Errorf("verify %s: %w", r.Source.Name, ErrNotDue)
	}
	return out, nil
}

// placesAtOnce bounds the chains under way, and with them the digests that are
// held in memory.
const placesAtOnce = 24

// run is one verification under way.
type run struct {
	Config
	finder   *discover.Finder
	quiet    *discover.Finder // for places that finder has looked at, or that are not the source's
	keys     *prove.Keyring
	underWay int             // scopes that are walked at once
	logs     *fetch.Workers  // every log check under way
	logCtx   context.Context // of those: it outlives the walks

	mu         sync.Mutex // guards what follows
	findings   []finding.Finding
	unverified []finding.Unverified
	chains     []*chain
	gaps       []*gap
	logObjects int
	inflated   int64
}

func newRun(ctx context.Context, c Config) *run {
	r := &run{Config: c, keys: prove.NewKeyring(c.Keys, c.Start, c.End, time.Now), logs: fetch.NewWorkers(c.Concurrency), logCtx: ctx}
	finder := discover.Finder{
		Objects: c.Fetcher.Objects, Source: c.Source, Concurrency: c.Concurrency,
		Keep: func(p trail.Place) bool {
			return wanted(c.Accounts, p.Account) && (p.Region == "" || wanted(c.Regions, p.Region))
		},
		Foreign: r.foreign,
		Unlistable: func(p trail.Place, folder trail.Object, err error) {
			r.doubt(ctx, subject(trail.Chain{Place: p}, folder, r.Start), err)
		},
	}
	quiet := finder
	quiet.Foreign = func(trail.Place, trail.Object, string) {}
	r.finder, r.quiet = &finder, &quiet
	return r
}

// walkAll walks the scopes side by side and waits for their logs.
func (r *run) walkAll(ctx context.Context, all []scope) error {
	r.underWay = max(1, min(len(all), placesAtOnce))
	walks, walkCtx := errgroup.WithContext(ctx)
	walks.SetLimit(placesAtOnce)
	for _, s := range all {
		walks.Go(func() error { return r.scope(walkCtx, s) })
	}
	err := walks.Wait()
	r.logs.Wait()
	return err
}

// scope verifies everything of one account and region.
func (r *run) scope(ctx context.Context, s scope) error {
	chains, ok := r.list(ctx, s)
	var listings []*logObjects
	for _, p := range s.places {
		if ok && !r.NoUnlisted && p.Logs {
			l := r.listLogs(ctx, p)
			defer l.stop()
			listings = append(listings, l)
		}
	}
	listed := newListedSet()
	for _, c := range chains {
		c.listed = listed
		if err := c.walk(ctx); err != nil {
			return err
		}
	}
	for _, l := range listings {
		r.checkUnlisted(ctx, l, chains, listed)
	}
	for _, c := range chains {
		c.listed = nil // only the walk needs it
	}
	return ctx.Err()
}

func (r *run) find(f finding.Finding) {
	r.Progress.Findings.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.findings = append(r.findings, f)
}

// doubt records what could not be checked, unless the run itself is over.
func (r *run) doubt(ctx context.Context, s finding.Subject, err error) {
	if ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unverified = append(r.unverified, finding.Unverified{Reason: finding.ReasonOf(err), Subject: s, Detail: err.Error()})
}

// subject names an object of a place. In a copy the bucket is not known.
func subject(c trail.Chain, o trail.Object, t time.Time) finding.Subject {
	return finding.Subject{Account: c.Account, Region: c.Region, Trail: c.Trail, Bucket: o.Bucket, Key: o.Key, Time: t.UTC()}
}

// report puts the result together, in an order that does not depend on timing.
func (r *run) report() *report.Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := &report.Report{
		Source: r.Source.Name, Requested: report.Range{Start: r.Start.UTC(), End: r.End.UTC()},
		Chains: []report.Chain{}, Findings: r.findings, Unverified: r.unverified, Keys: r.usedKeys(),
	}
	shared := false
	for _, c := range r.chains {
		if c.silent {
			shared = shared || c.doubtful()
		} else {
			out.Chains = append(out.Chains, c.result())
		}
	}
	slices.SortFunc(out.Chains, func(a, b report.Chain) int {
		return cmp.Or(cmp.Compare(a.Organization, b.Organization), cmp.Compare(a.Account, b.Account), cmp.Compare(a.Region, b.Region),
			cmp.Compare(a.Trail, b.Trail), cmp.Compare(a.HomeRegion, b.HomeRegion), cmp.Compare(a.Prefix, b.Prefix), compareBool(a.Backfill, b.Backfill))
	})
	slices.SortFunc(out.Findings, finding.Compare)
	slices.SortFunc(out.Unverified, finding.CompareUnverified)
	if out.Findings == nil {
		out.Findings = []finding.Finding{}
	}
	if out.Unverified == nil {
		out.Unverified = []finding.Unverified{}
	}
	out.Counts.LogsListed, out.Counts.InflatedBytes = r.logObjects, r.inflated
	if r.NoLogs {
		out.Skipped = append(out.Skipped, "the content of log files (--no-logs)")
	}
	if r.NoUnlisted {
		out.Skipped = append(out.Skipped, "objects that no digest lists (--no-unlisted)")
	}
	if shared {
		out.Skipped = append(out.Skipped, "objects that no digest lists, in hours in which another trail of the same folder is not proven (--trail)")
	}
	out.Conclude()
	return out
}

func (r *run) usedKeys() []report.Key {
	keys := []report.Key{}
	for _, k := range r.keys.Used() {
		keys = append(keys, report.Key{Region: k.Region, Fingerprint: k.Fingerprint, From: r.KeysFrom, ValidFrom: k.From, ValidTo: k.To})
	}
	return keys
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
