package durable_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trailseal/trailseal/internal/durable"
)

// Requests that come during a commit share the next one, in their order, and
// each gets its own result.
func TestGroupShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		odd := errors.New("odd")
		var commits [][]int
		g := durable.NewGroup(func(vs []int) []error {
			commits = append(commits, slices.Clone(vs))
			time.Sleep(time.Second)
			errs := make([]error, len(vs))
			for i, v := range vs {
				if v%2 == 1 {
					errs[i] = odd
				}
			}
			return errs
		})
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				err := g.Do(t.Context(), i)
				if wrong := i%2 == 1; errors.Is(err, odd) != wrong || !wrong && err != nil {
					t.Errorf("request %d: %v", i, err)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		if got, want := fmt.Sprint(commits), "[[0] [1 2 3 4]]"; got != want {
			t.Errorf("commits %s, want %s", got, want)
		}
		g.Close()
		if err := g.Do(t.Context(), 0); !errors.Is(err, durable.ErrClosed) {
			t.Errorf("after close: %v", err)
		}
	})
}

// A request whose caller has gone is dropped if its commit has not begun, and
// finished by Close if it has.
func TestGroupCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var done []int
		g := durable.NewGroup(func(vs []int) []error {
			time.Sleep(time.Minute)
			done = append(done, vs...)
			return make([]error, len(vs))
		})
		begin := time.Now()
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i+1)*time.Second)
				defer cancel()
				if err := g.Do(ctx, i); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("request %d: %v", i, err)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("callers waited %v", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := g.Do(ctx, 3); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled before: %v", err)
		}
		g.Close()
		if !slices.Equal(done, []int{0}) {
			t.Errorf("committed %v, want only the one that had begun", done)
		}
	})
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	open := func() *os.File {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	first, second := open(), open()
	if err := durable.Lock(first); err != nil {
		t.Fatal(err)
	}
	if err := durable.Lock(second); !errors.Is(err, durable.ErrLocked) {
		t.Fatalf("second: %v", err)
	}
	if err := durable.Unlock(first); err != nil {
		t.Fatal(err)
	}
	if err := durable.Lock(second); err != nil {
		t.Fatalf("after the first was unlocked: %v", err)
	}
	if err := durable.Lock(first); !errors.Is(err, durable.ErrLocked) {
		t.Fatalf("first again: %v", err)
	}
	if err := durable.Unlock(second); err != nil {
		t.Fatal(err)
	}
	if err := durable.Lock(first); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := durable.Lock(second); err != nil {
		t.Errorf("after the first was closed: %v", err)
	}
	if err := durable.Lock(first); err == nil {
		t.Error("a closed file was locked")
	}
}

func TestSyncDir(t *testing.T) {
	dir := t.TempDir()
	if err := durable.SyncDir(dir); err != nil {
		t.Error(err)
	}
	if err := durable.SyncDir(filepath.Join(dir, "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
}
