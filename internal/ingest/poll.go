package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// lookBack is how many days of a place's digests each look lists: backfill
// digests come late, and a chain's head may be that old.
const lookBack = 7 * 24 * time.Hour

// pollAll looks at a source again and again. New accounts and regions appear
// by themselves. A run that ends by itself looks once, tries again what failed,
// and tells in the end: the rest is followed all the same.
func (w *Worker) pollAll(ctx context.Context, s *feed) error {
	for try := 0; ; try++ {
		err := w.poll(ctx, s)
		w.looked(s, err)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ErrHalt):
			return ErrHalt
		case w.Once && (err == nil || try+1 >= onceTries || errors.Is(err, discover.ErrNothing) || errors.Is(err, discover.ErrNoMatch)):
			return nil
		case err != nil:
			w.Log.Warn("source cannot be listed", "source", s.Name, "error", err)
		}
		rest := func() error { return sleep(ctx, w.Poll) }
		if w.Once {
			rest = func() error { return pause(ctx, try) }
		}
		if err := rest(); err != nil {
			return err
		}
	}
}

// looked remembers how the last look at a source went.
func (w *Worker) looked(s *feed, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.err = err; err != nil {
		s.err = fmt.Errorf("source %s: %w", s.Name, err)
	}
}

// poll announces every digest that the source's listings show.
func (w *Worker) poll(ctx context.Context, s *feed) error {
	l := &look{Worker: w, source: s, ctx: ctx, seen: map[[2]string]bool{}, trails: map[string]bool{}}
	defer l.recallOnce()()
	found, err := l.finder().Places(ctx)
	if err != nil {
		return err
	}
	l.tellFilters(found)
	places := found.Places
	if len(places) == 0 && l.err == nil {
		return found.Absent()
	}
	g := new(errgroup.Group)
	g.SetLimit(listingsAtOnce)
	for _, near := range sameRegion(places) {
		g.Go(func() error {
			l.failed(l.announce(near))
			return nil
		})
	}
	_ = g.Wait()
	l.failed(l.checkLate())
	l.tellTrails()
	return l.err
}

// recallOnce recalls the chains of earlier runs, in each look until all could
// be. They are followed when follow is called, after what else the look shows
// and however it ends.
func (l *look) recallOnce() (follow func()) {
	if l.source.recalled {
		return func() {}
	}
	all, err := l.recall(l.ctx, l.source)
	l.failed(err)
	l.source.recalled = err == nil
	return func() {
		for _, f := range all {
			l.kick(l.ctx, f)
		}
	}
}

// tellFilters says once which of the accounts and regions that were asked for the
// source does not have, and what it has.
func (l *look) tellFilters(found discover.Found) {
	if l.source.filtersTold {
		return
	}
	l.source.filtersTold = true
	for _, f := range []struct {
		flag        string
		asked, have []string
	}{{"--account", l.Accounts, found.Accounts}, {"--region", l.Regions, found.Regions}} {
		for _, name := range f.asked {
			if !slices.Contains(f.have, name) {
				l.Log.Warn(fmt.Sprintf("no chain matches %s %s", f.flag, name), "source", l.source.Name, "found", strings.Join(f.have[:min(len(f.have), 20)], ", "))
			}
		}
	}
}

// tellTrails says once which of the trails that were asked for the source does not
// have, and what it has.
func (l *look) tellTrails() {
	if l.source.trailsTold || l.err != nil {
		return
	}
	l.source.trailsTold = true
	have := slices.Sorted(maps.Keys(l.trails))
	for _, name := range l.Trails {
		if !l.trails[name] {
			l.Log.Warn("no chain matches --trail "+name, "source", l.source.Name, "found", strings.Join(have[:min(len(have), 20)], ", "))
		}
	}
}

const listingsAtOnce = 16

// sameRegion groups places by account and region: a trail that changed its
// prefix has its chain in several of them.
func sameRegion(places []discover.Place) (groups [][]discover.Place) {
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

// look is one look at a source.
type look struct {
	*Worker
	source *feed
	ctx    context.Context

	mu     sync.Mutex // guards what follows
	err    error
	hidden map[string]bool    // accounts with digest folders that cannot be listed
	seen   map[[2]string]bool // accounts and regions whose digests were listed, all of them
	trails map[string]bool    // names of trails that were listed
}

// maxTrails bounds the names of trails that are remembered: anyone can plant them.
const maxTrails = 1000

func (l *look) sawTrail(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.trails) < maxTrails {
		l.trails[name] = true
	}
}

