package pipeline

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/pkg/trail"
)

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
	return min(max(withSlack(n), minEstimate), reserve, s.source.limits.estimate)
}

// minEstimate is that of a small log file: its connection needs memory, too.
const minEstimate = 64 << 10

// withSlack is an eighth more.
func withSlack(n int64) int64 { return n + n/8 }

// reserve takes an amount of the source's room and of the pipeline's memory, unless that is
// done.
func (h *held) reserve(ctx context.Context, n amount) error {
	if h.reserved != (amount{}) {
		return nil
	}
	s := h.share.source
	if err := s.room.take(ctx, &h.share.tenant, n); err != nil {
		return err
	}
	if err := s.memory.Acquire(ctx, n.memory); err != nil {
		s.room.give(&h.share.tenant, n)
		return err
	}
	h.reserved = n
	return nil
}

// release gives the buffer and the memory back.
func (h *held) release() {
	if h.buffer != nil {
		h.pipeline.buffers[h.class].Put(h.buffer)
		h.buffer = nil
	}
	if h.reserved != (amount{}) {
		h.share.source.memory.Release(h.reserved.memory)
		h.share.source.room.give(&h.share.tenant, h.reserved)
		h.reserved = amount{}
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
