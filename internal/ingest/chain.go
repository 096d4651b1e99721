package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/trailseal/trailseal/internal/failure"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/internal/ledger"
	"github.com/trailseal/trailseal/internal/pipeline"
	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// chainLoop follows one chain of a source, oldest digest first.
type chainLoop struct {
	worker   *Worker
	feed     *feed
	name     trail.Chain // without a prefix: a chain is known by its trail, account and region
	id       string      // the name of its head in the state
	frontier follow.Frontier
	share    *pipeline.Share
	listedAt time.Time // when its account folder was last listed in full and the chain was absent; zero: never

	slot slot // guarded by the schedule's mutex

	// The goroutine that runs the loop owns these.
	entry   ledger.Entry
	isOpen  bool // entry is what the state has
	tries   int  // that failed since the last success
	looked  looked
	isReset bool                        // the operator has reset the chain, and its digests are not listed since
	former  *chainLoop                  // the chain that this one continues, once it knows what it must come to
	doubted time.Time                   // the end of which it was doubted that the chain is late
	emitted map[trail.Object]emittedLog // of digests that are not done
	failed  trail.Object                // log file that could not be read, and is tried alone first
	// prefetch is how many queued digests have their log files requested early. It doubles
	// while the chain makes progress and drops to 0 after an error.
	prefetch int
	// isOver says that a trusted digest after Config.Until was compared: the chain is done.
	isOver bool

	mu     sync.Mutex // guards what follows
	state  progress
	orders []*order // of the operator, that are not carried out
}

// looked says what was looked for before a digest, and not found.
type looked struct {
	before       trail.DigestKey
	byName, list bool
	announced    bool // those that only messages named were looked for once
}

// progress is what others may know of a chain.
type progress struct {
	head    follow.Head
	isKnown bool         // head is known: the state was read
	err     error        // of the last try, nil after a success
	gaps    int          // since the worker started
	sweep   time.Time    // of a backfill chain: listed digests that end before are done, or too old
	polled  bool         // a poll has listed all folders of the chain since its last digest
	isEnded bool         // another chain continues this one
	waiters []*chainLoop // that continue this one, and wait for its end
}

func (c *chainLoop) snapshot() progress {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

func (c *chainLoop) update(change func(*progress)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.state)
}

// runChain runs a loop until nothing is left to do or it fails. It returns how long to
// wait before it is tried again, 0 for not at all.
func (w *Worker) runChain(ctx context.Context, c *chainLoop) (pause time.Duration) {
	err := c.run(ctx)
	c.update(func(p *progress) { p.err = err })
	defer c.wake(ctx)
	switch {
	case err == nil:
		c.tries = 0
		if !c.entry.Head.IsProven() {
			c.forget()
		}
		if err := w.recordListing(ctx, c.feed, false); err != nil {
			w.config.Log.Warn("what was listed is not stored: the next full poll stores it", "error", err)
		}
		return 0
	case ctx.Err() != nil, errors.Is(err, ErrHalt):
		return 0
	}
	c.tries++
	c.prefetch = 0
	isUnsigned := errors.Is(err, follow.ErrUnsigned)
	if isUnsigned || c.tries >= tries {
		c.frontier.GiveBack(err)
	}
	if isUnsigned || errors.Is(err, follow.ErrElsewhere) {
		return 0 // a poll, a message or the end of the other chain lets it run
	}
	w.config.Log.Warn("chain waits", "chain", c.name.String(), "try", c.tries, "error", err)
	if w.policy.Tries > 0 && c.tries >= w.policy.Tries {
		return 0
	}
	return failure.Pause(c.tries - 1)
}

// run follows the chain until nothing is known that is not done. An error says why the
// chain stands where it is.
func (c *chainLoop) run(ctx context.Context) error {
	began := time.Now()
	for ctx.Err() == nil && !c.worker.isDraining() && !c.isOver {
		c.carryOut(ctx)
		if err := c.open(ctx); err != nil {
			return err
		}
		if c.feed.schedule.isOver(began) {
			c.feed.schedule.add(ctx, c) // after the others
			return nil
		}
		known := c.frontier.Oldest(c.entry.Head, follow.MaxListed)
		switch {
		case c.isReset:
			if err := c.listMore(ctx); err != nil {
				return err
			}
			c.isReset = false
		case len(known) > 0:
			if err := c.follow(ctx, known, began); err != nil {
				if errors.Is(err, follow.ErrUnsigned) {
					err = errors.Join(err, c.reportLate(ctx))
				}
				return err
			}
		case c.frontier.HasMore():
			if err := c.listMore(ctx); err != nil {
				return err
			}
		default:
			return c.reportLate(ctx)
		}
	}
	return ctx.Err()
}

