package pipeline

import (
	"context"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"github.com/trailseal/trailseal/internal/budget"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Source is what the log files of one source share. Each source has its own, so that
// one that hangs does not hold up the others.
type Source struct {
	fetcher     *fetch.Fetcher
	sinks       int // that encode each log file
	concurrency int
	memory      *budget.Budget
	slots       *fetch.Slots
	// calls has an element for each log file in work, those that hang included. A log file
	// takes it before its slot: a read with a slot must never wait for one that hangs.
	calls   chan struct{}
	workers *fetch.Workers // as many as calls
	// active limits the estimated bytes of the log files that are processed at once. More
	// would wait in memory for the sinks, which costs more CPU (page faults, GC) than it
	// saves.
	active *semaphore.Weighted
	most   limits
	last   sizes // of the last log file of any chain
}

// limits are bytes. A chain may have some at most, so that the others go on where all of
// its reads hang. What it may not have suffices for a log file of any size, unless the
// source has not enough for two.
type limits struct {
	memory, active           int64 // of the source
	chainMemory, chainActive int64
	estimate                 int64 // of one log file in active
}

// limitsOf returns the limits of a source that has share bytes.
func limitsOf(share int64, sinks int) limits {
	active := share / 8
	return limits{
		memory: share, chainMemory: max(share-max(share/4, minShare(sinks)), minShare(sinks)),
		active: active, chainActive: active - active/4, estimate: active / 4,
	}
}

// Source returns what the log files of a source share. The fetcher reads the source.
func (p *Pipeline) Source(f *fetch.Fetcher) *Source {
	sinks := max(p.options.Sinks, 1)
	most := limitsOf(max(p.options.Memory/int64(max(p.options.Sources, 1)), minShare(sinks)), sinks)
	return &Source{
		fetcher: f, sinks: sinks, concurrency: p.options.Concurrency, memory: p.memory.Share(most.memory),
		slots: fetch.NewSlots(p.options.Concurrency),
		calls: make(
			chan struct{},
			callsOf*p.options.Concurrency,
		), workers: fetch.NewWorkers(callsOf * p.options.Concurrency),
		active: semaphore.NewWeighted(most.active), most: most,
	}
}

// Wait waits for what was started in the source and ends it.
func (s *Source) Wait() {
	s.fetcher.Wait()
	s.workers.Wait()
}

// callsOf is how many log files of a source are in work for each slot. Those beyond the
// slots hang.
const callsOf = 16

// Share is what the log files of one chain share. It bounds the log files of the chain
// that are in work and what they reserve.
type Share struct {
	source *Source
	slots  chan struct{}
	memory *budget.Budget
	active *semaphore.Weighted
	last   sizes
}

// Share returns the share of one chain.
func (s *Source) Share() *Share {
	return &Share{
		source: s, slots: make(chan struct{}, s.concurrency), memory: s.memory.Share(s.most.chainMemory),
		active: semaphore.NewWeighted(s.most.chainActive),
	}
}

// Go waits for a slot of the share and of the source, and then calls f in a goroutine of
// its own. The error is the context's: then f is not called.
func (s *Share) Go(ctx context.Context, f func(*fetch.Slot)) error {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case s.source.calls <- struct{}{}:
	case <-ctx.Done():
		<-s.slots
		return ctx.Err()
	}
	slot, err := s.source.slots.Take(ctx)
	if err != nil {
		<-s.source.calls
		<-s.slots
		return err
	}
	s.source.workers.Go(func() {
		defer func() { slot.Release(); <-s.source.calls; <-s.slots }()
		f(slot)
	})
	return nil
}

// class is a size of log file: what a log file of it may inflate to, and what its events
// may come to when a sink has encoded them, each with its sink.Event.
type class struct {
	inflated int64
	encoded  int
}

// reserve returns what a log file of the class holds while so many sinks encode it: itself,
// the buffer of each sink, and those of its connection and inflater.
func (c class) reserve(sinks int) int64 {
	return c.inflated + c.inflated/2 + int64(sinks)*int64(c.encoded)
}

// classes are the sizes of log files that are held inflated.
var classes = [...]class{
	{inflated: 512 << 10, encoded: 1280 << 10},
	{inflated: 4 << 20, encoded: 10 << 20},
	{inflated: 16 << 20, encoded: 40 << 20},
}

