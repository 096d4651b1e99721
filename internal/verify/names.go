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
	isSilent bool        // nothing is reported: the trail was not asked for
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
			r.doubt(ctx, subject(trail.Chain{Place: p.Place}, trail.Object{Bucket: r.cfg.Source.Signed(), Key: p.Folders(trail.DigestFolder)[0]}, r.cfg.Start), err, 0)
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
		return cmp.Or(strings.Compare(a.trail.Trail, b.trail.Trail), strings.Compare(a.trail.HomeRegion, b.trail.HomeRegion),
			strings.Compare(a.trail.Organization, b.trail.Organization), compareBool(a.trail.Backfill, b.trail.Backfill))
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