// open reads the stored head, unless it is known.
func (c *chainLoop) open(ctx context.Context) error {
	if c.isOpen {
		return nil
	}
	e, err := c.worker.ledger.Open(ctx, c.id)
	if err != nil {
		c.worker.metrics.stateFailed(ctx, err)
		return err
	}
	if !e.IsStored() {
		if e.Head, err = c.begin(ctx); err != nil {
			return err
		}
		if e.Head.Cursor.IsZero() {
			c.frontier.SetMore(true) // its oldest digest may be older than those that are known
		}
	}
	c.setEntry(e)
	c.isOpen, c.looked = true, looked{}
	if e.IsStored() {
		c.prove()
		c.showHead()
	}
	return nil
}

// showHead shows in a gauge how far the chain is done. A chain that has ended has none,
// since it is not late.
func (c *chainLoop) showHead() {
	h := c.entry.Head
	switch {
	case !h.Ended:
		c.worker.metrics.showHead(c.name, h.Until())
	case !c.worker.isContinued(c):
		c.worker.metrics.hideHead(c.name)
	}
}

func (c *chainLoop) setEntry(e ledger.Entry) {
	c.entry = e
	c.update(func(p *progress) { p.head, p.isKnown = e.Head, true })
}

// commit stores a head. When it returns nil, what the head covers is done; a crash before
// that repeats it. A chain without a trusted digest has no head in the state, unless the
// operator ordered something about it.
func (c *chainLoop) commit(ctx context.Context, h follow.Head) error {
	if !h.IsProven() && !c.entry.IsStored() {
		c.setEntry(ledger.Entry{Name: c.id, Head: h, Version: c.entry.Version})
		return nil
	}
	e, err := c.worker.ledger.Commit(ctx, c.entry, h)
	if failure.Decide(failure.Failure{Operation: failure.Head, Err: err}).Do != failure.Proceed {
		c.worker.metrics.stateFailed(ctx, err)
		c.isOpen = false // another worker may have changed it, or it took effect
		if errors.Is(err, state.ErrConflict) {
			clear(c.emitted)
		}
		return err
	}
	c.setEntry(e)
	return nil
}

// read is a digest with what was read of it.
type read struct {
	known follow.Known
	files fetch.Candidates // that can be it, read ahead; large ones are read when they are judged
	step  *chain.Step      // the verdict, where its own signature proves it before its successor is known
	early []*fetch.Request // for its first log files
}

// drop ends the requests for log files that were not read.
func drop(queue []*read) {
	for _, g := range queue {
		for _, r := range g.early {
			r.Drop()
		}
	}
}

