package pipeline

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// maxOdd bounds the odd records in a Receipt. The others are counted.
const (
	maxOdd     = 100
	maxOddText = 4 << 10
)

// emitter splits a proven log file and gives its events to the sinks. One goroutine uses
// it.
type emitter struct {
	p       *Pipeline
	job     Job
	receipt *Receipt

	splitter trail.Splitter
	batch    sink.Batch
	copies   bool   // records must be copied: the splitter reuses their bytes
	copied   []byte // where to
	size     int    // of the events, as the sinks encode them at most
	overhead int    // of each event
	isWhole  bool   // the file is one part, or errManyRecords
	most     int    // size beyond which a part ends
	failed   error  // why the splitting was ended: of the sinks, or errManyRecords
}

// emit splits, selects and encodes the records of a proven file and delivers them. A file
// that is held inflated is one part, unless it has more events than its size suggests. A
// larger one has several. The ends of parts depend on the file's bytes alone, and not on
// what was read before, so that a repeat has the same.
func (p *Pipeline) emit(ctx context.Context, j Job, b body, r *Receipt) error {
	if b.held.buffer == nil {
		e := p.emitter(j, r)
		e.most, e.copies, e.copied = partBytes, true, make([]byte, 0, partBytes)
		return e.run(ctx, func(s *trail.Splitter) error {
			_, _, err := inflate.Copy(s, b.stored.Reader(), j.Share.source.fetcher.InflateLog())
			return err
		})
	}
	buffer := b.held.buffer
	inflated := func(s *trail.Splitter) error { _, err := s.Write(buffer.inflated); return err }
	c := classes[classOf(b.size)] // the buffer's or a smaller one
	before := *r
	e := p.emitter(j, r)
	e.isWhole, e.most, e.batch.Events = true, c.encoded, buffer.events[:0]
	err := e.run(ctx, inflated)
	buffer.events = e.batch.Events[:0]
	if errors.Is(err, errManyRecords) {
		*r = before // nothing was delivered
		e = p.emitter(j, r)
		e.most, e.batch.Events = min(partBytes, c.encoded), buffer.events
		err = e.run(ctx, inflated)
		buffer.events = e.batch.Events[:0]
	}
	return err
}

func (p *Pipeline) emitter(j Job, r *Receipt) *emitter {
	e := &emitter{p: p, job: j, receipt: r, batch: sink.Batch{
		Log: j.Log.Location(), Sum: r.Sum,
		Proof: sink.Proof{Digest: j.Digest.Location(), Fingerprint: j.Digest.Fingerprint},
	}}
	e.overhead = e.batch.Overhead()
	return e
}

// run splits what write writes, takes each record, and delivers the last part.
func (e *emitter) run(ctx context.Context, write func(*trail.Splitter) error) error {
	s := &e.splitter
	s.Record = func(record []byte) error { return e.take(ctx, s.Count()-1, record) }
	s.Odd = func(record []byte, why error) error {
		text := string(record[:min(len(record), maxOddText)])
		e.odd(OddRecord{Index: s.Count() - 1, Size: int64(len(record)), Text: text, Why: why})
		return nil
	}
	s.TooLarge = func(size int64) error {
		e.odd(OddRecord{Index: s.Count() - 1, Size: size, Why: trail.ErrRecordTooLarge})
		return nil
	}
	err := write(s)
	if err == nil {
		err = s.Close()
	}
	switch {
	case e.failed != nil: // a sink's error does not speak about the file, whatever it wraps
		err = e.failed
	case errors.Is(err, trail.ErrRecords):
		e.receipt.Malformed, err = err, nil
	}
	if err == nil {
		err = e.deliver(ctx)
	}
	e.receipt.Counts.Split = s.Count()
	e.receipt.Counts.Returned += len(e.batch.Events)
	clear(e.batch.Events) // and what was parsed of them
	return err
}

// errManyRecords says that a file that is held inflated has too many events for its class.
var errManyRecords = errors.New("more events than the log file's size suggests")

// take takes a record that is one event.
func (e *emitter) take(ctx context.Context, index int, record []byte) error {
	if off, ok := switchOff(record, e.job); ok {
		e.receipt.SwitchOffs = append(e.receipt.SwitchOffs, off)
	}
	size := len(record) + e.overhead
	if e.size+size > e.most {
		e.failed = errManyRecords
		if !e.isWhole {
			e.failed = e.deliver(ctx)
		}
		if e.failed != nil {
			e.receipt.Counts.Returned++
			return e.failed
		}
	}
	if e.copies {
		start := len(e.copied)
		e.copied = append(e.copied, record...) // it never grows, so that records stay where they are
		record = e.copied[start:len(e.copied):len(e.copied)]
	}
	e.batch.Events = append(e.batch.Events, sink.Event{Record: record, Index: index})
	e.size += size
	return nil
}

func (e *emitter) odd(o OddRecord) {
	e.receipt.Counts.Odd++
	if len(e.receipt.Odd) < maxOdd {
		e.receipt.Odd = append(e.receipt.Odd, o)
	}
}

// deliver gives the events gathered so far to the sinks, unless they have this part from
// an earlier try. A file without events has no part.
func (e *emitter) deliver(ctx context.Context) error {
	if len(e.batch.Events) == 0 {
		return nil
	}
	if e.p.tamper != nil {
		e.batch.Events = e.p.tamper(e.batch.Events)
	}
	n := len(e.batch.Events)
	if e.batch.Part < e.job.Parts {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		e.receipt.Counts.Returned += n
	} else {
		sink.Identify(e.batch.Log, e.batch.Events)
		if err := e.p.deliver(ctx, e.batch); err != nil {
			return err
		}
		e.receipt.Counts.Emitted += n
		if e.isWhole {
			e.job.Share.rememberEncoded(e.size)
		}
	}
	e.batch.Part++
	e.receipt.Parts = max(e.job.Parts, e.batch.Part)
	clear(e.batch.Events) // and what was parsed of them
	e.batch.Events, e.copied, e.size = e.batch.Events[:0], e.copied[:0], 0
	return nil
}

// deliver gives a batch to the sinks.
func (p *Pipeline) deliver(ctx context.Context, b sink.Batch) error {
	p.accounts.offer(len(b.Events))
	err := p.options.Sink.Emit(ctx, b)
	p.accounts.answered(len(b.Events), err)
	return err
}

// What the names of the calls that switch a trail off hold.
var (
	stopLogging = []byte(`StopLogging"`)
	endsInTrail = []byte(`Trail"`)
)

// switchOff returns what a record says of a trail that was switched off.
func switchOff(record []byte, j Job) (SwitchOff, bool) {
	if !bytes.Contains(record, stopLogging) && !bytes.Contains(record, endsInTrail) {
		return SwitchOff{}, false // two searches for rare letters cost least for every record
	}
	e, err := trail.ParseEvent(slices.Clone(record))
	if err != nil {
		return SwitchOff{}, false
	}
	off, ok := chain.SwitchOff(e)
	return SwitchOff{Off: off, Event: finding.Event{
		ID: e.ID(), Name: e.Name(), Time: e.Time(), Actor: e.Actor(), From: e.SourceIPAddress(),
		Log: j.Log.Location().String(),
	}}, ok
}
