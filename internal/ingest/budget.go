package ingest

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// budget bounds the bytes of all log files in flight. A log holds one
// reservation at a time and gives it back before it asks for a larger one, so
// nobody waits while holding what another waits for.
type budget struct {
	sem      *semaphore.Weighted
	total    int64
	inFlight atomic.Int64
}

func newBudget(total int64) *budget {
	return &budget{sem: semaphore.NewWeighted(total), total: total}
}

func (b *budget) acquire(ctx context.Context, n int64) error {
	if err := b.sem.Acquire(ctx, n); err != nil {
		return err
	}
	b.inFlight.Add(n)
	return nil
}

func (b *budget) release(n int64) {
	b.inFlight.Add(-n)
	b.sem.Release(n)
}

// class is a size of log file: what a log of it may inflate to, and what
// reading and emitting it holds in memory.
type class struct {
	inflated int64
	reserve  int64
}

// A log begins in the class that the last one of its chain ended in. The
// reservation covers the inflated bytes, their lines with the spliced members,
// and the buffers of the connection and the sinks. Beyond the last class a log
// is never held inflated.
var classes = []class{
	{inflated: 512 << 10, reserve: 2 << 20},
	{inflated: 4 << 20, reserve: 16 << 20},
}

// Of a log beyond the classes its compressed bytes are held, and a part of its
// lines at a time.
const (
	maxCompressed = 96 << 20 // CloudTrail's limit is 50 MB (User Guide, "Quotas")
	partBytes     = 4 << 20
	largeReserve  = maxCompressed + 6*partBytes
)