// Of a log file beyond the classes its stored bytes are held, and a part of its records at
// a time. A part and a record have at most partBytes.
const (
	maxStored = 96 << 20 // CloudTrail's limit is 50 MB (AWS CloudTrail User Guide, "Quotas")
	partBytes = trail.MaxRecord
)

// largeReserve returns what such a log file holds while so many sinks encode it: its stored
// bytes, a part, the splitter's record, the inflater, and two parts for each sink, which may
// compress what it has encoded.
func largeReserve(sinks int) int64 { return maxStored + int64(4+2*sinks)*partBytes }

// minShare returns the least memory that a source needs while so many sinks encode its log
// files.
func minShare(sinks int) int64 {
	return max(classes[len(classes)-1].reserve(sinks), largeReserve(sinks))
}

// MinMemory returns the least Options.Memory for a number of sinks: one large log file must
// fit.
func MinMemory(sinks int) int64 { return minShare(sinks) + 16<<20 }

// classOf returns the class for log files that inflate to a size.
func classOf(inflated int64) int {
	for n, c := range classes {
		if inflated <= c.inflated {
			return n
		}
	}
	return len(classes) - 1
}

// sizes are those of a chain's last log file. The next one is likely to need as much, and
// a buffer that grows costs several times what it comes to hold.
type sizes struct{ inflated, encoded atomic.Int64 }

// sum returns what the next log file and the buffers of so many sinks are likely to need.
func (s *sizes) sum(sinks int) int64 {
	inflated := s.inflated.Load()
	return inflated + int64(sinks)*max(inflated, s.encoded.Load())
}

// remember notes how large the log file was.
func (s *Share) remember(inflated int64) {
	s.last.inflated.Store(inflated)
	s.source.last.inflated.Store(inflated)
}

func (s *Share) rememberEncoded(size int) {
	s.last.encoded.Store(int64(size))
	s.source.last.encoded.Store(int64(size))
}

// estimate returns how many bytes a log file of a class is likely to hold, by the last
// one of the chain or the source. What it may hold at most is reserved beside that.
func (s *Share) estimate(c class) int64 {
	sinks := s.source.sinks
	n := s.last.sum(sinks)
	if n == 0 {
		n = s.source.last.sum(sinks)
	}
	reserve := c.reserve(sinks)
	if n == 0 {
		n = reserve / 2
	}
	return min(max(withSlack(n), minEstimate), reserve, s.source.most.estimate)
}

// minEstimate is that of a small log file: its connection needs memory, too.
const minEstimate = 64 << 10

// withSlack is an eighth more.
func withSlack(n int64) int64 { return n + n/8 }

// reservation is the memory of one log file. One goroutine uses it.
type reservation struct{ give func() }

// takeClass reserves what a log file of a class may hold, unless that is done.
func (r *reservation) takeClass(ctx context.Context, s *Share, c class) error {
	if r.give != nil {
		return nil
	}
	estimate := s.estimate(c)
	if err := s.active.Acquire(ctx, estimate); err != nil {
		return err
	}
	if err := s.source.active.Acquire(ctx, estimate); err != nil {
		s.active.Release(estimate)
		return err
	}
	release := func() {
		s.source.active.Release(estimate)
		s.active.Release(estimate)
	}
	if err := r.take(ctx, s, c.reserve(s.source.sinks)); err != nil {
		release()
		return err
	}
	memory := r.give
	r.give = func() { memory(); release() }
	return nil
}

// take reserves n bytes, unless that is done.
func (r *reservation) take(ctx context.Context, s *Share, n int64) error {
	if r.give != nil {
		return nil
	}
	if err := s.memory.Acquire(ctx, n); err != nil {
		return err
	}
	r.give = func() { s.memory.Release(n) }
	return nil
}

func (r *reservation) release() {
	if r.give != nil {
		r.give()
		r.give = nil
	}
}

// buffer holds an inflated log file and its events. Each class has its own pool, so that
// a buffer is not larger than its log files reserve.
type buffer struct {
	inflated []byte
	events   []sink.Event
}

// reset forgets the content and makes room for size bytes.
func (b *buffer) reset(size int) { b.inflated = slices.Grow(b.inflated[:0], size) }

// Write implements io.Writer.
func (b *buffer) Write(p []byte) (int, error) {
	b.inflated = append(b.inflated, p...)
	return len(p), nil
}

// Request sends a request for a log file before it is processed. It returns nil where too
// many requests wait already. The caller must call Drop in the end.
func (s *Source) Request(ctx context.Context, o trail.Object) *fetch.Request {
	return s.fetcher.Request(ctx, o)
}
