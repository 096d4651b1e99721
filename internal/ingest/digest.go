package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/internal/judge"
	"github.com/trailseal/trailseal/internal/ledger"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// looked says what was looked for before a digest, and not found.
type looked struct {
	before       trail.DigestKey
	byName, list bool
	announced    bool // those that only messages named were looked for once
}

// ahead is a digest that was read ahead, with requests for its first log files. A request is
// nil where the log file needs none.
type ahead struct {
	read *judge.Read
	logs []*fetch.Request
}

// drop ends the requests for log files that were not read.
func drop(queue []*ahead) {
	for _, a := range queue {
		for _, r := range a.logs {
			r.Drop()
		}
	}
}

// maxPrefetch is how many queued digests have their log files requested early.
const maxPrefetch = 16

// follow processes digests in the order of their ends. It returns early where an older
// digest became known. Digests are read ahead, and of those that their own signatures
// prove, log files are requested early. It ends where the time since began is over.
func (c *chainLoop) follow(ctx context.Context, known []follow.Known, began time.Time) error {
	ctx, cancel := context.WithCancel(ctx)
	n, done := c.feed.readAhead()
	defer done()
	reads := fetch.Begin(ctx, n, slices.Values(known), c.feed.judge.Read)
	defer reads.End()
	var queue []*ahead // oldest first
	defer func() { drop(queue) }()
	defer cancel()
	for !c.worker.isDraining() && !c.isOver && !c.orders.has() && !c.feed.schedule.IsOver(began) {
		for len(queue) < 2 || c.requestEarly(ctx, queue) && reads.Ready() {
			_, r, ok := reads.Next()
			if !ok {
				break
			}
			queue = append(queue, &ahead{read: r})
		}
		if len(queue) == 0 {
			return ctx.Err()
		}
		advanced := time.Now()
		var newer *judge.Read
		if len(queue) > 1 {
			newer = queue[1].read
		}
		again, err := c.advance(ctx, queue[0], newer)
		if again || err != nil {
			return err
		}
		drop(queue[:1])
		queue = queue[1:]
		inTime := min(fetch.MaxUnread/2/(time.Since(advanced)+1), maxPrefetch) // at this speed
		c.prefetch = min(2*c.prefetch+2, int(inTime))
	}
	return ctx.Err()
}

// requestEarly requests log files of the queued digests, oldest first, and reports whether
// there is room for more. It ends at the first digest that its own signature does not
// prove: names that are not proven do not make the worker read anything.
func (c *chainLoop) requestEarly(ctx context.Context, queue []*ahead) (more bool) {
	if c.feed.source.IsCopy() {
		return false // a folder answers at once
	}
	for _, a := range queue[:min(c.prefetch, len(queue))] {
		d := c.feed.judge.ProvenAlone(ctx, a.read)
		if d == nil || c.worker.config.isAfter(d) {
			return false
		}
		for _, l := range d.Logs[len(a.logs):] {
			var r *fetch.Request
			if !c.logs.Has(l.Location()) && d.CheckLog(l, a.read.Known.Place) == nil {
				if r = c.feed.logs.Request(ctx, l.Location()); r == nil {
					return false
				}
			}
			a.logs = append(a.logs, r)
		}
	}
	return len(queue) < c.prefetch
}

