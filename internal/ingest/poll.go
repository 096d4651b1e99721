package ingest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/failure"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// How far a poll reaches back. Each poll lists a place from the day of its oldest head on.
// The first poll of a run, and one a day, list all of the last 45 days: CloudTrail delivers
// backfill digests late, and the names of a new trail can sort before those of others.
const (
	reach      = 45 * 24 * time.Hour
	reachEvery = 24 * time.Hour
)

// listingsAtOnce is how many folders of a source are listed at once.
const listingsAtOnce = 16

// poller lists one source again and again. New accounts and regions are found that way.
type poller struct {
	worker *Worker
	feed   *feed

	reached      time.Time            // when the last poll in full began
	toldSelected bool                 // what was asked for and is not there was told
	begun        map[trail.Place]bool // places that this run has listed once; guarded by the poll's mutex
}

func newPoller(w *Worker, f *feed) *poller {
	return &poller{worker: w, feed: f, begun: map[trail.Place]bool{}}
}

// run lists the source until intake ends. A run that ends by itself lists once and tries again
// what failed; what was found is followed all the same. The chains run until ctx ends.
func (p *poller) run(intake, ctx context.Context) error {
	w, f := p.worker, p.feed
	for try := 0; ; try++ {
		err := p.list(intake, ctx)
		if err == nil && w.policy.Tries > 0 {
			err = p.listRest(intake, ctx)
		}
		f.polled(err)
		decision := failure.Decide(failure.Failure{Operation: failure.Listing, Err: err})
		isOver := err == nil || try+1 >= w.policy.Tries || errors.Is(err, discover.ErrNothing) ||
			errors.Is(err, discover.ErrNoMatch)
		switch {
		case intake.Err() != nil:
			return nil
		case errors.Is(err, ErrHalt):
			return ErrHalt
		case w.policy.Tries > 0 && isOver:
			return nil
		case decision.Do == failure.Retry:
			w.config.Log.Warn("source cannot be listed", "source", f.source.Name, "error", err)
		}
		pause := w.config.Poll
		if w.policy.Tries > 0 {
			pause = failure.Pause(try)
		}
		if failure.Sleep(intake, pause) != nil {
			return nil
		}
	}
}

// listRest lists again until all names that were left out had room, because too many wait for
// a proof. A run that ends by itself has no next poll. The error says how many names could not
// be judged.
func (p *poller) listRest(intake, ctx context.Context) error {
	at := ""
	for {
		dropped, next := p.worker.chains.leftOut(p.feed)
		if next <= at {
			names := 0
			for _, n := range dropped {
				names += n
			}
			if names > 0 {
				return fmt.Errorf("%d names of digests could not be judged: %w", names, errNoRoom)
			}
			return nil
		}
		at = next
		p.feed.schedule.WaitIdle(intake)
		if err := p.list(intake, ctx); err != nil {
			return err
		}
	}
}

// list lists the source once and adds the digests that it shows to the frontiers of their
// chains.
func (p *poller) list(intake, ctx context.Context) error {
	w, f, now := p.worker, p.feed, p.worker.config.Now()
	once := &poll{
		w: w, f: f, poller: p, began: now,
		isFull: w.policy.Tries > 0 || p.reached.IsZero() || now.Sub(p.reached) >= reachEvery,
		hidden: map[string]bool{}, passing: map[region]bool{},
		listed: map[region]bool{}, failed: map[region]bool{}, trails: map[string]bool{},
	}
	f.leaveOutOfRecord(w.chains.beginPoll(f))
	found, err := once.places(intake)
	f.setSearch(once)
	if err != nil {
		once.missed(region{}, err)
		return err
	}
	places, isThere := map[region][]discover.Place{}, map[trail.Place]bool{}
	for _, place := range found.Places {
		isThere[place.Place] = true
		places[regionOf(place.Place)] = append(places[regionOf(place.Place)], place)
	}
	f.setPlaces(places)
	maps.DeleteFunc(p.begun, func(place trail.Place, _ bool) bool { return !isThere[place] })
	g := new(errgroup.Group)
	g.SetLimit(listingsAtOnce)
	for _, group := range byRegion(found.Places) {
		g.Go(func() error {
			once.fail(once.region(intake, ctx, group))
			return nil
		})
	}
	_ = g.Wait() // once has the errors
	once.letChainsJudge(ctx)
	if p.reached.IsZero() && once.err() == nil { // of the first that listed all
		tellTrails(w, f, once.trails)
	}
	tellDropped(w, f)
	if err := once.remember(intake, found); err != nil {
		once.fail(err)
	}
	return once.err()
}

// poll is one listing of a source. It is safe for concurrent use.
type poll struct {
	w      *Worker
	f      *feed
	poller *poller
	began  time.Time
	isFull bool // it reaches back

	mu       sync.Mutex // guards what follows
	errs     []error    // the first maxErrs
	failures int
	hidden   map[string]bool // accounts with folders that could not be listed
	passing  map[region]bool // accounts and regions where the next poll may list what this one could not
	listed   map[region]bool // regions whose digest folders were listed, all of them
	failed   map[region]bool
	trails   map[string]bool // names of trails, at most maxTrails
}

