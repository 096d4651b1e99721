// Package simulation_test runs whole lives of workers of internal/ingest, through its public
// API, against worlds that go on meanwhile:
//
//	world_test.go  signed worlds, which all simulations share
//	plan_test.go   what a seed decides before the first worker starts
//	seams_test.go  the calls of a worker, each of which can fail
//	check_test.go  what must be so after each step, and in the end
package simulation_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/failure"
	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/queue"
	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/internal/state"
)

// TestSimulation runs whole lives of workers against a world that goes on meanwhile: polls, a
// queue, restarts, kills at any call, a second worker on the same state, calls that fail,
// hang, or fail although they took effect, tampered and planted objects, objects that come
// late, moves, gaps and backfill. All of it is drawn from one seed.
//
// At each step and in the end it demands what check_test.go says: the accounts are even, no
// head is ahead of what is durable, each finding is right, each worker ends in time, and
// in the end each proven event is durable in each sink, or a finding says why not.
//
// TRAILSEAL_SEEDS says how many seeds are tried, and TRAILSEAL_SEED which is the first, or
// random. A failure prints its seed and what happened. What is planned for a seed is the
// same each time, and so is what the n-th call of a seam about an object meets. Which
// goroutine comes first is not: a failure that depends on it may need several tries.
func TestSimulation(t *testing.T) {
	seeds, first := 400, uint64(1)
	if raced {
		seeds = 60
	}
	if s := os.Getenv("TRAILSEAL_SEEDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		seeds = n
	}
	switch s := os.Getenv("TRAILSEAL_SEED"); s {
	case "":
	case "random":
		first = rand.Uint64()
	default:
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		first = n
		if os.Getenv("TRAILSEAL_SEEDS") == "" {
			seeds = 1
		}
	}
	simWorlds()
	var next, failures atomic.Int64
	for n := range runtime.GOMAXPROCS(0) {
		t.Run(fmt.Sprint("worker ", n), func(t *testing.T) {
			t.Parallel()
			for failures.Load() < 3 || os.Getenv("TRAILSEAL_ALL") != "" {
				i := int(next.Add(1)) - 1
				if i >= seeds {
					return
				}
				if !simulate(t, first+uint64(i), seeds == 1) {
					failures.Add(1)
				}
			}
		})
	}
}

// simulate runs the simulation of a seed and reports whether all was as it must be.
func simulate(t *testing.T, seed uint64, isVerbose bool) bool {
	s := &sim{t: t, plan: newSimPlan(seed), calls: map[string]int{}, store: state.NewMemory()}
	if isVerbose {
		s.workerLog = &s.text
	}
	defer func() {
		if p := recover(); p != nil {
			stacks := make([]byte, 1<<20)
			stacks = stacks[:runtime.Stack(stacks, true)]
			t.Errorf("%v\n%s", p, s.report(fmt.Sprint(p)))
			t.Logf("%s", stacks)
		}
	}()
	// A goroutine that waits for a lock keeps the bubble's clock from moving on: a lock is
	// locked during a call that is slow.
	stuck := time.AfterFunc(3*time.Minute, func() { panic(fmt.Sprintf("TRAILSEAL_SEED=%d stands still", seed)) })
	defer stuck.Stop()
	began := time.Now()
	defer func() {
		if took := time.Since(began); took > 5*time.Second {
			t.Logf("TRAILSEAL_SEED=%d took %s", seed, took)
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		s.t = t
		s.run()
	})
	if len(s.failures) > 0 {
		t.Error(s.report(s.failures...))
	}
	return len(s.failures) == 0
}

// sim is the simulation of one seed.
type sim struct {
	t         *testing.T
	plan      *simPlan
	began     time.Time
	workerLog io.Writer
	text      strings.Builder
	store     *state.Memory

	stateMu sync.Mutex // makes a change of the state and its check one step

	queueMu  sync.Mutex // guards the plan's mails, and receipts
	receipts int

	mu       sync.Mutex // guards what follows
	calls    map[string]int
	lines    []string
	failures []string
	check    simCheck
}

// now returns the time of the simulated world.
func (s *sim) now() time.Time { return s.plan.begin.Add(time.Since(s.began)) }

// count returns the number of a call of a seam about an object.
func (s *sim) count(seam, object string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[seam+"\x00"+object]++
	return s.calls[seam+"\x00"+object]
}

func (s *sim) log(format string, args ...any) {
	at := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logLocked(at, fmt.Sprintf(format, args...))
}

func (s *sim) logLocked(at time.Time, line string) {
	s.lines = append(s.lines, at.Format("01-02 15:04:05 ")+line)
	if s.workerLog != nil {
		fmt.Fprintln(s.workerLog, s.lines[len(s.lines)-1])
	}
}

// fail notes that something is not as it must be.
func (s *sim) fail(format string, args ...any) {
	at := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failLocked(at, format, args...)
}

func (s *sim) failLocked(at time.Time, format string, args ...any) {
	if len(s.failures) < 20 {
		s.failures = append(s.failures, at.Format("01-02 15:04:05 ")+fmt.Sprintf(format, args...))
		s.logLocked(at, "FAILURE "+fmt.Sprintf(format, args...))
	}
}

// report returns what a seed planned and what happened.
func (s *sim) report(failures ...string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "TRAILSEAL_SEED=%d\n%s\nplan:\n", s.plan.seed, strings.Join(failures, "\n"))
	p := s.plan
	fmt.Fprintf(
		&b,
		"  world %s to %s, begin %s, calm %t, grace %s, poll %s, concurrency %d, sinks %d, regions %v\n",
		p.world.start.Format(
			time.DateTime,
		),
		p.world.end.Format(time.DateTime),
		p.begin.Format(time.DateTime),
		p.isCalm,
		p.grace,
		p.poll,
		p.concurrency,
		p.sinks,
		p.regions,
	)
	for _, n := range p.notes {
		fmt.Fprintf(&b, "  %s\n", n)
	}
	for i, r := range p.runs {
		fmt.Fprintf(&b, "  run %d: %+v\n", i, r)
	}
	if s.workerLog != nil {
		return b.String() + s.text.String()
	}
	return b.String() + strings.Join(s.lines[max(0, len(s.lines)-400):], "\n")
}

