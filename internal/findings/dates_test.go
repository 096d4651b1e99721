package findings_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/findings"
	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/pkg/finding"
)

type sink func(finding.Finding) error

func (s sink) Find(_ context.Context, f finding.Finding) error { return s(f) }

// store is a store whose Put does what a test says first.
type store struct {
	*state.Memory
	before func(ctx context.Context) error
}

func (s store) Put(ctx context.Context, name string, value []byte, prev state.Version) (state.Version, error) {
	if err := s.before(ctx); err != nil {
		return "", err
	}
	return s.Memory.Put(ctx, name, value, prev)
}

func reporter(t *testing.T, s state.Store) *findings.Reporter {
	t.Helper()
	r, err := findings.New(t.Context(), findings.Options{
		Sink: sink(func(finding.Finding) error { return nil }), Store: s, Now: time.Now, Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func dates(t *testing.T, s state.Store) (all map[finding.Class]int64) {
	t.Helper()
	v, err := s.Get(t.Context(), "findings")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(v.Bytes, &all)
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// While the store hangs for one finding, others are reported all the same. All are dated
// when it goes on, the caller's own included.
func TestDatesWhileTheStoreHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := state.NewMemory()
		r := reporter(t, store{memory, func(context.Context) error { time.Sleep(time.Minute); return nil }})
		began := time.Now()
		var first sync.WaitGroup
		first.Go(func() {
			if err := r.Report(t.Context(), finding.Finding{Class: finding.Gap}); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		if err := r.Report(t.Context(), finding.Finding{Class: finding.Rollback}); err != nil {
			t.Error(err)
		}
		if waited := time.Since(began); waited > 0 {
			t.Errorf("the second finding waited %s", waited)
		}
		first.Wait()
		if all := dates(t, memory); len(all) != 2 {
			t.Errorf("dates %v", all)
		}
	})
}

// A failure to store a date holds back nothing, and the next finding of the class is dated.
func TestDatesAfterAFailure(t *testing.T) {
	for _, row := range []struct {
		name string
		err  error
		want int // dates after the first finding
	}{
		{"control", nil, 1},
		{"fails", errors.New("disk full"), 0},
		{"conflict", state.ErrConflict, 1}, // tried again at once
	} {
		t.Run(row.name, func(t *testing.T) {
			memory, fails := state.NewMemory(), 1
			r := reporter(t, store{memory, func(context.Context) error {
				if fails--; fails < 0 {
					return nil
				}
				return row.err
			}})
			for i, key := range []string{"a", "b"} {
				f := finding.Finding{Class: finding.Gap, Subject: finding.Subject{Key: key}}
				if err := r.Report(t.Context(), f); err != nil {
					t.Error(err)
				}
				if all := dates(t, memory); i == 0 && len(all) != row.want || i == 1 && len(all) != 1 {
					t.Errorf("finding %d: dates %v", i, all)
				}
			}
		})
	}
}

// Two workers on one state keep each other's dates.
func TestDatesOfTwoWorkers(t *testing.T) {
	memory := state.NewMemory()
	a, b := reporter(t, memory), reporter(t, memory)
	for r, class := range map[*findings.Reporter]finding.Class{a: finding.Gap, b: finding.Rollback} {
		if err := r.Report(t.Context(), finding.Finding{Class: class}); err != nil {
			t.Error(err)
		}
	}
	if all := dates(t, memory); len(all) != 2 {
		t.Errorf("dates %v", all)
	}
}
