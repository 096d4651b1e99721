package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/internal/state/sqlite"
	"github.com/trailseal/trailseal/internal/when"
)

// parts are what a worker is made of and served with.
type parts struct {
	worker   ingest.Config
	registry *prometheus.Registry
	sinks    *sink.Set
	state    *state.Watched
	queues   queues
}

// wire opens what the settings name and joins it for a worker:
//
//	s3:// ──> awsapi ─┐                           ┌─> stream, file, http, s3 (sinks)
//	folder ─> dir ────┴─> ingest.Run ──> findings ┴─> stream, file, ...
//	STATE.sock <── operate ──┤  └─> state: sqlite, memory
//	                         └─> metrics, status ──> ops
//
// The caller closes what was opened, also after an error.
func wire(ctx context.Context, a app, c *config, opened *resources) (*parts, error) {
	registry, log := newRegistry(), a.logger(c)
	names := prometheus.WrapRegistererWithPrefix("trailseal_", registry)
	registerBuild(names)
	aws := newClients(c, registerRequests(names))

	since, err := when.Time(c.Since, a.now())
	if err != nil {
		return nil, fmt.Errorf("since: %w", err)
	}
	sources, err := openSources(ctx, c.Source, aws, opened)
	if err != nil {
		return nil, err
	}
	keys, err := openKeys(ctx, c.Keys, aws)
	if err != nil {
		return nil, err
	}
	if sources, err = withOriginals(ctx, c.OriginalBucket, sources, keys); err != nil {
		return nil, err
	}
	if err := lieApart(c.outputs(), sources); err != nil {
		return nil, err
	}
	management, err := managementOf(ctx, c.ManagementAccount, sources, aws)
	if err != nil {
		return nil, err
	}

	metrics := newSinkMetrics()
	opener := &sinkOpener{app: a, config: c, aws: aws, opened: opened, metrics: metrics}
	sinks, err := openSinks(ctx, opener, log)
	if err != nil {
		return nil, err
	}
	metrics.set = sinks
	names.MustRegister(metrics)
	findings, err := openFindings(ctx, opener, log)
	if err != nil {
		return nil, err
	}

	store, err := openState(c.State, opened)
	if err != nil {
		return nil, err
	}
	watched := state.NewWatched(store, stateHangs)
	ends, err := readEnded(c.Ended)
	if err != nil {
		return nil, err
	}
	queues, err := openQueues(ctx, c, aws, opened, names, log)
	if err != nil {
		return nil, err
	}
	return &parts{registry: registry, sinks: sinks, state: watched, queues: queues, worker: ingest.Config{
		Sources: sources, Announcers: queues.announcers(), Keys: keys, Management: management, Ended: ends,
		Accounts: c.Account, Regions: c.Region, Trails: c.Trail,
		Since: since, Grace: time.Duration(c.Grace), Poll: time.Duration(c.Poll),
		State: watched, Sink: sinks, Sinks: len(c.Sink), Findings: findings,
		Memory: int64(c.Memory), Concurrency: c.Concurrency, Once: c.Once, Halt: c.OnFinding == "halt",
		Now: a.now, Log: log, Metrics: names,
	}}, nil
}

// stateHangs is how long a call of the state may take before the state counts as failing.
const stateHangs = 30 * time.Second

// openState opens the state of a setting.
func openState(setting string, opened *resources) (state.Store, error) {
	if setting == "memory" {
		return state.NewMemory(), nil
	}
	path, isFile := stateFile(setting)
	if !isFile {
		return nil, fmt.Errorf("state %q: not file:PATH", setting)
	}
	s, err := sqlite.Open(path)
	if err != nil {
		return nil, err
	}
	opened.add(s)
	return s, nil
}

// stateFile returns the file of a state, and whether the setting names one.
func stateFile(setting string) (path string, isFile bool) {
	path, isFile = strings.CutPrefix(setting, "file:")
	return path, isFile && path != ""
}

// resources are what a command has opened.
type resources struct {
	closers []io.Closer
	files   []reopener
}

// reopener is a sink that writes to a file which another program may have moved.
type reopener interface{ Reopen() error }

// add adds what close closes.
func (r *resources) add(c io.Closer) { r.closers = append(r.closers, c) }

// addFile adds a sink to those that reopen concerns, if it writes to a file.
func (r *resources) addFile(s sink.Sink) {
	if f, ok := s.(reopener); ok {
		r.files = append(r.files, f)
	}
}

// close closes all, the newest first.
func (r *resources) close() {
	for _, c := range slices.Backward(r.closers) {
		c.Close()
	}
}

// reopen lets the file sinks go on in new files.
func (r *resources) reopen() error {
	var errs []error
	for _, f := range r.files {
		errs = append(errs, f.Reopen())
	}
	return errors.Join(errs...)
}
