package ingest_test

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/finding"
	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

type findingFunc func(context.Context, finding.Finding) error

func (f findingFunc) Find(ctx context.Context, g finding.Finding) error { return f(ctx, g) }

// until runs the worker till a finding of the class, or for a second.
func (s *site) until(t *testing.T, class finding.Class) (found []finding.Finding) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	s.cfg.Once, s.cfg.Metrics = false, ingest.NewMetrics(prometheus.NewRegistry())
	s.cfg.Findings = findingFunc(func(_ context.Context, f finding.Finding) error {
		found = append(found, f)
		if f.Class == class {
			cancel()
		}
		return nil
	})
	if _, err := ingest.Run(ctx, s.cfg); err != nil {
		t.Fatal(err)
	}
	return found
}

// A chain whose folders were emptied while no worker ran is told as late: the
// state remembers it, no listing shows it.
func TestChainVanishedMeanwhile(t *testing.T) {
	s := newSite(t, 3)
	other := s.trail.Chain("444455556666", region, day)
	other.Hours(3)
	s.run(t)
	keys, _ := s.Keys(bucket, "")
	for _, key := range keys {
		if strings.Contains(key, account) {
			s.Delete(bucket, key)
		}
	}
	other.Hours(4)
	s.cfg.Now = func() time.Time { return other.Now().Add(time.Hour) }
	found := s.until(t, finding.Coverage)
	if len(found) != 1 || found[0].Account != account || found[0].Region != region || found[0].Trail != "main" {
		t.Fatalf("%+v", found)
	}
	// A selection is no loss.
	s.cfg.Accounts = []string{"444455556666"}
	if found := s.until(t, finding.Coverage); len(found) > 0 {
		t.Errorf("of another account: %+v", found)
	}
	s.cfg.Accounts = nil
	// Nor is a chain that ended long ago.
	s.cfg.Now = func() time.Time { return other.Now().Add(91 * 24 * time.Hour) }
	for _, f := range s.until(t, finding.Rollback) { // none: as long as it lasts
		if f.Account == account {
			t.Errorf("after three months: %+v", f)
		}
	}
}

// What a chain got while no worker ran is emitted, though it ended longer ago
// than days are listed.
func TestChainEndedMeanwhile(t *testing.T) {
	s := newSite(t, 3)
	s.run(t)
	s.c.Hours(3)
	want := s.want()
	later := s.c.Now().Add(10 * 24 * time.Hour)
	s.cfg.Now = func() time.Time { return later }
	s.cfg.Since = later.Add(-time.Hour)
	found := s.until(t, finding.Coverage)
	if len(found) != 1 || !strings.Contains(found[0].Detail, s.c.Now().Format("2006-01-02")) {
		t.Fatalf("%+v", found)
	}
	if got := s.got(t); len(got) != len(want) {
		t.Errorf("%d events, want %d", len(got), len(want))
	}
}

// A source whose bucket is not there, be it for a moment, has lost no object:
// its chains wait.
func TestBucketGoneForAWhile(t *testing.T) {
	s := newSite(t, 3)
	for _, key := range []string{s.c.Issued[1].Key, s.c.Issued[2].Logs[0].Key} {
		s.Fail(bucket, key, &testtrail.Fault{Err: fmt.Errorf("NoSuchBucket: %w %w", fs.ErrNotExist, trail.ErrNoBucket)})
		if o := s.run(t); o.Waiting != 1 || o.Findings != 0 {
			t.Errorf("%s: %+v", key, o)
		}
		s.Fail(bucket, key, nil)
	}
	s.run(t)
	s.expect(t, s.want())
}
