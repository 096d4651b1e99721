package simulation_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/internal/ledger"
	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// simCheck is what is durable, and what it is compared with. The simulation's mutex guards it.
type simCheck struct {
	counts  [][]int                      // by sink and event: how often it was made durable
	found   map[string][]finding.Finding // by key
	gaps    []finding.Finding
	heads   map[string]follow.Head
	listed  map[string]time.Time // when an account folder was first remembered as listed
	isSince bool                 // since is stored
	since   time.Time            // the latest of all workers so far
}

func (c *simCheck) begin(p *simPlan) {
	for range p.sinks {
		c.counts = append(c.counts, make([]int, p.world.events))
	}
	c.found, c.heads, c.listed = map[string][]finding.Finding{}, map[string]follow.Head{}, map[string]time.Time{}
}

// takes notes a batch that a sink takes, and returns the numbers of its events.
func (w *simWorker) takes(b sink.Batch) (numbers []int) {
	s := w.sim
	l := s.plan.world.logs[b.Log]
	if l == nil {
		s.fail("worker %d emits log %s, which no digest lists", w.number, b.Log)
		return nil
	}
	if s.workerLog != nil {
		s.log("worker %d emits %s of %s", w.number, b.Log.Key, b.Proof.Digest.Key)
	}
	by := s.plan.world.digests[b.Proof.Digest]
	switch {
	case by == nil || !slices.Contains(by.logs, l):
		s.fail("worker %d emits %s, and names digest %s, which does not list it", w.number, b.Log, b.Proof.Digest)
	case !s.wasThere(by.object, by.genuine) || !s.wasThere(l.object, l.genuine):
		s.fail("worker %d emits %s, which was never there as it was signed for", w.number, b.Log)
	case b.Sum != l.sum:
		s.fail("worker %d emits %s with sum %s", w.number, b.Log, b.Sum)
	case !s.plan.selects(by.key.Chain):
		s.fail("worker %d emits %s, which is not selected", w.number, b.Log)
	}
	for i := range b.Events {
		e := &b.Events[i]
		if e.Index >= len(l.records) || e.ID != l.ids[e.Index] || !bytes.Equal(e.Record, l.records[e.Index]) {
			s.fail("worker %d emits event %d of %s, id %s: %s", w.number, e.Index, b.Log, e.ID, e.Record)
			continue
		}
		numbers = append(numbers, l.first+e.Index)
	}
	return numbers
}

func (p *simPlan) selects(c trail.Chain) bool {
	return len(p.regions) == 0 || slices.Contains(p.regions, c.Region)
}

// wasThere reports whether an object was ever there with a content.
func (s *sim) wasThere(o trail.Object, is *testtrail.Stored) bool {
	now := s.now()
	for _, v := range s.plan.objects[o.Bucket][s.plan.find(o)].versions {
		if !v.at.After(now) && v.stored == is {
			return true
		}
		// A digest that lost its metadata has its content all the same.
		if !v.at.After(now) && v.stored != nil && s.plan.marks[o.Key].isNeeded && v.stored.Meta == nil {
			return true
		}
	}
	return false
}

// keep notes events that are durable in a sink.
func (s *sim) keep(number int, events []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range events {
		s.check.counts[number][n]++
	}
}

// missing returns an event of a digest that a sink does not have and that no finding
// excuses, "" where there is none. The caller has locked mu.
func (s *sim) missing(d *simDigest, isStrict bool) string {
	for _, l := range d.logs {
		if !isStrict && s.isExcused(d, l) {
			continue
		}
		for i, r := range l.records {
			for number, counts := range s.check.counts {
				if counts[l.first+i] == 0 && !isOdd(r) {
					return fmt.Sprintf("event %d of %s is not durable in sink %d", i, l.object.Key, number)
				}
			}
		}
	}
	return ""
}

// isExcused reports whether a finding says that a digest's log file was not emitted.
func (s *sim) isExcused(d *simDigest, l *simLog) bool {
	if len(s.check.found[d.object.Key]) > 0 || len(s.check.found[l.object.Key]) > 0 {
		return true
	}
	return slices.ContainsFunc(s.check.gaps, func(f finding.Finding) bool {
		return f.Account == d.key.Account && f.Region == d.key.Region && f.Trail == d.key.Trail &&
			!f.Evidence.From.After(d.key.End.Add(-time.Hour)) && !f.Evidence.To.Before(d.key.End)
	})
}

// dueFrom returns the time from which on a chain's digests must be emitted. The caller has locked mu.
func (s *sim) dueFrom(c *simChain) time.Time {
	listed, isListed := s.check.listed[ledger.Account(c.name.Place)]
	isPair := func(r simRunPlan) bool { return r.isPair } // one worker does not know what the other has listed
	if !isListed || slices.ContainsFunc(s.plan.runs, isPair) {
		return s.check.since
	}
	for _, d := range c.digests {
		if d.object.Bucket != s.plan.world.source {
			continue
		}
		for _, v := range s.plan.objects[d.object.Bucket][s.plan.find(d.object)].versions {
			if !v.at.After(listed) {
				return s.check.since
			}
		}
	}
	return time.Time{}
}

