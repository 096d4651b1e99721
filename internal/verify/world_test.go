package verify_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/internal/verify"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// trials is how many questions with a tampering each are put to one signed world:
// signing takes longest.
const trials = 20

// Four properties of random worlds:
//   - an untouched world has the findings that belong to it, and all else is valid;
//   - each tampering is found, and what does not depend on it stays as it is;
//   - junk under the names of digests changes nothing but its own report;
//   - daily runs together find what one run finds.
//
// TRAILSEAL_WORLDS says how many worlds with a question and a tampering are tried.
// TRAILSEAL_SEED is the seed of the first signed world, or random; a failure prints
// it.
func TestWorlds(t *testing.T) {
	worlds, seed := 2000, uint64(20261127)
	if raced {
		worlds = 200
	}
	if s := os.Getenv("TRAILSEAL_WORLDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		worlds = n
	}
	switch s := os.Getenv("TRAILSEAL_SEED"); s {
	case "":
	case "random":
		seed = rand.Uint64()
	default:
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	t.Parallel()
	var next, tried atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= (worlds+trials-1)/trials || t.Failed() && os.Getenv("TRAILSEAL_ALL") == "" {
					return
				}
				tried.Add(int64(tryWorld(t, seed+uint64(i))))
			}
		})
	}
	workers.Wait()
	t.Logf("%d worlds from seed %d", tried.Load(), seed)
}

// tryWorld makes the world of a seed and puts questions to it.
func tryWorld(t *testing.T, seed uint64) int {
	rng := rand.New(rand.NewPCG(seed, 0))
	g := testtrail.NewRandom(rng)
	for i := range trials {
		tr := &trial{Random: g, rng: rng, q: newQuestion(rng, g)}
		tr.fail = func(what string, args ...any) {
			t.Errorf("TRAILSEAL_SEED=%d TRAILSEAL_WORLDS=1, trial %d, %s:\n%s", seed, i, tr.q, fmt.Sprintf(what, args...))
		}
		tr.run()
	}
	return trials
}

// question is what is asked of a world, and when.
type question struct {
	start, end, now time.Time
	grace           time.Duration
	trails          []string
	medium          medium
}

// medium is what the source is.
type medium int

const (
	inBucket  medium = iota
	whole            // a folder with all sidecars
	perBucket        // the same, with one folder for each bucket
	plain            // a folder without sidecars
	partly           // a folder where some sidecars are lost
)

func newQuestion(rng *rand.Rand, g *testtrail.Random) question {
	minutes := int(g.End.Sub(g.Start)/time.Minute) + 120
	at := func() time.Time { return g.Start.Add(time.Duration(rng.IntN(minutes)-60) * time.Minute) }
	q := question{start: at(), end: at(), grace: time.Duration(1+rng.IntN(5)) * 30 * time.Minute}
	if q.end.Before(q.start) {
		q.start, q.end = q.end, q.start
	}
	if q.end.Sub(q.start) < 2*time.Hour {
		q.end = q.start.Add(2 * time.Hour)
	}
	if rng.IntN(4) == 0 {
		q.start, q.end = g.Start, g.End
	}
	// A digest is delivered 27 minutes after its end, which must be within the grace.
	q.grace = max(q.grace, 90*time.Minute)
	switch rng.IntN(3) {
	case 0:
		q.now = q.end
	case 1:
		q.now = q.end.Add(time.Duration(rng.IntN(240)) * time.Minute)
	default:
		q.now = g.End.Add(48 * time.Hour)
	}
	if rng.IntN(2) == 0 {
		q.medium = medium(rng.IntN(int(partly) + 1))
	}
	if rng.IntN(5) == 0 {
		q.trails = []string{g.Chains[rng.IntN(len(g.Chains))].Name().Trail}
	}
	return q
}

func (q question) due() time.Time {
	if due := q.now.Add(-q.grace); due.Before(q.end) {
		return due
	}
	return q.end
}

