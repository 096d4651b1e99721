package chain_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
)

// source counts how often it is asked.
type source struct {
	*testtrail.World
	asked int
}

func (s *source) PublicKeys(ctx context.Context, region string, from, to time.Time) (digest.KeySet, error) {
	s.asked++
	return s.World.PublicKeys(ctx, region, from, to)
}

func TestKeyring(t *testing.T) {
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	now := day
	w := testtrail.New()
	c := w.Trail(testtrail.Options{}).Chain("111122223333", "us-east-1", day)
	fp := c.Issued[0].Doc.Fingerprint
	s := &source{World: w}
	k := chain.NewKeyring(s, day, day.Add(24*time.Hour), func() time.Time { return now })
	find := func(fp string, t time.Time) error {
		_, err := k.Find(context.Background(), "us-east-1", fp, t)
		return err
	}
	for range 3 {
		if err := find(fp, day.Add(time.Hour)); err != nil || s.asked != 1 {
			t.Fatalf("%v after %d calls", err, s.asked)
		}
	}
	if err := find("ff", day.Add(time.Hour)); !errors.Is(err, digest.ErrKeyUnknown) || s.asked != 1 {
		t.Errorf("%v after %d calls", err, s.asked)
	}
	// A key that is newer than the answer is asked for, and not more often
	// than once a minute.
	now = day.Add(2 * time.Hour)
	for range 3 {
		if err := find("ff", now); !errors.Is(err, digest.ErrKeyUnknown) || s.asked != 2 {
			t.Errorf("%v after %d calls", err, s.asked)
		}
	}
	// A key that is newer than 31 days after a digest's end has not signed it.
	now = day.AddDate(0, 0, 32)
	for range 3 {
		now = now.Add(time.Hour)
		if err := find("ff", day); !errors.Is(err, digest.ErrKeyUnknown) || s.asked != 3 {
			t.Errorf("%v after %d calls", err, s.asked)
		}
	}
}

// CloudTrail retries for 30 days: a digest may be signed with a key that became
// valid weeks after its end. The keys for that time are asked for at once.
func TestKeyringLateSigning(t *testing.T) {
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	w := testtrail.New()
	set, err := w.PublicKeys(context.Background(), "us-east-1", day, day.AddDate(0, 0, 60))
	if err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]time.Time{
		"in the range": day.Add(time.Hour), "end of the range": day.Add(24 * time.Hour), "long before it": day.AddDate(-1, 0, 3), "long after it": day.AddDate(1, 0, 3),
	} {
		s := &source{World: w}
		k := chain.NewKeyring(s, day, day.Add(24*time.Hour), func() time.Time { return day.AddDate(2, 0, 0) })
		for range 3 {
			if _, err := k.Find(context.Background(), "us-east-1", "ff", at); !errors.Is(err, digest.ErrKeyUnknown) || s.asked != 1 {
				t.Errorf("%s: %v after %d calls", name, err, s.asked)
			}
		}
		late := 0
		for _, key := range set.Keys {
			if !key.From.After(at) || key.From.After(at.AddDate(0, 0, 31)) {
				continue
			}
			late++
			if got, err := k.Find(context.Background(), "us-east-1", key.Fingerprint, at); err != nil || !got.From.Equal(key.From) || s.asked != 1 {
				t.Errorf("%s: %v after %d calls", name, err, s.asked)
			}
		}
		if in := !at.Before(day) && at.Before(day.AddDate(0, 0, 2)); in && late == 0 {
			t.Errorf("%s: no key begins after it", name)
		}
	}
}

func TestKeyringForgetsFailures(t *testing.T) {
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	now := day
	w := testtrail.New()
	c := w.Trail(testtrail.Options{}).Chain("111122223333", "us-east-1", day)
	s := &source{World: w}
	k := chain.NewKeyring(s, day, day.Add(24*time.Hour), func() time.Time { return now })
	w.KeysErr = errors.New("timeout")
	for range 3 {
		if _, err := k.Find(context.Background(), "us-east-1", "ff", day); !errors.Is(err, digest.ErrNoKeys) || s.asked != 1 {
			t.Errorf("%v after %d calls", err, s.asked)
		}
	}
	w.KeysErr = nil
	now = now.Add(2 * time.Minute)
	if _, err := k.Find(context.Background(), "us-east-1", c.Issued[0].Doc.Fingerprint, day); err != nil || s.asked != 2 {
		t.Errorf("%v after %d calls", err, s.asked)
	}
}

// Someone who gives up leaves no failure behind for the others.
func TestKeyringForgetsThoseWhoGaveUp(t *testing.T) {
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	w := testtrail.New()
	fp := w.Trail(testtrail.Options{}).Chain("111122223333", "us-east-1", day).Issued[0].Doc.Fingerprint
	s := &cancelled{source: source{World: w}}
	k := chain.NewKeyring(s, day, day.Add(24*time.Hour), func() time.Time { return day })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := k.Find(ctx, "us-east-1", fp, day); err == nil {
		t.Error("found with a context that has ended")
	}
	if _, err := k.Find(context.Background(), "us-east-1", fp, day); err != nil {
		t.Error(err)
	}
}

// cancelled fails where the context has ended.
type cancelled struct{ source source }

func (s *cancelled) PublicKeys(ctx context.Context, region string, from, to time.Time) (digest.KeySet, error) {
	if err := ctx.Err(); err != nil {
		return digest.KeySet{}, err
	}
	return s.source.PublicKeys(ctx, region, from, to)
}