// stores checks a change of the state that took effect.
func (w *simWorker) stores(name string, value []byte) {
	s := w.sim
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.HasPrefix(name, "listed/") {
		var l ledger.Listings
		if err := json.Unmarshal(value, &l); err != nil {
			s.failLocked(now, "listings %s: %v", value, err)
		}
		if s.workerLog != nil {
			s.logLocked(now, fmt.Sprintf("worker %d stores listings %s", w.number, value))
		}
		if !l.Since.IsZero() {
			s.check.since, s.check.isSince = l.Since, true
		}
		for _, c := range s.plan.world.chains {
			account := ledger.Account(c.name.Place)
			if _, isKnown := s.check.listed[account]; !isKnown && !l.Last(c.name.Place).IsZero() {
				s.check.listed[account] = now
			}
		}
		return
	}
	if !strings.HasPrefix(name, "chain/") {
		return
	}
	i := slices.IndexFunc(s.plan.world.chains, func(c *simChain) bool { return c.id == name })
	if i < 0 {
		s.failLocked(now, "worker %d stores %s, a chain that has no genuine digest", w.number, name)
		return
	}
	head, err := follow.ParseHead(value)
	if err != nil {
		s.failLocked(now, "head %s: %v", value, err)
		return
	}
	old := s.check.heads[name]
	s.check.heads[name] = head
	if head.Cursor.Before(old.Cursor) {
		s.failLocked(now, "worker %d: head %s goes back from %s to %s", w.number, name, old.Cursor, head.Cursor)
	}
	from := s.dueFrom(s.plan.world.chains[i])
	for _, d := range s.plan.world.chains[i].digests {
		isCovered := !d.key.End.After(head.Cursor) && d.key.End.After(old.Cursor) && !head.Link.End.IsZero()
		if d.key.Backfill {
			isCovered = slices.ContainsFunc(head.Backfills, d.key.End.Equal)
		}
		if !isCovered || d.key.End.Before(from) {
			continue
		}
		if m := s.missing(d, false); m != "" {
			s.failLocked(now, "worker %d: head %s is at %s: %s", w.number, name, head.Cursor.Format(time.DateTime), m)
		}
	}
}

// deletes checks that what a deleted message announces is durable.
func (w *simWorker) deletes(m *simMail) {
	s := w.sim
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.digest == nil || !s.plan.selects(m.digest.key.Chain) || m.digest.key.End.Before(s.dueFrom(m.digest.chain)) {
		return
	}
	if why := s.missing(m.digest, false); why != "" {
		s.failLocked(now, "worker %d deletes the message about %s: %s", w.number, m.digest.object.Key, why)
	}
}

// finds checks a finding that is durable now.
func (w *simWorker) finds(f finding.Finding) {
	s := w.sim
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.check
	s.logLocked(
		now,
		fmt.Sprintf("worker %d finds %s %s %s %s", w.number, f.Class, f.Key, f.Time.Format(time.DateTime), f.Detail),
	)
	if why := s.isRight(w, f, now); why != "" {
		s.failLocked(now, "worker %d finds %s %s %s %s %s, %s: %s", w.number,
			f.Class, f.Account, f.Region, f.Key, f.Time.Format(time.DateTime), f.Detail, why)
	}
	if f.Key != "" {
		c.found[f.Key] = append(c.found[f.Key], f)
	} else if f.Class == finding.Gap {
		c.gaps = append(c.gaps, f)
	}
}

// hesitation is how long what a worker has read may be old when it acts by it.
const hesitation = time.Hour

// isRight returns "" if a finding is right at a time, or why it is not. The caller has locked mu.
func (s *sim) isRight(w *simWorker, f finding.Finding, now time.Time) string {
	m, isMarked := s.plan.marks[f.Key]
	o := trail.Object{Bucket: f.Bucket, Key: f.Key}
	switch {
	case f.Key == "" && f.Class == finding.Gap:
		return s.isGap(f)
	case f.Key == "" && f.Class == finding.Coverage:
		return s.isLate(f, now)
	case isMarked && slices.Contains(m.classes, f.Class) && !now.Before(m.since):
		return ""
	case f.Class == finding.Gap && s.plan.world.logs[o] != nil && s.plan.world.logs[o].isOff:
		return ""
	case f.Class == finding.DigestMissing && s.plan.world.digests[o] != nil:
		d := s.plan.world.digests[o]
		if !w.plan.isOnce && now.Before(d.key.End.Add(s.plan.grace)) {
			return "it is early"
		}
		return s.isAbsent(o, now)
	case f.Class == finding.LogMissing && s.plan.world.logs[o] != nil:
		if !w.plan.isOnce && now.Before(s.plan.world.logs[o].listedBy[0].key.End.Add(s.plan.grace)) {
			return "it is early"
		}
		return s.isAbsent(o, now)
	case f.Class == finding.Coverage:
		return s.isWithoutDigests(f, now)
	}
	return "nothing is wrong with it"
}

