package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/notify"
	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// life is what becomes of a site. The worker runs after each step until all is processed that
// can be, and once more with nothing to do.
type life struct {
	name  string
	hours int
	steps []func(*site)
	want  []string // classes of findings
}

func steps(s ...func(*site)) []func(*site) { return s }
func nothing(*site)                        {}
func hours(n int) func(*site)              { return func(s *site) { s.c.Hours(n) } }
func gone(n int) func(*site)               { return func(s *site) { s.lose(n); s.Delete(bucket, s.digest(n).Key) } }
func found(classes ...string) []string     { return classes }

func live(t *testing.T, lives []life) {
	for _, l := range lives {
		withSite(t, l.name, l.hours, func(s *site) {
			for _, step := range l.steps {
				step(s)
				s.run()
			}
			s.expect(l.want...)
			if o, _ := s.run(); o.Waiting > 0 {
				s.t.Errorf("%+v", o)
			}
			s.expect(l.want...)
		})
	}
}

func space(b []byte) []byte          { return append(b, ' ') }
func unsigned(o *testtrail.Stored)   { o.Meta = nil }
func junk() testtrail.Stored         { return testtrail.Stored{Body: []byte("x")} }
func asOrganization(s *site)         { s.trail.Organization = "o-abcdefghij" }
func spoil(o *testtrail.Stored)      { o.Body = append(o.Body, 0) }
func stops(s *site, d time.Duration) { s.c.Skip(d); s.c.Restart(s.c.Now()) }

// nameAfter returns the name of a digest that would end a while after one of the chain.
func (s *site) nameAfter(n int, d time.Duration) trail.Object {
	return trail.Object{Bucket: bucket, Key: s.c.Name().Digest(s.c.Issued[n].End.Add(d)).String()}
}

// plant puts something under the name of a digest that would end a while after one of the chain.
func (s *site) plant(n int, d time.Duration) { s.Put(bucket, s.nameAfter(n, d).Key, junk()) }

// What is proven is emitted once, and what is wrong is reported once, also over restarts.
func TestChain(t *testing.T) {
	live(t, []life{
		{"untouched", 4, steps(nothing, hours(2)), nil},
		{"log file modified", 4, steps(func(s *site) { s.EditLog(s.lose(2, 0), space) }), found("log-modified")},
		{"log file gone", 4, steps(func(s *site) { s.Delete(bucket, s.lose(2, 0).Key) }), found("log-missing")},
		{"log file corrupt", 4, steps(func(s *site) { s.Edit(bucket, s.lose(2, 0).Key, spoil) }), found("log-corrupt")},
		{"digest without signature, proven by its successor", 4, steps(func(s *site) {
			s.Edit(bucket, s.digest(2).Key, unsigned)
		}), found("digest-signature")},
		{"digest modified", 4, steps(func(s *site) { s.lose(2); s.EditLog(s.digest(2), space) }), found("digest-signature")},
		{"digest gone", 4, steps(gone(2)), found("digest-missing")},
		{"digest replaced by a signed one", 4, steps(func(s *site) {
			s.c.Reissue(3, func(d *testtrail.Doc) { d.Newest = nil })
		}), found("chain-mismatch")},
		{"rollback", 3, steps(nothing, func(s *site) {
			s.c.ReissueFrom(3, func(d *testtrail.Doc) { d.PrevObject = &s.c.Issued[1].Key })
			s.c.Hours(1)
			s.c.ReissueFrom(4, func(d *testtrail.Doc) { d.PrevObject = &s.c.Issued[2].Key })
		}), found("rollback")},
		{"planted between an unsigned digest and its successor", 3, steps(func(s *site) {
			s.Edit(bucket, s.digest(2).Key, unsigned)
			s.plant(2, time.Second)
		}), found("digest-corrupt", "digest-signature", "digest-signature")},
		{"digests of very many log files", 1, steps(func(s *site) {
			for range 3 {
				s.c.Hour(s.logs(1700)...)
			}
			if n := len(s.c.Issued[2].Body); n < 600<<10 {
				s.t.Fatalf("a digest of only %d bytes", n)
			}
			s.Edit(bucket, s.digest(2).Key, unsigned)
		}), found("digest-signature")},
		{"the trail moves to another bucket, and the former one is not a source", 3, steps(func(s *site) {
			s.trail.Bucket = "new-bucket"
			s.AddBucket("new-bucket")
			s.c.Hours(3)
			s.cfg.Sources[0].Bucket, s.cfg.Sources[0].Name = "new-bucket", "s3://new-bucket"
		}), nil},
		{"a bucket that is gone for a while", 3, steps(func(s *site) {
			s.deny(s.digest(1), errNoBucket)
		}, func(s *site) {
			s.deny(s.digest(1), nil)
			s.deny(s.c.Issued[2].Logs[0], errNoBucket)
			s.repeat = true // the other log file of the digest
		}, func(s *site) { s.deny(s.c.Issued[2].Logs[0], nil) }), nil},
	})
}

