// Package sinktest holds every sink to the same contract: what was
// acknowledged is there, whatever failed, and a repeat does no harm. It is for
// tests; no program links it.
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

	"github.com/trailseal/trailseal/pkg/trail"
)

// Sink is what all sinks have in common.
type Sink interface {
	// Emit returns nil only once every event is durable downstream. It is safe
	// for concurrent use, and a repeat is harmless.
	Emit(ctx context.Context, b trail.Batch) error
	Close() error
}

// Downstream is a sink with a grip on what stands behind it.
type Downstream struct {
	Sink Sink
	// Lines returns every line that arrived, in any order; one of several
	// equal ones where the sink stores by id.
	Lines func() []string
	// Fail makes the next attempts fail without effect.
	Fail func(times int)
	// FailAfter makes the next attempts take effect and then fail.
	FailAfter func(times int)
	// Stall makes attempts wait until resume is called.
	Stall func() (resume func())
}

// Options say what a sink promises beyond the contract.
type Options struct {
	Idempotent bool // a repeat leaves one copy of a line
	TornLines  bool // a failed attempt may leave a piece of a line behind
}

// patience is how long anything that does not wait for the downstream may take.
const patience = 10 * time.Second

// Run checks the whole contract. open makes a sink before an empty downstream
// and cleans up after the test.
func Run(t *testing.T, open func(t *testing.T) Downstream, o Options) {
	t.Helper()
	s := suite{o}
	for name, check := range map[string]func(*testing.T, Downstream){
		"Emit": s.emit, "Bytes": s.bytes, "Empty": s.empty, "Borrowed": s.borrowed, "Concurrent": s.concurrent, "Repeat": s.repeat,
		"Fails": s.fails, "FailsAfter": s.failsAfter, "Stalled": s.stalled, "Cancelled": s.cancelled, "Closed": s.closed,
	} {
		t.Run(name, func(t *testing.T) { check(t, open(t)) })
	}
}

type suite struct{ o Options }

// Batch returns the batch number n, of so many lines; equal for equal numbers.
func Batch(n, lines int) trail.Batch {
	key := fmt.Sprintf("p/AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/01/111122223333_CloudTrail_eu-west-1_20260301T%02d%02dZ_abcdefghij%06d.json.gz", n/60%24, n%60, n)
	b := trail.Batch{Log: trail.Object{Bucket: "trail-bucket", Key: key}}
	for i := range lines {
		id := fmt.Sprintf("id-%d-%d", n, i)
		b.IDs = append(b.IDs, id)
		b.Lines = append(b.Lines, fmt.Appendf(nil, `{"id":%q,"eventName":"GetObject","n":%d,"pad":%q}`, id, n, strings.Repeat("x", i%50)))
	}
	return b
}

// until emits until the batch is acknowledged, as a caller would.
func (s suite) until(t *testing.T, d Downstream, b trail.Batch) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		err := d.Sink.Emit(ctx, b)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Errorf("not acknowledged in time: %v", err)
			return
		}
	}
}

// expect compares what arrived with the lines of some batches. exact demands
// one copy of each.
func (s suite) expect(t *testing.T, d Downstream, exact bool, batches ...trail.Batch) {
	t.Helper()
	count := map[string]int{}
	for _, l := range d.Lines() {
		count[l]++
	}
	for _, b := range batches {
		for _, l := range b.Lines {
			n := count[string(l)]
			if n == 0 || exact && n > 1 {
				t.Fatalf("%d copies of %.80q", n, l)
			}
			delete(count, string(l))
		}
	}
	for l := range count {
		if !s.o.TornLines || strings.HasSuffix(l, "}") {
			t.Fatalf("arrived, but never emitted: %.80q", l)
		}
	}
}

func (s suite) emit(t *testing.T, d Downstream) {
	var all []trail.Batch
	for n := range 5 {
		all = append(all, Batch(n, 1+10*n))
		if err := d.Sink.Emit(t.Context(), all[n]); err != nil {
			t.Fatal(err)
		}
		s.expect(t, d, true, all...)
	}
	large := Batch(99, 3)
	for i := range large.Lines {
		large.Lines[i] = fmt.Appendf(nil, `{"large":%q,"n":%d}`, strings.Repeat("y", 300_000), i)
	}
	if err := d.Sink.Emit(t.Context(), large); err != nil {
		t.Fatal(err)
	}
	s.expect(t, d, true, append(all, large)...)
}