func (q question) String() string {
	return fmt.Sprintf("%s to %s, now %s, grace %s, trails %v, medium %d",
		q.start.Format(time.RFC3339), q.end.Format(time.RFC3339), q.now.Format(time.RFC3339), q.grace, q.trails, q.medium)
}

// asks reports whether the hour of a digest is in the range.
func (q question) asks(end time.Time) bool {
	return end.After(q.start) && end.Add(-chainHour).Before(q.end)
}

func (q question) wants(c trail.Chain) bool {
	return len(q.trails) == 0 || slices.Contains(q.trails, c.Trail)
}

const chainHour = time.Hour

// trial is one question to one world, with one tampering.
type trial struct {
	*testtrail.Random
	rng  *rand.Rand
	q    question
	lost map[string]bool // digests whose sidecars a copy does not have
	fail func(what string, args ...any)
}

func (tr *trial) run() {
	now := tr.World.Store.At(tr.q.now)
	tr.loseSidecars(now)
	control := tr.verify(now, tr.q)
	if control == nil || !tr.checkUntouched(now, control) {
		return
	}
	if tr.rng.IntN(6) == 0 {
		tr.checkSeam()
		return
	}
	tampered := now.Clone()
	e := tr.tamper(tampered)
	got := tr.verify(tampered, tr.q)
	if got == nil {
		return
	}
	tr.checkTampered(control, got, e)
	tr.checkCopy(tampered, got)
	if tr.rng.IntN(3) == 0 {
		tr.checkJunk(tampered, got)
	}
}

// checkCopy compares the report on a whole copy with that on the bucket: both name
// the same objects and times.
func (tr *trial) checkCopy(s *testtrail.Store, r *report.Report) {
	keys, _ := s.Keys("old-bucket", "")
	if tr.q.medium != whole && tr.q.medium != perBucket || len(keys) > 0 {
		return // a copy shows what lies in another bucket at once
	}
	medium := tr.q.medium
	tr.q.medium = inBucket
	original := tr.verify(s, tr.q)
	tr.q.medium = medium
	if original == nil {
		return
	}
	isShared := false // some entries of the one are not comparable to the other's
	about := func(r *report.Report) (all []entry) {
		for _, e := range entries(r) {
			isUnlisted := e.kind == string(finding.LogUnlisted) || e.kind == unverified+"no-signature" || e.kind == "coverage" && e.trail == ""
			if isUnlisted && tr.hasPrefixes(e.account, e.region) {
				isShared = true
				continue
			}
			if e.key != "" { // a cut file can be taken for an inflated one: another class
				e.kind = ""
			}
			all = append(all, e)
		}
		return all
	}
	a, b := about(original), about(r)
	if more, less := minus(b, a), minus(a, b); len(more)+len(less) > 0 || !isShared && (original.Verdict == report.Intact) != (r.Verdict == report.Intact) {
		tr.fail("a copy says more:\n%sless:\n%sbucket\n%scopy\n%s%s", lines(more), lines(less), details(original), details(r), tr.describe(s))
	}
}

// hasPrefixes reports whether files of an account and region lie below several
// prefixes. In a copy these are one place, with the chains of all.
func (tr *trial) hasPrefixes(account, region string) bool {
	prefixes := map[string]bool{}
	for _, c := range tr.Chains {
		for _, d := range c.Issued {
			if k, err := trail.ParseDigestKey(d.Key); err == nil && k.Account == account && k.Region == region {
				prefixes[k.Prefix] = true
			}
		}
	}
	return len(prefixes) > 1
}

// loseSidecars chooses the digests whose metadata a copy does not have.
func (tr *trial) loseSidecars(s *testtrail.Store) {
	tr.lost = map[string]bool{}
	for _, d := range tr.digests(s) {
		if tr.q.medium == plain || tr.q.medium == partly && tr.rng.IntN(3) == 0 {
			tr.lost[d.Key] = true
		}
	}
}

