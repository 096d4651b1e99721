package ingest

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/ended"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/findings"
	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/internal/notify"
	"github.com/trailseal/trailseal/internal/pipeline"
	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Sinks take events.
type Sinks interface {
	// Emit returns nil once every sink has taken the batch. It tries until ctx ends.
	Emit(ctx context.Context, b sink.Batch) error
	// Flush returns nil once everything that Emit took before is durable in every sink.
	Flush(ctx context.Context) error
}

// Announcer announces objects, as a queue of notifications does. Anyone who can write to
// the queue chooses what it says. An announcement makes the worker look; it proves
// nothing and moves no head.
type Announcer interface {
	// Next waits for a delivery. io.EOF says that there are no more. After any other error
	// it is called again.
	Next(ctx context.Context) (notify.Delivery, error)
}

// Source is a place that trails write to.
type Source struct {
	source.Source
	Objects fetch.Objects
}

// Config says what to follow and where to emit.
type Config struct {
	Sources    []Source
	Announcers []Announcer
	Keys       chain.KeySource
	State      state.Store
	Sink       Sinks
	Sinks      int // how many sinks encode each batch of Sink in memory of their own; 0 is one
	Findings   findings.Sink

	Accounts, Regions, Trails []string      // only these; empty: all
	Since                     time.Time     // where to begin in an account folder never listed
	Grace                     time.Duration // how long after its hour a digest may arrive before it counts as late
	Poll                      time.Duration // how often to list each source
	Memory                    int64         // bytes in flight, at least MinMemory(Sinks)
	Concurrency               int           // log files in flight
	Once                      bool          // process what is available, then return
	Until                     time.Time     // with Once: emit no digest whose hour begins then or later; zero: never
	Halt                      bool          // return at the first finding
	Ended                     ended.List    // chains whose end the operator has acknowledged

	// Management returns the management account of an organization, "" where it is not
	// known. It may be nil.
	Management func(ctx context.Context, organization string) string

	Now     func() time.Time
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// MinMemory returns the least Config.Memory for a number of sinks: one large log file must
// fit.
func MinMemory(sinks int) int64 { return pipeline.MinMemory(sinks) }

// tries is how often a run that ends by itself tries what fails. Announcements are given
// back after so many tries in any run.
const tries = 4

// policy returns how patient the run is. A run that ends by itself takes what is there.
func (c Config) policy() follow.Policy {
	if c.Once {
		return follow.Policy{Tries: tries}
	}
	return follow.Policy{Grace: c.Grace, GapWait: min(c.Grace, window)}
}

const window = chain.Window

// isSelected reports whether the operator asked for a chain.
func (c *Config) isSelected(name trail.Chain) bool {
	return wanted(c.Accounts, name.Account) && wanted(c.Regions, name.Region) && wanted(c.Trails, name.Trail)
}

func wanted(only []string, s string) bool { return len(only) == 0 || slices.Contains(only, s) }

// isAfter reports whether a digest is of an hour after the asked time.
func (c *Config) isAfter(d *digest.Digest) bool { return !c.Until.IsZero() && !d.Start.Before(c.Until) }

// isLate reports whether a chain's next digest should have come by a time, and that was not
// reported.
func (c *Config) isLate(h follow.Head, name trail.Chain, by time.Time) bool {
	end := h.Until()
	isDue := !end.IsZero() && !name.Backfill && by.Sub(end) > c.Grace+window
	return isDue && !h.LateTold && !h.Ended
}

// managementAccount returns the management account of an organization, "" where it is not
// known, or for no organization.
func (c *Config) managementAccount(ctx context.Context, organization string) string {
	if organization == "" || c.Management == nil {
		return ""
	}
	return c.Management(ctx, organization)
}
