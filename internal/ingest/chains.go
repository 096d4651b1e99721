package ingest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/internal/ledger"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// maxUnproven is how many chains of a feed are known without a trusted digest. Anyone who can
// write to the bucket or the queue can make names of chains.
const maxUnproven = 1000

// errNoRoom says that too many names wait for a proof.
var errNoRoom = fmt.Errorf("%d names of chains wait for a proof: %w", maxUnproven, finding.ErrNotSearched)

// chains are the loops of a worker's chains. In the state, and for the operator, a chain
// exists from its first trusted digest on. Before that it is one of a bounded number of names
// that wait for a proof. It is safe for concurrent use.
type chains struct {
	mu       sync.Mutex                  // guards what follows
	followed map[string]*chainLoop       // with a stored head or a trusted digest, by their heads' names
	byRegion map[feedRegion][]*chainLoop // the same, by account and region
	names    map[*feed]*names            // chains without a trusted digest
}

// feedRegion is an account and region of a source, in any organization.
type feedRegion struct {
	feed            *feed
	account, region string
}

// names are the chains of a feed without a trusted digest.
type names struct {
	loops   map[string]*chainLoop // by their heads' names
	dropped map[region]int        // names that had no room, since the last poll began
	// resume is the first name that the last poll left out. This poll begins there with new
	// names, so that those that cannot be judged do not keep the others out. next is the
	// first name that this poll has left out.
	resume, next string
}

func newChains() *chains {
	return &chains{
		followed: map[string]*chainLoop{}, byRegion: map[feedRegion][]*chainLoop{}, names: map[*feed]*names{},
	}
}

// namesOf returns the names of a feed. The caller holds mu.
func (all *chains) namesOf(f *feed) *names {
	if all.names[f] == nil {
		all.names[f] = &names{loops: map[string]*chainLoop{}, dropped: map[region]int{}}
	}
	return all.names[f]
}

// add makes a digest known to the loop of its chain, as follow.Frontier.Add does, and returns
// the loop. Where there is none, the chain becomes a name that waits for a proof. The error
// is errNoRoom where too many do.
func (all *chains) add(
	w *Worker, f *feed, k follow.Known, origin follow.Origin, done func(error),
) (*chainLoop, error) {
	id := ledger.Name(f.identity, k.Chain)
	all.mu.Lock()
	defer all.mu.Unlock()
	c := all.get(f, id)
	if c == nil {
		n := all.namesOf(f)
		if isFull := len(n.loops) >= maxUnproven; isFull || origin == follow.Listed && id < n.resume {
			n.dropped[regionOf(k.Place)]++
			w.metrics.dropped.Inc()
			if isFull && id >= n.resume && (n.next == "" || id < n.next) {
				n.next = id
			}
			return nil, errNoRoom
		}
		c = newLoop(w, f, k.Chain)
		c.listedAt = f.lastListed(k.Place)
		n.loops[id] = c
	}
	c.frontier.Add(c.progress.now().head, k, origin, done) // here, so that forget sees it
	return c, nil
}

func (all *chains) get(f *feed, id string) *chainLoop {
	if c := all.namesOf(f).loops[id]; c != nil {
		return c
	}
	return all.followed[id]
}

// isKnown reports whether a chain has a loop.
func (all *chains) isKnown(f *feed, id string) bool {
	all.mu.Lock()
	defer all.mu.Unlock()
	return all.get(f, id) != nil
}

// follow notes that a chain has a stored head or a trusted digest.
func (all *chains) follow(c *chainLoop) {
	all.mu.Lock()
	defer all.mu.Unlock()
	delete(all.namesOf(c.feed).loops, c.id)
	if all.followed[c.id] != nil {
		return
	}
	all.followed[c.id] = c
	at := feedRegion{c.feed, c.name.Account, c.name.Region}
	all.byRegion[at] = append(all.byRegion[at], c)
}

// forget drops a chain without a trusted digest that has nothing left to judge. Where a name
// was added meanwhile, the chain stays.
func (all *chains) forget(c *chainLoop) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if c.frontier.Len() == 0 && !c.frontier.HasMore() {
		delete(all.namesOf(c.feed).loops, c.id)
	}
}

