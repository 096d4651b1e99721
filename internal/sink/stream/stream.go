// Package stream emits events to a stream such as standard output, as NDJSON.
// What was written counts as delivered: a pipe says no more. It never splits a
// batch over several writes and never joins a line to the torn end of one
// before it.
package stream

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/trailseal/trailseal/internal/sink"
)

// Sink writes batches, one after the other. It is safe for concurrent use.
type Sink struct {
	w      io.Writer
	format sink.Format
	taken  atomic.Bool   // whoever took it owns w, buf and torn
	freed  chan struct{} // a token says that it was given back
	buf    []byte
	torn   bool // the stream ends in the middle of a line
	close  sync.Once
	closed chan struct{}
}

// New returns a sink that writes events to w in a format. It does not close w.
func New(w io.Writer, f sink.Format) *Sink {
	return &Sink{w: w, format: f, freed: make(chan struct{}, 1), closed: make(chan struct{})}
}

// Emit writes the events of b in one write. Where ctx ends during the write,
// Emit returns and the write goes on: a reader that stands still cannot hold
// more than that.
func (s *Sink) Emit(ctx context.Context, b sink.Batch) error {
	if err := s.emit(ctx, b); err != nil {
		return fmt.Errorf("emit to stream: %w", err)
	}
	return nil
}

func (s *Sink) emit(ctx context.Context, b sink.Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-s.closed:
		return sink.ErrClosed
	default:
	}
	if len(b.Events) == 0 {
		return nil
	}
	if err := s.take(ctx); err != nil {
		return err
	}
	s.fill(b) // a copy: the write may outlast Emit
	done := make(chan error, 1)
	go func() {
		err := s.write()
		s.giveBack()
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// take waits for the stream. Nobody is handed it while asleep: until the next
// in line got a processor the stream would stand still, and behind it all who
// come meanwhile, each with the log that it wants to emit in memory.
func (s *Sink) take(ctx context.Context) error {
	for !s.taken.CompareAndSwap(false, true) {
		select {
		case <-s.freed: // by now another may have taken it, who will give it back
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closed:
			return sink.ErrClosed
		}
	}
	return nil
}

func (s *Sink) giveBack() {
	s.taken.Store(false)
	select {
	case s.freed <- struct{}{}:
	default: // one who waits is woken already
	}
}

func (s *Sink) fill(b sink.Batch) {
	s.buf = s.buf[:0]
	if s.torn {
		s.buf = append(s.buf, '\n')
	}
	s.buf = s.format.AppendLines(s.buf, &b)
}

func (s *Sink) write() error {
	n, err := s.w.Write(s.buf)
	if n > 0 && n <= len(s.buf) {
		s.torn = s.buf[n-1] != '\n'
	}
	if err == nil && n != len(s.buf) {
		err = io.ErrShortWrite
	}
	return err
}

// Flush returns nil: what Emit took is written.
func (s *Sink) Flush(context.Context) error { return nil }

// Close refuses further batches. It does not wait for a write that stands
// still: that batch was never acknowledged.
func (s *Sink) Close() error {
	s.close.Do(func() { close(s.closed) })
	return nil
}
