package verify

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// site is a bucket and a place in which listings show names.
type site struct {
	bucket string
	place  trail.Place
}

// sites numbers the sites of a scope. Reads that are under way ask it while a walk
// adds to it.
type sites struct {
	mu  sync.RWMutex
	all []site
}

// number returns the number of a site and adds it where it is new.
func (s *sites) number(of site) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.all, of); i >= 0 {
		return i
	}
	s.all = append(s.all, of)
	return len(s.all) - 1
}

func (s *sites) at(number int) site {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.all[number]
}

func (s *sites) count() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.all)
}

// hasAmong reports whether a site is one of the first n.
func (s *sites) hasAmong(n int, of site) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Contains(s.all[:n], of)
}

// name is a digest's end and the number of its site in eight bytes: an
// organization's bucket has very many digests, and an attacker can plant more.
// Names compare like their ends.
type name uint64

const siteBits = 20

func newName(end time.Time, site int) name { return name(end.Unix())<<siteBits | name(site) }

func (n name) end() time.Time { return time.Unix(int64(n>>siteBits), 0).UTC() }
func (n name) site() int      { return int(n & (1<<siteBits - 1)) }

// names are all digests that listings show of one trail in one account, region
// and organization.
type names struct {
	trail    trail.Chain // without account, region and prefix
	sites    *sites      // of the scope
	searched int         // so many of the sites were listed for every trail
	all      []name      // newest first
	isSilent bool        // the report leaves it out: the trail was not asked for
}

func (n *names) ref(at name) chain.Ref {
	s := n.sites.at(at.site())
	c := n.trail
	c.Place = s.place
	return chain.Ref{DigestKey: c.Digest(at.end()), Bucket: s.bucket}
}

// isListed reports whether a site was listed for every trail.
func (n *names) isListed(at site) bool { return n.sites.hasAmong(n.searched, at) }

// add adds names. Slices that between returned before do not change.
func (n *names) add(more []name) {
	all := slices.Concat(n.all, more)
	slices.SortFunc(all, func(a, b name) int { return cmp.Compare(b, a) })
	n.all = slices.Compact(all)
}

// has reports whether a listing shows a digest that ends at exactly that time.
func (n *names) has(end time.Time) bool {
	_, there := slices.BinarySearchFunc(n.all, end, func(a name, t time.Time) int { return t.Compare(a.end()) })
	return there
}

// between returns the names that end after from and not after to, newest first.
func (n *names) between(from, to time.Time) []name {
	if !from.Before(to) {
		return nil
	}
	first, _ := slices.BinarySearchFunc(n.all, to, func(a name, t time.Time) int {
		if a.end().After(t) {
			return -1
		}
		return 1
	})
	last, _ := slices.BinarySearchFunc(n.all, from, func(a name, t time.Time) int {
		if a.end().After(t) {
			return -1
		}
		return 1
	})
	return n.all[first:last]
}

// upper returns the upper end of what is read of these names. Where there are few, and
// all lie above, these say when the trail began.
func (n *names) upper(e extent) time.Time {
	if !n.isSilent && len(n.between(time.Time{}, e.upper)) == 0 && len(n.all) <= maxFew {
		return endOfTime()
	}
	return e.upper
}

// endOfTime is later than any digest.
func endOfTime() time.Time { return time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }

// listNames lists the digest folders of a scope's places. The folders are listed
// whole: a chain that ended long ago is known by its old digests alone. A place
// that cannot be listed is told; complete is then false.
func (r *run) listNames(ctx context.Context, s *scope) (all []*names, complete bool) {
	byTrail, regions := map[string]*names{}, map[string]string{}
	complete = true
	for _, p := range s.places {
		if !p.Digests {
			continue
		}
		seen := 0
		at := s.sites.number(site{r.cfg.Source.Signed(), p.Place})
		err := r.finder.EachDigest(ctx, r.cfg.Source.Signed(), p, time.Time{}, func(d discover.Digest) bool {
			if seen++; d.End.Unix() > 0 {
				addName(byTrail, regions, s.sites, d, at)
			}
			return ctx.Err() == nil
		})
		if err != nil {
			complete = false
			for _, n := range byTrail { // a part of a listing does not show where a chain ends
				n.all = slices.DeleteFunc(n.all, func(x name) bool { return x.site() == at })
			}
			r.unsearched.Store(true)
			folder := trail.Object{Bucket: r.cfg.Source.Signed(), Key: p.Folders(trail.DigestFolder)[0]}
			r.doubt(ctx, subject(trail.Chain{Place: p.Place}, folder, r.cfg.Start), err, 0)
			continue
		}
		s.named[p.Place] = seen > 0
		if seen == 0 && len(r.cfg.Trails) == 0 {
			s.told[p.Place] = true
			r.absent(finding.Subject{Account: p.Account, Region: p.Region}, "the digest folder does not hold a digest")
		}
	}
	for _, n := range byTrail {
		n.searched = s.sites.count()
		n.isSilent = !isWanted(r.cfg.Trails, n.trail.Trail)
		if n.isSilent && r.cfg.NoUnlisted || len(n.all) == 0 {
			continue
		}
		slices.SortFunc(n.all, func(a, b name) int { return cmp.Compare(b, a) })
		n.all = slices.Compact(n.all)
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b *names) int {
		return cmp.Or(
			strings.Compare(a.trail.Trail, b.trail.Trail),
			strings.Compare(a.trail.HomeRegion, b.trail.HomeRegion),
			strings.Compare(a.trail.Organization, b.trail.Organization),
			compareBool(a.trail.Backfill, b.trail.Backfill),
		)
	})
	return all, complete
}