// The bytes of a line are nobody's business.
func (s suite) bytes(t *testing.T, d Downstream) {
	b := trail.Batch{Log: Batch(1, 0).Log}
	for i, l := range []string{
		`{"n":123456789012345678901234567890.10e+5}`, `{"a":1,"a":2}`, `{"u":"\u2028\ud800\/"}`, "{\"u\":\"\u2028é\x7f\"}", "{\"bad\":\"\xff\xc3\"}", `{ "space" :	[ ] }`, `{}`, `{"<&>":"%s%d+"}`,
	} {
		b.Lines, b.IDs = append(b.Lines, []byte(l)), append(b.IDs, fmt.Sprintf("é \"%d\"/?#\\", i))
	}
	if err := d.Sink.Emit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	s.expect(t, d, true, b)
}

func (s suite) empty(t *testing.T, d Downstream) {
	if err := d.Sink.Emit(t.Context(), Batch(1, 0)); err != nil {
		t.Fatal(err)
	}
	s.expect(t, d, true)
}

// The lines are the caller's again once Emit returned, and never changed.
func (s suite) borrowed(t *testing.T, d Downstream) {
	b, want := Batch(1, 20), Batch(1, 20)
	if err := d.Sink.Emit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	for i, l := range b.Lines {
		if string(l) != string(want.Lines[i]) {
			t.Errorf("line %d was changed to %q", i, l)
		}
		clear(l)
	}
	other := Batch(2, 5)
	if err := d.Sink.Emit(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	s.expect(t, d, true, want, other)
}

func (s suite) concurrent(t *testing.T, d Downstream) {
	var all []trail.Batch
	var wg sync.WaitGroup
	for n := range 64 {
		b := Batch(n, 1+n%7*10)
		all = append(all, b)
		wg.Go(func() {
			if err := d.Sink.Emit(t.Context(), b); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s.expect(t, d, true, all...)
}

func (s suite) repeat(t *testing.T, d Downstream) {
	one, two := Batch(1, 30), Batch(2, 3)
	second := Batch(1, 4)
	second.Part = 1
	for i := range second.Lines {
		second.IDs[i] += "-part"
		second.Lines[i] = append(second.Lines[i][:len(second.Lines[i])-1], `,"part":1}`...)
	}
	for _, b := range []trail.Batch{one, two, one, second, one, second} {
		if err := d.Sink.Emit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	s.expect(t, d, s.o.Idempotent, one, two, second)
}

// A failure is told or overcome, and the batch arrives in the end.
func (s suite) fails(t *testing.T, d Downstream) {
	before, b, after := Batch(1, 10), Batch(2, 10), Batch(3, 10)
	s.until(t, d, before)
	for range 3 {
		d.Fail(1)
		s.until(t, d, b)
		s.expect(t, d, s.o.Idempotent, before, b)
	}
	d.Fail(3)
	var wg sync.WaitGroup
	var more []trail.Batch
	for n := range 6 {
		b := Batch(10+n, 5)
		more = append(more, b)
		wg.Go(func() { s.until(t, d, b) })
	}
	wg.Wait()
	s.until(t, d, after)
	s.expect(t, d, s.o.Idempotent, append(more, before, b, after)...)
}

func (s suite) failsAfter(t *testing.T, d Downstream) {
	before, b, after := Batch(1, 10), Batch(2, 10), Batch(3, 10)
	s.until(t, d, before)
	d.FailAfter(2)
	s.until(t, d, b)
	s.until(t, d, after)
	s.expect(t, d, s.o.Idempotent, before, b, after)
}

// While the downstream stands still nothing is acknowledged, Emit returns as
// soon as it may, and nothing is lost afterwards.
func (s suite) stalled(t *testing.T, d Downstream) {
	before := Batch(1, 10)
	s.until(t, d, before)
	resume := d.Stall()
	resume = sync.OnceFunc(resume)
	defer resume()
	var all []trail.Batch
	var wg sync.WaitGroup
	begin := time.Now()
	for n := range 4 {
		all = append(all, Batch(10+n, 10))
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n+1)*50*time.Millisecond)
			defer cancel()
			if err := d.Sink.Emit(ctx, Batch(10+n, 10)); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("while nothing moves: %v", err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(begin); took > patience {
		t.Errorf("a cancelled emit returned after %v", took)
	}
	resume()
	for _, b := range all {
		s.until(t, d, b)
	}
	s.expect(t, d, s.o.Idempotent, slices.Concat(all, []trail.Batch{before})...)
}

func (s suite) cancelled(t *testing.T, d Downstream) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Sink.Emit(ctx, Batch(1, 10)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
	s.expect(t, d, true)
	s.until(t, d, Batch(2, 10))
	s.expect(t, d, true, Batch(2, 10))
}

func (s suite) closed(t *testing.T, d Downstream) {
	s.until(t, d, Batch(1, 10))
	if err := d.Sink.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.Sink.Emit(t.Context(), Batch(2, 10)); err == nil {
		t.Error("acknowledged after close")
	}
	s.expect(t, d, true, Batch(1, 10))
}
