// Package sinktest holds every sink to the same contract: what was flushed is
// there, whatever failed, and a repeat does no harm. It is for tests; no program
// links it.
package sinktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Downstream is a sink with a grip on what stands behind it.
type Downstream struct {
	Sink sink.Sink
	// Lines returns every line that arrived, in any order. It may return one of
	// several equal lines if the sink stores by id.
	Lines func() []string
	// Fail makes the next attempts fail without effect.
	Fail func(times int)
	// FailAfter makes the next attempts take effect and then fail.
	FailAfter func(times int)
	// Stall makes attempts wait until resume is called.
	Stall func() (resume func())
}

// Options say how the sink was opened and what it promises beyond the contract.
type Options struct {
	Format     sink.Format
	Idempotent bool // a repeat leaves one copy of an event
	TornLines  bool // a failed attempt may leave a piece of a line behind
}

// patience is how long a call may take that does not wait for the downstream.
const patience = 10 * time.Second

// Run checks the whole contract. open makes a sink before an empty downstream
// and cleans up after the test.
func Run(t *testing.T, open func(t *testing.T) Downstream, o Options) {
	t.Helper()
	for name, check := range map[string]func(suite, *testing.T){
		"Emit": suite.emit, "Bytes": suite.bytes, "Empty": suite.empty, "Borrowed": suite.borrowed,
		"Concurrent": suite.concurrent, "Repeat": suite.repeat, "Storm": suite.storm, "Stalled": suite.stalled,
		"Emit fails":                 emitFault(Downstream.fail),
		"Emit fails but took effect": emitFault(Downstream.failAfter),
		"Emit is slow":               suite.emitIsSlow, "Emit is cancelled": suite.emitIsCancelled,
		"Flush fails":                 flushFault(Downstream.fail),
		"Flush fails but took effect": flushFault(Downstream.failAfter),
		"Flush is slow":               suite.flushIsSlow, "Flush is cancelled": suite.flushIsCancelled,
		"Closed": suite.closed,
	} {
		t.Run(name, func(t *testing.T) { check(suite{open(t), o}, t) })
	}
}

// suite is a sink under test.
type suite struct {
	d Downstream
	o Options
}

func (d Downstream) fail(times int)      { d.Fail(times) }
func (d Downstream) failAfter(times int) { d.FailAfter(times) }

// Batch returns the batch number n, of so many events; equal for equal numbers.
func Batch(n, events int) sink.Batch {
	const place = "p/AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/01/111122223333_CloudTrail_eu-west-1_20260301T"
	key := fmt.Sprintf("%s%02d%02dZ_abcdefghij%06d.json.gz", place, n/60%24, n%60, n)
	b := sink.Batch{
		Log: trail.Object{Bucket: "trail-bucket", Key: key}, Sum: digest.Sum{byte(n)},
		Proof: sink.Proof{Digest: trail.Object{Bucket: "trail-bucket", Key: "digest"}, Fingerprint: "0123456789abcdef"},
	}
	for i := range events {
		id := fmt.Sprintf("id-%d-%d", n, i)
		record := fmt.Appendf(nil, `{"id":%q,"eventName":"GetObject","n":%d,"pad":%q}`, id, n, strings.Repeat("x", i%50))
		b.Events = append(b.Events, sink.Event{Record: record, ID: id, Index: i})
	}
	return b
}

// Events returns a batch of records, each with an id of its own.
func Events(records ...string) sink.Batch {
	b := Batch(1, 0)
	for i, r := range records {
		b.Events = append(b.Events, sink.Event{Record: []byte(r), ID: fmt.Sprintf("record-%d", i), Index: i})
	}
	return b
}

// Lines returns the events of a batch as they arrive.
func Lines(f sink.Format, b sink.Batch) []string {
	all := strings.SplitAfter(string(f.AppendLines(nil, &b)), "\n")
	for i := range all {
		all[i] = strings.TrimSuffix(all[i], "\n")
	}
	return all[:len(b.Events)]
}

// must emits a batch and flushes, and neither may fail.
func (s suite) must(t *testing.T, b sink.Batch) {
	t.Helper()
	if err := s.d.Sink.Emit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if err := s.d.Sink.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// until repeats a call until it succeeds.
func until(t *testing.T, call func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		err := call(ctx)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Errorf("no success in time: %v", err)
			return
		}
	}
}

// emitUntil emits until the sink has the batch, as a caller does.
func (s suite) emitUntil(t *testing.T, b sink.Batch) {
	t.Helper()
	until(t, func(ctx context.Context) error { return s.d.Sink.Emit(ctx, b) })
}

