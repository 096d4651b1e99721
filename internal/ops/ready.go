package ops

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

const (
	checkTimeout = 5 * time.Second
	// checkAge is how long results are good for: whoever can reach the port
	// must not be able to make the program send requests at will.
	checkAge = 5 * time.Second
)

// Check is a condition of readiness, such as "queue reachable". Run returns nil
// when it holds, and soon after ctx ends in any case. It may be called at any
// time, but not twice at once.
type Check struct {
	Name string
	Run  func(ctx context.Context) error
}

// result is what is known of a check.
type result struct {
	Name          string    `json:"name"`
	OK            bool      `json:"ok"`
	Error         string    `json:"error,omitempty"`      // of the latest run
	LastError     string    `json:"last_error,omitempty"` // of any run
	LastErrorTime time.Time `json:"last_error_time,omitzero"`
}

// readiness runs checks side by side and remembers their results.
type readiness struct {
	checks []Check
	turn   chan struct{} // holds one token; who has it may run the checks

	// Both are written by the holder of the turn and read by it.
	at      time.Time // when the results were made; zero when there are none
	results []result
}

func newReadiness(checks []Check) *readiness {
	r := &readiness{checks: checks, turn: make(chan struct{}, 1), results: make([]result, len(checks))}
	for i, c := range checks {
		r.results[i].Name = c.Name
	}
	return r
}

// get returns results that are young enough. It runs the checks when there are
// none; the end of ctx, a prober that hung up, ends the waiting for others who
// do, but never turns a check into a failed one.
func (r *readiness) get(ctx context.Context) (results []result, ready bool, err error) {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	if r.at.IsZero() || time.Since(r.at) >= checkAge {
		r.run(ctx)
	}
	ready = !slices.ContainsFunc(r.results, func(one result) bool { return !one.OK })
	return slices.Clone(r.results), ready, nil
}

// run is called by the holder of the turn.
func (r *readiness) run(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
	defer cancel()
	var all sync.WaitGroup
	for i, c := range r.checks {
		all.Go(func() { r.results[i].take(c.Run(ctx)) })
	}
	all.Wait()
	r.at = time.Now()
}

func (one *result) take(err error) {
	one.OK, one.Error = err == nil, ""
	if err == nil {
		return
	}
	if one.Error = err.Error(); !errors.Is(err, ErrStarting) {
		one.LastError, one.LastErrorTime = one.Error, time.Now().UTC()
	}
}

// ErrStarting: the check is not ready since it has just begun, which nobody
// needs to be told of later.
var ErrStarting = errors.New("starting")
