// Package pipeline takes the log files that proven digests list, one at a time, from
// their objects to the sinks:
//
//	Process(Job):  read ──> check ──> split ──> select ──> encode ──> deliver ──> Receipt
//	               fetch,   signed    records   switch-     ids,       every
//	               inflate, hash      are       offs are    batches    sink has
//	               hash               checked   noticed                them
//
// Nothing that is not proven passes check. Process reports nothing itself: what it found
// is in the Receipt or in the error, and the caller decides about that. Memory is
// reserved when an object's first bytes are there, and given back when Process returns.
package pipeline

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/budget"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Sink takes events.
type Sink interface {
	// Emit returns nil once every sink has taken the batch. It tries until ctx ends.
	Emit(ctx context.Context, b sink.Batch) error
}

// Job is one log file to process.
type Job struct {
	Share  *Share // of the chain
	Log    digest.Log
	Places []trail.Object // where the file can lie; more than one in a copy
	Chain  trail.Chain    // whose digest lists the log file
	Digest *digest.Digest // that lists it, proven
	Early  *fetch.Request // for the first of the places, or nil
	Slot   *fetch.Slot    // the right to read
	Parts  int            // how many parts of it an earlier try gave to the sinks
}

// Receipt is what Process did with a log file.
type Receipt struct {
	At     trail.Object // the file that was emitted or, with an error, the one that the error is about
	Sum    digest.Sum   // of the inflated bytes of that file
	Bytes  int64        // inflated
	Parts  int          // that the sinks have, those of earlier tries included
	Counts Counts

	Odd        []OddRecord // at most 100
	SwitchOffs []SwitchOff
	// Malformed says why the file, though proven, could not be split to its end. The
	// records before that are emitted.
	Malformed error
	Others    []Other // other files of a copy that can be this log file and are not equal
}

// Counts are the records of one call of Process. Each is counted where it happens.
type Counts struct {
	Split    int // came out of the file
	Filtered int // were not selected
	Emitted  int // every sink took them in this call
	Odd      int // could not be taken as events
	Returned int // were not emitted in this call: an earlier one did that, or a later one will
}

// OddRecord is a record of a proven log file that cannot be taken as an event.
type OddRecord struct {
	Index int    // its number in the log file, from 0
	Size  int64  // bytes
	Text  string // how it begins; "" for one that is too large
	Why   error
}

// SwitchOff is an event that switches off the logging or validation of a trail.
type SwitchOff struct {
	chain.Off
	Event finding.Event
}

// Other is a file that was compared and not emitted.
type Other struct {
	At  trail.Object
	Sum digest.Sum
	Err error // a fact: it has another content; a reason: it was not read
}

// Options say how log files are processed.
type Options struct {
	Sink        Sink
	Sinks       int   // that encode each batch in memory of their own; 0 is one
	Memory      int64 // bytes in flight, at least MinMemory(Sinks)
	Concurrency int   // log files of a source that are read at once
	Sources     int   // how many there will be
	Now         func() time.Time
	Log         *slog.Logger
	Metrics     prometheus.Registerer
}

// Pipeline processes log files. It is safe for concurrent use.
type Pipeline struct {
	options  Options
	memory   *budget.Budget
	buffers  [len(classes)]sync.Pool // of *buffer
	accounts *Accounts
	metrics  *metrics
	// tamper changes the records between split and deliver. Tests set it, to see that
	// the accounts notice.
	tamper func([]sink.Event) []sink.Event
}

// New returns a pipeline and registers its metrics.
func New(o Options) *Pipeline {
	p := &Pipeline{options: o, accounts: &Accounts{}, metrics: newMetrics(o.Metrics)}
	p.memory = budget.New(o.Memory, func(n int64) { p.metrics.inFlight.Set(float64(n)) })
	p.metrics.memory.Set(float64(o.Memory))
	o.Metrics.MustRegister(p.accounts)
	for n := range p.buffers {
		p.buffers[n].New = func() any { return new(buffer) }
	}
	return p
}

// InFlight returns how many bytes are reserved.
func (p *Pipeline) InFlight() int64 { return p.memory.InFlight() }

// Accounts returns the accounts, which the caller may add to.
func (p *Pipeline) Accounts() *Accounts { return p.accounts }

// Source returns what the log files of a source share. The fetcher reads the source.
func (p *Pipeline) Source(f *fetch.Fetcher) *Source {
	sinks, slots := max(p.options.Sinks, 1), max(p.options.Concurrency, 1)
	l := limitsOf(max(p.options.Memory/int64(max(p.options.Sources, 1)), minShare(sinks)), slots, sinks)
	return &Source{
		fetcher: f, sinks: sinks, limits: l, room: &room{most: l.chain, free: l.all},
		slots: fetch.NewSlots(slots), workers: fetch.NewWorkers(16 * slots), memory: p.memory,
	}
}

// Process reads, proves and emits one log file. It returns nil when every sink has every
// event that can be taken, and an error that is a fact about the file or a reason for
// not having read it (pkg/finding), or the context's. After an error it can be called
// again; the events that it gives to the sinks have the same ids then.
func (p *Pipeline) Process(ctx context.Context, j Job) (Receipt, error) {
	p.accounts.begin()
	r, err := p.process(ctx, j)
	p.accounts.end(r)
	return r, err
}

func (p *Pipeline) process(ctx context.Context, j Job) (Receipt, error) {
	if err := j.Digest.CheckLog(j.Log, j.Chain.Place); err != nil {
		return Receipt{At: j.Log.Location(), Parts: j.Parts}, err
	}
	began := p.options.Now()
	body, r, err := p.readAny(ctx, j) // what it returns has the signed hash
	r.Parts = j.Parts
	if err != nil {
		return r, err
	}
	defer body.release()
	p.metrics.stage("fetch", p.options.Now().Sub(began))
	began = p.options.Now()
	err = p.emit(ctx, j, body, &r)
	if err != nil {
		return r, err
	}
	p.metrics.stage("emit", p.options.Now().Sub(began))
	p.metrics.inflated.Add(float64(r.Bytes))
	if !j.Log.Oldest.IsZero() {
		p.metrics.eventAge.Observe(p.options.Now().Sub(j.Log.Oldest).Seconds())
	}
	return r, nil
}
