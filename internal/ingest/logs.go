package ingest

import (
	"context"
	"fmt"
	"sync"

	"github.com/trailseal/trailseal/internal/failure"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/internal/pipeline"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// emittedLog is what the sinks have of a log file.
type emittedLog struct {
	parts  int // whole: all of it
	events int // that all sinks took
}

// whole says that the sinks have all of a log file.
const whole = -1

// emitLogs processes the log files of a proven digest side by side. After an error it is
// called again: it then tries the log file alone that failed first, and does not emit
// again what the sinks have. The error is that of the first log file that failed, with
// the number of the others. When it returns, nothing of it runs any more.
func (c *chainLoop) emitLogs(ctx context.Context, g follow.Candidate, early []*fetch.Request) error {
	d := g.Digest
	c.skipLogs(g)
	if i := indexOf(d.Logs, c.failed); i >= 0 && c.emitted[c.failed].parts != whole {
		if err := c.emitSome(ctx, g, []int{i}, early); err != nil {
			return err
		}
	}
	c.failed = trail.Object{}
	all := make([]int, 0, len(d.Logs))
	seen := make(map[trail.Object]bool, len(d.Logs))
	for i, l := range d.Logs {
		if seen[l.Location()] {
			err := fmt.Errorf("listed more than once: %w", digest.ErrMisplaced)
			if err := c.reportLog(ctx, g, l, pipeline.Receipt{At: l.Location()}, finding.LogMisplaced, "", err); err != nil {
				return err
			}
			continue
		}
		seen[l.Location()] = true
		if c.emitted[l.Location()].parts != whole {
			all = append(all, i)
		}
	}
	return c.emitSome(ctx, g, all, early)
}

// skipLogs leaves out the log files of a digest that the operator skips. The findings about
// that were reported when it was ordered.
func (c *chainLoop) skipLogs(g follow.Candidate) {
	for _, l := range g.Digest.Logs {
		s := c.entry.Head.SkippedLog(l)
		if s == nil || c.emitted[l.Location()].parts == whole {
			continue
		}
		c.emitted[l.Location()] = emittedLog{parts: whole}
		c.worker.metrics.logs.WithLabelValues("skipped").Inc()
		c.worker.config.Log.Warn(
			"log file is skipped by order",
			"log",
			l.Location().String(),
			"sha256",
			l.Hash.String(),
			"digest",
			g.At.String(),
			"by",
			s.By,
			"reason",
			s.Reason,
		)
	}
}

func indexOf(logs []digest.Log, o trail.Object) int {
	for i, l := range logs {
		if l.Location() == o {
			return i
		}
	}
	return -1
}

// emitSome processes the log files with the given indexes.
func (c *chainLoop) emitSome(ctx context.Context, g follow.Candidate, indexes []int, early []*fetch.Request) error {
	var (
		mu     sync.Mutex // guards what follows, and c.emitted
		first  error
		failed int
		wait   sync.WaitGroup
	)
	for _, i := range indexes {
		l := g.Digest.Logs[i]
		mu.Lock()
		parts := c.emitted[l.Location()].parts
		mu.Unlock()
		job := pipeline.Job{
			Share: c.share, Log: l, Places: c.feed.source.Locate(l.Location()), Chain: g.Chain,
			Digest: g.Digest, Parts: parts,
		}
		if i < len(early) {
			job.Early = early[i]
		}
		wait.Add(1)
		err := c.share.Go(ctx, func(slot *fetch.Slot) {
			defer wait.Done()
			job.Slot = slot
			parts, events, err := c.emitLog(ctx, g, job)
			mu.Lock()
			defer mu.Unlock()
			c.emitted[l.Location()] = emittedLog{parts, c.emitted[l.Location()].events + events}
			if err == nil {
				return
			}
			if failed++; first == nil && ctx.Err() == nil {
				first, c.failed = err, l.Location()
			}
		})
		if err != nil {
			wait.Done()
			break
		}
	}
	wait.Wait()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case failed > 1:
		return fmt.Errorf("%w (and %d other log files of %s)", first, failed-1, g.At)
	}
	return first
}

