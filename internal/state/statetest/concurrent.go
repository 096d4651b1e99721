package statetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/trailseal/trailseal/internal/state"
)

// Of many that create one name, exactly one succeeds. So it is when they
// delete it.
func race(t *testing.T, open func() state.Store) {
	s := open()
	for round := range 5 {
		name := fmt.Sprint("a/", round)
		var won atomic.Pointer[state.Version]
		one := func(op string, change func(i int) (state.Version, error)) {
			var wins atomic.Int64
			var wg sync.WaitGroup
			for i := range 16 {
				wg.Go(func() {
					v, err := change(i)
					switch {
					case err == nil:
						wins.Add(1)
						won.Store(&v)
					case !errors.Is(err, state.ErrConflict):
						t.Errorf("%s: %v", op, err)
					}
				})
			}
			wg.Wait()
			if n := wins.Load(); n != 1 {
				t.Fatalf("%s: %d succeeded", op, n)
			}
		}
		one("put", func(i int) (state.Version, error) {
			return s.Put(t.Context(), name, []byte(strconv.Itoa(i)), "")
		})
		v, err := s.Get(t.Context(), name)
		if err != nil || v.Version != *won.Load() {
			t.Errorf("version %q, %v, not the one that won", v.Version, err)
		}
		one("delete", func(int) (state.Version, error) { return "", s.Delete(t.Context(), name, v.Version) })
		want(t, s, name, "")
	}
}

// Many count up one value: each success is one step, and none is lost.
func count(t *testing.T, open func() state.Store) {
	const workers, steps = 8, 10
	s := open()
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for done := 0; done < steps; {
				v, err := s.Get(t.Context(), "n")
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Error(err)
					return
				}
				n, _ := strconv.Atoi(string(v.Bytes))
				switch _, err := s.Put(t.Context(), "n", []byte(strconv.Itoa(n+1)), v.Version); {
				case err == nil:
					done++
				case !errors.Is(err, state.ErrConflict):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	want(t, open(), "n", strconv.Itoa(workers*steps))
}

// Changes of different names never conflict.
func concurrentNames(t *testing.T, open func() state.Store) {
	s := open()
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			name, v := fmt.Sprint("chain/", w), state.Version("")
			for i := range 6 {
				var err error
				value := fmt.Sprint(w, " at ", i)
				if v, err = s.Put(t.Context(), name, []byte(value), v); err != nil {
					t.Error(err)
				}
				if want(t, s, name, value) != v {
					t.Errorf("%s: another version than Put returned", name)
				}
			}
		})
	}
	wg.Wait()
	s = open()
	for w := range 16 {
		want(t, s, fmt.Sprint("chain/", w), fmt.Sprint(w, " at 5"))
	}
}

// ErrLost is the error of a change that Lossy made.
var ErrLost = errors.New("the answer was lost")

// Lossy is a store whose changes take effect and fail all the same where Lose
// says so. That is what a network does.
type Lossy struct {
	Store state.Store
	Lose  func(op, name string) error // nil: the answer arrives; called after the change
}

// Get implements state.Store.
func (l Lossy) Get(ctx context.Context, name string) (state.Value, error) {
	return l.Store.Get(ctx, name)
}

// List implements state.Store.
func (l Lossy) List(ctx context.Context, prefix string) iter.Seq2[state.Entry, error] {
	return l.Store.List(ctx, prefix)
}

// Put implements state.Store.
func (l Lossy) Put(ctx context.Context, name string, value []byte, prev state.Version) (state.Version, error) {
	v, err := l.Store.Put(ctx, name, value, prev)
	if err == nil {
		err = l.Lose("Put", name)
	}
	if err != nil {
		return "", err
	}
	return v, nil
}

// Delete implements state.Store.
func (l Lossy) Delete(ctx context.Context, name string, prev state.Version) error {
	err := l.Store.Delete(ctx, name, prev)
	if err == nil {
		err = l.Lose("Delete", name)
	}
	return err
}

// lossy returns a store whose every third answer is lost. Every other of these
// looks as if the store had tried the change again by itself and met its own
// success.
func lossy(s state.Store) Lossy {
	var changes atomic.Int64
	return Lossy{Store: s, Lose: func(op, name string) error {
		switch changes.Add(1) % 6 {
		case 0:
			return fmt.Errorf("%s %s: %w", op, name, ErrLost)
		case 3:
			return fmt.Errorf("%s %s: %w", op, name, state.ErrConflict)
		}
		return nil
	}}
}

// The value says how far each writer is, so that writers recover from lost
// answers: a writer reads, and a step of its own that is there has succeeded.
// Each step then counts once, and no step of another writer is lost.
func tookEffect(t *testing.T, open func() state.Store) {
	const writers, steps = 4, 9
	s := lossy(open())
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for step := 1; step <= steps; step++ {
				if err := untilCounted(t.Context(), s, w, step); err != nil {
					t.Errorf("writer %d, step %d: %v", w, step, err)
					return
				}
			}
		})
	}
	wg.Wait()
	want(t, open(), "n", strings.Repeat(fmt.Sprint(steps, " "), writers))
}

// untilCounted tries one step of a writer until it is stored.
func untilCounted(ctx context.Context, s state.Store, writer, step int) error {
	for {
		v, err := s.Get(ctx, "n")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		all := [4]int{}
		_, _ = fmt.Sscan(string(v.Bytes), &all[0], &all[1], &all[2], &all[3]) // none at first
		switch all[writer] {
		case step:
			return nil // by a Put whose answer was lost
		case step - 1:
			all[writer] = step
		default:
			return fmt.Errorf("the value is %q: a step is lost or double", v.Bytes)
		}
		next := fmt.Sprintln(all[0], all[1], all[2], all[3])
		_, err = s.Put(ctx, "n", []byte(strings.TrimSuffix(next, "\n")+" "), v.Version)
		if err == nil || !errors.Is(err, ErrLost) && !errors.Is(err, state.ErrConflict) {
			return err
		}
	}
}

// A writer whose Delete fails reads, and a name without a value is deleted.
func deleteTookEffect(t *testing.T, open func() state.Store) {
	s := lossy(open())
	for i := range 12 {
		name := fmt.Sprint("a/", i)
		_, err := s.Put(t.Context(), name, []byte("x"), "")
		v, getErr := s.Get(t.Context(), name)
		if getErr != nil || err != nil && !errors.Is(err, ErrLost) && !errors.Is(err, state.ErrConflict) {
			t.Fatalf("%s: %v, %v", name, err, getErr)
		}
		err = s.Delete(t.Context(), name, v.Version)
		if err != nil && !errors.Is(err, ErrLost) && !errors.Is(err, state.ErrConflict) {
			t.Fatalf("%s: %v", name, err)
		}
		want(t, s, name, "")
	}
}
