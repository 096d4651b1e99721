package pipeline

import "github.com/trailseal/trailseal/internal/sink"

// Tamper changes the records of p between split and deliver.
func (p *Pipeline) Tamper(f func([]sink.Event) []sink.Event) { p.tamper = f }