// advance takes one digest to its end: judge it, decide, emit its log files, flush the
// sinks, store the head, and tell those who announced it. newer is the next known digest,
// or nil. It returns again where older digests became known, which come first, or where the
// worker ended while it looked for them. After an error the digest is tried again later, and
// what the sinks have is not emitted anew.
func (c *chainLoop) advance(ctx context.Context, a *ahead, newer *judge.Read) (again bool, err error) {
	w := c.worker
	candidate, release, err := c.candidate(ctx, a.read, newer)
	defer release()
	if err != nil {
		return false, err
	}
	h, err := continued(c, candidate)
	if err != nil {
		return false, err
	}
	c.setEntry(ledger.Entry{Name: c.id, Head: h, Version: c.entry.Version})
	for {
		key := candidate.DigestKey
		older := olderThan(&c.frontier, c.entry.Head, candidate, c.looked)
		step := follow.Next(c.entry.Head, candidate, older, w.policy, w.config.Now())
		for _, f := range step.Find {
			if err := w.report(ctx, f); err != nil {
				return false, err
			}
		}
		switch step.Do {
		case follow.Again:
			c.looked = looked{before: key, byName: candidate.WalkedBack, list: candidate.IsListed, announced: true}
			return true, nil
		case follow.WalkBack, follow.List:
			found, err := c.lookBefore(ctx, &candidate, step)
			if found || err != nil || w.isDraining() {
				return true, err
			}
			isAnnounced := c.looked.announced
			c.looked = looked{before: key, byName: candidate.WalkedBack, list: candidate.IsListed, announced: isAnnounced}
			continue
		case follow.Wait:
			c.looked = looked{} // it is looked for again the next time
			w.metrics.unverifiedBy(step.Reason, 1)
			return false, step.Why
		case follow.Skip:
			c.logs.Forget(candidate.Digest) // its head was stored, and the state did not say so
			c.frontier.Done(key, nil)
			return false, nil
		case follow.Forget:
			c.frontier.Done(key, step.Why)
			return false, nil
		case follow.Quarantine:
			return false, c.quarantine(ctx, key)
		case follow.PassOver:
			return false, c.passOver(ctx, candidate)
		}
		if w.config.isAfter(candidate.Digest) {
			c.isOver = true // it was only compared with the last digest in the asked time
			return false, nil
		}

		if err := c.logs.Emit(ctx, c.entry.Head, candidate, a.logs); err != nil {
			return false, err
		}
		if err := w.config.Sink.Flush(ctx); err != nil {
			return false, fmt.Errorf("flush the sinks after digest %s: %w", candidate.At, err)
		}
		isFirst := !c.entry.IsStored() || !c.entry.Head.IsProven() && c.entry.Head.Witness.Key == ""
		if isFirst && !c.isBegun { // before the head is stored: after that, nothing tells it again
			c.isBegun = true
			tellBeginning(w, c.name, candidate, c.listedAt)
		}
		if err := c.commit(ctx, c.entry.Head.Pass(key, candidate.Digest, candidate.Verdict.Signature)); err != nil {
			return false, err
		}
		if isFirst {
			w.chains.follow(c)
		}
		c.passed(candidate, step)
		c.frontier.Done(key, nil)
		return false, nil
	}
}

// candidate returns the candidate that a digest is, with the verdict on it and what else
// follow.Next needs to know. The caller calls release when it no longer uses the candidate.
func (c *chainLoop) candidate(
	ctx context.Context, r, newer *judge.Read,
) (candidate follow.Candidate, release func(), err error) {
	j, w := c.feed.judge, c.worker
	s, sum, release := j.Judge(ctx, r, newer)
	if ctx.Err() != nil {
		return follow.Candidate{}, release, ctx.Err()
	}
	candidate = follow.Candidate{
		Known: r.Known, At: s.At, Digest: s.Digest, Verdict: s.Verdict, Copies: s.Copies, Sum: sum,
		Skip: c.entry.Head.Skipped(r.Known.DigestKey),
	}
	candidate.Origin, _ = c.frontier.Origin(r.Known.DigestKey)
	if c.looked.before == r.Known.DigestKey {
		candidate.WalkedBack, candidate.IsListed = c.looked.byName, c.looked.list
	}
	for _, other := range candidate.Copies {
		if other.Verdict.Status == chain.Unverified {
			w.metrics.unverifiedBy(finding.ReasonOf(other.Verdict.Err), 1)
		}
	}
	switch {
	case errors.Is(s.Verdict.Err, digest.ErrUnsigned):
		candidate.Unprovable = j.IsUnprovable(ctx, r, newer, c.entry.Head.Link.End)
	case s.Verdict.Trusted && s.Digest != nil && candidate.WalkedBack:
		err = askStart(ctx, c, &candidate)
	}
	if s.Digest != nil && s.Digest.Previous == nil {
		candidate.SwitchedOff = switchedOff(ctx, c)
	}
	return candidate, release, cmp.Or(err, ctx.Err())
}

// lookBefore looks for digests between the head and a candidate, and notes in the candidate
// that it did. It reports whether it found any.
func (c *chainLoop) lookBefore(ctx context.Context, candidate *follow.Candidate, step follow.Step) (bool, error) {
	if step.Do == follow.List {
		if !c.feed.hasAll(ctx, c.worker.drained, c.name.Place) {
			if c.worker.isDraining() {
				return true, nil
			}
			return false, fmt.Errorf("%s: the digests before it may lie in folders that could not be listed: %w",
				candidate.At, finding.ErrNotSearched)
		}
		found, err := c.before.listBefore(ctx, c.entry.Head, *candidate)
		candidate.IsListed = true
		return found, err
	}
	h, found, err := c.before.walkBack(ctx, c.entry.Head, step)
	c.entry.Head = h
	if found || err != nil {
		return found, err
	}
	candidate.WalkedBack = true
	return false, askStart(ctx, c, candidate)
}