// Bounds of what a poll remembers of names that anyone can plant.
const (
	maxTrails = 1000
	maxErrs   = 20
)

func (p *poll) fail(err error) {
	if err == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failures++; len(p.errs) < maxErrs || errors.Is(err, ErrHalt) {
		p.errs = append(p.errs, err)
	}
}

func (p *poll) err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	errs := p.errs
	if n := p.failures - len(errs); n > 0 {
		errs = append(slices.Clip(errs), fmt.Errorf("and %d more", n))
	}
	return errors.Join(errs...)
}

// byRegion groups places by account and region. A trail that changed its prefix or its
// organization has its chain in several of them.
func byRegion(places []discover.Place) (groups [][]discover.Place) {
	at := map[[2]string]int{}
	for _, p := range places {
		name := [2]string{p.Account, p.Region}
		i, there := at[name]
		if !there {
			i = len(groups)
			at[name], groups = i, append(groups, nil)
		}
		groups[i] = append(groups[i], p)
	}
	return groups
}

// missed notes that folders of an account and region could not be listed, where the next poll
// may list them. The account and the region are "" where they are not known.
func (p *poll) missed(at region, err error) {
	switch finding.ReasonOf(err) {
	case finding.AccessDenied, finding.NotSearched:
		return
	}
	if errors.Is(err, discover.ErrNothing) || errors.Is(err, discover.ErrNoMatch) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.passing[at] = true
}

// hasAll reports whether all folders of a place were listed in which its chains can lie, those
// aside that cannot be listed.
func (p *poll) hasAll(place trail.Place) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.passing[region{}] && !p.passing[region{account: place.Account}] &&
		!p.passing[region{account: place.Account, region: place.Region}]
}

// finder returns the source's finder, which tells this poll what it finds.
func (p *poll) finder(ctx context.Context) *discover.Finder {
	f := *p.f.judge.Finder
	f.Foreign = func(place trail.Place, o trail.Object, why string) {
		p.fail(p.w.report(ctx, finding.Finding{
			Class: finding.ForeignObject, Detail: why,
			Subject: finding.Subject{
				Account: place.Account, Region: place.Region, Bucket: o.Bucket, Key: o.Key, Time: o.Modified.UTC(),
			},
		}))
	}
	f.Unlistable = func(place trail.Place, folder trail.Object, err error) {
		p.w.metrics.unverifiedBy(finding.ReasonOf(err), 1)
		if errors.Is(err, finding.ErrNotSearched) { // other errors name the folder
			err = fmt.Errorf("list %s: %w", folder, err)
		}
		p.fail(err)
		p.missed(region{account: place.Account}, err)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.hidden[place.Account] = true
		if strings.Contains(folder.Key, "/"+trail.DigestFolder+"/") {
			p.failed[regionOf(place)] = true
		}
	}
	return &f
}

// region lists the digests of one account and region, wherever they lie, and only then
// lets their chains run: where a trail moved, the folder that comes first in the listing
// may hold what comes last.
func (p *poll) region(intake, ctx context.Context, places []discover.Place) error {
	p.mu.Lock()
	isHidden := p.failed[regionOf(places[0].Place)] || p.failed[region{account: places[0].Account}]
	p.mu.Unlock()
	if isHidden {
		return nil // the error is among those of the poll
	}
	chains := map[*chainLoop]bool{}
	for _, place := range places {
		if err := p.place(intake, place, chains); err != nil {
			p.missed(region{account: place.Account, region: place.Region}, err)
			p.mu.Lock()
			p.failed[regionOf(place.Place)] = true
			p.mu.Unlock()
			return err
		}
	}
	for c := range chains {
		p.f.schedule.Add(ctx, c)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, place := range places {
		p.listed[regionOf(place.Place)] = true
	}
	return nil
}

// letChainsJudge lets the chains run whose folders this poll has listed, so that each can
// judge whether it is late. Where a folder could not be listed that the next poll may
// list, the chain may go on there.
func (p *poll) letChainsJudge(ctx context.Context) {
	complete := p.err() == nil
	for _, c := range p.w.chains.list() {
		p.mu.Lock()
		isListed := p.listed[regionOf(c.name.Place)]
		p.mu.Unlock()
		isListed = complete || isListed && p.hasAll(c.name.Place)
		if c.feed != p.f || !isListed {
			continue
		}
		isLate := false
		c.progress.change(func(s *standing) { // meanwhile the head may have moved on
			isLate = p.w.config.isLate(s.head, c.name)
			s.polled = s.polled || isLate
		})
		if isLate {
			p.f.schedule.Add(ctx, c)
		}
	}
}

func (p *poll) sawTrail(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.trails) < maxTrails {
		p.trails[name] = true
	}
}