// isAbsent returns "" if a genuine object is not there, or was not a short time ago.
func (s *sim) isAbsent(o trail.Object, now time.Time) string {
	v := s.stored(s.plan.objects[o.Bucket][s.plan.find(o)])
	if v == nil || v.stored == nil || now.Sub(v.at) < hesitation {
		return ""
	}
	return "it is there since " + v.at.Format(time.DateTime)
}

// chainsOf returns the chains that a finding without a key can be about.
func (s *sim) chainsOf(f finding.Finding) (all []*simChain) {
	for _, c := range s.plan.world.chains {
		if c.name.Account == f.Account && c.name.Region == f.Region && c.name.Trail == f.Trail && !c.name.Backfill {
			all = append(all, c)
		}
	}
	return all
}

// isGap returns "" if a chain begins anew after a time and all digests between are not as
// they were.
func (s *sim) isGap(f finding.Finding) string {
	for _, c := range s.chainsOf(f) {
		for _, d := range c.digests {
			if !d.key.End.After(f.Time) {
				continue
			}
			if d.starts && d.index > 0 {
				return ""
			}
			if _, isMarked := s.plan.marks[d.object.Key]; !isMarked {
				break
			}
		}
	}
	return "the chain does not begin anew there"
}

// isLate returns "" if a chain has no digest after the finding's time that is there for long.
func (s *sim) isLate(f finding.Finding, now time.Time) string {
	for _, c := range s.chainsOf(f) {
		isOwn := slices.ContainsFunc(c.digests, func(d *simDigest) bool { return d.key.End.Equal(f.Time) })
		if !isOwn {
			continue
		}
		for _, d := range c.digests {
			_, isMarked := s.plan.marks[d.object.Key]
			if d.key.End.After(f.Time) && !isMarked && s.isAbsent(d.object, now) != "" {
				return "digest " + d.object.Key + " is there"
			}
		}
		return s.isContinued(c, now)
	}
	return "no digest ends then"
}

// isContinued returns "" unless another chain has gone on from the end of a chain for long.
func (s *sim) isContinued(c *simChain, now time.Time) string {
	last := c.digests[len(c.digests)-1]
	if last.key.End.Before(s.check.since) {
		return "" // it is not read
	}
	for _, other := range s.plan.world.chains {
		first := other.digests[0]
		_, isMarked := s.plan.marks[first.object.Key]
		isNext := other != c && other.name.Same(c.name) && !first.starts &&
			first.key.End.Equal(last.key.End.Add(time.Hour))
		if isNext && !isMarked && s.isAbsent(first.object, now) != "" {
			return "it goes on as " + other.id
		}
	}
	return ""
}

// isWithoutDigests returns "" if a place has log files and no digest for long.
func (s *sim) isWithoutDigests(f finding.Finding, now time.Time) string {
	for _, d := range s.plan.world.digests {
		if d.key.Account == f.Account && d.key.Region == f.Region &&
			strings.HasPrefix(f.Key, d.key.Folder(trail.LogFolder)) &&
			now.Before(d.genuine.Modified.Add(s.plan.grace)) {
			return "its digests may still come"
		}
	}
	return ""
}

// checkEnd checks what is there after the last worker.
func (s *sim) checkEnd() {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.plan.world.chains {
		from := s.dueFrom(c)
		for _, d := range c.digests {
			if d.key.End.Before(from) || !s.plan.selects(d.key.Chain) {
				continue
			}
			m := s.plan.marks[d.object.Key]
			if m.isFound && len(s.check.found[d.object.Key]) == 0 {
				s.failLocked(now, "no finding about digest %s", d.object.Key)
			}
			for _, l := range d.logs {
				if s.plan.marks[l.object.Key].isFound && !m.isFound && len(s.check.found[l.object.Key]) == 0 {
					s.failLocked(now, "no finding about log %s", l.object.Key)
				}
			}
			if why := s.missing(d, m.isNeeded); why != "" {
				s.failLocked(now, "in the end: %s, which %s lists", why, d.object.Key)
			}
		}
	}
	s.checkOnce(now)
}

// isMarked reports whether something was done to a digest or to a log file that it lists.
func (p *simPlan) isMarked(d *simDigest) bool {
	_, is := p.marks[d.object.Key]
	return is || slices.ContainsFunc(d.logs, func(l *simLog) bool { _, is := p.marks[l.object.Key]; return is })
}

// checkOnce demands that nothing is repeated where nothing failed. The caller has locked mu.
func (s *sim) checkOnce(now time.Time) {
	if !s.plan.isCalm {
		return
	}
	for _, l := range s.plan.world.listed {
		if slices.ContainsFunc(l.listedBy, s.plan.isMarked) {
			continue // a worker that ended meanwhile has left the digest to the next one
		}
		for i := range l.records {
			for _, counts := range s.check.counts {
				if n := counts[l.first+i]; n > len(l.listedBy) {
					s.failLocked(now, "event %d of %s came %d times", i, l.object.Key, n)
				}
			}
		}
	}
}