func (l *look) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = errors.Join(l.err, err)
}

// finder returns the source's finder, which tells this look what it meets.
func (l *look) finder() *discover.Finder {
	f := *l.source.finder
	f.Foreign = func(p trail.Place, o trail.Object, why string) { l.failed(l.foreign(l.ctx, p, o, why)) }
	f.Unlistable = func(p trail.Place, folder trail.Object, err error) {
		l.m.unverified.WithLabelValues(string(finding.ReasonOf(err))).Inc()
		if errors.Is(err, finding.ErrNotSearched) { // other errors name the folder
			err = fmt.Errorf("list %s: %w", folder, err)
		}
		l.failed(err)
		if strings.Contains(folder.Key, "/"+trail.DigestFolder+"/") {
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.hidden == nil {
				l.hidden = map[string]bool{}
			}
			l.hidden[p.Account] = true
		}
	}
	return &f
}

// announce announces the digests of one account and region, wherever they
// lie, and only then lets their chains be followed: where a trail moved, the
// folder that comes first in the listing may hold what comes last.
func (l *look) announce(places []discover.Place) error {
	l.mu.Lock()
	hidden := l.hidden[places[0].Account]
	l.mu.Unlock()
	if hidden {
		return nil // the error is there
	}
	chains := map[*follower][]discover.Digest{}
	for _, p := range places {
		if err := l.list(p, chains); err != nil {
			return err
		}
	}
	for f, digests := range chains {
		for _, d := range digests {
			f.announce(d, nil)
		}
	}
	for f := range chains {
		l.kick(l.ctx, f)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen[[2]string{places[0].Account, places[0].Region}] = true
	return nil
}

// list adds a place's digests to those of their chains.
func (l *look) list(p discover.Place, chains map[*follower][]discover.Digest) error {
	until := l.Now().Add(window)
	from := day(l.listFrom(p))
	found, err := l.finder().Digests(l.ctx, l.source.Signed(), p, from, until)
	if err != nil {
		return err
	}
	if len(found) == 0 && p.Logs {
		return l.withoutDigests(l.ctx, l.source, p)
	}
	begin := from
	for name := range found {
		// Listings are by the day, and what is to come begins after what was reached.
		at := day(l.follower(l.source, bare(name)).reached(l.ctx).Add(1))
		if !name.Backfill && at.Before(begin) && wanted(l.Trails, name.Trail) {
			begin = at // a chain that an earlier run left behind
		}
	}
	if begin.Before(from) {
		if found, err = l.finder().Digests(l.ctx, l.source.Signed(), p, begin, until); err != nil {
			return err
		}
	}
	for name, digests := range found {
		l.sawTrail(name.Trail)
		if wanted(l.Trails, name.Trail) {
			f := l.follower(l.source, bare(name))
			chains[f] = append(chains[f], digests...)
		}
	}
	l.Worker.mu.Lock()
	defer l.Worker.mu.Unlock()
	l.source.listed[p.Place] = true
	return nil
}

// day returns when the day of t begins.
func day(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

// listFrom returns the day from which a place's digests are listed: that of
// the oldest head there, some days at least, and all since Since where the
// place was not listed before in this run.
func (l *look) listFrom(p discover.Place) time.Time {
	from := l.Now().Add(-lookBack)
	l.Worker.mu.Lock()
	before := l.source.listed[p.Place]
	l.Worker.mu.Unlock()
	if !before && l.Since.Before(from) {
		from = l.Since
	}
	for _, f := range l.followers() {
		if f.source != l.source || f.name.Account != p.Account || f.name.Region != p.Region || f.name.Backfill {
			continue
		}
		f.mu.Lock()
		at := f.recalled
		if f.loaded {
			at = f.head.Cursor
		}
		f.mu.Unlock()
		if !at.IsZero() && at.Before(from) {
			from = at
		}
	}
	return from
}

// withoutDigests reports a place that has recent logs and no digests.
func (w *Worker) withoutDigests(ctx context.Context, s *feed, p discover.Place) error {
	from := w.Since
	if day := w.Now().Add(-24 * time.Hour); day.After(from) {
		from = day
	}
	for _, root := range p.Roots {
		for o, err := range s.finder.Objects.List(ctx, s.Signed(), root+p.Folder(trail.LogFolder), root+p.Day(trail.LogFolder, from)) {
			if err != nil {
				return err
			}
			if discover.IsMarker(o) {
				continue
			}
			return w.find(ctx, finding.Finding{
				Class:   finding.Coverage,
				Subject: finding.Subject{Account: p.Account, Region: p.Region, Bucket: s.Signed(), Key: root + p.Folder(trail.LogFolder)},
				Detail:  "log files, and no digests: switch validation on (aws cloudtrail update-trail --enable-log-file-validation)",
			})
		}
	}
	return nil
}

// foreign reports an object that has no place where it lies.
func (w *Worker) foreign(ctx context.Context, p trail.Place, o trail.Object, why string) error {
	return w.find(ctx, finding.Finding{
		Class: finding.ForeignObject, Detail: why,
		Subject: finding.Subject{Account: p.Account, Region: p.Region, Bucket: o.Bucket, Key: o.Key, Time: o.Modified.UTC()},
	})
}

// checkLate reports the source's chains whose newest digest is later than the
// grace, once until the next one comes. Judged is only what this look could
// have shown. Whether a chain is followed just now says nothing: the look
// itself has let it be, and all that it is to go to is pending.
func (l *look) checkLate() error {
	var errs []error
	for _, f := range l.followers() {
		if f.source != l.source {
			continue
		}
		f.mu.Lock()
		end, late, idle := f.head.End, f.late, !f.anyPending()
		isLate := !f.name.Backfill && !end.IsZero() && l.Now().Sub(end) > l.Grace+window
		f.late = isLate && late
		f.mu.Unlock()
		if !isLate || late || !idle || l.Once || l.ctx.Err() != nil || !l.showed(f.name) {
			continue
		}
		err := l.find(l.ctx, finding.Finding{
			Class:    finding.Coverage,
			Subject:  finding.Subject{Account: f.name.Account, Region: f.name.Region, Trail: f.name.Trail, Bucket: f.source.Bucket, Time: end},
			Detail:   "no digest after the one that ends at " + end.Format(time.RFC3339) + ": deleted, late, or logging stopped",
			Evidence: finding.Evidence{From: end, To: l.Now().UTC().Truncate(time.Second)},
		})
		errs = append(errs, err)
		f.mu.Lock()
		f.late = err == nil
		f.mu.Unlock()
	}
	return errors.Join(errs...)
}

// showed reports whether the look listed all there is of a chain: its place,
// or everything, with no place of it among that.
func (l *look) showed(c trail.Chain) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err == nil || l.seen[[2]string{c.Account, c.Region}]
}

// bare returns a chain's name without the prefix and organization that its
// files happen to lie below: a trail is known by its name and home region.
func bare(c trail.Chain) trail.Chain {
	c.Prefix, c.Organization = "", ""
	return c
}

// anyPending reports whether a known digest is not dealt with; f.mu is held. A
// chain that has some is behind, and its digests are not late.
func (f *follower) anyPending() bool {
	for key := range f.known {
		if !f.isPast(key) {
			return true
		}
	}
	return false
}

// Pauses between tries of what must succeed some day.
const (
	retryFirst = 200 * time.Millisecond
	retryMost  = 30 * time.Second
)

// pause waits longer after each try, with full jitter.
func pause(ctx context.Context, try int) error {
	most := min(retryFirst<<min(try, 20), retryMost)
	return sleep(ctx, rand.N(most)+most/8)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// counting counts the bytes that are read.
type counting struct {
	fetch.Objects
	m *Metrics
}

func (c counting) Get(ctx context.Context, o trail.Object) (io.ReadCloser, map[string]string, error) {
	body, meta, err := c.Objects.Get(ctx, o)
	if err == nil {
		body = countedBody{body, c.m}
	}
	return body, meta, err
}

type countedBody struct {
	io.ReadCloser
	m *Metrics
}

func (b countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.m.fetched.Add(float64(n))
	return n, err
}
