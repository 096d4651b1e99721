package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/findings"
	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/ledger"
	"github.com/trailseal/trailseal/internal/operate"
	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/internal/state/sqlite"
	"github.com/trailseal/trailseal/pkg/finding"
)

// withHandler calls do with the worker that holds the state or, where none answers, with the
// state itself.
func withHandler(a app, c *config, opened *resources, do func(h operate.Handler, isRunning bool) error) error {
	path, _ := stateFile(c.State) // checkChains has seen to it
	socket, err := operate.SocketPath(path)
	if err == nil {
		if err = do(operate.Client{Path: socket}, true); !errors.Is(err, operate.ErrNoWorker) {
			return err
		}
	}
	if _, err := os.Stat(path); err != nil { // Open would make one
		return fmt.Errorf("state: %w", err)
	}
	s, openErr := sqlite.Open(path)
	if errors.Is(openErr, state.ErrLocked) {
		return errors.Join(openErr, err)
	}
	if openErr != nil {
		return openErr
	}
	opened.add(s)
	sinks := &sinkOpener{app: a, config: c, aws: newClients(c, countNothing), opened: opened}
	return do(&atRest{store: s, ledger: ledger.New(s), sinks: sinks, now: a.now}, false)
}

// atRest is the state of a worker that does not run. It is an operate.Handler.
type atRest struct {
	store  state.Store
	ledger *ledger.Ledger // of store
	sinks  *sinkOpener    // for findings
	now    func() time.Time
}

// Chains implements operate.Handler.
func (r *atRest) Chains(ctx context.Context) (json.RawMessage, error) {
	names, err := r.ledger.Names(ctx)
	if err != nil {
		return nil, err
	}
	rows := make([]ingest.ChainStatus, 0, len(names))
	for _, name := range names {
		e, err := r.ledger.Open(ctx, name)
		s, parseErr := ingest.StatusOf(e, r.now())
		if err := errors.Join(err, parseErr); err != nil {
			s.LastError = err.Error()
		}
		rows = append(rows, s)
	}
	return json.Marshal(rows)
}

// Order implements operate.Handler.
func (r *atRest) Order(ctx context.Context, o operate.Order) (string, error) {
	names, err := r.ledger.Names(ctx)
	if err != nil {
		return "", err
	}
	name, err := operate.Resolve(names, o.Chain)
	if err != nil {
		return "", err
	}
	e, err := r.ledger.Open(ctx, name)
	if err != nil {
		return "", err
	}
	_, text, err := operate.Carry(ctx, r.ledger, r.report, e, o, r.now())
	return text, err
}

// report reports a finding as the worker would, and dates its class in the state.
func (r *atRest) report(ctx context.Context, f finding.Finding) error {
	to, err := openFindings(ctx, r.sinks, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	reporter, err := findings.New(ctx, findings.Options{
		Sink: to, Store: r.store, Now: r.now, Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		return err
	}
	return reporter.Note(ctx, f)
}

// atWork is a running worker. It is an operate.Handler.
type atWork struct{ worker *ingest.Worker }

// Chains implements operate.Handler.
func (r atWork) Chains(context.Context) (json.RawMessage, error) {
	s := r.worker.Status()
	for _, name := range s.Unmatched {
		row, err := ingest.StatusOf(ledger.Entry{Name: name}, time.Time{})
		row.State, row.LastError = "unmatched", "belongs to none of the worker's sources"
		if err != nil {
			row.LastError = err.Error()
		}
		s.Chains = append(s.Chains, row)
	}
	return json.Marshal(s.Chains)
}

// Order implements operate.Handler.
func (r atWork) Order(ctx context.Context, o operate.Order) (string, error) {
	return r.worker.Order(ctx, o)
}

// serveOrders lets a worker with a state in a file take orders at a socket beside the file,
// until the function that it returns is called. Without the socket the worker works all the
// same.
func serveOrders(ctx context.Context, setting string, worker *ingest.Worker, log *slog.Logger) (stop func()) {
	file, isFile := stateFile(setting)
	if !isFile {
		return func() {}
	}
	path, err := operate.SocketPath(file)
	var server *operate.Server
	if err == nil {
		server, err = operate.Listen(path)
	}
	if err != nil {
		log.Error("the commands of \"ingest chains\" are not served", "error", err)
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(ctx, atWork{worker}); err != nil {
			log.Error("the commands of \"ingest chains\" are not served any more", "error", err)
		}
	}()
	return func() { cancel(); <-done }
}
