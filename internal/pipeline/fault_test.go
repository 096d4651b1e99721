package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/pipeline"
	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// hangs are objects of which some hang until the context ends.
type hangs struct {
	fetch.Objects
	after func(o trail.Object) int // bytes that come before; less than 0: all
}

// Get implements fetch.Objects.
func (h hangs) Get(ctx context.Context, o trail.Object) (io.ReadCloser, map[string]string, error) {
	n := h.after(o)
	if n == 0 {
		<-ctx.Done()
		return nil, nil, ctx.Err()
	}
	body, meta, err := h.Objects.Get(ctx, o)
	if err == nil && n > 0 {
		body = hangingBody{io.MultiReader(io.LimitReader(body, int64(n)), hang{ctx}), body}
	}
	return body, meta, err
}

type hangingBody struct {
	io.Reader
	io.Closer
}

type hang struct{ ctx context.Context }

func (h hang) Read([]byte) (int, error) {
	<-h.ctx.Done()
	return 0, h.ctx.Err()
}

// result is how a call of Process ended.
type result struct {
	receipt pipeline.Receipt
	err     error
}

// start processes log files side by side.
func (s *site) start(ctx context.Context, share *pipeline.Share, jobs ...pipeline.Job) <-chan result {
	ended := make(chan result, len(jobs))
	for _, j := range jobs {
		j.Share = share
		go func() {
			r, err := s.process(ctx, j)
			ended <- result{r, err}
		}()
	}
	return ended
}

// A log file that is cancelled at any stage gives back what it has reserved, and the
// accounts balance.
func TestCancelled(t *testing.T) {
	small, large, tiny := log(3, 100), log(17<<10, 1<<10), log(5000, 10)
	never := func(int, string) int { return -1 }
	for _, tt := range []struct {
		name     string
		body     []byte
		hang     func(get int, key string) int // bytes that come before the object hangs; less than 0: it does not
		others   int                           // log files of the chain whose bodies hang
		copies   int
		part     int // that the sink does not take
		reserved bool
		want     pipeline.Counts
	}{
		{"before the first byte", small, func(int, string) int { return 0 }, 0, 0, 9, false, pipeline.Counts{}},
		{"in the body", small, func(int, string) int { return 40 }, 0, 0, 9, true, pipeline.Counts{}},
		{"before the first byte of a large one", large, largeOnly(0), 0, 0, 9, false, pipeline.Counts{}},
		{"in the body of a large one", large, largeOnly(40), 0, 0, 9, true, pipeline.Counts{}},
		{"while it waits for memory", small, never, 60, 0, 9, true, pipeline.Counts{}},
		{"in the second copy", small, func(_ int, key string) int { return map[string]int{"0": -1}[key] }, 0, 2, 9, true, pipeline.Counts{}},
		{"in a sink", small, never, 0, 0, 0, true, pipeline.Counts{Split: 3, Returned: 3}},
		{"in a sink, between parts", tiny, never, 0, 0, 1, true, pipeline.Counts{Split: 3955, Emitted: 1978, Returned: 1977}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := options()
				o.Concurrency = 64
				s := newSite(t, o)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				j := s.hour(tt.body)[0]
				others := s.hour(slices.Repeat([][]byte{small}, tt.others)...)
				gets := 0
				s.open(hangs{s.World, func(o trail.Object) int {
					if tt.others > 0 && o.Key != j.Log.Object {
						return 40
					}
					gets++
					return tt.hang(gets, o.Key)
				}})
				for i := range tt.copies {
					key := fmt.Sprint(i)
					s.Put("copy", key, testtrail.Stored{Body: testtrail.Gzip(tt.body)})
					j.Places = append(j.Places[:i:i], trail.Object{Bucket: "copy", Key: key})
				}
				s.sink.fail = func(b sink.Batch) error {
					if b.Part == tt.part {
						<-ctx.Done()
						return ctx.Err()
					}
					return nil
				}
				othersEnded := s.start(ctx, s.share, others...)
				synctest.Wait()
				ended := s.start(ctx, s.share, j)
				synctest.Wait()
				if n := s.InFlight(); (n > 0) != tt.reserved || len(ended) > 0 {
					t.Errorf("%d bytes are reserved, %d ended", n, len(ended))
				}
				s.balanced()
				cancel()
				if got := <-ended; !errors.Is(got.err, context.Canceled) || got.receipt.Counts != tt.want {
					t.Errorf("%+v, %v", got.receipt.Counts, got.err)
				}
				for range others {
					<-othersEnded
				}
				s.balanced()
			})
		})
	}
}

