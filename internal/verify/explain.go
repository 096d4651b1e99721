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

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/prove"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// gap is a time in which logging or validation was off, with the log files of
// the last digests before it: the call that switched it off is in one of them,
// if it was logged.
type gap struct {
	chain    *chain
	from, to time.Time
	logs     []placedLog       // owned by the walk until it has ended
	events   [][]finding.Event // of each log, that switch the trail off
	event    *finding.Event    // the last of them; nil where there is none
}

// placedLog is a listed log file and where it can lie.
type placedLog struct {
	digest.Log
	places []trail.Object
}

// openGap notes that logging or validation was off.
func (w *walk) openGap(from, to time.Time) {
	if !to.After(w.Start) || !from.Before(w.End) {
		return
	}
	w.time.add(from, to, report.Gap)
	if w.silent {
		return
	}
	w.gap = &gap{chain: w.chain, from: from.UTC(), to: to.UTC()}
	w.run.mu.Lock()
	defer w.run.mu.Unlock()
	w.gaps = append(w.gaps, w.gap)
}

// offerExplanation keeps the log files of a digest shortly before a gap.
func (w *walk) offerExplanation(l discover.Digest, d *digest.Digest) {
	g := w.gap
	if g == nil {
		return
	}
	if g.from.Sub(d.End) >= 2*window {
		w.gap = nil
		return
	}
	for _, log := range d.Logs {
		if d.CheckLog(log, w.name.Place) == nil && w.mayFollow(log.Bucket) {
			g.logs = append(g.logs, placedLog{log, w.Source.Locate(l.Chain.Place, log.Location())})
		}
	}
}

// explain reports the gaps, each with the verified event that tells who did
// it. The call is logged in the region it was made in, so a gap of another
// region borrows the explanation of the same trail's gap of that time.
func (r *run) explain(ctx context.Context) {
	slices.SortFunc(r.gaps, compareGaps) // walks end in any order; what is borrowed depends on it
	var reads errgroup.Group
	reads.SetLimit(r.Concurrency)
	for _, g := range r.gaps {
		g.events = make([][]finding.Event, len(g.logs))
		for i, l := range g.logs {
			reads.Go(func() error { g.events[i] = r.switchOffs(ctx, l, g.chain.name); return nil })
		}
	}
	_ = reads.Wait()
	for _, g := range r.gaps {
		g.event = g.culprit()
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
	m, n := a.chain.name, b.chain.name
	return cmp.Or(a.from.Compare(b.from), cmp.Compare(m.Account, n.Account), cmp.Compare(m.Region, n.Region), cmp.Compare(m.Prefix, n.Prefix))
}

func (r *run) findGap(g *gap, e *finding.Event) {
	detail := "logging or validation was off: nothing was digested"
	if e != nil {
		detail += fmt.Sprintf("; %s by %s", e.Name, e.Actor)
	}
	n := g.chain.name
	r.find(finding.Finding{
		Class: finding.Gap, Detail: detail,
		Subject:  finding.Subject{Account: n.Account, Region: n.Region, Trail: n.Trail, Bucket: r.Source.Bucket, Time: g.from},
		Evidence: finding.Evidence{From: g.from, To: g.to, Event: e},
	})
}

// culprit returns the last event before a gap that switched the trail off.
func (g *gap) culprit() *finding.Event {
	var last *finding.Event
	for _, events := range g.events {
		for _, e := range events {
			if last == nil || e.Time.After(last.Time) {
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
// share a bucket can each have a trail of the same name, an organization's
// trail writes for all of them.
func sameTrail(a, b trail.Chain) bool {
	return a.Trail == b.Trail && a.HomeRegion == b.HomeRegion && a.Organization == b.Organization &&
		(a.Account == b.Account || a.Organization != "")
}

// switchOffs reads a log file for events that switch a trail off. None of them
// counts unless the whole file has the signed hash.
func (r *run) switchOffs(ctx context.Context, l placedLog, name trail.Chain) []finding.Event {
	for _, at := range l.places {
		var events []finding.Event
		here := l.Log
		here.Bucket, here.Object = at.Bucket, at.Key
		reader := &eventReader{}
		_, err := r.Fetcher.CopyLog(ctx, func() io.Writer {
			reader.end()
			events = nil
			return reader.begin(func(e trail.Event) {
				if off, ok := prove.SwitchesOff(e); ok && off == name.Trail {
					events = append(events, finding.Event{ID: e.ID(), Name: e.Name(), Time: e.Time(), Actor: e.Actor(), From: e.SourceIPAddress(), Log: at.String()})
				}
			})
		}, here)
		reader.end()
		if err == nil {
			return events
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil // told as the log's own finding already
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
		src := &bounded{r: r, left: maxRecord}
		for record, err := range trail.Records(src) {
			if err != nil {
				break
			}
			src.left = maxRecord
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

// maxRecord is more than CloudTrail's largest event has. The file is not proven
// while it is parsed, and one that is a single string would fill the memory.
const maxRecord = 4 << 20

// bounded ends with an error once so many bytes were read since left was set.
type bounded struct {
	r    io.Reader
	left int
}

var errRecord = errors.New("a record larger than any event")

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errRecord
	}
	n, err := b.r.Read(p)
	b.left -= n
	return n, err
}
