package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

type findingFunc func(context.Context, finding.Finding) error

func (f findingFunc) Find(ctx context.Context, g finding.Finding) error { return f(ctx, g) }

// until runs the worker till a finding of the class, or for a second.
func (s *site) until(t *testing.T, class finding.Class) (found []finding.Finding) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	s.cfg.Once, s.cfg.Metrics = false, prometheus.NewRegistry()
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

// vanished is a site whose chain was followed and then emptied, while another
// one of it went on.
func vanished(t *testing.T) (*site, *testtrail.Chain) {
	t.Helper()
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
	return s, other
}

// A chain whose folders were emptied while no worker ran is told as late: the
// state remembers it, no listing shows it.
func TestChainVanishedMeanwhile(t *testing.T) {
	s, other := vanished(t)
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
	// It is told once for its head, however long that lasts.
	s.cfg.Now = func() time.Time { return other.Now().Add(91 * 24 * time.Hour) }
	for _, f := range s.until(t, finding.Rollback) { // none: as long as it lasts
		if f.Account == account {
			t.Errorf("after three months: %+v", f)
		}
	}
}

// Nor is it forgotten when the first look fails.
func TestChainVanishedAndListingFailsOnce(t *testing.T) {
	s, _ := vanished(t)
	s.cfg.Sources[0].Objects = &unlistedOnce{World: s.World}
	if found := s.until(t, finding.Coverage); len(found) != 1 || found[0].Account != account {
		t.Fatalf("%+v", found)
	}
}

// unlistedOnce fails the first listing of folders.
type unlistedOnce struct {
	*testtrail.World
	asked atomic.Bool
}

func (u *unlistedOnce) Children(ctx context.Context, bucket, prefix string) iter.Seq2[trail.Object, error] {
	if !u.asked.Swap(true) {
		return func(yield func(trail.Object, error) bool) {
			yield(trail.Object{}, errors.New("connection reset by peer"))
		}
	}
	return u.World.Children(ctx, bucket, prefix)
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
		s.Fail(bucket, key, &testtrail.Fault{Err: fmt.Errorf("NoSuchBucket: %w %w", fs.ErrNotExist, finding.ErrNoBucket)})
		if o := s.run(t); o.Waiting != 1 || o.Findings != 0 {
			t.Errorf("%s: %+v", key, o)
		}
		s.Fail(bucket, key, nil)
	}
	s.run(t)
	s.expect(t, s.want())
}

// hooked is a world whose answers can be held up or replaced.
type hooked struct {
	*testtrail.World
	list func(ctx context.Context, prefix string) error
	get  func(o trail.Object) error
}

func (h hooked) List(ctx context.Context, bucket, prefix, after string) iter.Seq2[trail.Object, error] {
	if h.list != nil {
		if err := h.list(ctx, prefix); err != nil {
			return func(yield func(trail.Object, error) bool) { yield(trail.Object{}, err) }
		}
	}
	return h.World.List(ctx, bucket, prefix, after)
}

func (h hooked) Get(ctx context.Context, o trail.Object) (io.ReadCloser, map[string]string, error) {
	if h.get != nil {
		if err := h.get(o); err != nil {
			return nil, nil, err
		}
	}
	return h.World.Get(ctx, o)
}

// Whether a chain is late is not known before its own source was listed.
func TestLateBesideAnotherSource(t *testing.T) {
	s := newSite(t, 3)
	s.run(t)
	s.c.Hours(5) // the worker was down for five hours, everything is there
	s.AddBucket("second")
	s.World.Trail(testtrail.Options{Bucket: "second"}).Chain("444455556666", region, s.c.Now().Truncate(time.Hour))
	s.cfg.Now = func() time.Time { return s.c.Now().Add(10 * time.Minute) }
	slow := hooked{World: s.World, list: func(ctx context.Context, _ string) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(300 * time.Millisecond):
			return nil
		}
	}}
	s.cfg.Sources[0].Objects = slow
	s.cfg.Sources = append(s.cfg.Sources, ingest.Source{Source: source.Source{Bucket: "second", Name: "s3://second"}, Objects: s.World})
	for _, f := range s.until(t, finding.Rollback) {
		t.Errorf("%s %s: %s", f.Class, f.Account, f.Detail)
	}
	if got, want := s.got(t), s.want(); len(got) < len(want) {
		t.Errorf("%d of %d", len(got), len(want))
	}
}

// Nor is it known while another organization's names of the trail wait for their proof.
func TestLateWhileAnOrganizationFollows(t *testing.T) {
	s := newSite(t, 3)
	s.run(t)
	s.trail.Organization = "o-abcdefghij"
	s.c.Hours(6)
	s.cfg.Now = func() time.Time { return s.c.Now().Add(10 * time.Minute) }
	s.cfg.Poll = time.Second // the second poll tells
	for _, f := range s.until(t, finding.Rollback) {
		t.Errorf("%s %s: %s", f.Class, f.Account, f.Detail)
	}
	s.expect(t, s.want())
}

