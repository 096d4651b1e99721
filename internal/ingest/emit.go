package ingest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/trailseal/trailseal/internal/finding"
	"github.com/trailseal/trailseal/internal/prove"
	"github.com/trailseal/trailseal/internal/provenance"
	"github.com/trailseal/trailseal/pkg/trail"
)

// part gathers the lines of a proven log and emits them when there are enough.
// Where parts end depends on the log and on size alone.
type part struct {
	ctx   context.Context
	log   *logFile
	lines *provenance.Log
	size  int
	n     int // parts so far

	buf  []byte // the lines, one after the other
	ends []int  // of the lines in buf
	ids  []string
}

func newPart(ctx context.Context, l *logFile, size int) *part {
	return &part{ctx: ctx, log: l, size: size, lines: provenance.NewLog(l.Raw, l.Log, l.signed.Location(), l.signed.Fingerprint)}
}

// record takes the next record of the log.
func (p *part) record(record []byte) error {
	line, id, err := p.lines.Line(p.buf, record)
	if err != nil {
		return p.log.oddRecord(p.ctx, p.lines.Records()-1, record)
	}
	p.log.watch(record)
	p.buf, p.ends, p.ids = line, append(p.ends, len(line)), append(p.ids, id)
	if len(p.buf) >= p.size {
		return p.flush()
	}
	return nil
}

// flush emits the lines gathered so far; a log without events has no batch.
func (p *part) flush() error {
	if len(p.ends) == 0 {
		return nil
	}
	b := trail.Batch{Log: trail.Object{Bucket: p.log.Bucket, Key: p.log.Object}, Part: p.n, IDs: p.ids, Lines: make([][]byte, len(p.ends))}
	start := 0
	for i, end := range p.ends {
		b.Lines[i], start = p.buf[start:end:end], end
	}
	if err := p.log.deliver(p.ctx, b); err != nil {
		return err
	}
	p.n++
	p.buf, p.ends, p.ids = p.buf[:0], p.ends[:0], p.ids[:0]
	return nil
}

// oddRecord reports a record of a proven log that is no object, with its text;
// the rest of the log goes on.
func (l *logFile) oddRecord(ctx context.Context, n int, record []byte) error {
	const most = 4 << 10
	l.m.deadLetters.Inc()
	return l.find(ctx, finding.Finding{
		Class: finding.LogCorrupt, Subject: l.subject(),
		Detail:   fmt.Sprintf("record %d is no JSON object: %s", n, record[:min(len(record), most)]),
		Evidence: finding.Evidence{Want: l.Hash.String(), Digest: l.signed.Location().String()},
	})
}

// watch looks for the events that switch a trail off.
func (l *logFile) watch(record []byte) {
	if !bytes.Contains(record, []byte("cloudtrail.amazonaws.com")) {
		return
	}
	e, err := trail.ParseEvent(record)
	if err != nil {
		return
	}
	if name, ok := prove.SwitchesOff(e); ok {
		l.stops.add(name, finding.Event{
			ID: e.ID(), Name: e.Name(), Time: e.Time(), Actor: e.Actor(), From: e.SourceIPAddress(), Log: l.Location().String(),
		})
	}
}

// Pauses between tries of what must succeed some day.
const (
	retryFirst = 200 * time.Millisecond
	retryMost  = 30 * time.Second
)

// deliver gives a batch to the sinks until they have it or ctx ends. Nothing
// else moves on meanwhile: the batch keeps its share of the budget.
func (w *worker) deliver(ctx context.Context, b trail.Batch) error {
	began := w.Now()
	for try := 0; ; try++ {
		err := w.Sink.Emit(ctx, b)
		if err == nil {
			w.m.events.Add(float64(len(b.Lines)))
			w.events.Add(int64(len(b.Lines)))
			w.m.stage("emit", w.Now().Sub(began))
			w.sinkError(nil)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		w.sinkError(err)
		w.m.sinkRetries.Inc()
		w.Log.Warn("emit failed, trying again", "log", b.Log.String(), "try", try+1, "error", err)
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}

// pause waits longer after each try, with full jitter.
func pause(ctx context.Context, try int) error {
	most := min(retryFirst<<min(try, 20), retryMost)
	t := time.NewTimer(rand.N(most) + most/8)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