// addName adds a name to those of its trail. regions holds one string for each home
// region.
func addName(byTrail map[string]*names, regions map[string]string, sites *sites, d discover.Digest, at int) {
	var key [256]byte // the map is asked once for each digest of a bucket
	k := append(key[:0], d.Organization...)
	k = append(append(k, '/'), d.HomeRegion...)
	k = append(append(k, '/'), d.Trail...)
	if d.Backfill {
		k = append(k, '/')
	}
	n := byTrail[string(k)]
	if n == nil {
		n = &names{sites: sites}
		if regions[d.HomeRegion] == "" {
			home := strings.Clone(d.HomeRegion)
			regions[home] = home
		}
		n.trail = trail.Chain{Trail: strings.Clone(d.Trail), HomeRegion: regions[d.HomeRegion], Backfill: d.Backfill}
		n.trail.Organization = sites.at(at).place.Organization
		byTrail[string(k)] = n
	}
	n.all = append(n.all, newName(d.End, at))
}

// logObjects is a listing of the objects that can hold log files of the asked
// time, made while the chains are walked: its pages come one after the other.
type logObjects struct {
	place  discover.Place
	folder string // the place's log folder that is listed
	found  chan foundObject
	cancel context.CancelFunc
}

type foundObject struct {
	trail.Object
	isOdd bool  // it does not lie in the folder of a day
	err   error // the last of its part of the listing
}

// aheadObjects is how many objects such a listing may be ahead: about a megabyte
// of them.
const aheadObjects = 4096

// listLogs begins to list a log folder of a place: the folders of the range's
// days, of the day before and the day after, and what lies beside such folders. A
// log's folder may be that of the day before or after its stamp. Names sort by
// stamp within a folder, so no more is listed of the first and last folder than
// what is asked for. Its owner calls stop.
func (r *run) listLogs(ctx context.Context, p discover.Place, folder string) *logObjects {
	ctx, cancel := context.WithCancel(ctx)
	l := &logObjects{place: p, folder: folder, found: make(chan foundObject, aheadObjects), cancel: cancel}
	send := func(o foundObject) error {
		select {
		case l.found <- o:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var parts sync.WaitGroup
	if r.cfg.AllFolders {
		parts.Go(func() { r.listAll(ctx, l, send) })
	} else {
		parts.Go(func() { r.listDays(ctx, l, send) })
		parts.Go(func() { r.listOdd(ctx, l, send) })
	}
	go func() {
		parts.Wait()
		close(l.found)
	}()
	return l
}

// listAll sends every object of the folder.
func (r *run) listAll(ctx context.Context, l *logObjects, send func(foundObject) error) {
	for o, err := range r.cfg.Fetcher.Objects.List(ctx, r.cfg.Source.Signed(), l.folder, "") {
		if send(foundObject{Object: o, isOdd: err == nil && !inDay(o.Key[len(l.folder):]), err: err}) != nil ||
			err != nil {
			return
		}
	}
}

// listDays sends the objects in the folders of days.
func (r *run) listDays(ctx context.Context, l *logObjects, send func(foundObject) error) {
	root := strings.TrimSuffix(l.folder, l.place.Folder(trail.LogFolder))
	first := root + logBefore(l.place.Place, r.cfg.Start, -1)
	past := root + logBefore(l.place.Place, r.cfg.End.Add(time.Minute), 1)
	for o, err := range r.cfg.Fetcher.Objects.List(ctx, r.cfg.Source.Signed(), l.folder, first) {
		switch {
		case err == nil && o.Key >= past:
			return
		case err == nil && !inDay(o.Key[len(l.folder):]):
			continue // listOdd sends it
		case send(foundObject{Object: o, err: err}) != nil, err != nil:
			return
		}
	}
}

// inDay reports whether a key below a log folder lies in the folder of a day.
func inDay(key string) bool {
	_, err := time.Parse("2006/01/02/", key[:min(len(key), len("2006/01/02/"))])
	return err == nil
}

// listOdd sends the objects that do not lie in the folder of a day.
func (r *run) listOdd(ctx context.Context, l *logObjects, send func(foundObject) error) {
	bucket := r.cfg.Source.Signed()
	first, last := r.cfg.Start.Add(-24*time.Hour), r.cfg.End.Add(24*time.Hour)
	err := r.finder.Odd(ctx, bucket, l.folder, first, last, func(o trail.Object) error {
		if !strings.HasSuffix(o.Key, "/") {
			return send(foundObject{Object: o, isOdd: true})
		}
		for below, err := range r.cfg.Fetcher.Objects.List(ctx, bucket, o.Key, "") {
			if err != nil {
				return err
			}
			if err := send(foundObject{Object: below, isOdd: true}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		_ = send(foundObject{isOdd: true, err: err})
	}
}

// stop ends the listing and waits for it.
func (l *logObjects) stop() {
	l.cancel()
	for range l.found {
	}
}

// logBefore returns a key that sorts before all logs with a stamp from the minute
// of t on, in the folder of a day that is some days away from the stamp.
func logBefore(p trail.Place, t time.Time, days int) string {
	k := trail.LogKey{Place: p, Stamp: t, Day: t.UTC().AddDate(0, 0, days)}
	return strings.TrimSuffix(k.String(), ".json.gz")
}
