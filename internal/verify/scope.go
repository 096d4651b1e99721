package verify

import (
	"context"
	"hash/maphash"
	"time"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/trail"
)

// scope is an account and region with all the places it has: a trail whose prefix
// was changed, or that became an organization's, goes on in another place.
type scope struct {
	account, region string
	places          []discover.Place

	// Owned by the goroutine that verifies the scope.
	sites          *sites
	walks          []*walk
	listed         *listedSet          // the log files that trusted digests list
	claimed        map[uint64]struct{} // the log files that digests list which were not judged
	walked         map[uint64]*strands // the digests that were walked, with their chain; nil where none is
	unread         map[trail.Place]bool
	unreadBackfill timeline
	named          map[trail.Place]bool // listings show names of digests there
	told           map[trail.Place]bool // it was reported that no digest covers the place
	read           extent               // the digests that were read so far
	seed           maphash.Seed
	isComplete     bool // every digest folder was listed
}

func scopesOf(places []discover.Place) []scope {
	type id struct{ account, region string }
	var all []scope
	index := map[id]int{} // an organization has a hundred thousand
	for _, p := range places {
		n := id{p.Account, p.Region}
		i, ok := index[n]
		if !ok {
			i = len(all)
			index[n] = i
			all = append(all, scope{account: p.Account, region: p.Region})
		}
		all[i].places = append(all[i].places, p)
	}
	return all
}

func (s *scope) hash(o trail.Object) uint64 { return maphash.String(s.seed, o.Bucket+"/"+o.Key) }

// walk notes that a digest was walked, and as part of which chain.
func (s *scope) walk(ref chain.Ref, c *strands) { s.walked[s.hash(ref.Object())] = c }

func (s *scope) isWalked(ref chain.Ref) bool {
	_, done := s.walked[s.hash(ref.Object())]
	return done
}

// chainOf returns the chain that a trusted digest was walked in, or nil.
func (s *scope) chainOf(ref chain.Ref) *strands {
	if c := s.walked[s.hash(ref.Object())]; c != nil {
		return c.root()
	}
	return nil
}

// addUnreadBackfill notes that a backfill digest was not judged: what it lists is not
// known.
func (s *scope) addUnreadBackfill(end time.Time) {
	s.unreadBackfill.add(end.Add(-2*window), end.Add(window), report.Unverified)
}

// isWalkedInto reports whether the chain of other names leads to one of these.
func (s *scope) isWalkedInto(n *names) bool {
	for _, at := range n.all {
		if s.chainOf(n.ref(at)) != nil {
			return true
		}
	}
	return false
}

// scope verifies everything of one account and region.
func (r *run) scope(ctx context.Context, s scope) error {
	s.seed, s.sites = maphash.MakeSeed(), new(sites)
	s.listed = newListedSet(s.seed)
	s.claimed, s.walked = map[uint64]struct{}{}, map[uint64]*strands{}
	s.unread, s.told, s.named = map[trail.Place]bool{}, map[trail.Place]bool{}, map[trail.Place]bool{}
	s.read = extent{lower: r.cfg.Start, upper: r.cfg.End.Add(lookAhead)}
	var all []*names
	all, s.isComplete = r.listNames(ctx, &s)
	var listings []*logObjects
	for _, p := range s.places {
		if !r.cfg.NoUnlisted && p.Logs {
			for _, folder := range p.Folders(trail.LogFolder) {
				l := r.listLogs(ctx, p, folder)
				defer l.stop()
				listings = append(listings, l)
			}
		}
	}
	if err := r.walkNames(ctx, &s, all); err != nil {
		return err
	}
	if len(listings) > 0 {
		r.checkUnlisted(ctx, &s, listings)
	}
	r.keep(&s)
	return ctx.Err()
}

// walkNames walks the chains of a scope. What came before them is looked for only
// when all are known, since one chain can lead into the names of another.
func (r *run) walkNames(ctx context.Context, s *scope, all []*names) error {
	next, stop := r.readFew(ctx, all, s.read)
	defer stop()
	for i, n := range all {
		w := r.newWalk(s, n)
		e := extent{lower: s.read.lower, upper: n.upper(s.read)}
		if few := n.between(e.lower, e.upper); len(few) <= maxFew {
			w.ahead.beginShared(few, next)
		} else {
			w.ahead.begin(ctx, w.pending(e.lower, e.upper), aheadMost)
		}
		if err := w.passBegun(ctx, e); err != nil {
			return err
		}
		if len(w.chains) == 0 && len(n.between(time.Time{}, s.read.lower)) == 0 {
			if err := w.lookAbove(ctx, s.read); err != nil {
				return err
			}
		}
		if len(w.chains) == 0 && len(n.between(time.Time{}, s.read.lower)) == 0 {
			w.finish(ctx)
			r.keepUnproven(w) // there may be very many
			all[i] = nil
			continue
		}
		s.walks = append(s.walks, w)
	}
	for _, w := range s.walks {
		if err := w.lookBack(ctx, s.read); err != nil {
			return err
		}
		if len(w.chains) == 0 && !s.isWalkedInto(w.names) {
			if err := w.lookAbove(ctx, s.read); err != nil {
				return err
			}
		}
		if err := w.lookBeyondEnds(ctx, s.read); err != nil {
			return err
		}
	}
	for _, w := range s.walks {
		w.finish(ctx)
	}
	return nil
}

// maxUnproven bounds the rows of the report for trails without a trusted digest.
const maxUnproven = 1000

// keepUnproven keeps the counts of names that belong to no chain.
func (r *run) keepUnproven(w *walk) {
	if w.stray.digests == (report.Count{}) || w.names.isSilent {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.unproven) < maxUnproven {
		r.unproven = append(r.unproven, w.stray)
		return
	}
	r.more.Add(w.stray.digests)
}

// keep keeps what the report needs of a scope.
func (r *run) keep(s *scope) {
	for _, w := range s.walks {
		for _, c := range w.chains {
			if c.joined == nil {
				c.isPartial = !s.isComplete
				r.mu.Lock()
				r.chains = append(r.chains, c)
				r.mu.Unlock()
			}
		}
		if w.stray.joined == nil {
			r.keepUnproven(w)
		}
	}
}