// flushUntil flushes until the sink has flushed, as a caller does.
func (s suite) flushUntil(t *testing.T) {
	t.Helper()
	until(t, s.d.Sink.Flush)
}

// expect compares what arrived with the events of some batches. exact demands
// one copy of each.
func (s suite) expect(t *testing.T, exact bool, batches ...sink.Batch) {
	t.Helper()
	count := map[string]int{}
	for _, l := range s.d.Lines() {
		count[l]++
	}
	for _, b := range batches {
		for _, l := range Lines(s.o.Format, b) {
			n := count[l]
			if n == 0 || exact && n > 1 {
				t.Fatalf("%d copies of %.80q", n, l)
			}
			delete(count, l)
		}
	}
	for l := range count {
		if !s.o.TornLines || strings.HasSuffix(l, "}") {
			t.Fatalf("arrived, but never emitted: %.80q", l)
		}
	}
}

func (s suite) emit(t *testing.T) {
	var all []sink.Batch
	for n := range 5 {
		all = append(all, Batch(n, 1+10*n))
		s.must(t, all[n])
		s.expect(t, true, all...)
	}
	large := Batch(99, 3)
	for i := range large.Events {
		large.Events[i].Record = fmt.Appendf(nil, `{"large":%q,"n":%d}`, strings.Repeat("y", 300_000), i)
	}
	s.must(t, large)
	s.expect(t, true, append(all, large)...)
}

// Sinks do not look into records.
func (s suite) bytes(t *testing.T) {
	b := Events(
		`{"n":123456789012345678901234567890.10e+5}`, `{"a":1,"a":2}`, `{"u":"\u2028\ud800\/"}`, "{\"u\":\"\u2028é\x7f\"}",
		"{\"bad\":\"\xff\xc3\"}", `{ "space" :	[ ] }`, `{}`, "{\r\n\"lines\":\n1}", `{"<&>":"%s%d+"}`,
	)
	for i := range b.Events {
		b.Events[i].ID = fmt.Sprintf("é \"%d\"/?#\\", i)
	}
	s.must(t, b)
	s.expect(t, true, b)
}

func (s suite) empty(t *testing.T) {
	if err := s.d.Sink.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.must(t, Batch(1, 0))
	s.expect(t, true)
}

// The records are the caller's again when Emit returns, and never changed.
func (s suite) borrowed(t *testing.T) {
	b, want := Batch(1, 20), Batch(1, 20)
	if err := s.d.Sink.Emit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	for i := range b.Events {
		if e := &b.Events[i]; string(e.Record) != string(want.Events[i].Record) {
			t.Errorf("record %d was changed to %q", i, e.Record)
		}
		clear(b.Events[i].Record)
	}
	clear(b.Events)
	other := Batch(2, 5)
	s.must(t, other)
	s.expect(t, true, want, other)
}

