package state

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"sync"
	"time"
)

// Watched is a Store that knows whether another one works. It is safe for
// concurrent use.
type Watched struct {
	store Store
	hangs time.Duration

	mu     sync.Mutex
	reads  watch // guarded by mu, as writes
	writes watch
}

var _ Store = (*Watched)(nil)

// watch is how the calls of one kind go.
type watch struct {
	work map[*time.Time]bool // when those began that are in work
	err  error               // of the last that ended
}

// NewWatched watches a store. A call that takes longer than hangs counts as a
// failure while it lasts.
func NewWatched(s Store, hangs time.Duration) *Watched {
	work := func() watch { return watch{work: map[*time.Time]bool{}} }
	return &Watched{store: s, hangs: hangs, reads: work(), writes: work()}
}

// Ready returns why the store cannot be read or written, nil if it can: the error
// of the last call of either kind, or that a call hangs. Absent names and
// conflicts are not failures.
func (w *Watched) Ready(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.reads.ready(w.hangs), w.writes.ready(w.hangs))
}

func (k *watch) ready(hangs time.Duration) error {
	err := k.err
	for began := range k.work {
		if age := time.Since(*began); age >= hangs && err == nil {
			err = fmt.Errorf("state: no answer for %s", age.Round(time.Second))
		}
	}
	return err
}

// begin notes that a call begins. The caller calls end with its result.
func (w *Watched) begin(ctx context.Context, k *watch) (end func(error)) {
	began := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	k.work[&began] = true
	return func(err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(k.work, &began)
		switch {
		case err == nil, errors.Is(err, fs.ErrNotExist), errors.Is(err, ErrConflict):
			k.err = nil
		case ctx.Err() == nil:
			k.err = err
		}
	}
}

// Get implements Store.
func (w *Watched) Get(ctx context.Context, name string) (Value, error) {
	end := w.begin(ctx, &w.reads)
	v, err := w.store.Get(ctx, name)
	end(err)
	return v, err
}

// Put implements Store.
func (w *Watched) Put(ctx context.Context, name string, value []byte, prev Version) (Version, error) {
	end := w.begin(ctx, &w.writes)
	v, err := w.store.Put(ctx, name, value, prev)
	end(err)
	return v, err
}

// Delete implements Store.
func (w *Watched) Delete(ctx context.Context, name string, prev Version) error {
	end := w.begin(ctx, &w.writes)
	err := w.store.Delete(ctx, name, prev)
	end(err)
	return err
}

// List implements Store. What its loop does counts as part of the call, so a List
// in work does not count as one that hangs.
func (w *Watched) List(ctx context.Context, prefix string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		var last error
		defer func() { w.begin(ctx, &w.reads)(last) }()
		for e, err := range w.store.List(ctx, prefix) {
			last = err
			if !yield(e, err) {
				return
			}
		}
	}
}