// run runs the workers of the plan, one after the other.
func (s *sim) run() {
	s.began = time.Now()
	s.check.begin(s.plan)
	for i, run := range s.plan.runs {
		time.Sleep(run.pause)
		if run.since.After(s.check.since) && !s.check.isSince {
			s.check.since = run.since
		}
		var pair sync.WaitGroup
		if run.isPair {
			second := run
			second.how, second.isOnce = "cancel", false
			pair.Go(func() { s.worker(100+i, second) })
		}
		s.worker(i, run)
		pair.Wait()
		if len(s.failures) > 0 {
			return
		}
	}
	s.checkEnd()
}

// longest is how long a worker may take to end.
const longest = 5 * time.Minute

// worker runs one worker to its end.
func (s *sim) worker(number int, plan simRunPlan) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w := &simWorker{sim: s, plan: plan, number: number, cancel: cancel, calls: map[string]int{}}
	w.log = func(format string, args ...any) { s.log("worker %d: %s", number, fmt.Sprintf(format, args...)) }
	cfg, sinks, messages, closeQueue := s.config(w)
	w.log("starts")
	worker, err := ingest.New(ctx, cfg)
	if err != nil {
		w.log("does not start: %v", err)
		if plan.isQuiet {
			s.fail("worker %d does not start: %v", number, err)
		}
		return
	}
	worker.Account("sinks", func() int64 { return sinks.Unaccounted(worker.Events) })
	if messages != nil {
		worker.Account("messages", func() int64 { return messages.Account().Unaccounted() })
	}
	w.begins(worker)
	ends := time.AfterFunc(plan.length, func() {
		w.log("ends: %s", plan.how)
		switch plan.how {
		case "drain":
			worker.Drain()
			if !plan.isQuiet && !s.plan.isCalm {
				time.AfterFunc(25*time.Second, cancel)
			}
		case "cancel":
			cancel()
		default:
			w.kill()
		}
	})
	limit := plan.length + longest
	if plan.isOnce && !plan.isQuiet {
		limit += 30 * 24 * time.Hour // each digest may hang several times
	}
	late := time.AfterFunc(limit, func() {
		stacks := make([]byte, 1<<20)
		s.fail("worker %d has not ended %s after it had to\n%s", number, longest, stacks[:runtime.Stack(stacks, true)])
		cancel()
	})
	status := time.AfterFunc(plan.length/3, func() { worker.Status() })
	outcome, err := worker.Run(ctx)
	ends.Stop()
	late.Stop()
	status.Stop()
	w.log("ended: %+v, %v", outcome, err)
	if err != nil && (plan.isQuiet || !plan.isOnce) && !errors.Is(err, context.Canceled) {
		s.fail("worker %d: %v", number, err)
	}
	closeQueue()
	w.checkAccounts()
	_ = sinks.Close()
}

// config returns the surroundings of a worker. The caller closes its queue in the end.
func (s *sim) config(w *simWorker) (cfg ingest.Config, set *sink.Set, messages *queue.Metrics, closeQueue func()) {
	p := s.plan
	var members []sink.Member
	for i := range p.sinks {
		members = append(members, sink.Member{Name: fmt.Sprint(i), Sink: simSink{w, i, new(sync.Mutex), new([]int)}})
	}
	retry := func(_ string, try int, err error) (time.Duration, bool) {
		decision := failure.Decide(failure.Failure{Operation: failure.Batch, Err: err})
		return failure.Pause(try - 1), decision.Do != failure.Retry
	}
	set, err := sink.NewSet(sink.Options{Retry: retry}, members...)
	if err != nil {
		panic(err)
	}
	log := slog.New(slog.DiscardHandler)
	if s.workerLog != nil {
		log = slog.New(
			slog.NewTextHandler(
				locked{s, w.number},
				&slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
					if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
						return slog.Attr{}
					}
					return a
				}},
			),
		)
	}
	cfg = ingest.Config{
		Sources: []ingest.Source{
			{Source: source.Source{Bucket: p.world.source, Name: "s3://" + p.world.source}, Objects: simObjects{w}},
		},
		Keys: simKeys{
			w,
		}, State: simState{w}, Sink: set, Sinks: p.sinks, Findings: simFindings{w}, Regions: p.regions,
		Since: w.plan.since, Grace: p.grace, Poll: p.poll, Memory: ingest.MinMemory(p.sinks), Concurrency: p.concurrency,
		Once: w.plan.isOnce, Now: s.now, Log: log, Metrics: prometheus.NewRegistry(),
	}
	if p.mails == nil {
		return cfg, set, nil, func() {}
	}
	messages = queue.NewMetrics(prometheus.NewRegistry())
	q := queue.New(simQueue{w}, queue.Options{
		Name: "q", Wait: 10 * time.Minute, Visibility: 15 * time.Minute, Drain: w.plan.isOnce, InFlight: 100,
		Log: log, Metrics: messages,
	})
	cfg.Announcers = []ingest.Announcer{q}
	return cfg, set, messages, func() { _ = q.Close() }
}

// locked writes lines of a worker's log.
type locked struct {
	s      *sim
	number int
}

// Write implements io.Writer.
func (l locked) Write(b []byte) (int, error) {
	l.s.log("worker %d: %s", l.number, strings.TrimSpace(string(b)))
	return len(b), nil
}