// passed notes that a trusted digest is done.
func (c *chainLoop) passed(candidate follow.Candidate, step follow.Step) {
	m := c.worker.metrics
	c.worker.pipeline.Accounts().Commit(c.logs.Done(candidate.Digest))
	c.logs.Forget(candidate.Digest)
	c.tries = 0
	c.progress.change(func(s *standing) {
		s.isEnded = false // the trail came back, where it was
		if candidate.Backfill && candidate.Origin == follow.Listed && candidate.End.After(s.sweep) {
			s.sweep = candidate.End
		}
		if step.Gap {
			s.gaps++
		}
	})
	m.digests.WithLabelValues("valid").Inc()
	m.attestationDelay.Observe(c.worker.config.Now().Sub(candidate.Digest.End).Seconds())
	c.worker.chains.showHead(c.worker.metrics, c, c.entry.Head)
	if step.Gap {
		m.addGap(c.name)
	}
}

// passOver stores the head after a digest that the operator skips. The finding about that
// was reported when it was ordered.
func (c *chainLoop) passOver(ctx context.Context, g follow.Candidate) error {
	l := g.Link()
	if err := c.commit(ctx, c.entry.Head.Skip(g.DigestKey, l)); err != nil {
		return err
	}
	c.logs.Forget(g.Digest)
	c.worker.metrics.digests.WithLabelValues("skipped").Inc()
	c.worker.chains.showHead(c.worker.metrics, c, c.entry.Head)
	c.worker.config.Log.Warn("digest is skipped by order",
		"digest", g.At.String(), "sha256", l.Sum, "by", g.Skip.By, "reason", g.Skip.Reason)
	c.frontier.Done(g.DigestKey, nil)
	return nil
}

// quarantine remembers a digest that is not trusted, and that was reported.
func (c *chainLoop) quarantine(ctx context.Context, key trail.DigestKey) error {
	c.worker.metrics.digests.WithLabelValues("invalid").Inc()
	if !c.entry.Head.IsFull() {
		if err := c.commit(ctx, c.entry.Head.Quarantine(key)); err != nil {
			return err
		}
	}
	c.feed.refuted.add(key)
	c.frontier.Done(key, nil)
	return nil
}

// olderThan returns the other known digests that are not newer than a starting digest, or
// than one that the operator skips. Those that only messages name are looked for once: with
// ever more messages about digests that are not there, anyone who can write to the queue
// could hold up the chain.
func olderThan(
	known *follow.Frontier, h follow.Head, candidate follow.Candidate, looked looked,
) (older []chain.Ref) {
	isStarting := candidate.Digest != nil && candidate.Digest.Previous == nil
	if !isStarting && candidate.Skip == nil {
		return nil // its signed name says what comes before it
	}
	again := looked.before == candidate.DigestKey && looked.announced
	for _, k := range known.Oldest(h, follow.MaxListed) {
		origin, _ := known.Origin(k.DigestKey)
		if !k.End.After(candidate.End) && k.DigestKey != candidate.DigestKey && !(again && origin == follow.Announced) {
			older = append(older, k.Ref)
		}
	}
	return older
}

// askStart finds out whether the digest that a trusted one names was a starting one, unless
// the candidate waits for that one all the same. An error says that the keys are not known.
func askStart(ctx context.Context, c *chainLoop, candidate *follow.Candidate) (err error) {
	if c.worker.config.Now().Sub(candidate.End) < c.worker.policy.Grace || candidate.Digest.Previous == nil {
		return nil
	}
	candidate.AfterStart, err = c.feed.judge.StartedBefore(ctx, candidate.Digest, candidate.Chain)
	if err != nil {
		return fmt.Errorf("digest %s: its predecessor: %w", candidate.At, err)
	}
	if candidate.AfterStart {
		candidate.SwitchedOff = switchedOff(ctx, c)
	}
	return nil
}

// switchedOff returns the event that switched the trail off after the head, or nil.
func switchedOff(ctx context.Context, c *chainLoop) *finding.Event {
	management := c.worker.config.managementAccount(ctx, c.name.Organization)
	return c.worker.logRules.Offs.Near(c.name, management, c.entry.Head.Link.End)
}
