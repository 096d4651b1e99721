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

	reached      time.Time // when the last poll in full began
	toldSelected bool      // what was asked for and is not there was told

	mu    sync.Mutex           // guards begun
	begun map[trail.Place]bool // places of which this run has listed all digests
}

func newPoller(w *Worker, f *feed) *poller {
	return &poller{worker: w, feed: f, begun: map[trail.Place]bool{}}
}

// begin notes that all digests of a place were listed.
func (p *poller) begin(place trail.Place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun[place] = true
}

// hasBegun reports whether this run has listed all digests of a place before.
func (p *poller) hasBegun(place trail.Place) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.begun[place]
}

// keep forgets the places that are gone.
func (p *poller) keep(isThere map[trail.Place]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.begun, func(place trail.Place, _ bool) bool { return !isThere[place] })
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
		found:  newCoverage(),
	}
	f.leaveOutOfRecord(w.chains.unplaced(f)) // before they are forgotten
	w.chains.beginPoll(f)
	found, err := once.places(intake)
	if err != nil {
		f.setSearch(once.found)
		return err
	}
	places, isThere := map[region][]discover.Place{}, map[trail.Place]bool{}
	for _, place := range found.Places {
		isThere[place.Place] = true
		once.found.find(place.Place)
		places[regionOf(place.Place)] = append(places[regionOf(place.Place)], place)
	}
	f.setPlaces(places)
	f.setSearch(once.found)
	p.keep(isThere)
	g := new(errgroup.Group)
	g.SetLimit(listingsAtOnce)
	for _, group := range byRegion(found.Places) {
		g.Go(func() error {
			once.found.fail(once.region(intake, ctx, group))
			return nil
		})
	}
	_ = g.Wait() // once has the errors
	once.letChainsJudge(ctx)
	if p.reached.IsZero() && once.found.err() == nil { // of the first that listed all
		tellTrails(w, f, once.found.trails)
	}
	tellDropped(w, f)
	if err := once.remember(intake, found); err != nil {
		once.found.fail(err)
	}
	return once.found.err()
}

// poll is one listing of a source. It is safe for concurrent use.
type poll struct {
	w      *Worker
	f      *feed
	poller *poller
	began  time.Time
	isFull bool // it reaches back
	found  *coverage
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

// finder returns the source's finder, which tells this poll what it finds.
func (p *poll) finder(ctx context.Context) *discover.Finder {
	f := *p.f.judge.Finder
	f.Foreign = func(place trail.Place, o trail.Object, why string) {
		p.found.fail(p.w.report(ctx, finding.Finding{
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
		p.found.fail(err)
		p.found.hide(place, err)
		if strings.Contains(folder.Key, "/"+trail.DigestFolder+"/") {
			if p.f.source.IsCopy() {
				place.Prefix = ""
			}
			p.found.failed(place)
		}
	}
	return &f
}

// region lists the digests of one account and region, wherever they lie, and only then
// lets their chains run: where a trail moved, the folder that comes first in the listing
// may hold what comes last. Where a folder cannot be listed that the next poll may list, the
// chains wait for that. A folder that can never be listed does not hold up the others.
func (p *poll) region(intake, ctx context.Context, places []discover.Place) error {
	if slices.ContainsFunc(places, func(place discover.Place) bool { return p.found.mayList(place.Place) }) {
		return nil // the error is among those of the poll
	}
	chains := map[*chainLoop]bool{}
	for _, place := range places {
		if p.found.hasFailed(place.Place) {
			continue
		}
		err := p.place(intake, place, chains)
		if err == nil {
			continue
		}
		p.found.missed(region{account: place.Account, region: place.Region}, err)
		p.found.failed(place.Place)
		if !isForGood(err) {
			for _, other := range places {
				p.found.failed(other.Place)
			}
			return err
		}
		p.found.fail(err)
	}
	for c := range chains {
		p.f.schedule.Add(ctx, c)
	}
	for _, place := range places {
		p.found.list(place.Place)
	}
	return nil
}

// letChainsJudge lets the chains run whose folders this poll has listed, so that each can
// judge whether it is late. Where a folder could not be listed that the next poll may
// list, the chain may go on there. What came after the poll began may not have been listed.
func (p *poll) letChainsJudge(ctx context.Context) {
	for _, c := range p.w.chains.list() {
		if c.feed != p.f || !p.found.hasListed(c.name.Place) {
			continue
		}
		isLate := false
		c.progress.change(func(s *standing) { // meanwhile the head may have moved on
			isLate = p.w.config.isLate(s.head, c.name, p.began)
			s.polled = s.polled || isLate
		})
		if isLate {
			p.f.schedule.Add(ctx, c)
		}
	}
}
