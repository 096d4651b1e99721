package http

import (
	"time"

	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/pkg/trail"
)

// part is some events of a batch.
type part struct {
	encoder *sink.Encoder
	log     trail.Object // that the events are from
	events  []*sink.Event
}

// of returns a part of the same batch.
func (p part) of(events []*sink.Event) part { return part{p.encoder, p.log, events} }

func (p part) at(from, to int) part { return p.of(p.events[from:to]) }

func (p part) only(i int) part { return p.at(i, i+1) }

// line returns the only event as it is, without what a product puts around it.
func (p part) line() []byte { return p.encoder.Append(nil, p.events[0]) }

// unfitOf returns the outcome of what is not sent of p, and false if all of it is.
func (d *product) unfitOf(p part, now time.Time) (out outcome, isSome bool) {
	if d.unfit == nil {
		return outcome{}, false
	}
	for i, ev := range p.events {
		if why := d.unfit(p, ev, now); why != "" {
			out.refused = append(out.refused, refusal{p.only(i), why})
		} else {
			out.again = append(out.again, ev)
		}
	}
	return out, len(out.refused) > 0
}

// fitting returns how many of the first events of p fit into a request, one at least.
func (d *product) fitting(p part, most int) int {
	n, size := 0, len(d.end)
	for n < len(p.events) && (d.maxEvents == 0 || n < d.maxEvents) {
		size += d.size(p, p.events[n]) + len(d.between)
		if n > 0 && size > most {
			break
		}
		n++
	}
	return n
}
