// Package ingest follows digest chains and emits the events of their log files,
// each only when it is proven:
//
//	poll ──┐                 ┌─ judge ── join ── logs: fetch, inflate, hash ── split ── emit ──> sinks
//	queue ─┴─> announce ─> follow(chain), oldest digest first                              │
//	                         └──────────────── acknowledge <── head stored <── all emitted ┘
//
// A digest is dealt with when every log file that it lists is durable
// downstream or quarantined with a finding; then its chain's head is stored,
// then whoever announced it is told. A crash anywhere repeats a digest, with
// equal ids, and loses nothing. What cannot be read is waited for and never
// passed by; what is wrong is reported, quarantined and passed by.
//
// The package owns the order of these steps. It never decides what a digest is
// worth (pkg/chain), never inflates, and talks to no service but through
// the seams it is given.
package ingest

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Sink takes events. Emit returns nil only once every event of the batch is
// durable downstream; emitting a batch again is harmless. Safe for concurrent
// use.
type Sink interface {
	Emit(ctx context.Context, b trail.Batch) error
}

// FindingSink takes findings; they are durable when it returns nil.
type FindingSink interface {
	Find(ctx context.Context, f finding.Finding) error
}

// State keeps heads by name. Safe for concurrent use.
type State interface {
	// Load returns the value of a name, nil when it has none.
	Load(ctx context.Context, name string) ([]byte, error)
	// Replace stores new if the present value is old, nil meaning none, and
	// changes nothing otherwise. The value is durable when it returns nil.
	Replace(ctx context.Context, name string, old, new []byte) error
	// Names returns the names that have a value and begin with prefix.
	Names(ctx context.Context, prefix string) ([]string, error)
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
	State      State
	Sink       Sink
	Findings   FindingSink

	Accounts, Regions, Trails []string      // only these; empty: all
	Since                     time.Time     // where to begin in a chain never seen
	Grace                     time.Duration // how late a chain's newest digest may be
	Poll                      time.Duration // pause between two looks at a source
	Memory                    int64         // bytes in flight; at least MinMemory
	Concurrency               int           // log files in flight
	Raw                       bool          // emit events without the member "trailseal"
	Once                      bool          // end when all that is there is dealt with
	Halt                      bool          // end at the first finding

	// Management returns the management account of an organization, "" where it
	// is not known. It may be nil.
	Management func(ctx context.Context, organization string) string

	Now     func() time.Time
	Log     *slog.Logger
	Metrics *Metrics
}

// MinMemory is the least Memory: one large log must fit.
const MinMemory = largeReserve + 16<<20

// Outcome is how a run ended.
type Outcome struct {
	Findings int // reported
	Waiting  int // chains that hold digests which could not be dealt with
	Events   int64
}

// Status is a snapshot of a worker.
type Status struct {
	Chains      []ChainStatus `json:"chains"` // the one that lags most first
	InFlight    int64         `json:"in_flight_bytes"`
	Memory      int64         `json:"memory_budget_bytes"`
	Events      int64         `json:"events"`
	Findings    int           `json:"findings"`
	SinkError   string        `json:"sink_error,omitempty"`
	SourceError string        `json:"source_error,omitempty"`
}

// ChainStatus is how far a chain has been followed.
type ChainStatus struct {
	Source        string    `json:"source"`
	Account       string    `json:"account"`
	Region        string    `json:"region"`
	Trail         string    `json:"trail"`
	HomeRegion    string    `json:"home_region"`
	Backfill      bool      `json:"backfill,omitempty"`
	VerifiedUntil time.Time `json:"verified_until,omitzero"`
	LagSeconds    float64   `json:"lag_seconds,omitempty"`
	Pending       int       `json:"pending_digests"`
	Late          bool      `json:"late,omitempty"`
	Gaps          int       `json:"gaps,omitempty"` // since the worker started
	LastError     string    `json:"last_error,omitempty"`
}

// Status returns a snapshot; it is safe to call at any time.
func (w *Worker) Status() Status {
	s := Status{Chains: []ChainStatus{}, InFlight: w.budget.InFlight(), Memory: w.Memory, Events: w.events.Load()}
	for _, f := range w.followers() {
		s.Chains = append(s.Chains, f.status())
	}
	slices.SortFunc(s.Chains, func(a, b ChainStatus) int {
		return cmp.Or(a.VerifiedUntil.Compare(b.VerifiedUntil), cmp.Compare(a.Account, b.Account), cmp.Compare(a.Region, b.Region), cmp.Compare(a.Trail, b.Trail))
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	s.Findings, s.SinkError, s.SourceError = w.findings, text(w.sinkErr), text(w.sourcesErr())
	return s
}

func (f *follower) status() ChainStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := ChainStatus{
		Source: f.source.Name, Account: f.name.Account, Region: f.name.Region, Trail: f.name.Trail, HomeRegion: f.name.HomeRegion,
		Backfill: f.name.Backfill, VerifiedUntil: f.head.End, Pending: len(f.known), Late: f.late, Gaps: f.gaps, LastError: text(f.lastErr),
	}
	if !f.head.End.IsZero() {
		s.LagSeconds = f.Now().Sub(f.head.End).Round(time.Second).Seconds()
	}
	return s
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
