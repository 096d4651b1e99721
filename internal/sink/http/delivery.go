package http

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/trailseal/trailseal/internal/sink"
)

// delivery is a batch on its way. It implements sink.Delivery.
type delivery struct {
	sink *Sink
	left []part // what has not arrived; each becomes a request
}

// Begin implements sink.Resumer.
func (s *Sink) Begin(b sink.Batch) sink.Delivery {
	e := s.o.Format.Encoder(&b)
	rest := part{encoder: &e, log: b.Log, events: make([]*sink.Event, len(b.Events))}
	for i := range b.Events {
		rest.events[i] = &b.Events[i]
	}
	d := &delivery{sink: s}
	for len(rest.events) > 0 {
		n := s.product.fitting(rest, s.o.MaxBytes)
		d.left = append(d.left, rest.at(0, n))
		rest = rest.at(n, len(rest.events))
	}
	return d
}

// Try makes one request with what is left. Each event of it then has arrived, is a dead
// letter, or is left.
func (d *delivery) Try(ctx context.Context) (isDone bool, err error) {
	if err = d.try(ctx); err == nil {
		return len(d.left) == 0, nil
	}
	if end := ctx.Err(); end != nil && !errors.Is(err, end) {
		err = fmt.Errorf("%w: %w", end, err)
	}
	return false, fmt.Errorf("emit to %s: %w", d.sink.name, err)
}

func (d *delivery) try(ctx context.Context) error {
	s := d.sink
	if s.closed.Load() {
		return sink.ErrClosed
	}
	if err := ctx.Err(); err != nil || len(d.left) == 0 {
		return err
	}
	p := d.left[0]
	out, isUnfit := s.product.unfitOf(p, s.o.Now())
	if !isUnfit {
		out = s.attempt(ctx, p)
	}
	if len(out.instead) > 0 {
		d.left = append(out.instead, d.left[1:]...)
		return nil
	}
	unburied, err := s.bury(ctx, out.refused)
	if again := slices.Concat(out.again, unburied); len(again) > 0 {
		d.left[0] = p.of(again)
	} else {
		d.left = d.left[1:]
	}
	return errors.Join(err, out.err)
}

// bury makes dead letters of refused events. It returns the events that are none.
func (s *Sink) bury(ctx context.Context, refused []refusal) (left []*sink.Event, err error) {
	for i, r := range refused {
		id := r.event.events[0].ID
		if s.o.DeadLetter == nil {
			err = fmt.Errorf("event %s is refused: %s", id, r.reason)
		} else if err = s.o.DeadLetter(ctx, r.event.line(), id, r.reason); err != nil {
			err = fmt.Errorf("dead letter of event %s (%s): %w", id, r.reason, err)
		}
		if err != nil {
			for _, r := range refused[i:] {
				left = append(left, r.event.events[0])
			}
			return left, err
		}
		s.Counters.DeadLetters.Add(1)
	}
	return nil, nil
}
