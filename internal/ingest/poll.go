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
	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/internal/source"
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

// pollState is what the poller of a source remembers between polls.
type pollState struct {
	reached      time.Time // when the last poll in full began
	tellSelected bool      // what was asked for and is not there was told
}

// pollAll lists a source again and again. New accounts and regions are found that way. A
// run that ends by itself lists once and tries again what failed; what was found is
// followed all the same. Polling ends with intake. The chains run until ctx ends.
func (w *Worker) pollAll(intake, ctx context.Context, f *feed) error {
	for try := 0; ; try++ {
		err := w.poll(intake, ctx, f)
		if err == nil && w.policy.Tries > 0 {
			err = w.pollRest(intake, ctx, f)
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

// pollRest polls again until all names that were left out had room, because too many wait for
// a proof. A run that ends by itself has no next poll. The error says how many names could not
// be judged.
func (w *Worker) pollRest(intake, ctx context.Context, f *feed) error {
	for at := ""; f.nextName() > at; {
		at = f.nextName()
		f.schedule.waitIdle(intake)
		if err := w.poll(intake, ctx, f); err != nil {
			return err
		}
	}
	if left := f.leftOut(); left > 0 {
		return fmt.Errorf("%d names of digests could not be judged: %w", left, errNoRoom)
	}
	return nil
}

// nextName returns the first name that the last poll left out after those before it, "" for
// none.
func (f *feed) nextName() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.next
}

// leftOut returns how many names the last poll left out.
func (f *feed) leftOut() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, names := range f.dropped {
		n += names
	}
	return n
}

// polled remembers how the last poll went.
func (f *feed) polled(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err = err; err != nil {
		f.err = fmt.Errorf("source %s: %w", f.source.Name, err)
	}
}

// poll is one listing of a source. It is safe for concurrent use.
type poll struct {
	w      *Worker
	f      *feed
	began  time.Time
	isFull bool // it reaches back

	mu       sync.Mutex // guards what follows
	errs     []error    // the first maxErrs
	failures int
	hidden   map[string]bool // accounts with folders that could not be listed
	passing  map[string]bool // the same, where the next poll may list them
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

// poll lists a source and adds the digests that it shows to the frontiers of their chains.
func (w *Worker) poll(intake, ctx context.Context, f *feed) error {
	now := w.config.Now()
	isFull := w.policy.Tries > 0 || f.polls.reached.IsZero() || now.Sub(f.polls.reached) >= reachEvery
	p := &poll{
		w: w, f: f, began: now, isFull: isFull, hidden: map[string]bool{}, passing: map[string]bool{},
		listed: map[region]bool{}, failed: map[region]bool{}, trails: map[string]bool{},
	}
	f.beginNames()
	found, err := p.places(intake)
	if err != nil {
		return err
	}
	groups := byRegion(found.Places)
	places := map[region][]discover.Place{}
	for _, group := range groups {
		for _, place := range group {
			places[regionOf(place.Place)] = append(places[regionOf(place.Place)], place)
		}
	}
	f.mu.Lock()
	f.places = places
	f.mu.Unlock()
	g := new(errgroup.Group)
	g.SetLimit(listingsAtOnce)
	for _, group := range groups {
		g.Go(func() error {
			p.fail(p.region(intake, ctx, group))
			return nil
		})
	}
	_ = g.Wait() // p has the errors
	p.letChainsJudge(ctx)
	p.tellTrails()
	p.tellDropped()
	if err := p.remember(intake, found); err != nil {
		p.fail(err)
	}
	return p.err()
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
	f := *p.f.finder
	f.Foreign = func(place trail.Place, o trail.Object, why string) {
		p.fail(p.w.report(ctx, finding.Finding{
			Class: finding.ForeignObject, Detail: why,
			Subject: finding.Subject{
				Account: place.Account, Region: place.Region, Bucket: o.Bucket, Key: o.Key, Time: o.Modified.UTC(),
			},
		}))
	}
	f.Unlistable = func(place trail.Place, folder trail.Object, err error) {
		p.w.metrics.unverifiedBy(finding.ReasonOf(err))
		if errors.Is(err, finding.ErrNotSearched) { // other errors name the folder
			err = fmt.Errorf("list %s: %w", folder, err)
		}
		p.fail(err)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.hidden[place.Account] = true
		if reason := finding.ReasonOf(err); reason != finding.AccessDenied && reason != finding.NotSearched {
			p.passing[place.Account] = true
		}
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
			p.mu.Lock()
			p.failed[regionOf(place.Place)] = true
			p.mu.Unlock()
			return err
		}
	}
	for c := range chains {
		p.f.schedule.add(ctx, c)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, place := range places {
		p.listed[regionOf(place.Place)] = true
	}
	return nil
}

// place lists a place's digests and adds them to the frontiers of their chains.
func (p *poll) place(ctx context.Context, place discover.Place, chains map[*chainLoop]bool) error {
	until := p.w.config.Now().Add(window)
	past := place.Day(trail.DigestFolder, until.AddDate(0, 0, 1))
	oldest := earlier(p.began.Add(-reach), p.reaches(place)) // of backfill digests
	hasDigests := false
	own := map[trail.Chain]*chainLoop{}
	err := p.finder(ctx).EachDigest(ctx, p.f.source.Signed(), place, p.from(place), func(d discover.Digest) bool {
		switch {
		case d.Day(trail.DigestFolder, d.End) >= past:
			return false
		case d.End.After(until) || p.f.isRefuted(d.DigestKey):
			return true
		case d.Backfill && d.End.Before(oldest):
			return true // older ones come by message only
		}
		hasDigests = true
		p.sawTrail(d.Trail)
		if !p.w.isSelected(d.Chain) {
			return true
		}
		c := own[d.Chain]
		if c == nil {
			var err error
			if c, err = p.w.loop(p.f, d.Chain, follow.Listed); err != nil {
				return true // counted, and told in the end
			}
			own[d.Chain], chains[c] = c, true
			if d.Backfill {
				c.update(func(s *progress) { s.sweep = oldest })
			}
		}
		c.frontier.Add(c.snapshot().head, follow.Known{Ref: d}, follow.Listed, nil)
		return p.isFull && p.w.config.Until.IsZero() || !areFull(own, d.End)
	})
	if err != nil || hasDigests || !place.Logs || p.hasChain(place.Place) {
		return err
	}
	return p.withoutDigests(ctx, place)
}

// areFull reports whether a day folder has nothing to add to any of the chains.
func areFull(chains map[trail.Chain]*chainLoop, end time.Time) bool {
	for _, c := range chains {
		if !c.frontier.Full(end.Add(-24 * time.Hour)) {
			return false
		}
	}
	return true
}

// from returns the day from which a place's digests are listed.
func (p *poll) from(place discover.Place) time.Time {
	if !p.w.config.Until.IsZero() {
		return day(p.w.config.Since)
	}
	from, oldest := p.w.config.Now().Add(-window), time.Time{}
	for _, c := range p.w.chainsOf(p.f, place.Place) {
		s := c.snapshot()
		h := s.head
		if !s.isKnown {
			return time.Time{}
		}
		if c.name.Backfill || h.Ended || h.Until().IsZero() {
			continue
		}
		if oldest.IsZero() || h.Cursor.Before(oldest) {
			oldest = h.Cursor
		}
	}
	if !oldest.IsZero() {
		from = earlier(from, oldest)
	}
	if p.isFull || oldest.IsZero() {
		from = earlier(from, p.w.config.Now().Add(-reach))
	}
	return day(earlier(from, p.reaches(place)))
}

// reaches returns how far back a place is listed, whatever the heads of its chains are. Backfill
// digests that end before come by message only.
func (p *poll) reaches(place discover.Place) time.Time {
	p.f.mu.Lock()
	listed := p.f.listings.Last(place.Place)
	p.f.mu.Unlock()
	switch {
	case listed.IsZero():
		return p.f.since(p.w.config.Since)
	case p.isFull:
		return listed.Add(-reach) // what came while no worker ran
	}
	return p.began
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// chainsOf returns the chains of a place's account and region that are followed.
func (w *Worker) chainsOf(f *feed, p trail.Place) []*chainLoop {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.byRegion[feedRegion{f, p.Account, p.Region}])
}

func (p *poll) hasChain(place trail.Place) bool { return len(p.w.chainsOf(p.f, place)) > 0 }

// withoutDigests reports a place that has log files in the asked time and no digests. The
// digest of a log file that came within the grace and an hour may still come.
func (p *poll) withoutDigests(ctx context.Context, place discover.Place) error {
	due := p.began.Add(-p.w.config.Grace - window)
	for _, root := range place.Roots {
		folder := root + place.Folder(trail.LogFolder)
		after := root + place.Day(trail.LogFolder, p.w.config.Since)
		for o, err := range p.f.objects.List(ctx, p.f.source.Signed(), folder, after) {
			if err != nil {
				return err
			}
			if u := p.w.config.Until; !u.IsZero() && o.Key >= root+place.Day(trail.LogFolder, u.AddDate(0, 0, 1)) {
				break // it is not of the asked time
			}
			if discover.IsMarker(o) || p.cameAt(root, o).After(due) {
				continue
			}
			return p.w.report(ctx, finding.Finding{
				Class: finding.Coverage,
				Subject: finding.Subject{
					Account: place.Account, Region: place.Region, Bucket: p.f.source.Signed(), Key: folder,
				},
				Detail: "log files, and no digests: switch validation on (aws cloudtrail update-trail --enable-log-file-validation)",
			})
		}
	}
	return nil
}

// cameAt returns when a listed log file came. In a copy that is not known, and it is the
// time in the file's name, where it has one.
func (p *poll) cameAt(root string, o trail.Object) time.Time {
	if p.f.source.IsCopy() {
		logical, _ := source.Logical(o.Key[len(root):])
		if key, err := trail.ParseLogKey(logical); err == nil {
			return key.Stamp
		}
	}
	return o.Modified
}

// letChainsJudge lets the chains run whose folders this poll has listed, so that each can
// judge whether it is late. Where a folder could not be listed that the next poll may
// list, the chain may go on there.
func (p *poll) letChainsJudge(ctx context.Context) {
	complete := p.err() == nil
	for _, c := range p.w.all() {
		if c.feed != p.f || c.name.Backfill {
			continue
		}
		p.mu.Lock()
		isListed := complete || p.listed[regionOf(c.name.Place)] && !p.passing[""] && !p.passing[c.name.Account]
		p.mu.Unlock()
		h := c.snapshot().head
		if !isListed || h.Until().IsZero() || h.LateTold || p.w.config.Now().Sub(h.Until()) <= p.w.config.Grace+window {
			continue
		}
		c.update(func(s *progress) { s.polled = true })
		p.f.schedule.add(ctx, c)
	}
}

// tellSelected logs once which of the accounts and regions that were asked for the source
// does not have, and what it has.
func (p *poll) tellSelected(found discover.Found) {
	if p.f.polls.tellSelected {
		return
	}
	p.f.polls.tellSelected = true
	for _, s := range []struct {
		flag        string
		asked, have []string
	}{{"--account", p.w.config.Accounts, found.Accounts}, {"--region", p.w.config.Regions, found.Regions}} {
		for _, name := range s.asked {
			if !slices.Contains(s.have, name) {
				p.w.config.Log.Warn(fmt.Sprintf("no chain matches %s %s", s.flag, name),
					"source", p.f.source.Name, "found", strings.Join(s.have[:min(len(s.have), 20)], ", "))
			}
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

// tellTrails logs, at the first full poll, which of the trails that were asked for the
// source does not have, and what it has.
func (p *poll) tellTrails() {
	if !p.f.polls.reached.IsZero() || p.err() != nil {
		return
	}
	have := slices.Sorted(maps.Keys(p.trails))
	for _, name := range p.w.config.Trails {
		if !p.trails[name] {
			p.w.config.Log.Warn("no chain matches --trail "+name,
				"source", p.f.source.Name, "found", strings.Join(have[:min(len(have), 20)], ", "))
		}
	}
}

// tellDropped logs the places whose names of chains were left out.
func (p *poll) tellDropped() {
	p.f.mu.Lock()
	dropped := maps.Clone(p.f.dropped)
	p.f.mu.Unlock()
	for at, n := range dropped {
		p.w.metrics.unverifiedBy(finding.NotSearched)
		p.w.config.Log.Warn("names of chains are left to the next poll: too many wait for a proof",
			"source", p.f.source.Name, "account", at.account, "region", at.region, "names", n, "bound", maxUnproven)
	}
}