func (s suite) concurrent(t *testing.T) {
	var all []sink.Batch
	var wg sync.WaitGroup
	for n := range 64 {
		b := Batch(n, 1+n%7*10)
		all = append(all, b)
		wg.Go(func() {
			err := s.d.Sink.Emit(t.Context(), b)
			if err == nil && n%2 == 0 {
				err = s.d.Sink.Flush(t.Context())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s.flushUntil(t)
	s.expect(t, true, all...)
}

func (s suite) repeat(t *testing.T) {
	one, two := Batch(1, 30), Batch(2, 3)
	second := Batch(1, 4)
	second.Part = 1
	for i := range second.Events {
		e := &second.Events[i]
		e.ID, e.Index = e.ID+"-part", e.Index+30
		e.Record = append(e.Record[:len(e.Record)-1], `,"part":1}`...)
	}
	for _, b := range []sink.Batch{one, two, one, second, one, second} {
		s.must(t, b)
	}
	s.expect(t, s.o.Idempotent, one, two, second)
}

// An Emit that fails is told or overcome, and the batch arrives in the end.
func emitFault(fault func(Downstream, int)) func(suite, *testing.T) {
	return func(s suite, t *testing.T) {
		before, b, after := Batch(1, 10), Batch(2, 10), Batch(3, 10)
		s.must(t, before)
		for times := range 3 {
			fault(s.d, 1+times)
			s.emitUntil(t, b)
			s.flushUntil(t)
			s.expect(t, s.o.Idempotent, before, b)
		}
		s.emitUntil(t, after)
		s.flushUntil(t)
		s.expect(t, s.o.Idempotent, before, b, after)
	}
}

// A Flush that fails keeps what it has, and the next Flush makes it durable.
func flushFault(fault func(Downstream, int)) func(suite, *testing.T) {
	return func(s suite, t *testing.T) {
		all := []sink.Batch{Batch(1, 10), Batch(2, 10), Batch(3, 10)}
		for n := range all {
			if err := s.d.Sink.Emit(t.Context(), all[n]); err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				continue // one Flush for two batches
			}
			fault(s.d, n)
			s.flushUntil(t)
			s.expect(t, s.o.Idempotent, all[:n+1]...)
			fault(s.d, 0) // a sink whose Flush has nothing to do did not meet it
		}
	}
}

// Many callers meet failures at once.
func (s suite) storm(t *testing.T) {
	s.d.Fail(3)
	var wg sync.WaitGroup
	var all []sink.Batch
	for n := range 6 {
		b := Batch(10+n, 5)
		all = append(all, b)
		wg.Go(func() {
			s.emitUntil(t, b)
			s.flushUntil(t)
		})
	}
	wg.Wait()
	s.expect(t, s.o.Idempotent, all...)
}

// While the downstream stands still a caller is not told that a batch is
// durable. The calls return when their contexts end, and no batch is lost.
func (s suite) stalled(t *testing.T) {
	before := Batch(1, 10)
	s.must(t, before)
	resume := sync.OnceFunc(s.d.Stall())
	defer resume()
	var all []sink.Batch
	var wg sync.WaitGroup
	begin := time.Now()
	for n := range 4 {
		all = append(all, Batch(10+n, 10))
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n+1)*50*time.Millisecond)
			defer cancel()
			err := s.d.Sink.Emit(ctx, Batch(10+n, 10))
			if err == nil {
				err = s.d.Sink.Flush(ctx)
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("while nothing moves: %v", err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(begin); took > patience {
		t.Errorf("a cancelled call returned after %v", took)
	}
	resume()
	for _, b := range all {
		s.emitUntil(t, b)
	}
	s.flushUntil(t)
	s.expect(t, s.o.Idempotent, slices.Concat(all, []sink.Batch{before})...)
}

// A caller that gives up a slow Emit has its records back, and can repeat it.
func (s suite) emitIsSlow(t *testing.T) {
	resume := sync.OnceFunc(s.d.Stall())
	defer resume()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	b := Batch(1, 10)
	if err := s.d.Sink.Emit(ctx, b); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("slow: %v", err)
	}
	for i := range b.Events {
		clear(b.Events[i].Record)
	}
	clear(b.Events)
	resume()
	s.emitUntil(t, Batch(1, 10))
	s.flushUntil(t)
	s.expect(t, s.o.Idempotent, Batch(1, 10))
}

// A slow Flush that is given up keeps what it has.
func (s suite) flushIsSlow(t *testing.T) {
	b := Batch(1, 10)
	if err := s.d.Sink.Emit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	resume := sync.OnceFunc(s.d.Stall())
	defer resume()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	switch err := s.d.Sink.Flush(ctx); {
	case err == nil:
		s.expect(t, true, b)
	case !errors.Is(err, context.DeadlineExceeded):
		t.Errorf("slow: %v", err)
	}
	resume()
	s.flushUntil(t)
	s.expect(t, s.o.Idempotent, b)
}

func (s suite) emitIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.d.Sink.Emit(ctx, Batch(1, 10)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
	s.flushUntil(t)
	s.expect(t, true)
	s.must(t, Batch(2, 10))
	s.expect(t, true, Batch(2, 10))
}

func (s suite) flushIsCancelled(t *testing.T) {
	b := Batch(1, 10)
	if err := s.d.Sink.Emit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	switch err := s.d.Sink.Flush(ctx); {
	case err == nil:
		s.expect(t, true, b)
	case !errors.Is(err, context.Canceled):
		t.Errorf("cancelled before: %v", err)
	}
	s.flushUntil(t)
	s.expect(t, s.o.Idempotent, b)
}

func (s suite) closed(t *testing.T) {
	s.must(t, Batch(1, 10))
	if err := s.d.Sink.Close(); err != nil {
		t.Fatal(err)
	}
	err := s.d.Sink.Emit(t.Context(), Batch(2, 10))
	if err == nil {
		err = s.d.Sink.Flush(t.Context())
	}
	if err == nil {
		t.Error("durable after close")
	}
	s.expect(t, true, Batch(1, 10))
}
