package sinktest

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/trailseal/trailseal/internal/sink"
)

// ErrDown is the error of a Memory that was told to fail.
var ErrDown = errors.New("down")

// Memory is a sink in memory that fails and stands still when it is told to.
type Memory struct {
	Format sink.Format
	// Buffers keeps events until Flush. Otherwise Emit makes them durable.
	Buffers bool
	// CloseErr is the error of Close.
	CloseErr error

	mu         sync.Mutex // guards what follows
	kept       []string   // by Flush
	lines      []string   // durable
	bad, after int
	stall      chan struct{}
	closed     bool
	batches    int
}

// Downstream returns m with a grip on it.
func (m *Memory) Downstream() Downstream {
	return Downstream{
		Sink: m, Lines: m.Lines, Stall: m.Stall,
		Fail:      func(n int) { m.set(func() { m.bad = n }) },
		FailAfter: func(n int) { m.set(func() { m.after = n }) },
	}
}

// Fail makes the next attempts to write fail without effect.
func (m *Memory) Fail(times int) { m.set(func() { m.bad = times }) }

// Stall makes attempts to write wait until resume is called.
func (m *Memory) Stall() (resume func()) {
	c := make(chan struct{})
	m.set(func() { m.stall = c })
	return func() {
		m.set(func() { m.stall = nil })
		close(c)
	}
}

// Lines returns the durable lines.
func (m *Memory) Lines() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.lines)
}

// Batches returns how many batches Emit took.
func (m *Memory) Batches() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.batches
}

func (m *Memory) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

// Emit implements sink.Sink.
func (m *Memory) Emit(ctx context.Context, b sink.Batch) error {
	lines := Lines(m.Format, b)
	if m.Buffers {
		m.mu.Lock()
		defer m.mu.Unlock()
		if err := m.refuses(ctx); err != nil {
			return err
		}
		m.kept = append(m.kept, lines...)
		m.batches++
		return nil
	}
	return m.write(ctx, func() {
		m.lines = append(m.lines, lines...)
		m.batches++
	})
}

// Flush implements sink.Sink.
func (m *Memory) Flush(ctx context.Context) error {
	if !m.Buffers {
		return nil
	}
	return m.write(ctx, func() {
		m.lines = append(m.lines, m.kept...)
		m.kept = nil
	})
}

// refuses is called with mu held.
func (m *Memory) refuses(ctx context.Context) error {
	if m.closed {
		return sink.ErrClosed
	}
	return ctx.Err()
}

// write calls effect unless m was told to fail.
func (m *Memory) write(ctx context.Context, effect func()) error {
	m.mu.Lock()
	stall := m.stall
	m.mu.Unlock()
	if stall != nil {
		select {
		case <-stall:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.refuses(ctx); err != nil {
		return err
	}
	if m.bad > 0 {
		m.bad--
		return ErrDown
	}
	effect()
	if m.after > 0 {
		m.after--
		return ErrDown
	}
	return nil
}

// Close implements sink.Sink.
func (m *Memory) Close() error {
	m.set(func() { m.closed = true })
	return m.CloseErr
}

// Closed reports whether m is closed.
func (m *Memory) Closed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed
}
