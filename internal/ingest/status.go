package ingest

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/internal/ledger"
	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Status is a snapshot of a worker.
type Status struct {
	Chains      []ChainStatus `json:"chains"` // the one that lags most first
	InFlight    int64         `json:"in_flight_bytes"`
	Memory      int64         `json:"memory_budget_bytes"`
	Events      int64         `json:"events"`
	Findings    int           `json:"findings"`
	SourceError string        `json:"source_error,omitempty"`
	// Unmatched are heads in the state that belong to no source.
	Unmatched []string `json:"unmatched_heads,omitempty"`
	// Dropped is how many names of chains the last polls left out, since too many wait for
	// a proof.
	Dropped int `json:"dropped_names,omitempty"`
}

// ChainStatus is how far a chain has been followed.
type ChainStatus struct {
	ID            string    `json:"id"` // the name of its head in the state
	Source        string    `json:"source"`
	Account       string    `json:"account"`
	Region        string    `json:"region"`
	Trail         string    `json:"trail"`
	HomeRegion    string    `json:"home_region"`
	Organization  string    `json:"organization,omitempty"`
	Backfill      bool      `json:"backfill,omitempty"`
	State         string    `json:"state"`
	VerifiedUntil time.Time `json:"verified_until,omitzero"`
	LagSeconds    float64   `json:"lag_seconds,omitempty"`
	Pending       int       `json:"pending_digests"` // that are known, at most the bound of what is kept
	More          bool      `json:"more_digests,omitempty"`
	Late          bool      `json:"late,omitempty"`
	Ended         bool      `json:"ended,omitempty"`
	EndedWhy      string    `json:"ended_why,omitempty"` // by order of the operator
	Gaps          int       `json:"gaps,omitempty"`      // since the worker started
	LastError     string    `json:"last_error,omitempty"`
	Reason        string    `json:"reason,omitempty"` // why it waits
	// Skips are objects that the operator skips, and that the chain has not come to.
	Skips []follow.SkipOrder `json:"skips,omitempty"`
}

// States of a chain.
const (
	stateCurrent  = "current"  // all known digests are done
	stateBehind   = "behind"   // digests are known that are not done
	stateWaiting  = "waiting"  // the last try failed
	stateUnsigned = "unsigned" // the newest digest of a copy waits for its successor
	stateLate     = "late"     // no digest came within the grace
	stateEnded    = "ended"    // it has ended for good
	stateUnproven = "unproven" // no digest of it is trusted yet
	stateStopped  = "stopped"  // no worker runs
)

// Status returns a snapshot. It may be called at any time.
func (w *Worker) Status() Status {
	s := Status{
		Chains: []ChainStatus{}, InFlight: w.pipeline.InFlight(), Memory: w.config.Memory,
		Events: w.pipeline.Accounts().Events().Accepted, Findings: w.findings.Count(),
		SourceError: text(w.SourcesReady(context.Background())),
	}
	for _, c := range w.chains.list() {
		s.Chains = append(s.Chains, statusOfLoop(c))
	}
	slices.SortFunc(s.Chains, func(a, b ChainStatus) int {
		return cmp.Or(a.VerifiedUntil.Compare(b.VerifiedUntil), cmp.Compare(a.ID, b.ID))
	})
	for _, f := range w.feeds {
		dropped, _ := w.chains.leftOut(f)
		for _, n := range dropped {
			s.Dropped += n
		}
	}
	if unmatched := w.unmatched.Load(); unmatched != nil {
		s.Unmatched = *unmatched
	}
	return s
}

func statusOfLoop(c *chainLoop) ChainStatus {
	at := c.progress.now()
	s := statusOf(c.id, c.feed.source.Name, c.name, at.head, c.worker.config.Now())
	s.State, s.Pending, s.More = stateOf(c), c.frontier.Len(), c.frontier.HasMore()
	s.Gaps, s.LastError = at.gaps, text(at.err)
	if at.err != nil && !errors.Is(at.err, context.Canceled) {
		s.Reason = string(finding.ReasonOf(at.err))
	}
	return s
}

// statusOf returns what a head says of its chain.
func statusOf(id, source string, c trail.Chain, h follow.Head, now time.Time) ChainStatus {
	s := ChainStatus{
		ID: id, Source: source, Account: c.Account, Region: c.Region, Trail: c.Trail, HomeRegion: c.HomeRegion,
		Organization: c.Organization, Backfill: c.Backfill, State: stateStopped, VerifiedUntil: h.Until(),
		Late: h.LateTold, Ended: h.Ended, EndedWhy: h.EndedWhy, Skips: h.Skips,
	}
	switch {
	case h.Ended:
		s.State = stateEnded
	case h.LateTold:
		s.State = stateLate
	}
	if !s.VerifiedUntil.IsZero() {
		s.LagSeconds = now.Sub(s.VerifiedUntil).Round(time.Second).Seconds()
	}
	return s
}

// StatusOf returns how far a chain was followed, by its head in the state, while no worker
// runs.
func StatusOf(e ledger.Entry, now time.Time) (ChainStatus, error) {
	source, c, err := ledger.Parse(e.Name)
	return statusOf(e.Name, source, c, e.Head, now), err
}

// stateOf returns the state of a chain.
func stateOf(c *chainLoop) string {
	switch at := c.progress.now(); {
	case errors.Is(at.err, follow.ErrUnsigned):
		return stateUnsigned
	case at.err != nil:
		return stateWaiting
	case at.head.LateTold:
		return stateLate
	case !at.head.IsProven():
		return stateUnproven
	case c.frontier.Len() > 0 || c.frontier.HasMore():
		return stateBehind
	case at.head.Ended:
		return stateEnded
	}
	return stateCurrent
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// SourcesReady returns why the sources cannot be listed, nil if they can.
func (w *Worker) SourcesReady(context.Context) error {
	var errs []error
	for _, f := range w.feeds {
		errs = append(errs, f.pollError())
	}
	return errors.Join(errs...)
}

// FindingsReady returns why the last finding was not reported, nil if it was.
func (w *Worker) FindingsReady(ctx context.Context) error { return w.findings.Ready(ctx) }

// Events returns what was given to the sinks.
func (w *Worker) Events() sink.Counts { return w.pipeline.Accounts().Events() }

// Account adds an account that the caller keeps to the metric "unaccounted".
func (w *Worker) Account(kind string, unaccounted func() int64) {
	w.pipeline.Accounts().Add(kind, unaccounted)
}

// Unaccounted returns the differences in the accounts by kind. All must be 0.
func (w *Worker) Unaccounted() map[string]int64 { return w.pipeline.Accounts().Unaccounted() }