// largeOnly hangs after n bytes in the read that holds a large log file as it is stored.
func largeOnly(n int) func(int, string) int {
	return func(get int, _ string) int {
		if get > 3 {
			return n
		}
		return -1
	}
}

// A failing sink has an error, and a repeat has the same ids. What the sinks have is not
// given to them again.
func TestSinkFails(t *testing.T) {
	errDown := errors.New("down")
	for _, tt := range []struct {
		name  string
		body  []byte
		part  int // that fails
		err   error
		parts int // that the sinks have then
	}{
		{"whole", log(100, 100), 0, errDown, 0},
		{"whole, as if it were malformed", log(100, 100), 0, fmt.Errorf("parse: %w", trail.ErrRecords), 0},
		{"first part", log(30_000, 100), 0, errDown, 0},
		{"second part", log(30_000, 100), 1, errDown, 1},
		{"second part, as if it were malformed", log(30_000, 100), 1, fmt.Errorf("parse: %w", trail.ErrRecords), 1},
		{"last part", log(30_000, 100), 5, errDown, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, options())
			j := s.hour(tt.body)[0]
			control, err := s.process(t.Context(), j)
			if err != nil || control.Parts <= tt.part {
				t.Fatalf("%d parts, %v", control.Parts, err)
			}
			want := s.sink.ids()
			s.sink.parts = nil
			failed := 0
			s.sink.fail = func(b sink.Batch) error {
				if b.Part == tt.part {
					failed++
					return tt.err
				}
				return nil
			}
			for range 2 {
				r, err := s.process(t.Context(), j)
				if !errors.Is(err, tt.err) || r.Parts != tt.parts || r.Malformed != nil ||
					len(s.sink.parts) != tt.parts {
					t.Errorf("%v, %+v, malformed: %v", err, r.Counts, r.Malformed)
				}
				s.balanced()
				j.Parts = r.Parts
			}
			if failed != 2 {
				t.Errorf("the sink was asked %d times", failed)
			}
			s.sink.fail = nil
			r, err := s.process(t.Context(), j)
			if err != nil || r.Parts != control.Parts {
				t.Errorf("%+v, %v", r, err)
			}
			if diff := differ(want, s.sink.ids()); diff != "" {
				t.Errorf("ids:\n%.500s", diff)
			}
			s.balanced()
		})
	}
}

// A chain of 200 log files that all hang, before their first byte or behind it, leaves the
// other chains at full speed.
func TestHangingChain(t *testing.T) {
	const (
		latency = 100 * time.Millisecond
		files   = 200
		others  = 60
	)
	for _, tt := range []struct {
		name  string
		after int // bytes that come of the hanging ones; less than 0: they do not hang
		class int // size of the log file before those that hang
	}{
		{"control", -1, 10},
		{"before the first byte", 0, 10},
		{"behind it", 40, 10},
		{"behind it, of the largest class", 40, 5000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := options()
				o.Concurrency = 16
				s := newSite(t, o)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				first := s.hour(log(tt.class, 1000))[0]
				body := log(3, 100)
				var bad, good []pipeline.Job
				for range files {
					bad = append(bad, s.hour(body)...)
				}
				isBad := map[string]bool{}
				for _, j := range bad {
					isBad[j.Log.Object] = true
				}
				for range others {
					good = append(good, s.hour(body)...)
				}
				s.Latency = latency
				s.open(hangs{s.World, func(o trail.Object) int {
					if isBad[o.Key] {
						return tt.after
					}
					return -1
				}})
				first.Share = s.share
				if _, err := s.process(ctx, first); err != nil {
					t.Fatal(err)
				}
				if tt.after < 0 {
					bad = nil
				}
				badEnded := s.start(ctx, s.share, bad...)
				synctest.Wait()
				began := time.Now()
				goodEnded := s.start(ctx, s.source.Share(), good...)
				for range good {
					if got := <-goodEnded; got.err != nil {
						t.Fatal(got.err)
					}
				}
				most := (others + 15) / 16 * latency
				if len(bad) > 0 {
					most += latency + fetch.Stalled // when those that hang have given back their slots
				}
				if took := time.Since(began); took > most {
					t.Errorf("the others took %s, more than %s", took, most)
				}
				if got := len(s.sink.parts); got != others+1 {
					t.Errorf("%d log files", got)
				}
				cancel()
				for range bad {
					if got := <-badEnded; !errors.Is(got.err, context.Canceled) {
						t.Errorf("a hanging log file: %v", got.err)
					}
				}
				s.balanced()
			})
		})
	}
}

