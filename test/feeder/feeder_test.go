package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/internal/verify"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

const bucket = "trail-bucket"

// shelf is a destination that keeps everything, with when it came.
type shelf struct {
	*testtrail.Store

	mu        sync.Mutex // guards what follows
	came      map[string]time.Time
	announced []trail.Object
}

func (s *shelf) Put(_ context.Context, bucket, key string, o testtrail.Stored) error {
	s.Store.Put(bucket, key, o)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.came[key] = time.Now()
	return nil
}

func (s *shelf) Announce(_ context.Context, objects []trail.Object) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.announced = append(s.announced, objects...)
	return nil
}

// started is a feeder with six chains whose history is delivered.
func started(t *testing.T) (*feeder, *shelf) {
	t.Helper()
	to := &shelf{Store: testtrail.NewStore(), came: map[string]time.Time{}}
	f := newFeeder(bucket, rhythm{history: 6 * time.Hour, pace: 10 * time.Minute, delay: 27 * time.Minute}, time.Now, slog.New(slog.DiscardHandler))
	f.to = to
	if err := f.rhythm.check(); err != nil {
		t.Fatal(err)
	}
	if err := f.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f, to
}

// verified is what the verifier says of the hours since start, with the keys
// that the feeder gives out.
func verified(t *testing.T, f *feeder, to *shelf, start time.Time, accounts ...string) *report.Report {
	t.Helper()
	r, err := verify.Run(t.Context(), verify.Config{
		Source: source.Source{Bucket: bucket, Name: "s3://" + bucket}, Start: start, End: time.Now(), Now: time.Now(), Grace: 2 * time.Hour,
		Concurrency: 4, Accounts: accounts, Keys: chain.Saved(f.keys()), KeysFrom: "the feeder", Fetcher: fetch.New(to.Store, 4),
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func classes(r *report.Report) (all []finding.Class) {
	for _, f := range r.Findings {
		all = append(all, f.Class)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// What is delivered is intact at any time; each digest comes when it is due,
// and something comes every pace.
func TestDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, to := started(t)
		begun := time.Now()
		history := len(to.came)
		if r := verified(t, f, to, begun.Add(-4*time.Hour)); r.Verdict != report.Intact || len(r.Chains) != 6 {
			t.Fatalf("%s, %d chains: %v %v", r.Verdict, len(r.Chains), r.Findings, r.Unverified)
		}
		if len(to.announced) != 0 {
			t.Errorf("%d objects of the history announced", len(to.announced))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour)
		defer cancel()
		if err := f.goOn(ctx); err != context.DeadlineExceeded {
			t.Fatal(err)
		}
		if r := verified(t, f, to, begun.Add(-4*time.Hour)); r.Verdict != report.Intact || r.Counts.Digests.Valid < 6*6 {
			t.Errorf("%s, %+v: %v %v", r.Verdict, r.Counts, r.Findings, r.Unverified)
		}
		if len(to.announced) != len(to.came)-history {
			t.Errorf("%d objects announced, %d delivered", len(to.announced), len(to.came)-history)
		}
		last := begun
		for _, o := range to.announced {
			at := to.came[o.Key]
			if d := at.Sub(last); d > f.pace {
				t.Errorf("nothing for %s", d)
			}
			last = at
			if key, err := trail.ParseDigestKey(o.Key); err == nil && !at.Equal(key.End.Add(f.delay)) {
				t.Errorf("%s came at %s", o.Key, at)
			}
		}
		if keys, _ := f.world.Keys(bucket, ""); len(keys) != 0 {
			t.Errorf("%d objects are kept", len(keys))
		}
	})
}

// Each plant is found as what it is, and as nothing else, and the chain goes
// on.
func TestPlants(t *testing.T) {
	for _, p := range plants() {
		t.Run(p.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, to := started(t)
				name, err := f.plant(t.Context(), p)
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now().Add(-10 * time.Hour)
				for _, when := range []string{"at once", "later"} {
					r := verified(t, f, to, start, name)
					// What only a missing digest lists is unverified.
					unread := p.found == finding.DigestMissing
					if got := classes(r); !slices.Equal(got, []finding.Class{p.found}) || len(r.Unverified) > 0 != unread {
						t.Errorf("%s: %v, %v", when, r.Findings, r.Unverified)
					}
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
					if err := f.goOn(ctx); err != context.DeadlineExceeded {
						t.Fatal(err)
					}
					cancel()
				}
				others := []string{account(0)}
				if r := verified(t, f, to, start.Add(6*time.Hour), others...); r.Verdict != report.Intact {
					t.Errorf("the others: %v", r.Findings)
				}
			})
		})
	}
}

func TestPlantsAreNamed(t *testing.T) {
	for args, want := range map[string]string{
		"-plant log-modified,nothing": `-plant "nothing": not one of log-modified, stop, digest-missing, late, log-planted`,
		"-pace 1s":                    "-pace 1s: not from 10s to 30m",
		"-history 1h":                 "-history 1h0m0s: not from 3h to 720h",
		"-delay 2h":                   "-delay 2h0m0s: not from 0s to 1h",
		"-x":                          "flag provided but not defined: -x",
		"x":                           `"x": no argument is expected`,
	} {
		var stderr strings.Builder
		if code := run(strings.Fields(args), &stderr, &stderr); code != 2 || stderr.String() != fmt.Sprintf("error: %s\n", want) {
			t.Errorf("%s: exit %d, %s", args, code, stderr.String())
		}
	}
}
