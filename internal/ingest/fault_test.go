package ingest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/ledger"
	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// fault strikes the n-th call of one seam.
type fault struct {
	seam, mode string
	n          int

	mu     sync.Mutex
	calls  int
	struck bool
	cancel func()
}

var errFault = errors.New("struck")

// do makes a call, which the fault may strike.
func (f *fault) do(ctx context.Context, seam string, call func() error) error {
	f.mu.Lock()
	if seam == f.seam {
		f.calls++
	}
	strikes := seam == f.seam && f.calls == f.n
	f.struck = f.struck || strikes
	f.mu.Unlock()
	if !strikes {
		return call()
	}
	switch f.mode {
	case "fails":
		return errFault
	case "fails but took effect":
		if err := call(); err != nil {
			return err
		}
		return errFault
	case "slow":
		time.Sleep(time.Hour) // deaf to the context, as a disk can be
		return call()
	case "cancelled":
		f.cancel()
		return ctx.Err()
	case "cancelled, and took effect":
		err := call()
		f.cancel()
		return err
	}
	panic(f.mode)
}

// struckWorld is a world whose seams a fault strikes.
type struckWorld struct {
	*testtrail.World
	f *fault
}

func (w struckWorld) Get(ctx context.Context, o trail.Object) (body io.ReadCloser, meta map[string]string, err error) {
	err = w.f.do(ctx, "Get", func() (err error) {
		body, meta, err = w.World.Get(ctx, o)
		return err
	})
	if errors.Is(err, errFault) && body != nil { // the answer came, and broke off
		b, _ := io.ReadAll(body)
		return io.NopCloser(io.MultiReader(bytes.NewReader(b[:len(b)/2]), broken{})), meta, nil
	}
	return body, meta, err
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errFault }

func (w struckWorld) List(ctx context.Context, bucket, prefix, after string) iter.Seq2[trail.Object, error] {
	return struckList(ctx, w.f, "List", w.World.List(ctx, bucket, prefix, after))
}

func (w struckWorld) Children(ctx context.Context, bucket, prefix string) iter.Seq2[trail.Object, error] {
	return struckList(ctx, w.f, "Children", w.World.Children(ctx, bucket, prefix))
}

// struckList breaks a listing off: at once, or after its first half.
func struckList[T any](ctx context.Context, f *fault, seam string, from iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var all []T
		err := f.do(ctx, seam, func() error {
			for o, err := range from {
				if err != nil {
					return err
				}
				all = append(all, o)
			}
			return nil
		})
		if err != nil {
			all = all[:len(all)/2]
		}
		for _, o := range all {
			if !yield(o, nil) {
				return
			}
		}
		if err != nil {
			var none T
			yield(none, err)
		}
	}
}

func (w struckWorld) PublicKeys(ctx context.Context, region string, from, to time.Time) (set digest.KeySet, err error) {
	err = w.f.do(ctx, "PublicKeys", func() (err error) {
		set, err = w.World.PublicKeys(ctx, region, from, to)
		return err
	})
	return set, err
}

type struckState struct {
	state.Store
	f *fault
}