// That a listing fails says nothing about chains.
func TestLateWhileListingFails(t *testing.T) {
	s := newSite(t, 3)
	s.run(t)
	s.c.Hours(5)
	s.cfg.Now = func() time.Time { return s.c.Now().Add(10 * time.Minute) }
	s.cfg.Sources[0].Objects = hooked{World: s.World, list: func(context.Context, string) error { return errors.New("connection reset by peer") }}
	for _, f := range s.until(t, finding.Rollback) {
		t.Errorf("%s %s: %s", f.Class, f.Account, f.Detail)
	}
}

// A chain that has no head yet is listed since the asked time after a restart,
// too, though another of its place is remembered.
func TestEndedChainWaits(t *testing.T) {
	s := newSite(t, 3) // chain "main"
	old := s.World.Trail(testtrail.Options{Name: "old"}).Chain(account, region, day)
	old.Hours(3)
	s.c.Hours(24 * 12)
	denied := true
	s.cfg.Sources[0].Objects = hooked{World: s.World, get: func(o trail.Object) error {
		if denied && strings.Contains(o.Key, "_old_") {
			return errors.New("connection reset by peer")
		}
		return nil
	}}
	s.run(t)
	denied = false
	s.run(t)
	want := s.want()
	for _, d := range old.Issued {
		for _, l := range d.Logs {
			want[l.String()+" 0"] = true
		}
	}
	got := s.got(t)
	missing := 0
	for k := range want {
		if !got[k] {
			missing++
		}
	}
	if missing > 0 {
		t.Errorf("%d events of %d never left", missing, len(want))
	}
}

// A head that cannot be read holds its own chain and no other.
func TestOneBadHead(t *testing.T) {
	s := newSite(t, 3)
	other := s.trail.Chain("444455556666", region, day)
	other.Hours(3)
	s.run(t)
	for e, err := range s.cfg.State.List(t.Context(), "chain/") {
		if err == nil && strings.Contains(e.Name, "444455556666") {
			_, err = s.cfg.State.Put(t.Context(), e.Name, []byte(`{"version":2}`), e.Version)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s.c.Hours(2)
	s.cfg.Now = func() time.Time { return s.c.Now().Add(10 * time.Minute) }
	s.until(t, finding.Rollback)
	got, missing := s.got(t), 0
	for k := range s.want() {
		if !got[k] {
			missing++
		}
	}
	if missing > 0 {
		t.Errorf("%d events of the other, healthy chain did not leave", missing)
	}
}

// Log files without a digest are told when their digest is late, and not before: those of a
// new account come earlier than its first digest.
func TestLogsWithoutDigests(t *testing.T) {
	const other = "444455556666"
	for _, row := range []struct {
		name string
		age  time.Duration // of the log file
		key  string        // beside it
		want int
	}{
		{"young", 3*time.Hour - 10*time.Minute, "", 0},
		{"old", 3*time.Hour + 10*time.Minute, "", 1},
		{"young, after a file that is not a log", time.Hour, "0", 0},
		{"before the asked time", 49 * time.Hour, "", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t, 1)
			c := s.trail.Chain(other, region, day)
			s.Delete(bucket, c.Issued[0].Key)
			at := day.Add(49 * time.Hour)
			o, _ := c.Deliver(at.Add(-row.age), s.Log(1))
			if row.key != "" {
				s.Put(bucket, strings.Replace(o.Key, "/"+other+"_", "/"+row.key+"_", 1), testtrail.Stored{Body: []byte("x"), Modified: at})
			}
			s.cfg.Now, s.cfg.Since = func() time.Time { return at }, day.Add(24*time.Hour)
			s.run(t)
			if len(s.found.all) != row.want || row.want == 1 && s.found.all[0].Class != finding.Coverage {
				t.Errorf("findings %+v", s.found.all)
			}
		})
	}
}

// A state that hangs does not keep a worker from ending, also while it tells a late chain.
func TestEndsWhileTheStateHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 3)
		s.run(t)
		s.cfg.State = hangingState{s.cfg.State.(*state.Memory)}
		s.cfg.Now = func() time.Time { return s.c.Now().Add(6 * time.Hour) }
		s.cfg.Once, s.cfg.Metrics = false, prometheus.NewRegistry()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := ingest.Run(ctx, s.cfg); err != nil {
			t.Error(err)
		}
		<-ctx.Done()
		if len(s.found.all) != 1 || s.found.all[0].Class != finding.Coverage {
			t.Errorf("findings %+v", s.found.all)
		}
	})
}

// hangingState hangs at each change of a head until the call's context ends.
type hangingState struct{ *state.Memory }

func (s hangingState) Put(ctx context.Context, name string, value []byte, prev state.Version) (state.Version, error) {
	if strings.HasPrefix(name, "chain/") {
		<-ctx.Done()
		return "", ctx.Err()
	}
	return s.Memory.Put(ctx, name, value, prev)
}
