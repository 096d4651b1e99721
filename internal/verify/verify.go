// Package verify proves the trails of a bucket or of a folder. Run tells the
// story:
//
//	discover ──> places: account and region
//	names    ──> what the listings of a place's digest folders call digests
//	walk     ──> chains: each trusted digest leads to the one before it (pkg/chain)
//	logs     ──> each listed log file: place, container, hash        (in parallel)
//	unlisted ──> each object of the log folders: does a trusted digest list it?
//	cover    ──> each asked hour of a chain: which digest covers it?
//	explain  ──> each gap: which verified event switched logging off?
//
// # Words
//
// A name is what a listing shows. A name that is not proven is only reported.
// A strand is a run of digests that name each other. A
// chain is made of strands that follow each other. A place is the part of a
// source where one account's files of one region lie; the chain belongs to every
// place where its trusted digests lie or list log files. A chain is in doubt at a
// time that none of its trusted digests covers.
//
// # What it never does
//
// It never calls a failure to read tampering and never calls valid what was not
// read. A name that is not proven is not a neighbour, opens no gap, makes no hour
// due, and casts no doubt on time that trusted digests cover.
package verify

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/ended"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// window is the length of time that a digest covers.
const window = chain.Window

// lookAhead is how far beyond the asked range the names of digests are read: the
// first trusted one there repeats the signature of the last digest in the range.
const lookAhead = 5 * window / 2

// Config says what to verify and how.
type Config struct {
	Source     source.Source
	Start, End time.Time // asked range, in delivery time
	Now        time.Time
	Grace      time.Duration // how late the newest digest may be

	Accounts, Regions, Trails                   []string // only these; empty: all
	ExpectAccounts, ExpectRegions, ExpectTrails []string // their absence is a finding
	Except                                      []string // folders that are left out, with or without a slash at the end
	Ended                                       ended.List
	AllFolders                                  bool // list the day folders outside of the range, too
	NoLogs, NoUnlisted, StayInside              bool
	Concurrency                                 int
	Limits                                      report.Limits
	// Management returns the management account of an organization, "" where it
	// is not known. It may be nil.
	Management func(ctx context.Context, organization string) string

	Fetcher  *fetch.Fetcher
	Keys     chain.KeySource
	KeysFrom string    // what to call the key source in the report
	Progress *Progress // may be nil
	// Litter returns how many files of desks a folder holds that were passed over.
	// It may be nil.
	Litter func() int
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

// ErrNotDue says that the asked time does not have a digest, and that a digest is
// not due yet. The run did not prove a digest and did not find a fault.
var ErrNotDue = errors.New("no digest is due in the asked time yet")

// Run verifies and reports. It returns an error only if it cannot report: the source
// cannot be listed at all, no digest is due, or ctx ended. The report holds all other
// failures.
func Run(ctx context.Context, c Config) (*report.Report, error) {
	if c.Progress == nil {
		c.Progress = new(Progress)
	}
	r := newRun(ctx, c)
	found, err := r.finder.Places(ctx)
	if err == nil && len(found.Places) == 0 && len(found.Accounts) == 0 && !r.unsearched.Load() {
		err = fmt.Errorf("look into %s: %w", c.Source.Name, discover.ErrNothing)
	}
	if err != nil {
		return nil, err
	}
	if err := r.walkAll(ctx, scopesOf(found.Places)); err != nil {
		return nil, err
	}
	r.explain(ctx)
	r.cover()
	r.expect(found)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out := r.report()
	if out.Verdict == report.Intact && out.Counts.Digests.Valid == 0 && len(out.Began)+len(out.Ended) == 0 {
		return nil, fmt.Errorf("verify %s: %w", c.Source.Name, ErrNotDue)
	}
	return out, nil
}

// scopesAtOnce bounds the scopes under way, and with them the digests that are
// held in memory.
const scopesAtOnce = 32

// run is one verification under way.
type run struct {
	cfg      Config
	finder   *discover.Finder
	keys     *chain.Keyring
	collect  *report.Collector
	underWay int             // scopes that are walked at once
	logs     errgroup.Group  // every log check under way
	logCtx   context.Context // of those: they outlive the walks

	unsearched atomic.Bool // some folder was not listed
	trusted    atomic.Bool // some digest lies where it was signed for

	mu         sync.Mutex // guards what follows
	chains     []*strands
	unproven   []*strands // names of digests that belong to no chain
	more       report.Count
	gaps       []*gap
	used       map[string]digest.Key // keys that verified something, by region and fingerprint
	siblings   map[string]bool       // CloudTrail's other folders: whether a digest lists a file of it
	movedFrom  map[string]int        // digests that were signed for another bucket, by that bucket
	began      []report.ChainEnd
	ended      []report.ChainEnd
	ends       []report.ChainEnd // chains that ended before what is due, acknowledged or not
	notDue     bool
	logObjects int
	inflated   int64
}

func newRun(ctx context.Context, c Config) *run {
	r := &run{
		cfg: c, keys: chain.NewKeyring(c.Keys, c.Start, c.End, time.Now), collect: report.NewCollector(c.Limits),
		logCtx: ctx,
		used:   map[string]digest.Key{}, siblings: map[string]bool{}, movedFrom: map[string]int{},
	}
	r.logs.SetLimit(max(c.Concurrency, 1))
	// What is read is named as it was signed, wherever it lies.
	objects := *c.Fetcher
	objects.Objects = c.Source.View(c.Fetcher.Objects)
	r.cfg.Fetcher = &objects
	r.finder = &discover.Finder{
		Objects: objects.Objects, Source: c.Source, Concurrency: min(c.Concurrency, 64), Except: c.Except,
		Keep: func(p trail.Place) bool {
			return isWanted(c.Accounts, p.Account) && (p.Region == "" || isWanted(c.Regions, p.Region))
		},
		Foreign: r.foreign,
		Unlistable: func(p trail.Place, folder trail.Object, err error) {
			r.unsearched.Store(true)
			r.doubt(ctx, subject(trail.Chain{Place: p}, folder, c.Start), err, 0)
		},
		Sibling: func(folder trail.Object) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if _, known := r.siblings[folder.Key]; !known {
				r.siblings[folder.Key] = false // until a digest lists files of it
			}
		},
	}
	return r
}