// verify puts the question to what a store holds. It returns nil and fails where
// the run itself fails; a report without a digest where none is due.
func (tr *trial) verify(s *testtrail.Store, q question) *report.Report {
	src, objects := source.Source{Bucket: tr.Source, Name: "s3://" + tr.Source}, s
	if q.medium != inBucket {
		var err error
		if src, err = source.Parse("./copy"); err != nil {
			tr.fail("%v", err)
			return nil
		}
		objects = tr.copyOf(s, q.medium)
	}
	c := verify.Config{
		Source: src, Start: q.start, End: q.end, Now: q.now, Grace: q.grace, Trails: q.trails,
		Concurrency: 4, Keys: tr.World, KeysFrom: "test", Fetcher: fetch.New(objects, 4),
	}
	c.Fetcher.Plain = src.IsCopy()
	r, err := verify.Run(context.Background(), c)
	switch {
	case errors.Is(err, verify.ErrNotDue), errors.Is(err, discover.ErrNothing) && !tr.hasDigests(s):
		return &report.Report{Verdict: report.Intact}
	case err != nil:
		tr.fail("verify: %v", err)
		return nil
	}
	return r
}

// copyOf returns a folder that a store was copied into. The name of its bucket is
// "", as for a source that is a folder.
func (tr *trial) copyOf(s *testtrail.Store, m medium) *testtrail.Store {
	folder := testtrail.NewStore()
	folder.AddBucket("")
	for _, b := range s.Buckets() {
		root := ""
		if m == perBucket {
			root = b + "/"
		}
		keys, _ := s.Keys(b, "")
		for _, k := range keys {
			o, _ := s.Stored(b, k)
			if tr.lost[k] || strings.Contains(k, "junk") {
				o.Meta = nil
			}
			folder.Put("", root+k, o)
		}
	}
	return folder
}

// entry is a finding or an unverified entry, without what depends on words.
type entry struct {
	kind                   string
	account, region, trail string
	key                    string // from AWSLogs on: a copy has neither buckets nor prefixes
	time, from, to         time.Time
	objects                int
}

func (e entry) String() string {
	s := fmt.Sprintf("%s %s %s %s %s", e.kind, e.account, e.region, e.trail, e.key)
	if !e.from.IsZero() {
		return s + " " + e.from.Format(time.RFC3339) + " to " + e.to.Format(time.RFC3339)
	}
	return s + " " + e.time.Format(time.RFC3339)
}

const unverified = "UNVERIFIED "

func entries(r *report.Report) (all []entry) {
	for _, f := range r.Findings {
		e := entry{kind: string(f.Class), account: f.Account, region: f.Region, trail: f.Trail, key: trail.Tail(f.Key), time: f.Time}
		if f.Key == "" {
			e.from, e.to = f.Evidence.From, f.Evidence.To
		}
		for _, name := range f.Evidence.Chains {
			part := strings.Fields(name)
			one := e
			one.account, one.region, one.trail = part[0], part[1], part[2]
			all = append(all, one)
		}
		if len(f.Evidence.Chains) == 0 {
			all = append(all, e)
		}
	}
	for _, u := range r.Unverified {
		all = append(all, entry{kind: unverified + string(u.Reason), account: u.Account, region: u.Region, trail: u.Trail, key: trail.Tail(u.Key), time: u.Time, objects: u.Objects})
	}
	return all
}

// minus returns the entries of a that are not in b.
func minus(a, b []entry) (rest []entry) {
	b = slices.Clone(b)
	for _, e := range a {
		if i := slices.Index(b, e); i >= 0 {
			b = slices.Delete(b, i, i+1)
			continue
		}
		rest = append(rest, e)
	}
	return rest
}

func lines(all []entry) string {
	var b strings.Builder
	for _, e := range all {
		b.WriteString("  " + e.String() + "\n")
	}
	return b.String()
}

// details returns the words of a report's entries.
func details(r *report.Report) string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "  %s %s %s: %s\n", f.Class, f.Time.Format(time.RFC3339), f.Key, f.Detail)
	}
	for _, u := range r.Unverified {
		fmt.Fprintf(&b, "  %s%s %s %s: %s\n", unverified, u.Reason, u.Time.Format(time.RFC3339), u.Key, u.Detail)
	}
	return b.String()
}