// follow processes digests in the order of their ends. It returns early where an older
// digest became known. Digests are read ahead, and of those that their own signatures
// prove, log files are requested early. It ends where the time since began is over.
func (c *chainLoop) follow(ctx context.Context, known []follow.Known, began time.Time) error {
	ctx, cancel := context.WithCancel(ctx)
	n, done := c.feed.readAhead()
	defer done()
	reads := fetch.Begin(ctx, n, slices.Values(known), c.read)
	defer reads.End()
	var queue []*read // oldest first
	defer func() { drop(queue) }()
	defer cancel()
	for !c.worker.isDraining() && !c.isOver && !c.isOrdered() && !c.feed.schedule.isOver(began) {
		for len(queue) < 2 || c.requestEarly(ctx, queue) && reads.Ready() {
			_, g, ok := reads.Next()
			if !ok {
				break
			}
			queue = append(queue, g)
		}
		if len(queue) == 0 {
			return ctx.Err()
		}
		advanced := time.Now()
		var newer *read
		if len(queue) > 1 {
			newer = queue[1]
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

// maxPrefetch is how many queued digests have their log files requested early.
const maxPrefetch = 16

func (c *chainLoop) read(ctx context.Context, k follow.Known) *read {
	return &read{known: k, files: c.feed.digests.ReadAhead(ctx, c.feed.source.Locate(k.Object()))}
}

// requestEarly requests log files of the queued digests, oldest first, and reports whether
// there is room for more. It ends at the first digest that its own signature does not
// prove: names that are not proven do not make the worker read anything.
func (c *chainLoop) requestEarly(ctx context.Context, queue []*read) (more bool) {
	if c.feed.source.IsCopy() {
		return false // a folder answers at once
	}
	for _, g := range queue[:min(c.prefetch, len(queue))] {
		if !c.provesItself(ctx, g) || c.worker.isAfter(g.step.Digest) {
			return false
		}
		d := g.step.Digest
		for _, l := range d.Logs[len(g.early):] {
			var r *fetch.Request
			if _, isEmitted := c.emitted[l.Location()]; !isEmitted && d.CheckLog(l, g.known.Place) == nil {
				if r = c.feed.logs.Request(ctx, l.Location()); r == nil {
					return false
				}
			}
			g.early = append(g.early, r)
		}
	}
	return len(queue) < c.prefetch
}

// isAfter reports whether a digest is of an hour after the asked time.
func (w *Worker) isAfter(d *digest.Digest) bool {
	return !w.config.Until.IsZero() && !d.Start.Before(w.config.Until)
}

func (c *chainLoop) provesItself(ctx context.Context, g *read) bool {
	if g.step == nil && !g.files.IsLarge() {
		s := chain.JudgeFiles(
			ctx,
			c.worker.keys,
			g.known.Ref,
			g.files.Found(),
			chain.Options{Now: c.worker.config.Now()},
		)
		if s.Verdict.Trusted && s.Digest != nil {
			g.step = &s
		}
	}
	return g.step != nil
}

// advance takes one digest to its end: judge it, decide, emit its log files, flush the
// sinks, store the head, and tell those who announced it. newer is the next known digest,
// or nil. It returns again where older digests became known, which come first, or where the
// worker ended while it looked for them. After an error the digest is tried again later, and what the sinks have is not emitted anew.
func (c *chainLoop) advance(ctx context.Context, g, newer *read) (again bool, err error) {
	w := c.worker
	candidate, release, err := c.judge(ctx, g, newer)
	defer release()
	if err == nil {
		err = c.continued(ctx, candidate)
	}
	if err != nil {
		return false, err
	}
	for _, other := range candidate.Copies {
		if other.Verdict.Status == chain.Unverified {
			w.metrics.unverifiedBy(finding.ReasonOf(other.Verdict.Err))
		}
	}
	for {
		key := candidate.DigestKey
		older := c.olderThan(candidate)
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
		case follow.WalkBack:
			found, err := c.walkBack(ctx, candidate, step)
			if found || err != nil || w.isDraining() {
				return true, err
			}
			if candidate, err = c.askStart(ctx, candidate); err != nil {
				return false, err
			}
			candidate.WalkedBack = true
			c.looked = looked{before: key, byName: true, list: candidate.IsListed, announced: c.looked.announced}
			continue
		case follow.List:
			found, err := c.listBefore(ctx, candidate)
			if found || err != nil || w.isDraining() {
				return true, err
			}
			candidate.IsListed = true
			c.looked = looked{before: key, byName: candidate.WalkedBack, list: true, announced: c.looked.announced}
			continue
		case follow.Wait:
			c.looked = looked{} // it is looked for again the next time
			w.metrics.unverifiedBy(step.Reason)
			return false, step.Why
		case follow.Skip:
			c.forgetEmitted(candidate.Digest) // its head was stored, and the state did not say so
			c.frontier.Done(key, nil)
			return false, nil
		case follow.Forget:
			c.frontier.Done(key, step.Why)
			return false, nil
		case follow.Quarantine:
			w.metrics.digests.WithLabelValues("invalid").Inc()
			return false, c.quarantine(ctx, key)
		case follow.PassOver:
			return false, c.passOver(ctx, candidate)
		}
		if w.isAfter(candidate.Digest) {
			c.isOver = true // it was only compared with the last digest in the asked time
			return false, nil
		}

		if err := c.emitLogs(ctx, candidate, g.early); err != nil {
			return false, err
		}
		if err := w.config.Sink.Flush(ctx); err != nil {
			return false, fmt.Errorf("flush the sinks after digest %s: %w", candidate.At, err)
		}
		isFirst := !c.entry.IsStored() || !c.entry.Head.IsProven() && c.entry.Head.Witness.Key == ""
		if err := c.commit(ctx, c.entry.Head.Pass(key, candidate.Digest, candidate.Verdict.Signature)); err != nil {
			return false, err
		}
		if isFirst {
			c.began(candidate)
		}
		c.passed(candidate, step)
		c.frontier.Done(key, nil)
		return false, nil
	}
}

// passed notes that a trusted digest is done.
func (c *chainLoop) passed(candidate follow.Candidate, step follow.Step) {
	m := c.worker.metrics
	c.worker.pipeline.Accounts().Commit(c.done(candidate.Digest))
	c.forgetEmitted(candidate.Digest)
	c.tries = 0
	c.update(func(p *progress) {
		p.polled = false
		if candidate.Backfill && candidate.Origin == follow.Listed && candidate.End.After(p.sweep) {
			p.sweep = candidate.End
		}
		if step.Gap {
			p.gaps++
		}
	})
	m.digests.WithLabelValues("valid").Inc()
	m.attestationDelay.Observe(c.worker.config.Now().Sub(candidate.Digest.End).Seconds())
	c.showHead()
	if step.Gap {
		m.addGap(c.name)
	}
}

// passOver stores the head after a digest that the operator skips. The finding about that
// was reported when it was ordered.
func (c *chainLoop) passOver(ctx context.Context, g follow.Candidate) error {
	key := g.DigestKey
	l := follow.Link{End: key.End, Bucket: g.Bucket, Key: key.String()}
	switch {
	case g.Verdict.Trusted && g.Digest != nil:
		d := g.Digest
		l = follow.Link{
			End:       d.End,
			Bucket:    d.Bucket,
			Key:       d.Object,
			Sum:       d.Sum.String(),
			Signature: g.Verdict.Signature,
		}
	case g.Sum != (digest.Sum{}):
		l.Sum = g.Sum.String()
	}
	if err := c.commit(ctx, c.entry.Head.Skip(key, l)); err != nil {
		return err
	}
	c.forgetEmitted(g.Digest)
	c.update(func(p *progress) { p.polled = false })
	c.worker.metrics.digests.WithLabelValues("skipped").Inc()
	c.showHead()
	c.worker.config.Log.Warn("digest is skipped by order",
		"digest", g.At.String(), "sha256", l.Sum, "by", g.Skip.By, "reason", g.Skip.Reason)
	c.frontier.Done(key, nil)
	return nil
}

// quarantine remembers a digest that is not trusted, and that was reported.
func (c *chainLoop) quarantine(ctx context.Context, key trail.DigestKey) error {
	if !c.entry.Head.IsFull() {
		if err := c.commit(ctx, c.entry.Head.Quarantine(key)); err != nil {
			return err
		}
	}
	c.feed.refute(key, true)
	c.frontier.Done(key, nil)
	return nil
}

// began tells where a chain begins that was not followed before.
func (c *chainLoop) began(first follow.Candidate) {
	c.prove()
	w, d := c.worker, first.Digest
	if first.Backfill || d.Previous == nil {
		w.metrics.began.WithLabelValues(beganAtStart).Inc()
		w.config.Log.Info("chain begins", "chain", c.name.String(), "digest", first.At.String())
		return
	}
	w.metrics.began.WithLabelValues(beganLater).Inc()
	if c.listedAt.IsZero() && !d.Start.After(w.config.Since) {
		w.config.Log.Info(
			"chain begins as asked",
			"chain",
			c.name.String(),
			"digest",
			first.At.String(),
			"since",
			w.config.Since,
		)
		return
	}
	w.config.Log.Warn("chain is followed from a later digest than its first: older events are not emitted",
		"chain", c.name.String(), "digest", first.At.String(), "from", d.Start, "previous", d.Previous.Object)
}

// olderThan returns the other known digests that are not newer than a starting digest, or
// than one that the operator skips. Those that only messages name are looked for once: with
// ever more messages about digests that are not there, anyone who can write to the queue
// could hold up the chain.
func (c *chainLoop) olderThan(candidate follow.Candidate) (older []chain.Ref) {
	isStarting := candidate.Digest != nil && candidate.Digest.Previous == nil
	if !isStarting && candidate.Skip == nil {
		return nil // its signed name says what comes before it
	}
	again := c.looked.before == candidate.DigestKey && c.looked.announced
	for _, k := range c.frontier.Oldest(c.entry.Head, follow.MaxListed) {
		origin, _ := c.frontier.Origin(k.DigestKey)
		if !k.End.After(candidate.End) && k.DigestKey != candidate.DigestKey && !(again && origin == follow.Announced) {
			older = append(older, k.Ref)
		}
	}
	return older
}