// walkAll verifies the scopes side by side and waits for their logs.
func (r *run) walkAll(ctx context.Context, all []scope) error {
	r.underWay = max(1, min(len(all), scopesAtOnce))
	walks, walkCtx := errgroup.WithContext(ctx)
	walks.SetLimit(scopesAtOnce)
	for _, s := range all {
		walks.Go(func() error { return r.scope(walkCtx, s) })
	}
	err := walks.Wait()
	_ = r.logs.Wait() // a check has no error: it reports
	return err
}

func (r *run) find(f finding.Finding) {
	r.cfg.Progress.Findings.Add(1)
	r.collect.Add(f)
}

// doubt records what was not checked, unless the run itself is over. An entry
// stands for as many objects.
func (r *run) doubt(ctx context.Context, s finding.Subject, err error, objects int) {
	if ctx.Err() == nil {
		r.collect.AddUnverified(
			finding.Unverified{Reason: finding.ReasonOf(err), Subject: s, Detail: err.Error(), Objects: objects},
		)
	}
}

// subject names an object of a chain. In a copy the bucket is not known.
func subject(c trail.Chain, o trail.Object, t time.Time) finding.Subject {
	return finding.Subject{
		Account: c.Account,
		Region:  c.Region,
		Trail:   c.Trail,
		Bucket:  o.Bucket,
		Key:     o.Key,
		Time:    t.UTC(),
	}
}

// foreign reports what does not belong where it lies. In a digest folder, that is
// said only of the days around the range: the whole folder is listed.
func (r *run) foreign(p trail.Place, o trail.Object, why string) {
	if t, ok := folderDay(o.Key); ok && !r.cfg.AllFolders && !r.inFolders(t) {
		return
	}
	r.find(
		finding.Finding{
			Class:   finding.ForeignObject,
			Detail:  why,
			Subject: subject(trail.Chain{Place: p}, o, o.Modified),
		},
	)
}

// inFolders reports whether the folder of a day is among those that are listed:
// those of the range, and the day before and after.
func (r *run) inFolders(day time.Time) bool {
	return day.After(r.cfg.Start.Add(-48*time.Hour)) && day.Before(r.cfg.End.Add(24*time.Hour))
}

// due returns the end of the asked time for which digests must be there.
func (r *run) due() time.Time {
	if due := r.cfg.Now.Add(-r.cfg.Grace); due.Before(r.cfg.End) {
		return due
	}
	return r.cfg.End
}

// isNotDue notes that something could not be judged yet.
func (r *run) isNotDue() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notDue = true
}

// use notes the key that verified a digest.
func (r *run) use(region string, k digest.Key) {
	if k.Fingerprint == "" {
		return
	}
	k.Region = region
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used[region+" "+k.Fingerprint] = k
}

// moved notes that a digest with a good signature was signed for another bucket.
func (r *run) moved(bucket string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.movedFrom) < 100 {
		r.movedFrom[bucket]++
	}
}
