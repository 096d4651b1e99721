package logfile

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/trailseal/trailseal/internal/failure"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/internal/pipeline"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Emitter emits the log files of the digests of one chain. One goroutine uses it.
type Emitter struct {
	rules  *Rules
	source source.Source
	share  *pipeline.Share
	taken  map[trail.Object]taken // log files of digests that are not done
	failed trail.Object           // the log file that failed first, and is tried alone
}

// taken is what the sinks have of a log file.
type taken struct {
	parts  int // whole: all of it
	events int // that all sinks took
}

// whole says that the sinks have all of a log file, or that it is quarantined or skipped.
const whole = -1

// New returns an emitter of the chain that a share belongs to.
func New(r *Rules, s source.Source, share *pipeline.Share) *Emitter {
	return &Emitter{rules: r, source: s, share: share, taken: map[trail.Object]taken{}}
}

// Emit processes the log files of a proven digest side by side. After an error it is called
// again: it then tries the log file alone that failed first, and does not emit again what the
// sinks have. The error is that of the first log file that failed, with the number of the
// others. early are requests for the first log files, by index; each may be nil. When Emit
// returns, nothing of it runs any more.
func (e *Emitter) Emit(ctx context.Context, h follow.Head, g follow.Candidate, early []*fetch.Request) error {
	d := g.Digest
	e.skip(h, g)
	isFailed := func(l digest.Log) bool { return l.Location() == e.failed }
	if i := slices.IndexFunc(d.Logs, isFailed); i >= 0 && e.taken[e.failed].parts != whole {
		if err := e.emitSome(ctx, g, []int{i}, early); err != nil {
			return err
		}
	}
	e.failed = trail.Object{}
	all := make([]int, 0, len(d.Logs))
	seen := make(map[trail.Object]bool, len(d.Logs))
	for i, l := range d.Logs {
		if seen[l.Location()] {
			r := e.result(g, l, pipeline.Receipt{At: l.Location()})
			why := fmt.Errorf("listed more than once: %w", digest.ErrMisplaced)
			if err := r.report(ctx, finding.LogMisplaced, "", why); err != nil {
				return err
			}
			continue
		}
		seen[l.Location()] = true
		if e.taken[l.Location()].parts != whole {
			all = append(all, i)
		}
	}
	return e.emitSome(ctx, g, all, early)
}

// Has reports whether the sinks have something of a log file.
func (e *Emitter) Has(o trail.Object) bool {
	_, has := e.taken[o]
	return has
}

// Done returns how many log files a digest lists, how many of them are done, and how many of
// their events all sinks took. A log file that it lists twice counts once.
func (e *Emitter) Done(d *digest.Digest) (listed, done, events int) {
	seen := make(map[trail.Object]bool, len(d.Logs))
	for _, l := range d.Logs {
		at := l.Location()
		if seen[at] {
			continue
		}
		seen[at] = true
		listed++
		t := e.taken[at]
		events += t.events
		if t.parts == whole {
			done++
		}
	}
	return listed, done, events
}

// Forget forgets what the sinks have of a digest's log files. What they have of other digests,
// whose heads could not be stored, stays remembered. The digest may be nil.
func (e *Emitter) Forget(d *digest.Digest) {
	if d == nil {
		return
	}
	for _, l := range d.Logs {
		delete(e.taken, l.Location())
	}
}

// ForgetAll forgets what the sinks have: the digests are processed anew.
func (e *Emitter) ForgetAll() {
	clear(e.taken)
	e.failed = trail.Object{}
}

// skip leaves out the log files of a digest that the operator skips. The findings about that
// were reported when it was ordered.
func (e *Emitter) skip(h follow.Head, g follow.Candidate) {
	for _, l := range g.Digest.Logs {
		s := h.SkippedLog(l)
		if s == nil || e.taken[l.Location()].parts == whole {
			continue
		}
		e.taken[l.Location()] = taken{parts: whole}
		e.rules.Done(skipped)
		e.rules.Log.Warn("log file is skipped by order", "log", l.Location().String(), "sha256", l.Hash.String(),
			"digest", g.At.String(), "by", s.By, "reason", s.Reason)
	}
}

// emitSome processes the log files with the given indexes.
func (e *Emitter) emitSome(ctx context.Context, g follow.Candidate, indexes []int, early []*fetch.Request) error {
	var (
		mu     sync.Mutex // guards what follows, and e.taken
		first  error
		failed int
		wait   sync.WaitGroup
	)
	for _, i := range indexes {
		l := g.Digest.Logs[i]
		mu.Lock()
		parts := e.taken[l.Location()].parts
		mu.Unlock()
		job := pipeline.Job{
			Share: e.share, Log: l, Places: e.source.Locate(l.Location()), Chain: g.Chain,
			Digest: g.Digest, Parts: parts,
		}
		if i < len(early) {
			job.Early = early[i]
		}
		wait.Add(1)
		err := e.share.Go(ctx, func(slot *fetch.Slot) {
			defer wait.Done()
			job.Slot = slot
			got, err := e.emit(ctx, g, job)
			mu.Lock()
			defer mu.Unlock()
			e.taken[l.Location()] = taken{got.parts, e.taken[l.Location()].events + got.events}
			if err == nil {
				return
			}
			if failed++; first == nil && ctx.Err() == nil {
				first, e.failed = err, l.Location()
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

// emit processes one log file and decides what becomes of it. It returns what the sinks have
// of it after that, and how many events they took of it now.
func (e *Emitter) emit(ctx context.Context, g follow.Candidate, job pipeline.Job) (taken, error) {
	outcome := pipeline.Returned
	receipt, err := e.rules.Pipeline.Process(ctx, job)
	defer func() { e.rules.Pipeline.Accounts().Settle(outcome) }()
	r := e.result(g, job.Log, receipt)
	part := taken{receipt.Parts, receipt.Counts.Emitted}
	decision := failure.Decide(failure.Failure{
		Operation: failure.Log, Err: err, Fresh: e.rules.Now().Sub(g.End) < e.rules.Grace,
	})
	switch decision.Do {
	case failure.Proceed:
		if err := r.reportReceipt(ctx); err != nil {
			return part, err
		}
		if receipt.Malformed != nil {
			outcome = pipeline.Quarantined
			e.rules.Done(invalid)
		} else {
			outcome = pipeline.Emitted
			e.rules.Done(valid)
		}
		return taken{whole, part.events}, nil
	case failure.Quarantine:
		if err := r.report(ctx, decision.Class, "", err); err != nil {
			return part, err
		}
		if err := r.reportOthers(ctx, ""); err != nil {
			return part, err
		}
		outcome = pipeline.Quarantined
		e.rules.Done(invalid)
		return taken{whole, part.events}, nil
	case failure.Retry:
		e.rules.Unverified(decision.Reason, 1)
		err = fmt.Errorf("log %s: %w", r.at(), err)
	}
	return part, err
}

func (e *Emitter) result(g follow.Candidate, l digest.Log, r pipeline.Receipt) result {
	return result{rules: e.rules, candidate: g, log: l, receipt: r}
}
