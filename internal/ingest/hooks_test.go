package ingest_test

import (
	"cmp"
	"context"
	"io"
	"iter"
	"maps"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// hooks is a world whose calls can be held up, fail or show less. Nil shows all.
type hooks struct {
	*testtrail.World
	get         func(context.Context, trail.Object) error
	list, below func(ctx context.Context, prefix string) error // List and Children
	shows       func(key string) bool                          // objects of listings
	reads       *counter                                       // of log files, unless nil
	bucket      string                                         // that answers for all, unless ""
}

// Get implements fetch.Objects.
func (h *hooks) Get(ctx context.Context, o trail.Object) (io.ReadCloser, map[string]string, error) {
	if h.reads != nil && !strings.Contains(o.Key, "-Digest/") {
		defer h.reads.begin()()
	}
	if h.get != nil {
		if err := h.get(ctx, o); err != nil {
			return nil, nil, err
		}
	}
	o.Bucket = cmp.Or(h.bucket, o.Bucket)
	return h.World.Get(ctx, o)
}

// List implements fetch.Objects.
func (h *hooks) List(ctx context.Context, bucket, prefix, after string) iter.Seq2[trail.Object, error] {
	return h.listing(ctx, h.list, prefix, h.World.List(ctx, cmp.Or(h.bucket, bucket), prefix, after))
}

// Children implements fetch.Objects.
func (h *hooks) Children(ctx context.Context, bucket, prefix string) iter.Seq2[trail.Object, error] {
	return h.listing(ctx, h.below, prefix, h.World.Children(ctx, cmp.Or(h.bucket, bucket), prefix))
}

func (h *hooks) listing(
	ctx context.Context, hook func(context.Context, string) error, prefix string, all iter.Seq2[trail.Object, error],
) iter.Seq2[trail.Object, error] {
	return func(yield func(trail.Object, error) bool) {
		if hook != nil {
			if err := hook(ctx, prefix); err != nil {
				yield(trail.Object{}, err)
				return
			}
		}
		for o, err := range all {
			isHidden := err == nil && h.shows != nil && !strings.HasSuffix(o.Key, "/") && !h.shows(o.Key)
			if !isHidden && !yield(o, err) {
				return
			}
		}
	}
}

// stateHooks is a state whose calls can be held up or fail.
type stateHooks struct {
	state.Store
	list func() error
	get  func(name string) error // of heads, and put, too
	put  func(ctx context.Context, name string, put func() (state.Version, error)) (state.Version, error)
}

// Get implements state.Store.
func (s *stateHooks) Get(ctx context.Context, name string) (state.Value, error) {
	if s.get != nil && strings.HasPrefix(name, "chain/") {
		if err := s.get(name); err != nil {
			return state.Value{}, err
		}
	}
	return s.Store.Get(ctx, name)
}

// Put implements state.Store.
func (s *stateHooks) Put(ctx context.Context, name string, v []byte, prev state.Version) (state.Version, error) {
	put := func() (state.Version, error) { return s.Store.Put(ctx, name, v, prev) }
	if s.put != nil && strings.HasPrefix(name, "chain/") {
		return s.put(ctx, name, put)
	}
	return put()
}

// List implements state.Store.
func (s *stateHooks) List(ctx context.Context, prefix string) iter.Seq2[state.Entry, error] {
	return func(yield func(state.Entry, error) bool) {
		if s.list != nil {
			if err := s.list(); err != nil {
				yield(state.Entry{}, err)
				return
			}
		}
		s.Store.List(ctx, prefix)(yield)
	}
}

// sinks keeps what it is given.
type sinks struct {
	before func(context.Context, sink.Batch) error // an error comes in place of taking a batch
	after  func(sink.Batch)

	mu     sync.Mutex        // guards what follows
	lines  map[string]string // by id
	counts map[string]int    // how often each id came
}

// Emit implements ingest.Sinks.
func (s *sinks) Emit(ctx context.Context, b sink.Batch) error {
	if s.before != nil {
		if err := s.before(ctx, b); err != nil {
			return err
		}
	}
	if s.after != nil {
		defer s.after(b)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := sink.Trailseal.Encoder(&b)
	for i := range b.Events {
		id, line := b.Events[i].ID, string(e.Append(nil, &b.Events[i]))
		if old, isThere := s.lines[id]; isThere && old != line {
			panic("one id, two lines")
		}
		s.lines[id] = line
		s.counts[id]++
	}
	return nil
}

// Flush implements ingest.Sinks.
func (*sinks) Flush(context.Context) error { return nil }

// all returns the lines so far, by id.
func (s *sinks) all() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.lines)
}

// findings keeps what it is given.
type findings struct {
	before func() error // an error comes in place of taking a finding

	mu  sync.Mutex // guards all
	all []finding.Finding
}

// Find implements findings.Sink.
func (f *findings) Find(_ context.Context, g finding.Finding) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.before != nil {
		if err := f.before(); err != nil {
			return err
		}
	}
	f.all = append(f.all, g)
	return nil
}

// counter counts calls, in all and at once.
type counter struct{ all, now, most atomic.Int64 }

// begin counts a call that ends when the function is called that it returns.
func (c *counter) begin() (end func()) {
	c.all.Add(1)
	n := c.now.Add(1)
	for m := c.most.Load(); n > m && !c.most.CompareAndSwap(m, n); m = c.most.Load() {
	}
	return func() { c.now.Add(-1) }
}

// failAt is a hook that fails below a prefix.
func failAt(prefix string, err error) func(context.Context, string) error {
	return func(_ context.Context, p string) error {
		return map[bool]error{true: err}[strings.HasPrefix(p, prefix)]
	}
}

// once returns an error the first time, and then nil.
func once(err error) func() error {
	var isOver atomic.Bool
	return func() error { return map[bool]error{false: err}[isOver.Swap(true)] }
}

func none(string) bool { return false }
