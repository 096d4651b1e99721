package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// gap is a time in which logging or validation was off, with the log files of the
// last digests before it: the call that switched it off is in one of them, if it
// was logged.
type gap struct {
	chain    *strands
	from, to time.Time
	start    trail.Object // the starting digest after it
	more     string       // what else is to be said
	logs     []listedLog  // owned by the walk until it has ended
	events   [][]finding.Event
	event    *finding.Event // the last of them; nil where there is none
}

// listedLog is a listed log file and where it can lie.
type listedLog struct {
	log    digest.Log
	places []trail.Object
}

// openGap notes that logging or validation was off.
func (w *walk) openGap(c *strands, from, to time.Time, start trail.Object, more string) {
	c.time.add(from, to, report.Gap)
	if !to.After(w.r.cfg.Start) || !from.Before(w.r.cfg.End) || w.names.isSilent || w.more {
		return
	}
	w.gap = &gap{chain: c, from: from.UTC(), to: to.UTC(), start: start, more: more}
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	w.r.gaps = append(w.r.gaps, w.gap)
}

// offerExplanation keeps the log files of a digest shortly before a gap.
func (w *walk) offerExplanation(c *strands, s chain.Step) {
	g := w.gap
	if g == nil || g.chain.root() != c.root() {
		return
	}
	if g.from.Sub(s.End) >= 2*window {
		w.gap = nil
		return
	}
	for _, log := range s.Digest.Logs {
		if s.Digest.CheckLog(log, s.Place) == nil && w.r.mayFollow(log.Bucket) {
			g.logs = append(g.logs, listedLog{log, w.r.cfg.Source.Locate(log.Location())})
		}
	}
}

// explain reports the gaps, each with the verified event that tells who did it.
// The call is logged in the region where it was made, so a gap of another region
// borrows the explanation of the same trail's gap of that time.
func (r *run) explain(ctx context.Context) {
	slices.SortFunc(r.gaps, compareGaps) // walks end in any order; what is borrowed depends on it
	var reads errgroup.Group
	reads.SetLimit(r.cfg.Concurrency)
	for _, g := range r.gaps {
		g.events = make([][]finding.Event, len(g.logs))
		for i, l := range g.logs {
			reads.Go(func() error { g.events[i] = r.switchOffs(ctx, l, g.chain.name); return nil })
		}
	}
	_ = reads.Wait()
	for _, g := range r.gaps {
		g.event = g.lastEvent()
	}
	for _, g := range r.gaps {
		if g.event != nil {
			r.findGap(g, g.event)
		} else {
			r.findGap(g, r.borrow(g))
		}
	}
}

func compareGaps(a, b *gap) int {
	return cmp.Or(a.from.Compare(b.from), compareChains(a.chain.name, b.chain.name))
}

func (r *run) findGap(g *gap, e *finding.Event) {
	detail := "logging or validation was off: nothing was digested" + g.more
	switch {
	case e != nil && e.Possible:
		detail += fmt.Sprintf(
			"; possibly %s by %s (the owner of the organization's trail is not known: --management-account)",
			e.Name,
			e.Actor,
		)
	case e != nil:
		detail += fmt.Sprintf("; %s by %s", e.Name, e.Actor)
	}
	r.find(finding.Finding{
		Class: finding.Gap, Detail: detail, Subject: r.chainSubject(g.chain, g.from),
		Evidence: finding.Evidence{From: g.from, To: g.to, Event: e, Digest: g.start.String()},
	})
}

// lastEvent returns the last event before a gap that switched the trail off. One
// that is known to concern the trail outweighs one that possibly does.
func (g *gap) lastEvent() *finding.Event {
	var last *finding.Event
	for _, events := range g.events {
		for _, e := range events {
			switch {
			case last == nil, last.Possible && !e.Possible, last.Possible == e.Possible && e.Time.After(last.Time):
				last = &e
			}
		}
	}
	return last
}

// borrow returns the event of another gap of the same trail at that time.
func (r *run) borrow(g *gap) *finding.Event {
	for _, o := range r.gaps {
		if o.event != nil && sameTrail(o.chain.name, g.chain.name) && o.from.Sub(g.from).Abs() < 2*window {
			return o.event
		}
	}
	return nil
}

// sameTrail reports whether two chains are written by one trail: accounts that
// share a bucket can each have a trail of the same name, an organization's trail
// writes for all of them.
func sameTrail(a, b trail.Chain) bool {
	return a.Trail == b.Trail && a.HomeRegion == b.HomeRegion && a.Organization == b.Organization &&
		(a.Account == b.Account || a.Organization != "")
}

// switchOffs reads a log file for events that switch the trail of a chain off.
// They count only if the whole file has the signed hash.
func (r *run) switchOffs(ctx context.Context, l listedLog, of trail.Chain) []finding.Event {
	management := ""
	if of.Organization != "" && r.cfg.Management != nil {
		management = r.cfg.Management(ctx, of.Organization)
	}
	for _, at := range l.places {
		var events []finding.Event
		here := l.log
		here.Bucket, here.Object = at.Bucket, at.Key
		reader := &eventReader{}
		_, err := r.cfg.Fetcher.CopyLog(ctx, func() io.Writer {
			reader.end()
			events = nil
			return reader.begin(func(e trail.Event) {
				off, ok := chain.SwitchOff(e)
				if !ok {
					return
				}
				if m := off.Of(of, management); m != chain.No {
					events = append(events, finding.Event{
						ID: e.ID(), Name: e.Name(), Time: e.Time(), Actor: e.Actor(), From: e.SourceIPAddress(), Log: at.String(), Possible: m == chain.Possible,
					})
				}
			})
		}, here)
		reader.end()
		if err == nil {
			return events
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, digest.ErrModified) {
			return nil // reported as the log's own
		}
	}
	return nil
}

// eventReader parses what is written to it, in a goroutine that end waits for.
type eventReader struct {
	w    *io.PipeWriter
	done chan struct{}
}

func (p *eventReader) begin(see func(trail.Event)) io.Writer {
	r, w := io.Pipe()
	p.w, p.done = w, make(chan struct{})
	go func() {
		defer close(p.done)
		for record, err := range trail.Records(r) {
			if err != nil {
				continue
			}
			if e, err := trail.ParseEvent(record); err == nil {
				see(e)
			}
		}
		_, _ = io.Copy(io.Discard, r) // the writer must never wait for a parser that gave up
	}()
	return w
}

func (p *eventReader) end() {
	if p.w != nil {
		p.w.Close()
		<-p.done
		p.w = nil
	}
}
