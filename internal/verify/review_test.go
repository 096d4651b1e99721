package verify_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/internal/verify"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// A digest of a busy hour is larger than what is read ahead.
func TestLargeDigests(t *testing.T) {
	s := newSite(testtrail.Options{}, 2)
	o, entry := s.c.Deliver(s.c.Now().Add(20*time.Minute), s.Log(1))
	s.c.Hours(4)
	for i := 3; i <= 4; i++ {
		s.c.ReissueFrom(i, func(d *testtrail.Doc) {
			for j := range 3000 { // names that sibling folders could have
				e := entry
				e.Object = strings.Replace(entry.Object, "/CloudTrail/", fmt.Sprintf("/CloudTrail-Insight/%d-%d/", i, j), 1)
				d.Logs = append(d.Logs, e)
			}
		})
	}
	s.c.ReissueFrom(3, func(d *testtrail.Doc) { d.Logs = append(d.Logs, entry) })
	s.until(s.c.Now())
	body, _ := s.Stored(o.Bucket, o.Key)
	for _, d := range s.c.Issued {
		for _, l := range d.Doc.Logs {
			if strings.Contains(l.Object, "Insight") {
				s.Put(l.Bucket, l.Object, body)
			}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	r, err := verify.Run(ctx, s.cfgWithFetcher())
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict != report.Intact || r.Counts.Logs.Valid != 12+6001 {
		t.Errorf("%s %+v", r.Verdict, r.Counts)
	}
}

// A log file may lie in the folder of the day before or after its stamp: one
// that is planted there is found by the run of the stamp's day.
func TestPlantedInTheFolderOfAnotherDay(t *testing.T) {
	for _, days := range []int{-1, 0, 1} {
		s := newSite(testtrail.Options{}, 60)
		stamp := day.Add(12 * time.Hour)
		k := trail.LogKey{Place: s.c.Place(), Stamp: stamp, Day: day.AddDate(0, 0, days), Unique: "abcdefghijklmnop"}
		s.Put(bucket, k.String(), testtrail.Stored{Body: testtrail.Gzip(s.Log(1))})
		s.cfg.Start, s.cfg.End = day.Add(time.Hour), day.Add(23*time.Hour)
		s.expect(t, "log-unlisted "+k.String())
	}
}

// Whoever deletes all that one trail wrote lately must not be covered by
// another trail that writes into the same folder.
func TestDeletedTrailBesideAnother(t *testing.T) {
	s := newSite(testtrail.Options{}, 24*8)
	second := s.Trail(testtrail.Options{Name: "second", Offset: 31 * time.Minute}).Chain(account, region, day)
	second.Hours(24 * 8)
	s.cfg.Start, s.cfg.End, s.cfg.Now = day.AddDate(0, 0, 6), day.AddDate(0, 0, 7), day.AddDate(0, 0, 8)
	s.expect(t, "")
	for _, d := range s.c.Issued[24*3:] {
		s.Delete(bucket, d.Key)
		for _, l := range d.Logs {
			s.Delete(l.Bucket, l.Key)
		}
	}
	s.expect(t, "coverage 00:00-00:00")
}

// What a planted digest says of itself is repeated in the report: it must be
// short, or some thousand small objects fill the memory.
func TestPlantedDigestsAreShortInTheReport(t *testing.T) {
	long := strings.Repeat("a", 300_000)
	rows := map[string]func(*testtrail.Doc){
		"signature":   func(d *testtrail.Doc) { d.PrevSignature = &long },
		"object":      func(d *testtrail.Doc) { d.Object = long },
		"fingerprint": func(d *testtrail.Doc) { d.Fingerprint = long },
		"hash":        func(d *testtrail.Doc) { d.PrevHash = &long },
		"algorithm":   func(d *testtrail.Doc) { d.Algorithm = long },
		"time":        func(d *testtrail.Doc) { d.End = long },
		"log":         func(d *testtrail.Doc) { d.Logs[0].Hash = long },
	}
	for name, change := range rows {
		s := newSite(testtrail.Options{}, 6)
		d := s.c.Issued[3]
		doc := d.Doc
		doc.Logs = append([]testtrail.DocLog(nil), doc.Logs...)
		change(&doc)
		s.Edit(bucket, d.Key, func(o *testtrail.Stored) { o.Body = testtrail.Gzip(doc.Bytes()) })
		var b bytes.Buffer
		if err := s.run(t).JSON(&b); err != nil {
			t.Fatal(err)
		}
		if b.Len() > 20_000 {
			t.Errorf("%s: a report of %d bytes", name, b.Len())
		}
	}
	s := newSite(testtrail.Options{}, 6)
	for _, body := range []string{`{"` + long + `":1,"` + long + `":1}`, `{"` + long + `":{"a":[`, `{"awsAccountId":"\x` + long} {
		s.Edit(bucket, s.c.Issued[3].Key, func(o *testtrail.Stored) { o.Body = testtrail.Gzip([]byte(body)) })
		r := s.expect(t, "UNVERIFIED no-signature l3.0\nchain-mismatch d3")
		if n := len(r.Findings[0].Detail); n > 2000 {
			t.Errorf("a detail of %d bytes", n)
		}
	}
}

// An account's own trail and an organization's of the same name can write into
// one bucket at the same time, as when one takes over from the other.
func TestTrailsOfOneNameInTwoPlaces(t *testing.T) {
	s := newSite(testtrail.Options{}, 6)
	org := s.Trail(testtrail.Options{Organization: "o-0123456789", Offset: 31 * time.Minute}).Chain(account, region, day.Add(2*time.Hour))
	org.Hours(4)
	s.cfg.Start = day.Add(3 * time.Hour)
	s.cfg.End = day.Add(6 * time.Hour)
	if r := s.expect(t, ""); len(r.Chains) != 2 || r.Counts.Logs.Valid != 16 {
		t.Errorf("%d chains, %+v", len(r.Chains), r.Counts)
	}
}

// Two copies of one bucket in one folder, made at different times.
func TestTwoCopiesInOneFolder(t *testing.T) {
	s := newSite(testtrail.Options{}, 6)
	folder := t.TempDir()
	all := func(string) bool { return true }
	for _, name := range []string{"january", "february"} {
		if err := s.WriteFolder(bucket, filepath.Join(folder, name), all); err != nil {
			t.Fatal(err)
		}
	}
	s.openFolder(t, folder)
	s.expect(t, "")
}

// A starting digest lists nothing: what was delivered in its hour, before
// validation was on, is not planted.
func TestLogsBeforeTheStart(t *testing.T) {
	s := newSite(testtrail.Options{}, 6)
	s.cfg.Start = s.c.Issued[0].End.Add(-30 * time.Minute)
	s.expect(t, "")
	s.c.Deliver(s.c.Issued[0].End.Add(-20*time.Minute), s.Log(1))
	s.c.Deliver(s.c.Issued[0].End.Add(-2*time.Minute), s.Log(1)) // its stamp is after the start
	s.expect(t, "")
}

func TestPlantedAfterTheStart(t *testing.T) {
	s := newSite(testtrail.Options{}, 6)
	o, _ := s.c.Deliver(s.c.Issued[0].End.Add(20*time.Minute), s.Log(1))
	s.expect(t, "log-unlisted "+o.Key)
}

// An explanation is borrowed from the same trail only, and the same one
// whatever the order in which the chains were walked.
func TestBorrowedExplanations(t *testing.T) {
	text := func() string {
		s := newSite(testtrail.Options{}, 3)
		chains := []*testtrail.Chain{s.c}
		for _, region := range []string{"eu-west-1", "eu-west-2", "eu-west-3", "ap-south-1"} {
			c := s.trail.Chain(account, region, day)
			c.Hours(3)
			chains = append(chains, c)
		}
		stranger := s.trail.Chain("444455556666", region, day)
		stranger.Hours(3)
		stranger.Hour(s.Log(1))
		for i, c := range chains {
			if i%2 == 0 {
				c.Hour(testtrail.LogOf(s.StopLogging(c.Now().Add(time.Duration(10+i)*time.Minute), "main")))
			} else {
				c.Hour(s.Log(1))
			}
		}
		for _, c := range append(chains, stranger) {
			c.Skip(5 * time.Hour)
			c.Restart(c.Now())
			c.Hours(2)
		}
		s.until(s.c.Now())
		r := s.run(t)
		for _, f := range r.Findings {
			if (f.Evidence.Event == nil) != (f.Account == "444455556666") {
				t.Errorf("%s %s: event %+v", f.Account, f.Region, f.Evidence.Event)
			}
		}
		var b bytes.Buffer
		if err := r.JSON(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	first := text()
	for range 5 {
		if text() != first {
			t.Fatal("reports differ")
		}
	}
}

// The time stamp in the metadata of a backfill digest is anyone's: it must not
// make a call for keys per object.
func TestPlantedBackfillDigestsAskForFewKeys(t *testing.T) {
	s := newSite(testtrail.Options{}, 6)
	b := s.c.Backfill(day.Add(2 * time.Hour))
	d := b.Hour(s.Log(1))
	for i := range 300 {
		o, _ := s.Stored(bucket, d.Key)
		o.Meta = map[string]string{"signature": "00", "signature-algorithm": "SHA256withRSA",
			"backfill-generation-timestamp": day.AddDate(-3, 0, i).Add(time.Duration(i) * time.Hour).Format(time.RFC3339)}
		doc := d.Doc
		end := d.End.Add(time.Duration(i+1) * time.Second)
		doc.End, doc.Object = end.Format(time.RFC3339), b.Name().Digest(end).String()
		o.Body = testtrail.Gzip(doc.Bytes())
		s.Put(bucket, doc.Object, o)
	}
	keys := &countedKeys{World: s.World}
	s.cfg.Keys = keys
	s.run(t)
	if n := keys.asked.Load(); n > 60 {
		t.Errorf("asked %d times for keys", n)
	}
}

// countedKeys counts what it is asked.
type countedKeys struct {
	*testtrail.World
	asked atomic.Int64
}

func (k *countedKeys) PublicKeys(ctx context.Context, region string, from, to time.Time) (digest.KeySet, error) {
	k.asked.Add(1)
	return k.World.PublicKeys(ctx, region, from, to)
}

// Two planted names far apart are no proof that digests were due between them.
func TestPlantedChainsAreShortInTheReport(t *testing.T) {
	s := newSite(testtrail.Options{}, 24*10)
	for i := range 20 {
		name := s.c.Name()
		name.Trail = fmt.Sprintf("planted-%d", i)
		for _, at := range []time.Time{day.Add(2 * time.Hour), day.AddDate(0, 0, 9)} {
			s.Put(bucket, name.Digest(at).String(), testtrail.Stored{Body: []byte("x")})
		}
	}
	if r := s.run(t); len(r.Findings) > 20*5 || r.Verdict != report.Findings {
		t.Errorf("%d findings", len(r.Findings))
	}
}

// A run that is interrupted ends soon, wherever it was, with the context's
// error and with nothing left behind.
func TestInterruptedAnywhere(t *testing.T) {
	s := newSite(testtrail.Options{}, 12)
	s.trail.Chain(account, "eu-west-1", day).Hours(12)
	s.c.Hour(testtrail.LogOf(s.StopLogging(s.c.Now().Add(20*time.Minute), "main")))
	s.c.Skip(3 * time.Hour)
	s.c.Restart(s.c.Now())
	s.c.Hours(2)
	s.until(s.c.Now())
	before := runtime.NumGoroutine()
	for n := int64(0); ; n++ {
		ctx, cancel := context.WithCancel(context.Background())
		o := &interrupting{World: s.World, cancel: cancel}
		o.left.Store(n)
		s.cfg.Fetcher = fetch.New(o, 4)
		done := make(chan error, 1)
		go func() { _, err := verify.Run(ctx, s.cfg); done <- err }()
		select {
		case err := <-done:
			cancel()
			if o.left.Load() >= 0 && err == nil {
				if n < 60 {
					t.Errorf("only %d reads", n)
				}
				if now := runtime.NumGoroutine(); now > before+2 {
					t.Errorf("%d goroutines before, %d after", before, now)
				}
				return
			}
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("after %d reads: %v", n, err)
			}
		case <-time.After(20 * time.Second):
			buf := make([]byte, 1<<16)
			t.Fatalf("after %d reads: no end\n%s", n, buf[:runtime.Stack(buf, true)])
		}
	}
}

// interrupting cancels the run at the n-th read.
type interrupting struct {
	*testtrail.World
	left   atomic.Int64
	cancel context.CancelFunc
}

func (i *interrupting) count() {
	if i.left.Add(-1) < 0 {
		i.cancel()
	}
}

func (i *interrupting) Get(ctx context.Context, o trail.Object) (io.ReadCloser, map[string]string, error) {
	i.count()
	return i.World.Get(ctx, o)
}

func (i *interrupting) List(ctx context.Context, bucket, prefix, after string) iter.Seq2[trail.Object, error] {
	i.count()
	return i.World.List(ctx, bucket, prefix, after)
}

func (i *interrupting) Children(ctx context.Context, bucket, prefix string) iter.Seq2[trail.Object, error] {
	i.count()
	return i.World.Children(ctx, bucket, prefix)
}

// A planted name makes two chains of one that moved; the digests that both
// lead to are still not in doubt, nor are their logs.
func TestPlantedWhereTheChainWas(t *testing.T) {
	s := newSite(testtrail.Options{Prefix: "old"}, 4)
	old := s.c.Name()
	s.trail.Prefix = "new"
	s.c.Hours(4)
	s.until(s.c.Now())
	planted := old.Digest(s.c.Now().Add(-30 * time.Minute)).String()
	s.Put(bucket, planted, testtrail.Stored{Body: []byte("x")})
	r := s.run(t)
	if r.Counts.Logs != (report.Count{Valid: 16}) || !strings.Contains(s.summary(r), "digest-corrupt "+planted) {
		t.Errorf("%+v\n%s", r.Counts, s.summary(r))
	}
}

// Where every digest of the range is spoilt, the logs of these hours are told, too.
func TestAllDigestsOfTheRangeSpoilt(t *testing.T) {
	s := newSite(testtrail.Options{}, 3)
	s.expect(t, "")
	for _, d := range s.c.Issued[1:] {
		s.Edit(bucket, d.Key, func(o *testtrail.Stored) { o.Body = testtrail.Gzip([]byte("{}")) })
	}
	s.expect(t, "UNVERIFIED no-signature l1.0\nUNVERIFIED no-signature l2.0\n"+ // the third hour is not yet due
		"digest-corrupt d1\ndigest-corrupt d2\ndigest-corrupt d3")
}

// The grace counts from the end of the hour for which a digest is due. What that
// digest could still list is not judged before.
func TestGraceOfTheNextDigest(t *testing.T) {
	s := newSite(testtrail.Options{}, 4)
	late := s.c.Now().Add(time.Hour + s.cfg.Grace)
	planted, _ := s.c.Deliver(s.c.Now().Add(10*time.Minute), s.Log(1))
	s.cfg.Now, s.cfg.End = late.Add(-time.Second), late.Add(-time.Second)
	if r := s.expect(t, ""); r.AskAgain == nil || !r.AskAgain.Start.Before(s.c.Now()) {
		t.Errorf("ask again %+v", r.AskAgain)
	}
	s.cfg.Now, s.cfg.End = late, late
	s.expect(t, "coverage 04:08-05:08")
	s.c.Hours(2)
	s.expect(t, "log-unlisted "+planted.Key)
}