// emitLog processes one log file and decides what becomes of it. It returns how many parts
// of it the sinks have, whole where it is done: emitted, or quarantined with a finding. And
// it returns how many events they took.
func (c *chainLoop) emitLog(ctx context.Context, g follow.Candidate, job pipeline.Job) (parts, events int, err error) {
	w := c.worker
	outcome := pipeline.Returned
	r, err := w.pipeline.Process(ctx, job)
	events = r.Counts.Emitted
	defer func() { w.pipeline.Accounts().Settle(outcome) }()
	decision := failure.Decide(failure.Failure{
		Operation: failure.Log, Err: err, Fresh: w.config.Now().Sub(g.End) < w.policy.Grace,
	})
	switch decision.Do {
	case failure.Proceed:
		if err := c.reportReceipt(ctx, g, job.Log, r); err != nil {
			return r.Parts, events, err
		}
		if r.Malformed != nil {
			outcome = pipeline.Quarantined
			w.metrics.logs.WithLabelValues("invalid").Inc()
		} else {
			outcome = pipeline.Emitted
			w.metrics.logs.WithLabelValues("valid").Inc()
		}
		return whole, events, nil
	case failure.Quarantine:
		if err := c.reportLog(ctx, g, job.Log, r, decision.Class, "", err); err != nil {
			return r.Parts, events, err
		}
		if err := c.reportOthers(ctx, g, job.Log, r, ""); err != nil {
			return r.Parts, events, err
		}
		outcome = pipeline.Quarantined
		w.metrics.logs.WithLabelValues("invalid").Inc()
		return whole, events, nil
	case failure.Retry:
		w.metrics.unverifiedBy(decision.Reason)
		if r.At.Key == "" {
			r.At = job.Log.Location()
		}
		err = fmt.Errorf("log %s: %w", r.At, err)
	}
	return r.Parts, events, err
}

// done returns how many log files a digest lists, how many of them are done, and how many
// of their events all sinks took. A log file that it lists twice counts once.
func (c *chainLoop) done(d *digest.Digest) (listed, done, events int) {
	seen := make(map[trail.Object]bool, len(d.Logs))
	for _, l := range d.Logs {
		at := l.Location()
		if seen[at] {
			continue
		}
		seen[at] = true
		listed++
		e := c.emitted[at]
		events += e.events
		if e.parts == whole {
			done++
		}
	}
	return listed, done, events
}

// forgetEmitted forgets what the sinks have of a digest's log files. What they have of other
// digests, whose heads could not be stored, stays remembered.
func (c *chainLoop) forgetEmitted(d *digest.Digest) {
	if d == nil {
		return
	}
	for _, l := range d.Logs {
		delete(c.emitted, l.Location())
	}
}

// reportReceipt reports what was found in an emitted log file: events that switch a trail
// off, records that could not be taken, and other files that are not equal.
func (c *chainLoop) reportReceipt(ctx context.Context, g follow.Candidate, l digest.Log, r pipeline.Receipt) error {
	w := c.worker
	for _, off := range r.SwitchOffs {
		if err := c.reportSwitchOff(ctx, g, l, r, off); err != nil {
			return err
		}
	}
	if r.Malformed != nil {
		why := fmt.Errorf("proven, and malformed after %d records: %w", r.Counts.Split, r.Malformed)
		if err := c.reportLog(ctx, g, l, r, finding.LogCorrupt, "", why); err != nil {
			return err
		}
	}
	for _, o := range r.Odd {
		decision := failure.Decide(failure.Failure{Operation: failure.Record, Err: o.Why})
		w.config.Log.Warn("record is not emitted", "reason", string(decision.Reason), "log", r.At.String(),
			"record", o.Index, "bytes", o.Size, "error", o.Why, "text", o.Text)
	}
	w.metrics.oddRecords(r.Counts.Odd)
	return c.reportOthers(ctx, g, l, r, "a second copy: ")
}