// unplaced returns the account folders, as ledger.Account names them, with names that the last
// poll left out, or that beginPoll may forget.
func (all *chains) unplaced(f *feed) map[string]bool {
	all.mu.Lock()
	defer all.mu.Unlock()
	n := all.namesOf(f)
	accounts := map[string]bool{}
	for at := range n.dropped {
		accounts[ledger.Account(trail.Place{Organization: at.organization, Account: at.account})] = true
	}
	if n.next != "" {
		for _, c := range n.loops {
			accounts[ledger.Account(c.name.Place)] = true
		}
	}
	return accounts
}

// beginPoll prepares the names of a feed for a poll. Where the last poll left names out, those
// that wait give their room to others.
func (all *chains) beginPoll(f *feed) {
	all.mu.Lock()
	defer all.mu.Unlock()
	n := all.namesOf(f)
	if n.next != "" {
		for id, c := range n.loops {
			// A loop that could still run must not be replaced by another of the same chain.
			if c.progress.now().err != nil && !c.frontier.IsAwaited() && f.schedule.Remove(c) {
				delete(n.loops, id)
			}
		}
	}
	n.resume, n.next = n.next, ""
	clear(n.dropped)
}

// leftOut returns how many names of each region the last poll left out, and the first of them
// after those that it began with, "" for none.
func (all *chains) leftOut(f *feed) (dropped map[region]int, next string) {
	all.mu.Lock()
	defer all.mu.Unlock()
	n := all.namesOf(f)
	return maps.Clone(n.dropped), n.next
}

// of returns the followed chains of an account and region of a feed.
func (all *chains) of(f *feed, p trail.Place) []*chainLoop {
	all.mu.Lock()
	defer all.mu.Unlock()
	return slices.Clone(all.byRegion[feedRegion{f, p.Account, p.Region}])
}

// list returns the loops of all chains.
func (all *chains) list() []*chainLoop {
	all.mu.Lock()
	defer all.mu.Unlock()
	list := slices.Collect(maps.Values(all.followed))
	for _, n := range all.names {
		list = slices.AppendSeq(list, maps.Values(n.loops))
	}
	return list
}

// mayContinue reports whether a name waits for a proof that can continue a chain below another
// organization, and whether one of them waits for a passing reason. A planted name has none.
func (all *chains) mayContinue(c *chainLoop) (isNamed, isPassing bool) {
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, other := range all.namesOf(c.feed).loops {
		if other.name.Organization == c.name.Organization || !other.name.Same(c.name) {
			continue
		}
		isNamed = true
		err := other.progress.now().err
		reason := finding.ReasonOf(err)
		isUnread := reason == finding.Network || reason == finding.Throttled
		isPassing = isPassing || err != nil && isUnread && !errors.Is(err, follow.ErrNotYet)
	}
	return isNamed, isPassing
}

// showHead shows in a gauge how far a chain is done. A chain that has ended has none, since it
// is not late, unless another chain with the same labels goes on.
func (all *chains) showHead(m *metrics, c *chainLoop, h follow.Head) {
	if !h.Ended {
		m.showHead(c.name, h.Until())
		return
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	for f := range all.names {
		for _, o := range all.byRegion[feedRegion{f, c.name.Account, c.name.Region}] {
			if o != c && o.name.Trail == c.name.Trail && !o.name.Backfill && !o.progress.now().head.Ended {
				return
			}
		}
	}
	m.hideHead(c.name)
}

// hasNames reports whether names of a feed wait for a proof.
func (all *chains) hasNames(f *feed) bool {
	all.mu.Lock()
	defer all.mu.Unlock()
	return len(all.namesOf(f).loops) > 0
}

// unfinished returns the account folders of a feed, as ledger.Account names them, that must
// not count as listed: those with names that wait for a proof or had no room, and those whose
// backfill digests are not all done. No cursor says which of these are: after a crash they
// must be listed from as early again.
func (all *chains) unfinished(f *feed) map[string]bool {
	all.mu.Lock()
	defer all.mu.Unlock()
	open, n := map[string]bool{}, all.namesOf(f)
	for _, c := range n.loops {
		open[ledger.Account(c.name.Place)] = true
	}
	for at := range n.dropped {
		open[ledger.Account(trail.Place{Organization: at.organization, Account: at.account})] = true
	}
	for _, c := range all.followed {
		if c.feed == f && c.name.Backfill && (c.frontier.Len() > 0 || c.frontier.HasMore()) {
			open[ledger.Account(c.name.Place)] = true
		}
	}
	return open
}
