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
	listed         *listedSet           // the log files that trusted digests list
	claimed        map[uint64]claim     // the log files that digests list which were not judged
	walked         map[uint64]*strands  // the digests that were walked, with their chain; nil where none is
	unread         hours                // of digests that were not judged
	unreadBackfill hours                // the same, of no place
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

// forget forgets the names between two times that were walked and not proven: a
// digest that was not read then may repeat their signature.
func (s *scope) forget(from, to time.Time) {
	for _, w := range s.walks {
		for _, n := range w.names.between(from, to) {
			if h := s.hash(w.names.ref(n).Object()); s.walked[h] == nil {
				delete(s.walked, h)
			}
		}
	}
}

// chainOf returns the chain that a trusted digest was walked in, or nil.
func (s *scope) chainOf(ref chain.Ref) *strands {
	if c := s.walked[s.hash(ref.Object())]; c != nil {
		return c.root()
	}
	return nil
}

// addUnread notes that a digest was not judged: what its time holds is not known.
func (s *scope) addUnread(d chain.Step) {
	switch {
	case !d.Backfill:
		s.unread.add(d.Place, d.End.Add(-window), d.End)
	case d.Digest == nil: // what it lists is not known either
		s.unreadBackfill.add(trail.Place{}, d.End.Add(-2*window), d.End.Add(window))
	}
}

// hours are the hours of a place that some time touches. Anyone can plant very many
// names, so a question takes as long as its time has hours.
type hours map[placeHour]bool

func (h hours) add(p trail.Place, from, to time.Time) {
	for t := from.Truncate(time.Hour); t.Before(to); t = t.Add(time.Hour) {
		h[placeHour{p, t.Unix()}] = true
	}
}

func (h hours) touches(p trail.Place, from, to time.Time) bool {
	for t := from.Truncate(time.Hour); t.Before(to); t = t.Add(time.Hour) {
		if h[placeHour{p, t.Unix()}] {
			return true
		}
	}
	return false
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
	s.claimed, s.walked = map[uint64]claim{}, map[uint64]*strands{}
	s.unread, s.unreadBackfill = hours{}, hours{}
	s.told, s.named = map[trail.Place]bool{}, map[trail.Place]bool{}
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
	chains := s.chains()
	if len(listings) > 0 {
		// What is read for the sake of single log files changes no other report.
		restore := make([]func(), len(chains))
		for i, c := range chains {
			restore[i] = c.save()
		}
		asked := s.walks
		r.checkUnlisted(ctx, &s, listings)
		s.walks = asked
		for _, f := range restore {
			f()
		}
	}
	for _, c := range chains {
		c.isPartial = !s.isComplete
	}
	r.keep(s.walks, chains)
	return ctx.Err()
}

// walkNames walks the chains of a scope, trail by trail: one chain of a trail can
// lead into the names that it has below another organization or none, so what came
// before is looked for only when all chains of the trail are known.
func (r *run) walkNames(ctx context.Context, s *scope, all []*names) error {
	next, stop := r.readFew(ctx, all, s.read)
	defer stop()
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].trail.Trail == all[0].trail.Trail && all[n].trail.HomeRegion == all[0].trail.HomeRegion {
			n++
		}
		if err := r.walkTrail(ctx, s, all[:n], next); err != nil {
			return err
		}
		clear(all[:n]) // anyone can plant very many
		all = all[n:]
	}
	return nil
}

// walkTrail walks the chains of one trail.
func (r *run) walkTrail(ctx context.Context, s *scope, all []*names, next nextFew) error {
	walks := make([]*walk, len(all))
	for i, n := range all {
		w := r.newWalk(s, n)
		walks[i] = w
		e := extent{lower: s.read.lower, upper: n.upper(s.read)}
		if few := n.between(e.lower, e.upper); len(few) <= maxFew {
			w.ahead.beginShared(few, next)
		} else {
			w.ahead.begin(ctx, w.pending(e.lower, e.upper), aheadMost)
		}
		if err := w.passBegun(ctx, e); err != nil {
			return err
		}
	}
	for _, look := range []func(*walk, context.Context, extent) error{(*walk).lookUp, (*walk).lookBack} {
		for _, w := range walks {
			if err := look(w, ctx, s.read); err != nil {
				return err
			}
		}
	}
	for _, w := range walks {
		if w.finish(ctx); len(w.chains) == 0 {
			r.keepUnproven(w)
			continue
		}
		s.walks = append(s.walks, w)
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

// chains returns the chains of all walks, those that became parts of others
// included.
func (s *scope) chains() (all []*strands) {
	for _, w := range s.walks {
		all = append(all, w.chains...)
	}
	return all
}

// keep keeps what the report needs of a scope.
func (r *run) keep(walks []*walk, chains []*strands) {
	for _, c := range chains {
		if c.joined == nil {
			r.mu.Lock()
			r.chains = append(r.chains, c)
			r.mu.Unlock()
		}
	}
	for _, w := range walks {
		if w.stray.joined == nil {
			r.keepUnproven(w)
		}
	}
}