// reportOthers reports the other files of a copy that can be a log file and are not equal.
func (c *chainLoop) reportOthers(
	ctx context.Context,
	g follow.Candidate,
	l digest.Log,
	r pipeline.Receipt,
	which string,
) error {
	w := c.worker
	for _, o := range r.Others {
		decision := failure.Decide(failure.Failure{Operation: failure.Log, Err: o.Err})
		if decision.Do != failure.Quarantine {
			w.metrics.unverifiedBy(decision.Reason)
			w.config.Log.Warn("a second copy of a log file was not read", "log", o.At.String(), "error", o.Err)
			continue
		}
		other := pipeline.Receipt{At: o.At, Sum: o.Sum}
		if err := c.reportLog(ctx, g, l, other, decision.Class, which, o.Err); err != nil {
			return err
		}
	}
	return nil
}

// reportLog reports what is wrong with a log file that a digest lists.
func (c *chainLoop) reportLog(
	ctx context.Context,
	g follow.Candidate,
	l digest.Log,
	r pipeline.Receipt,
	class finding.Class,
	which string,
	why error,
) error {
	e := finding.Evidence{Want: l.Hash.String(), Digest: g.Digest.Location().String()}
	detail := why.Error()
	switch class {
	case finding.LogModified:
		e.Got = r.Sum.String()
		detail = "its content is not what was signed for"
	case finding.LogMissing:
		detail = "listed, and not there"
	}
	return c.worker.report(
		ctx,
		finding.Finding{Class: class, Subject: c.logSubject(g, l, r), Detail: which + detail, Evidence: e},
	)
}

func (c *chainLoop) logSubject(g follow.Candidate, l digest.Log, r pipeline.Receipt) finding.Subject {
	at := r.At
	if at.Key == "" {
		at = l.Location()
	}
	s := finding.Subject{
		Account: c.name.Account, Region: c.name.Region, Trail: c.name.Trail, Bucket: at.Bucket, Key: at.Key, Time: g.Digest.End,
	}
	if k, err := trail.ParseLogKey(l.Object); err == nil {
		s.Time = k.Stamp
	}
	return s
}

// reportSwitchOff remembers an event that switches a trail off, to explain a gap with it,
// and reports it where the trail is the chain's own.
func (c *chainLoop) reportSwitchOff(
	ctx context.Context, g follow.Candidate, l digest.Log, r pipeline.Receipt, off pipeline.SwitchOff,
) error {
	w := c.worker
	w.offs.add(off)
	switch off.Off.Of(g.Chain, w.managementAccount(ctx, g.Organization)) {
	case chain.No:
		return nil // another trail: if it is followed, its own log files say so
	case chain.Possible:
		w.config.Log.Warn(
			"a trail of this name was switched off; the owner of the organization's trail is not known: set --management-account",
			"chain",
			c.name.String(),
			"event",
			off.Event.ID,
			"name",
			off.Event.Name,
			"actor",
			off.Event.Actor,
		)
		return nil
	}
	s := c.logSubject(g, l, r)
	s.Time = off.Event.Time
	event := off.Event
	return w.report(ctx, finding.Finding{
		Class: finding.Gap, Subject: s,
		Detail:   fmt.Sprintf("%s by %s: logging or validation is switched off from now on", event.Name, event.Actor),
		Evidence: finding.Evidence{From: event.Time, Event: &event},
	})
}

// offs remembers the events that switched trails off, by the name of the trail. It is safe
// for concurrent use.
type offs struct {
	mu     sync.Mutex // guards byName
	byName map[string][]pipeline.SwitchOff
}

const maxOffs = 100 // of each name

func (o *offs) add(off pipeline.SwitchOff) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.byName == nil {
		o.byName = map[string][]pipeline.SwitchOff{}
	}
	name := off.Off.Trail.Name
	list := append(o.byName[name], off)
	o.byName[name] = list[max(0, len(list)-maxOffs):]
}

// near returns the last event that switched the trail of a chain off around the end of a
// digest, or nil. One that is known to concern the trail outweighs one that possibly does.
func (o *offs) near(c trail.Chain, management string, end follow.Link) (last *finding.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, off := range o.byName[c.Trail] {
		match := off.Off.Of(c, management)
		e := off.Event
		if d := end.End.Sub(e.Time); match == chain.No || d <= -window || d >= 2*window {
			continue
		}
		e.Possible = match == chain.Possible
		if last == nil || last.Possible && !e.Possible || last.Possible == e.Possible && e.Time.After(last.Time) {
			last = &e
		}
	}
	return last
}