func (s struckState) Get(ctx context.Context, name string) (v state.Value, err error) {
	err = s.f.do(ctx, "Get head", func() (err error) {
		if v, err = s.Store.Get(ctx, name); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err == nil && v.Version == "" {
		err = fs.ErrNotExist
	}
	return v, err
}

func (s struckState) Put(ctx context.Context, name string, value []byte, prev state.Version) (v state.Version, err error) {
	err = s.f.do(ctx, "Put", func() (err error) {
		v, err = s.Store.Put(ctx, name, value, prev)
		return err
	})
	return v, err
}

type struckSink struct {
	*sinks
	f *fault
}

func (s struckSink) Emit(ctx context.Context, b sink.Batch) error {
	return s.f.do(ctx, "Emit", func() error { return s.sinks.Emit(ctx, b) })
}

func (s struckSink) Flush(ctx context.Context) error {
	return s.f.do(ctx, "Flush", func() error { return s.sinks.Flush(ctx) })
}

type struckFindings struct {
	*findings
	f *fault
}

func (s struckFindings) Find(ctx context.Context, g finding.Finding) error {
	return s.f.do(ctx, "Find", func() error { return s.findings.Find(ctx, g) })
}

// faultSite has two chains with a log gone and a digest tampered with in one.
type faultSite struct {
	*site
	other *testtrail.Chain
	store *state.Memory
}

func newFaultSite(t *testing.T) *faultSite {
	s := &faultSite{site: newSite(t, 5)}
	s.other = s.trail.Chain("444455556666", region, day)
	s.other.Hours(2)
	s.Delete(bucket, s.c.Issued[2].Logs[0].Key)
	s.Edit(bucket, s.c.Issued[4].Key, func(o *testtrail.Stored) { o.Body = testtrail.Gzip(append(s.c.Issued[4].Body, ' ')) })
	return s
}

// fresh returns the site with a worker's surroundings as they are at first.
// Runs only read the world.
func (s *faultSite) fresh() *faultSite {
	site := *s.site
	site.sink, site.found = &sinks{lines: map[string]string{}, counts: map[string]int{}, buffers: true}, &findings{}
	return &faultSite{site: &site, other: s.other, store: state.NewMemory()}
}

// proven returns the ids of all proven events and the end of the digest that
// lists them.
func (s *faultSite) proven() map[string]time.Time {
	ids := map[string]time.Time{}
	for _, c := range []*testtrail.Chain{s.c, s.other} {
		for i, d := range c.Issued {
			for _, l := range d.Logs {
				o, there := s.Stored(l.Bucket, l.Key)
				if c == s.c && i == 4 || !there {
					continue
				}
				for n := range recordsOf(o.Body) {
					ids[fmt.Sprintf("%s %d", l, n)] = d.End
				}
			}
		}
	}
	return ids
}

// check verifies the whole world: nothing unproven left, and no head is ahead
// of what is durable.
func (s *faultSite) check(t *testing.T, step string) {
	t.Helper()
	got, proven := s.got(t), s.proven()
	for id := range got {
		if _, ok := proven[id]; !ok {
			t.Errorf("%s: %s is not proven", step, id)
		}
	}
	found := map[finding.Class]bool{}
	for _, f := range s.found.all {
		found[f.Class] = true
	}
	for _, c := range []*testtrail.Chain{s.c, s.other} {
		n := c.Name()
		name := ledger.Name("s3://"+bucket, n)
		v, err := s.store.Get(context.Background(), name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		var head struct {
			Cursor time.Time
			Bad    []string
		}
		if v.Version != "" {
			if err := json.Unmarshal(v.Bytes, &head); err != nil {
				t.Fatal(err)
			}
		}
		prefix := "s3://" + bucket + "/AWSLogs/" + n.Account + "/"
		for id, end := range proven {
			if len(id) > len(prefix) && id[:len(prefix)] == prefix && !end.After(head.Cursor) && !got[id] {
				t.Errorf("%s: the head is at %s, and %s is not durable", step, head.Cursor, id)
			}
		}
		if c != s.c {
			continue
		}
		if !head.Cursor.Before(c.Issued[2].End) && !found[finding.LogMissing] {
			t.Errorf("%s: the head is past a log that is gone, and no finding says so", step)
		}
		if (!head.Cursor.Before(c.Issued[4].End) || len(head.Bad) > 0) && !found[finding.DigestSignature] {
			t.Errorf("%s: the head is past a digest that is bad, and no finding says so", step)
		}
	}
}

// strike runs the worker with a fault and then without, and verifies the world
// after each. It reports whether the fault struck.
func (s *faultSite) strike(t *testing.T, f *fault) bool {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f.cancel = cancel
	cfg := s.cfg
	for _, f := range []*fault{f, {}} {
		w := struckWorld{s.World, f}
		cfg.Sources = slices.Clone(s.cfg.Sources)
		cfg.Sources[0].Objects, cfg.Keys = w, w
		cfg.State, cfg.Sink, cfg.Findings = struckState{s.store, f}, retried(struckSink{s.sink, f}), struckFindings{s.found, f}
		cfg.Metrics = prometheus.NewRegistry()
		o, err := ingest.Run(ctx, cfg)
		s.sink.kept = nil // a crash loses it
		s.check(t, f.seam+" "+f.mode)
		if f.n == 0 && (err != nil || o.Waiting > 0) {
			t.Errorf("the run after the fault: %+v, %v", o, err)
		}
		ctx = t.Context()
	}
	want := map[string]bool{}
	for id := range s.proven() {
		want[id] = true
	}
	if got := s.got(t); !maps.Equal(got, want) {
		t.Errorf("%d events, want %d", len(got), len(want))
	}
	classes := map[finding.Class]int{}
	for _, f := range s.found.all {
		classes[f.Class]++
	}
	if len(classes) != 2 || classes[finding.LogMissing] == 0 || classes[finding.DigestSignature] == 0 || len(s.found.all) > 4 {
		t.Errorf("findings %v", classes)
	}
	return f.struck
}

// Every seam, struck in every way at every one of its calls: what is proven
// comes out, nothing else does, and no head is ever ahead of it.
func TestFaults(t *testing.T) {
	site := newFaultSite(t)
	for _, seam := range []string{"Get", "List", "Children", "PublicKeys", "Get head", "Put", "Emit", "Flush", "Find"} {
		for _, mode := range []string{"fails", "fails but took effect", "slow", "cancelled", "cancelled, and took effect"} {
			t.Run(seam+" "+mode, func(t *testing.T) {
				step := 1
				if testing.Short() {
					step = 5
				}
				for n := 1; ; n += step {
					struck := false
					synctest.Test(t, func(t *testing.T) {
						struck = site.fresh().strike(t, &fault{seam: seam, mode: mode, n: n})
					})
					if !struck || t.Failed() {
						if n == 1 && !struck {
							t.Error("never struck")
						}
						t.Logf("%d calls", n-1)
						return
					}
				}
			})
		}
	}
}
