package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/finding"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// window is the length of a digest's hour.
const window = time.Hour

// Config says what to verify and how.
type Config struct {
	Source     Source
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

// Source is where the trails lie.
type Source struct {
	Bucket string // "" for a folder
	Prefix string // "" or a folder's key, ending in a slash: look below it
	Name   string // for the report: s3://bucket/prefix or the folder
}

// isCopy reports whether the source is a copy: there buckets and prefixes are
// not those of the digests, and objects have no metadata.
func (s Source) isCopy() bool { return s.Bucket == "" }

// ErrNothing: the source holds no CloudTrail folders. The likely cause is a
// wrong bucket, prefix or folder, so it stops the run.
var ErrNothing = errors.New("no AWSLogs/ACCOUNT/CloudTrail-Digest or CloudTrail folder found")

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
	r := &run{Config: c, keys: newKeyring(c), objects: c.Fetcher.Objects}
	places, err := r.discover(ctx)
	if err != nil {
		return nil, err
	}
	r.expect(places)
	all := scopes(places)
	r.underWay = max(1, min(len(all), placesAtOnce))
	logs, logCtx := errgroup.WithContext(ctx)
	logs.SetLimit(c.Concurrency)
	r.logs, r.logCtx = logs, logCtx

	walks, walkCtx := errgroup.WithContext(ctx)
	walks.SetLimit(placesAtOnce)
	for _, s := range all {
		walks.Go(func() error { return r.scope(walkCtx, s) })
	}
	if err := errors.Join(walks.Wait(), logs.Wait()); err != nil {
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
	objects  fetch.Objects
	keys     *keyring
	underWay int             // scopes that are walked at once
	logs     *errgroup.Group // every log check under way
	logCtx   context.Context // of the checks in logs

	mu         sync.Mutex // guards what follows
	findings   []finding.Finding
	unverified []finding.Unverified
	chains     []*chain
	gaps       []*gap
	logObjects int
	shared     bool // some log folder may hold files of a trail that is not asked for
	inflated   int64
}

// scope verifies everything of one account and region.
func (r *run) scope(ctx context.Context, s scope) error {
	chains, all, ok := r.list(ctx, s)
	listed := newListedSet()
	for _, c := range chains {
		c.listed = listed
		if err := c.walk(ctx); err != nil {
			return err
		}
	}
	if ok && all && !r.NoUnlisted {
		for _, p := range s.places {
			r.checkUnlisted(ctx, p, chains, listed)
		}
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
	r.unverified = append(r.unverified, finding.Unverified{Reason: fetch.ReasonOf(err), Subject: s, Detail: err.Error()})
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
		Chains: []report.Chain{}, Findings: r.findings, Unverified: r.unverified, Keys: r.keys.used(),
	}
	for _, c := range r.chains {
		out.Chains = append(out.Chains, c.result())
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
	if r.shared && !r.NoUnlisted {
		out.Skipped = append(out.Skipped, "objects that no digest lists, in folders shared with other trails (--trail)")
	}
	out.Conclude()
	return out
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

// digestEvidence is what anyone needs to check a digest's signature again.
func digestEvidence(d *digest.Digest, signature string) finding.Evidence {
	return finding.Evidence{Got: d.Sum.String(), StringToSign: d.StringToSign(), Signature: signature, Fingerprint: d.Fingerprint}
}
