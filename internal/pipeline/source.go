package pipeline

import (
	"context"

	"github.com/trailseal/trailseal/internal/budget"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Source is what the log files of one source share. Each source has its own, so that
// one that hangs does not hold up the others.
//
// A log file takes a place, a slot, and memory when its first bytes are there. It waits for
// memory with a slot for a second at most (fetch.Slot). So a log file that has memory and
// waits for a slot gets one.
type Source struct {
	fetcher *fetch.Fetcher
	sinks   int // that encode each log file
	limits  limits
	room    *room
	slots   *fetch.Slots
	workers *fetch.Workers
	memory  *budget.Budget // of all sources
	last    sizes          // of the last log file of any chain
}

// limits are what the log files of a source may take.
//
// The active bytes are those of the log files that are processed at once, as they are
// estimated. More would wait in memory for the sinks, which costs more CPU (page faults, GC)
// than it saves.
type limits struct {
	all      amount
	chain    amount // of one chain
	estimate int64  // active bytes of one log file
}

// placesOf is how many places a source has for each slot: beside a chain that hangs
// another one can use every slot.
const placesOf = 3

// limitsOf returns the limits of a source that has so many bytes and slots. What one chain
// may not have suffices for a log file of any size, unless the source has not enough for two.
func limitsOf(memory int64, slots, sinks int) limits {
	all := amount{places: placesOf * int64(slots), memory: memory, active: memory / 8}
	return limits{
		all: all, estimate: all.active / 4,
		chain: amount{
			places: int64(slots), memory: max(memory-minShare(sinks), minShare(sinks)), active: all.active,
		},
	}
}

// Wait waits for what was started in the source and ends it.
func (s *Source) Wait() {
	s.fetcher.Wait()
	s.workers.Wait()
}

// Share is what the log files of one chain share: what they take of the source's room, and
// how large the last one was.
type Share struct {
	source *Source
	tenant tenant
	last   sizes
}

// Share returns the share of one chain.
func (s *Source) Share() *Share { return &Share{source: s} }

// Go waits for a place and a slot, and then calls f in a goroutine of its own. The error is
// the context's: then f is not called.
func (s *Share) Go(ctx context.Context, f func(*fetch.Slot)) error {
	place := amount{places: 1}
	if err := s.source.room.take(ctx, &s.tenant, place); err != nil {
		return err
	}
	slot, err := s.source.slots.Take(ctx)
	if err != nil {
		s.source.room.give(&s.tenant, place)
		return err
	}
	s.source.workers.Go(func() {
		defer func() { slot.Release(); s.source.room.give(&s.tenant, place) }()
		f(slot)
	})
	return nil
}

// Request sends a request for a log file before it is processed. It returns nil where too
// many requests wait already. The caller must call Drop in the end.
func (s *Source) Request(ctx context.Context, o trail.Object) *fetch.Request {
	return s.fetcher.Request(ctx, o)
}
