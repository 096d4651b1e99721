package verify

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/trail"
)

// site is a bucket and a place in which listings show names.
type site struct {
	bucket string
	place  trail.Place
}

// sites numbers the sites of a scope.
type sites []site

// number returns the number of a site and adds it where it is new.
func (s *sites) number(of site) int {
	if i := slices.Index(*s, of); i >= 0 {
		return i
	}
	*s = append(*s, of)
	return len(*s) - 1
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
	s := (*n.sites)[at.site()]
	c := n.trail
	c.Place = s.place
	return chain.Ref{DigestKey: c.Digest(at.end()), Bucket: s.bucket}
}

// isListed reports whether a site was listed for every trail.
func (n *names) isListed(at site) bool { return slices.Contains((*n.sites)[:n.searched], at) }

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

// newest returns the end of the newest name that ends not after a time, and
// whether there is one.
func (n *names) newest(until time.Time) (time.Time, bool) {
	if list := n.between(time.Time{}, until); len(list) > 0 {
		return list[0].end(), true
	}
	return time.Time{}, false
}

// listNames lists the digest folders of a scope's places. The folders are listed
// whole: a chain that ended long ago is known by its old digests alone. A place
// that cannot be listed is told; complete is then false.
func (r *run) listNames(ctx context.Context, s *scope) (all []*names, complete bool) {
	byTrail := map[string]*names{}
	complete = true
	for _, p := range s.places {
		r.mu.Lock()
		isHidden := r.hidden[trail.Place{Organization: p.Organization, Account: p.Account}]
		r.mu.Unlock()
		complete = complete && !isHidden
		if !p.Digests {
			continue
		}
		seen := 0
		at := s.sites.number(site{r.cfg.Source.Signed(), p.Place})
		err := r.finder.EachDigest(ctx, r.cfg.Source.Signed(), p, time.Time{}, func(d discover.Digest) bool {
			if seen++; d.End.Unix() > 0 {
				addName(byTrail, &s.sites, d, at)
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
		if seen == 0 && len(r.cfg.Trails) == 0 {
			s.told[p.Place] = true
			r.absent(p.Account, p.Region, "the digest folder does not hold a digest")
		}
	}
	for _, n := range byTrail {
		n.searched = len(s.sites)
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

func addName(byTrail map[string]*names, sites *sites, d discover.Digest, at int) {
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
		n.trail = trail.Chain{Trail: strings.Clone(d.Trail), HomeRegion: strings.Clone(d.HomeRegion), Backfill: d.Backfill}
		n.trail.Organization = (*sites)[at].place.Organization
		byTrail[string(k)] = n
	}
	n.all = append(n.all, newName(d.End, at))
}