// The event that switched logging off is a finding, and explains the gap after it.
func TestGapIsExplained(t *testing.T) {
	s := newSite(t, 2)
	s.c.Hour(testtrail.LogOf(s.StopLogging(s.c.Now().Add(30*time.Minute), "main")))
	stops(s, 4*time.Hour)
	s.c.Hours(1)
	s.run()
	s.expect("gap", "gap")
	for _, f := range s.found.all {
		if e := f.Evidence.Event; e == nil || e.Name != "StopLogging" {
			t.Errorf("event %+v", e)
		}
	}
}

// Records that are not one event are left out, logged and counted. A log file that cannot be split
// to its end is corrupt from there on, which its finding says once.
func TestOddRecords(t *testing.T) {
	s := newSite(t, 0)
	large := `"` + strings.Repeat("x", trail.MaxRecord) + `"`
	d := s.c.Hour(
		[]byte(`{"Records":[{"eventID":"a"},5,"x",`+large+`,{"eventID":"b"}]}`), []byte(`{"Records":[]}`),
		[]byte(`{"Records":null}`), []byte(`[{"eventID":"d"}]`), []byte(`{"Records":[{"eventID":"a"}]}x`),
	)
	var text strings.Builder
	s.cfg.Log = slog.New(slog.NewTextHandler(&text, nil))
	_, series := s.run()
	want := map[string]bool{}
	for _, event := range []string{"0 0", "0 4", "3 0", "4 0"} {
		want[d.Logs[event[0]-'0'].String()+event[1:]] = true
	}
	if got := s.got(); !maps.Equal(got, want) {
		t.Errorf("events %v", got)
	}
	s.expectFound("log-corrupt")
	if d := s.found.all[0].Detail; d != "proven, and malformed after 1 records: unexpected 'x': not a log file" {
		t.Error(d)
	}
	if line := fmt.Sprintf("log=%s record=3 bytes=%d", d.Logs[0], len(large)); strings.Count(text.String(), line) != 1 {
		t.Errorf("no %q in %.2000s", line, &text)
	}
	for name, want := range map[string]float64{
		"unverified_total{reason=odd-record}": 3, "outcomes_total{kind=records,outcome=quarantined}": 3,
		"logs_total{result=invalid}": 1, "outcomes_total{kind=objects,outcome=quarantined}": 1,
	} {
		if series[name] != want {
			t.Errorf("%s is %v, want %v", name, series[name], want)
		}
	}
}

// Halt ends the run at a finding of any kind, and at no message that is not true.
func TestHalt(t *testing.T) {
	log := func(s *site) trail.Object { return s.c.Issued[2].Logs[0] }
	announced := func(s *site) {
		s.run()
		s.cfg.Announcers = []ingest.Announcer{newAnnouncer(notify.Delivery{Removed: []notify.Removal{{Object: log(s)}}})}
	}
	for _, tt := range []struct {
		name string
		make func(*site)
		want error
	}{
		{"nothing is wrong", nothing, nil},
		{"a log file is gone", func(s *site) { s.Delete(bucket, log(s).Key) }, ingest.ErrHalt},
		{"a foreign object in a digest folder", func(s *site) {
			s.Put(bucket, path.Dir(s.digest(2).Key)+"/x", junk())
		}, ingest.ErrHalt},
		{"an announced deletion", func(s *site) { announced(s); s.Delete(bucket, log(s).Key) }, ingest.ErrHalt},
		{"an announced deletion that is not true", announced, nil},
	} {
		withSite(t, tt.name, 4, func(s *site) {
			tt.make(s)
			s.cfg.Halt = true
			if _, _, err := s.try(); !errors.Is(err, tt.want) {
				s.t.Errorf("error %v", err)
			}
			if tt.want == nil {
				s.expect()
			}
		})
	}
}

// Nothing is passed by before its finding is reported and its head is stored. What fails is
// counted. That the file of findings is not there does not mean that a log file is not there.
func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		name   string
		set    func(*site)
		series string
	}{
		{"finding", func(s *site) {
			s.found.before = once(fmt.Errorf("write: %w", fs.ErrNotExist))
		}, "finding_retries_total{}"},
		{"reading a head", func(s *site) {
			fails := once(errReset)
			s.state.get = func(string) error { return fails() }
		}, "state_errors_total{}"},
		{"storing a head", func(s *site) {
			fails := once(errReset)
			s.state.put = func(_ context.Context, _ string, put func() (state.Version, error)) (state.Version, error) {
				if err := fails(); err != nil {
					return "", err
				}
				return put()
			}
		}, "state_errors_total{}"},
	} {
		withSite(t, tt.name, 4, func(s *site) {
			s.c.Hour([]byte(`{"Other":[]}`))
			tt.set(s)
			if _, series := s.run(); series[tt.series] != 1 || series["state_conflicts_total{}"] != 0 {
				s.t.Errorf("%s is %v", tt.series, series[tt.series])
			} else if n := series["chains_began_total{at=start}"]; n != 1 {
				s.t.Errorf("where the chain begins was told %v times", n)
			}
			s.expect("log-corrupt")
		})
	}
}
