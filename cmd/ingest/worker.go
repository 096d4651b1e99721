package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"github.com/trailseal/trailseal/internal/ingest"
)

// memoryBesides is what the program takes beside the logs in flight: code, connections,
// digests and listings.
const memoryBesides = 64 << 20

// gcPercent is how far the heap grows between two collections: some 3 % less processor time
// for small log files than 100 (docs/benchmarks.md, "The collector").
const gcPercent = 125

// runWorker opens what the settings name and runs a worker to its end. A replay asks for a
// span of time; the span of a worker that follows its chains is zero.
func runWorker(ctx context.Context, a app, c *config, asked span) int {
	opened := &resources{}
	defer opened.close()
	signals, stopSignals := listenForSignals()
	defer stopSignals()
	isOpen := endsOpening(signals, c.Once)
	p, err := wire(ctx, a, c, opened)
	isOpen()
	if err != nil {
		return a.fail(exitUsage, err, hint(err))
	}
	log := p.worker.Log
	if !asked.isZero() {
		p.worker.Since, p.worker.Until = asked.worker()
	}
	worker, err := ingest.New(ctx, p.worker)
	if err != nil {
		return a.fail(exitIncomplete, err, hint(err))
	}
	addAccounts(worker, p)
	if os.Getenv("GOGC") == "" { // the heap is small, and its limit follows
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" { // or the collector would let garbage double what is in flight
		debug.SetMemoryLimit(int64(c.Memory) + memoryBesides)
	}
	stopServing, err := serve(ctx, c, worker, p)
	if err != nil {
		return a.fail(exitUsage, err, "")
	}
	defer stopServing()
	defer serveOrders(ctx, c.State, worker, log)()
	ctx, stop := onSignals(ctx, signals, time.Duration(c.Drain), worker.Drain, opened.reopen, log)
	defer stop()

	outcome, err := worker.Run(ctx)
	log.Info("ended", "events", outcome.Events, "findings", outcome.Findings, "chains_waiting", outcome.Waiting)
	if c.Once && err == nil {
		logWaiting(worker.Status(), log)
	}
	balance := logUnaccounted(worker.Unaccounted(), log)
	code := exitCode(outcome, err, c.Once, balance)
	switch {
	case err != nil && !errors.Is(err, ingest.ErrHalt):
		return a.fail(code, err, hint(err))
	case code != exitOK || asked.isZero():
		return code
	}
	if err := replayed(worker.Status(), p.worker, log); err != nil {
		return a.fail(exitIncomplete, err, "the worker's findings and \"verifier verify\" say what is missing")
	}
	return exitOK
}

// exitCode returns the exit code of a run. The error is how the run ended; balance says
// whether its accounts balance.
func exitCode(o ingest.Outcome, err error, once, balance bool) int {
	brokeOff := err != nil && !errors.Is(err, ingest.ErrHalt)
	switch {
	case !balance:
		return exitIncomplete
	case o.Findings > 0 && (once || err != nil && !brokeOff):
		return exitFindings // also where a source could not be listed: that does not hide a finding
	case brokeOff, o.Waiting > 0 && once:
		return exitIncomplete
	}
	return exitOK
}

// addAccounts adds the accounts of queues and sinks to those of the worker.
func addAccounts(worker *ingest.Worker, p *parts) {
	if m := p.queues.metrics; m != nil {
		worker.Account("messages", func() int64 { return m.Account().Unaccounted() })
	}
	worker.Account("sinks", func() int64 { return p.sinks.Unaccounted(worker.Events) })
}

// logWaiting says which chains could not be followed to their end, and why.
func logWaiting(s ingest.Status, log *slog.Logger) {
	for _, c := range s.Chains {
		if c.LastError != "" {
			log.Warn("chain waits", "account", c.Account, "region", c.Region, "trail", c.Trail, "error", c.LastError)
		}
	}
}

// logUnaccounted reports whether all accounts balance, and logs those that do not. A run
// that has ended is not scraped.
func logUnaccounted(differences map[string]int64, log *slog.Logger) (balance bool) {
	balance = true
	for _, kind := range slices.Sorted(maps.Keys(differences)) {
		if n := differences[kind]; n != 0 {
			balance = false
			log.Error("unaccounted: the program lost, doubled or invented something", "kind", kind, "difference", n)
		}
	}
	return balance
}
