// Package logfile takes the log files that proven digests list to the sinks, and decides what
// becomes of each:
//
//	Emitter.Emit(digest):  for each log file  pipeline.Process ──> failure.Decide ──> emitted, or
//	                                          quarantined with a finding, or an error: try again
//
// It remembers what the sinks have of the log files of a digest until the digest is done, so
// that a second try does not emit it again. It reports what is wrong with log files, and
// remembers the events that switch trails off.
package logfile

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/trailseal/trailseal/internal/pipeline"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Rules are what the emitters of a worker have in common.
type Rules struct {
	Pipeline *pipeline.Pipeline
	// Report reports a finding. An error says that the run ends, or that the finding was not
	// reported.
	Report func(ctx context.Context, f finding.Finding) error
	// Done counts a log file by its result, one of Results.
	Done func(result string)
	// Unverified counts objects or records that were not checked. An object that may still
	// arrive has no reason.
	Unverified func(why finding.Reason, n int)
	// Management returns the management account of an organization, "" where it is not known.
	Management func(ctx context.Context, organization string) string
	Grace      time.Duration // how long after its hour an absent log file may still arrive
	Offs       *Offs
	Now        func() time.Time
	Log        *slog.Logger
}

// What becomes of a log file.
const (
	valid   = "valid"   // emitted
	invalid = "invalid" // quarantined with a finding
	skipped = "skipped" // by order of the operator
)

// Results returns what can become of a log file.
func Results() []string { return []string{valid, invalid, skipped} }

// Offs remembers the events that switched trails off, to explain gaps with them: the last
// 100 for each name of a trail. It is safe for concurrent use. The zero Offs is empty.
type Offs struct {
	mu     sync.Mutex // guards byName
	byName map[string][]pipeline.SwitchOff
}

const maxOffs = 100 // of each name

func (o *Offs) add(off pipeline.SwitchOff) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.byName == nil {
		o.byName = map[string][]pipeline.SwitchOff{}
	}
	name := off.Off.Trail.Name
	list := append(o.byName[name], off)
	o.byName[name] = list[max(0, len(list)-maxOffs):]
}

// Near returns the last event that switched the trail of a chain off around the end of a
// digest, or nil. One that is known to concern the trail outweighs one that possibly does.
func (o *Offs) Near(c trail.Chain, management string, end time.Time) (last *finding.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, off := range o.byName[c.Trail] {
		match := off.Off.Of(c, management)
		e := off.Event
		if d := end.Sub(e.Time); match == chain.No || d <= -chain.Window || d >= 2*chain.Window {
			continue
		}
		e.Possible = match == chain.Possible
		if last == nil || last.Possible && !e.Possible || last.Possible == e.Possible && e.Time.After(last.Time) {
			last = &e
		}
	}
	return last
}
