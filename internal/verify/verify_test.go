package verify_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/internal/verify"
)

const (
	bucket  = "trail-bucket"
	account = "111122223333"
	region  = "us-east-1"
)

var day = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// site is a world with one chain of some hours, and the question put to it.
type site struct {
	*testtrail.World
	trail *testtrail.Trail
	c     *testtrail.Chain
	cfg   verify.Config
}

// newSite delivers hours of logs from day on; the question is all of them.
func newSite(o testtrail.Options, hours int) *site {
	w := testtrail.New()
	s := &site{World: w, trail: w.Trail(o)}
	s.c = s.trail.Chain(account, region, day)
	s.c.Hours(hours)
	s.cfg = verify.Config{
		Source: source.Source{Bucket: s.trail.Bucket, Name: "s3://" + s.trail.Bucket},
		Start:  s.c.Issued[0].End, End: s.c.Now(), Now: s.c.Now().Add(time.Hour), Grace: 2 * time.Hour,
		Concurrency: 8, Keys: w, KeysFrom: "test",
	}
	return s
}

func (s *site) run(t *testing.T) *report.Report {
	t.Helper()
	if s.cfg.Fetcher == nil {
		s.cfg.Fetcher = fetch.New(s.World, 8)
	}
	r, err := verify.Run(context.Background(), s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Chains {
		listed := c.Digests.Listed()
		if listed < 0 || c.Logs.Listed() < 0 {
			t.Errorf("counts of %v do not add up", c)
		}
		if r.Verdict == report.Intact && slices.ContainsFunc(c.Covered, func(s report.Segment) bool { return s.State == report.Unverified }) {
			t.Errorf("intact, and time of %v is unverified", c)
		}
	}
	return r
}

// summary is a report as short lines: "class key" and "UNVERIFIED reason key".
func (s *site) summary(r *report.Report) string {
	short := func(key string) string { return s.names()[key] }
	var lines []string
	for _, f := range r.Findings {
		name := short(f.Key)
		if name == "" && f.Key != "" {
			name = f.Key
		}
		if f.Key == "" && !f.Evidence.From.IsZero() {
			name = fmt.Sprintf("%s-%s", hour(f.Evidence.From), hour(f.Evidence.To))
		}
		lines = append(lines, strings.TrimSpace(string(f.Class)+" "+name))
	}
	for _, u := range r.Unverified {
		name := short(u.Key)
		if name == "" {
			name = u.Key
		}
		lines = append(lines, "UNVERIFIED "+string(u.Reason)+" "+name)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func hour(t time.Time) string { return t.Format("15:04") }

// names calls the i-th digest d<i> and the j-th log of it l<i>.<j>.
func (s *site) names() map[string]string {
	m := map[string]string{}
	for i, d := range s.c.Issued {
		m[d.Key] = fmt.Sprintf("d%d", i)
		for j, l := range d.Logs {
			m[l.Key] = fmt.Sprintf("l%d.%d", i, j)
		}
	}
	return m
}

func TestIntact(t *testing.T) {
	for _, o := range []testtrail.Options{
		{},
		{Prefix: "a/b"},
		{Organization: "o-0123456789"},
		{Name: "x_us-east-1_y", HomeRegion: "eu-west-1"},
	} {
		s := newSite(o, 6)
		r := s.run(t)
		if got := s.summary(r); got != "" || r.Verdict != report.Intact {
			t.Errorf("%+v: %s:\n%s", o, r.Verdict, got)
		}
		c := r.Chains[0]
		if c.Digests != (report.Count{Valid: 6}) || c.Logs != (report.Count{Valid: 12}) || r.Counts.LogsListed != 12 {
			t.Errorf("%+v: digests %+v, logs %+v, listed %d", o, c.Digests, c.Logs, r.Counts.LogsListed)
		}
		want := []report.Segment{{Start: s.cfg.Start, End: s.cfg.End, State: report.Verified}}
		if !slices.Equal(c.Covered, want) {
			t.Errorf("covered %v", c.Covered)
		}
	}
}

// seenAt returns the site as it is at a time: with what was delivered before.
func (s *site) seenAt(now time.Time) *site {
	at := *s
	at.World = testtrail.New()
	for _, b := range s.Buckets() {
		at.AddBucket(b)
		keys, _ := s.Keys(b, "")
		for _, k := range keys {
			if o, _ := s.Stored(b, k); o.Modified.Before(now) {
				at.Put(b, k, o)
			}
		}
	}
	at.cfg.Keys, at.cfg.Fetcher = s.World, nil
	at.cfg.Now = now
	return &at
}