// What one chain reserves leaves enough for a log file of another, however large.
func TestShareBoundsMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, options())
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		large := log(17<<10, 1<<10)
		jobs := s.hour(large, large, large)
		var mu sync.Mutex // guards gets
		gets := map[string]int{}
		s.open(hangs{s.World, func(o trail.Object) int {
			mu.Lock()
			defer mu.Unlock()
			if gets[o.Key]++; o.Key == jobs[2].Log.Object {
				return -1
			}
			return largeOnly(40)(gets[o.Key], o.Key)
		}})
		ended := s.start(ctx, s.share, jobs[:2]...)
		synctest.Wait()
		reserved := s.InFlight()
		if got := <-s.start(ctx, s.source.Share(), jobs[2]); got.err != nil || reserved == 0 {
			t.Errorf("%d bytes are reserved, %v", reserved, got.err)
		}
		cancel()
		<-ended
		<-ended
	})
}

// A test build that drops, doubles or invents events shows in the accounts.
func TestTampering(t *testing.T) {
	invented := sink.Event{Record: []byte(`{"eventName":"Invented"}`), Index: 7}
	for _, tt := range []struct {
		name   string
		tamper func([]sink.Event) []sink.Event
		want   int64 // for each batch
	}{
		{"control", func(e []sink.Event) []sink.Event { return e }, 0},
		{"drop", func(e []sink.Event) []sink.Event { return e[1:] }, 1},
		{"double", func(e []sink.Event) []sink.Event {
			return append(e, sink.Event{Record: e[0].Record, Index: e[0].Index})
		}, -1},
		{"invent", func(e []sink.Event) []sink.Event {
			return append(e, sink.Event{Record: invented.Record, Index: invented.Index})
		}, -1},
	} {
		for body, parts := range map[string]int{string(log(3, 100)): 1, string(log(5000, 10)): 3} {
			for _, fails := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %d parts, sink fails: %v", tt.name, parts, fails), func(t *testing.T) {
					s := newSite(t, options())
					s.Tamper(tt.tamper)
					want := tt.want * int64(parts)
					if fails {
						want = tt.want
						s.sink.fail = func(sink.Batch) error { return errReset }
					}
					r, err := s.process(t.Context(), s.hour([]byte(body))[0])
					if (err != nil) != fails || !fails && r.Parts != parts {
						t.Fatalf("%d parts, %v", r.Parts, err)
					}
					if got := s.Accounts().Unaccounted()["records"]; got != want {
						t.Errorf("unaccounted %d, want %d", got, want)
					}
					if got := gauge(t, s, "records"); got != float64(want) {
						t.Errorf("the metric shows %v, want %d", got, want)
					}
				})
			}
		}
	}
}

// gauge returns the metric of unaccounted things of a kind.
func gauge(t *testing.T, s *site, kind string) float64 {
	t.Helper()
	families, err := s.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == "unaccounted" && strings.Contains(m.String(), `"`+kind+`"`) {
				return m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("no metric of %s", kind)
	return 0
}

// Log files that are not settled once, and digests that are committed without all of their
// log files, show in the accounts.
func TestAccounts(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(*pipeline.Accounts)
		want string
	}{
		{"control", func(a *pipeline.Accounts) { a.Settle(pipeline.Emitted); a.Commit(3, 3, 0); a.End() }, "map[logs:0 objects:0 records:0]"},
		{"in flight", func(*pipeline.Accounts) {}, "map[logs:0 objects:0 records:0]"},
		{"in flight at the end", func(a *pipeline.Accounts) { a.End() }, "map[logs:0 objects:1 records:0]"},
		{"settled twice", func(a *pipeline.Accounts) { a.Settle(pipeline.Emitted); a.Settle(pipeline.Returned) }, "map[logs:0 objects:-1 records:0]"},
		{"settled as nothing", func(a *pipeline.Accounts) { a.Settle(17) }, "map[logs:0 objects:1 records:0]"},
		{"a log file is skipped", func(a *pipeline.Accounts) { a.Settle(pipeline.Quarantined); a.Commit(3, 2, 0) }, "map[logs:1 objects:0 records:0]"},
		{"another account", func(a *pipeline.Accounts) { a.Add("messages", func() int64 { return 4 }) }, "map[logs:0 messages:4 objects:0 records:0]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, options())
			j := s.hour(log(1, 10))[0]
			if _, err := s.Process(t.Context(), j); err != nil {
				t.Fatal(err)
			}
			tt.do(s.Accounts())
			if got := fmt.Sprint(s.Accounts().Unaccounted()); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}
