package state_test

import (
	"context"
	"errors"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/internal/state/statetest"
)

// faulty is a store that fails with err, or hangs until the context ends.
type faulty struct {
	state.Store
	err   error
	hangs bool
}

func (f *faulty) fault(ctx context.Context) error {
	if f.hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	return f.err
}

func (f *faulty) Get(ctx context.Context, name string) (state.Value, error) {
	if err := f.fault(ctx); err != nil {
		return state.Value{}, err
	}
	return f.Store.Get(ctx, name)
}

func (f *faulty) Put(ctx context.Context, name string, value []byte, prev state.Version) (state.Version, error) {
	if err := f.fault(ctx); err != nil {
		return "", err
	}
	return f.Store.Put(ctx, name, value, prev)
}

func (f *faulty) Delete(ctx context.Context, name string, prev state.Version) error {
	if err := f.fault(ctx); err != nil {
		return err
	}
	return f.Store.Delete(ctx, name, prev)
}

func (f *faulty) List(ctx context.Context, prefix string) iter.Seq2[state.Entry, error] {
	if err := f.fault(ctx); err != nil {
		return func(yield func(state.Entry, error) bool) { yield(state.Entry{}, err) }
	}
	return f.Store.List(ctx, prefix)
}

// A store that fails or hangs is not ready until a call of the same kind succeeds.
// What the caller asked for in vain, or ended itself, is not the store's failure.
func TestReady(t *testing.T) {
	full := errors.New("disk full")
	calls := map[string]func(context.Context, state.Store) error{
		"Get":    func(ctx context.Context, s state.Store) error { _, err := s.Get(ctx, "a"); return err },
		"Put":    func(ctx context.Context, s state.Store) error { _, err := s.Put(ctx, "a", []byte("v"), ""); return err },
		"Delete": func(ctx context.Context, s state.Store) error { return s.Delete(ctx, "b", "") },
		"List": func(ctx context.Context, s state.Store) (last error) {
			for _, err := range s.List(ctx, "") {
				last = err
			}
			return last
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &faulty{Store: state.NewMemory()}
				w := state.NewWatched(f, 30*time.Second)
				expect := func(when string, want string) {
					t.Helper()
					got := ""
					if err := w.Ready(t.Context()); err != nil {
						got = err.Error()
					}
					if got != want {
						t.Errorf("%s: %q, want %q", when, got, want)
					}
				}
				expect("at first", "")
				f.err = full
				if err := call(t.Context(), w); !errors.Is(err, full) {
					t.Error(err)
				}
				expect("failed", "disk full")
				f.err = nil
				for other, call := range calls {
					isRead := other == "Get" || other == "List"
					if isRead != (name == "Get" || name == "List") {
						_ = call(t.Context(), w)
					}
				}
				expect("calls of the other kind succeeded", "disk full")
				_ = call(t.Context(), w)
				_ = call(t.Context(), w) // Put: a conflict
				expect("succeeded", "")
				f.hangs = true
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				done := make(chan error, 1)
				go func() { done <- call(ctx, w) }()
				time.Sleep(30 * time.Second)
				if name != "List" {
					expect("hangs", "state: no answer for 30s")
				}
				<-done
				expect("ended by the caller", "")
			})
		})
	}
}

func TestWatchedIsAStore(t *testing.T) {
	statetest.Run(t, func(*testing.T) func() state.Store {
		w := state.NewWatched(state.NewMemory(), time.Minute)
		return func() state.Store { return w }
	})
}
