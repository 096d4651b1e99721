package ingest_test

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Anyone who may write to the bucket can put an object that is named like a
// digest of any time. It is found, and it moves no head: the digest of that
// time, which comes later, is dealt with as if nothing had been there.
func TestPlantedDigestHidesNone(t *testing.T) {
	for _, after := range []time.Duration{-30 * time.Minute, time.Second, 30 * time.Minute, time.Hour} {
		t.Run(after.String(), func(t *testing.T) {
			s := newSite(t, 3)
			planted := s.c.Name().Digest(s.c.Now().Add(time.Hour + after))
			s.Put(bucket, planted.String(), testtrail.Stored{Body: testtrail.Gzip([]byte(`{}`))})
			s.cfg.Now = func() time.Time { return planted.End }
			s.run(t)
			s.run(t) // a restart knows of it
			s.expect(t, s.want(), "digest-corrupt")
			s.c.Hours(3)
			s.cfg.Now = func() time.Time { return s.c.Now().Add(time.Hour) }
			s.run(t)
			s.run(t)
			s.expect(t, s.want(), "digest-corrupt")
			s.once(t)
		})
	}
}

// A digest that lost its signature is proven by its successor, though something
// planted stands between the two.
func TestPlantedBetweenUnsignedAndSuccessor(t *testing.T) {
	s := newSite(t, 3)
	s.Edit(bucket, s.c.Issued[2].Key, func(o *testtrail.Stored) { o.Meta = nil })
	s.Put(bucket, s.c.Name().Digest(s.c.Issued[2].End.Add(time.Second)).String(), testtrail.Stored{Body: []byte("x")})
	s.run(t)
	s.expect(t, s.want(), "digest-corrupt", "digest-signature", "digest-signature")
	s.run(t)
	s.once(t)
}

// More planted digests than a head remembers: they are found, all of them, and
// change nothing else.
func TestManyPlantedDigests(t *testing.T) {
	s := newSite(t, 2)
	const many = 150
	for i := range many {
		s.Put(bucket, s.c.Name().Digest(s.c.Now().Add(time.Duration(i+1)*time.Second)).String(), testtrail.Stored{Body: []byte("x")})
	}
	s.run(t)
	s.c.Hours(2)
	s.run(t)
	classes := slices.Repeat([]string{"digest-corrupt"}, len(s.found.all))
	if len(classes) < many {
		t.Errorf("%d findings", len(classes))
	}
	s.expect(t, s.want(), classes...)
	s.once(t)
}

// A worker that was down for longer than Since reaches back goes on where it
// was, whatever is missing by then.
func TestDownForLong(t *testing.T) {
	for hours, rows := range map[int][]string{30: {"", "gone", "bad"}, 24*7 + 30: {"gone"}} {
		for _, broken := range rows {
			t.Run(fmt.Sprintf("%d hours %s", hours, broken), func(t *testing.T) {
				s := newSite(t, 2)
				s.run(t)
				s.c.Hours(hours)
				s.cfg.Since = s.c.Now().Add(-5 * time.Hour)
				want, classes := s.want(), []string(nil)
				if at := s.c.Issued[hours-10]; broken != "" {
					want = s.want(at.Logs...)
					classes = []string{"digest-missing"}
					s.Delete(bucket, at.Key)
					if broken == "bad" {
						classes = []string{"digest-corrupt"}
						s.Put(bucket, at.Key, testtrail.Stored{Body: []byte("x")})
					}
				}
				s.run(t)
				s.expect(t, want, classes...)
				s.once(t)
			})
		}
	}
}

// A chain never seen begins at Since even where the listing shows only its end,
// and the digests are found by the names that they give each other.
func TestHiddenByTheListing(t *testing.T) {
	const hours = 26
	for _, known := range []bool{false, true} {
		for _, gone := range []int{-1, 0, 20} {
			t.Run(fmt.Sprintf("head %t, gone %d", known, gone), func(t *testing.T) {
				s := newSite(t, 2)
				if known {
					s.run(t)
				}
				s.c.Hours(hours)
				newest := s.c.Issued[len(s.c.Issued)-1].Key
				s.cfg.Sources[0].Objects = &partial{World: s.World, only: func(key string) bool { return key == newest }}
				want, classes := s.want(), []string(nil)
				if gone >= 0 {
					at := s.c.Issued[len(s.c.Issued)-2-gone]
					s.Delete(bucket, at.Key)
					want, classes = s.want(at.Logs...), []string{"digest-missing"}
				}
				if gone >= 0 && !known { // nothing names what lies before
					want = map[string]bool{}
					for _, d := range s.c.Issued[len(s.c.Issued)-1-gone:] {
						for _, l := range d.Logs {
							o, _ := s.Stored(l.Bucket, l.Key)
							for i := range recordsOf(o.Body) {
								want[fmt.Sprintf("%s %d", l, i)] = true
							}
						}
					}
				}
				s.run(t)
				s.expect(t, want, classes...)
				s.once(t)
			})
		}
	}
}

// A trail that changes its prefix, its organization or its bucket is followed
// across the move, in whatever order the folders sort, and across a gap.
func TestMoves(t *testing.T) {
	rows := map[string]func(*testtrail.Options){
		"prefix, sorts before": func(o *testtrail.Options) { o.Prefix = "A" },
		"prefix, sorts behind": func(o *testtrail.Options) { o.Prefix = "zz" },
		"organization":         func(o *testtrail.Options) { o.Organization = "o-abcdefghij" },
	}
	for name, move := range rows {
		for _, seen := range []bool{false, true} {
			for _, gap := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, seen %t, gap %t", name, seen, gap), func(t *testing.T) {
					s := newSite(t, 3)
					if seen {
						s.run(t)
						s.c.Hours(2)
					}
					move(&s.trail.Options)
					var classes []string
					if gap {
						s.c.Skip(3 * time.Hour)
						s.c.Restart(s.c.Now())
						if name != "organization" { // then only a name says that it is the same trail
							classes = []string{"gap"}
						}
					}
					s.c.Hours(3)
					s.run(t)
					s.expect(t, s.want(), classes...)
					s.once(t)
				})
			}
		}
	}
}

// The digests of a trail that became an organization's are announced in any order, and the
// listing shows none: each event comes once, and the former chain has ended.
func TestAnnouncedAfterAMoveToAnOrganization(t *testing.T) {
	for _, row := range []struct {
		name   string
		seen   bool // the former chain has a head
		which  []int
		hours  int // emitted
		since  time.Duration
		tamper func(*site) (class []string)
	}{
		{"the newest", false, []int{6}, 6, 0, nil},
		{"the newest, and the former chain is known", true, []int{6}, 6, 0, nil},
		{"the first of the organization", false, []int{4}, 4, 0, nil},
		{"the newest first", true, []int{6, 5, 4, 3, 2, 1, 0}, 6, 0, nil},
		{"after the time to begin", false, []int{6}, 2, 4*time.Hour + 30*time.Minute, nil},
		{"the last former one is gone", false, []int{6}, 3, 0, func(s *site) []string {
			s.Delete(bucket, s.c.Issued[3].Key)
			return []string{"digest-missing"}
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t, 2)
			if row.seen {
				s.run(t)
			}
			s.c.Hours(1)
			s.trail.Organization = "o-abcdefghij"
			s.c.Hours(3)
			s.cfg.Since = day.Add(row.since)
			var classes []string
			if row.tamper != nil {
				classes = row.tamper(s)
			}
			all := s.digests(0)
			var deliveries [][]trail.Object
			for _, i := range row.which {
				deliveries = append(deliveries, []trail.Object{all[i]})
			}
			a := newAnnouncer(deliveries...)
			s.cfg.Sources[0].Objects = deafUntil{unlisted{s.World}, unlistedUntil{s.World, a.isHeard}}
			s.cfg.Announcers = []ingest.Announcer{a}
			s.run(t)
			if n := len(s.sink.lines); n != row.hours*5 {
				t.Errorf("%d events, want those of %d hours", n, row.hours)
			}
			s.once(t)
			s.expect(t, s.got(t), classes...)
		})
	}
}

// A move into another bucket: only the new one is a source, and what lies in
// the old one is signed for.
func TestBucketMove(t *testing.T) {
	s := newSite(t, 3)
	s.trail.Bucket = "new-bucket"
	s.AddBucket("new-bucket")
	s.c.Hours(3)
	s.cfg.Sources[0].Bucket, s.cfg.Sources[0].Name = "new-bucket", "s3://new-bucket"
	s.run(t)
	s.expect(t, s.want())
	s.once(t)
}

// Two sources, one of them out of order: the other is followed to its end, and
// the run says what it could not do.
func TestBrokenSourceHoldsNoOther(t *testing.T) {
	for _, broken := range []string{"away", "refuses a folder"} {
		t.Run(broken, func(t *testing.T) {
			s := newSite(t, 4)
			other := s.Trail(testtrail.Options{Bucket: "other", Name: "other"})
			oc := other.Chain("444455556666", region, day)
			oc.Hours(2)
			second := s.cfg.Sources[0]
			second.Bucket, second.Name = "other", "s3://other"
			refused := errors.New("refused")
			if broken == "away" {
				s.Fail("other", "", &testtrail.Fault{Err: refused})
			} else {
				second.Objects = &partial{World: s.World, folders: func(prefix string) error {
					if prefix == "AWSLogs/444455556666/CloudTrail-Digest/" {
						return refused
					}
					return nil
				}}
			}
			s.cfg.Sources = append(s.cfg.Sources, second)
			s.cfg.Metrics = prometheus.NewRegistry()
			if _, err := ingest.Run(t.Context(), s.cfg); !errors.Is(err, refused) {
				t.Errorf("error %v", err)
			}
			s.expect(t, s.want())
		})
	}
}

// Backfill digests come in no order, each is dealt with once, and a planted one
// makes none forgotten.
func TestBackfillOutOfOrder(t *testing.T) {
	s := newSite(t, 6)
	s.run(t)
	b := s.c.Backfill(day.Add(time.Hour))
	for range 3 {
		b.Hour(s.Log(4))
	}
	late := map[string]testtrail.Stored{}
	for _, i := range []int{0, 2} {
		late[b.Issued[i].Key], _ = s.Stored(bucket, b.Issued[i].Key)
		s.Delete(bucket, b.Issued[i].Key)
	}
	s.run(t)
	for key, o := range late {
		s.Put(bucket, key, o)
		s.run(t)
	}
	s.Put(bucket, b.Name().Digest(s.c.Now().Add(time.Hour)).String(), testtrail.Stored{Body: []byte("x")})
	s.run(t)
	s.run(t)
	want := s.want()
	for _, d := range b.Issued {
		for _, l := range d.Logs {
			for i := range 4 {
				want[fmt.Sprintf("%s %d", l, i)] = true
			}
		}
	}
	s.expect(t, want, "digest-corrupt")
	s.once(t)
}

// Halt ends the run at findings of every kind, also at those of a listing.
func TestHaltAtAForeignObject(t *testing.T) {
	s := newSite(t, 2)
	s.Put(bucket, "AWSLogs/"+account+"/CloudTrail-Digest/"+region+"/2026/03/01/x", testtrail.Stored{Body: []byte("x")})
	s.cfg.Halt = true
	s.cfg.Metrics = prometheus.NewRegistry()
	if _, err := ingest.Run(t.Context(), s.cfg); !errors.Is(err, ingest.ErrHalt) {
		t.Errorf("error %v", err)
	}
}

// What is reported twice at once is passed by only when it is durable.
func TestFindingSinkThatFails(t *testing.T) {
	for _, effect := range []bool{false, true} {
		s := newSite(t, 4)
		l := s.c.Issued[2].Logs[0]
		s.Delete(bucket, l.Key)
		s.Put(bucket, "AWSLogs/"+account+"/CloudTrail-Digest/"+region+"/2026/03/01/x", testtrail.Stored{Body: []byte("x")})
		sink := &flaky{findings: s.found, effect: effect, fails: 2}
		s.cfg.Findings = sink
		s.run(t)
		want := []string{"foreign-object", "log-missing"}
		if effect {
			want = []string{"foreign-object", "foreign-object", "log-missing", "log-missing"}
		}
		s.expect(t, s.want(l), want...)
	}
}

// The worker goes on polling, and ends at once when it is told to, at any
// moment; what it left is dealt with by the next one.
func TestCancelAtAnyMoment(t *testing.T) {
	s := newSite(t, 8)
	s.cfg.Once = false
	for i := range 60 {
		func() {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*200*time.Microsecond)
			defer cancel()
			s.cfg.Metrics = prometheus.NewRegistry()
			if _, err := ingest.Run(ctx, s.cfg); err != nil {
				t.Errorf("run %d: %v", i, err)
			}
			s.noneUnproven(t, s.want())
		}()
		if i%10 == 9 {
			s.c.Hours(1)
		}
	}
	s.cfg.Once = true
	s.run(t)
	s.expect(t, s.want())
}

// noneUnproven demands that nothing came out but what is proven.
func (s *site) noneUnproven(t *testing.T, want map[string]bool) {
	t.Helper()
	for id := range s.got(t) {
		if !want[id] {
			t.Errorf("%s is not proven", id)
		}
	}
}

// partial shows a part of its world in listings.
type partial struct {
	*testtrail.World
	only    func(key string) bool
	folders func(prefix string) error
}

func (p *partial) List(ctx context.Context, bucket, prefix, after string) iter.Seq2[trail.Object, error] {
	return func(yield func(trail.Object, error) bool) {
		for o, err := range p.World.List(ctx, bucket, prefix, after) {
			if err == nil && p.only != nil && !p.only(o.Key) {
				continue
			}
			if !yield(o, err) {
				return
			}
		}
	}
}

func (p *partial) Children(ctx context.Context, bucket, prefix string) iter.Seq2[trail.Object, error] {
	return func(yield func(trail.Object, error) bool) {
		if p.folders != nil {
			if err := p.folders(prefix); err != nil {
				yield(trail.Object{}, err)
				return
			}
		}
		p.World.Children(ctx, bucket, prefix)(yield)
	}
}

// flaky refuses the first findings, or takes them and says that it did not.
type flaky struct {
	*findings
	effect bool
	fails  int
	err    error // fs.ErrPermission where nil
}

func (f *flaky) Find(ctx context.Context, g finding.Finding) error {
	f.mu.Lock()
	failing := f.fails > 0
	f.fails--
	f.mu.Unlock()
	refused := cmp.Or(f.err, fs.ErrPermission)
	if failing && !f.effect {
		return refused
	}
	if err := f.findings.Find(ctx, g); err != nil || !failing {
		return err
	}
	return refused
}

// Digests of very many logs are held one at a time, and a large one that lost
// its signature is proven by its large successor.
func TestLargeDigests(t *testing.T) {
	s := newSite(t, 1)
	var bodies [][]byte
	for range 1700 {
		bodies = append(bodies, s.Log(1))
	}
	for range 3 {
		s.c.Hour(bodies...)
	}
	if n := len(s.c.Issued[2].Body); n < 600<<10 {
		t.Fatalf("a digest of only %d bytes", n)
	}
	s.Edit(bucket, s.c.Issued[2].Key, func(o *testtrail.Stored) { o.Meta = nil })
	s.run(t)
	s.expect(t, s.want(), "digest-signature")
	s.once(t)
}

// A finding that cannot be reported since its file is gone is not a log file
// that is gone.
func TestFindingsFileGone(t *testing.T) {
	s := newSite(t, 1)
	s.c.Hour([]byte(`{"Other":[]}`))
	s.cfg.Findings = &flaky{findings: s.found, fails: 1, err: fmt.Errorf("write: %w", fs.ErrNotExist)}
	s.run(t)
	s.expect(t, s.want(), "log-corrupt")
}

// A log of more stored bytes than CloudTrail ever writes is planted: its hash
// says so, and the chain goes on.
func TestHugePlantedLog(t *testing.T) {
	s := newSite(t, 4)
	l := s.c.Issued[2].Logs[0]
	want := s.want(l)
	s.Edit(bucket, l.Key, func(o *testtrail.Stored) {
		noise := make([]byte, 97<<20)
		rand.NewChaCha8([32]byte{}).Read(noise)
		var b bytes.Buffer
		z, _ := gzip.NewWriterLevel(&b, gzip.NoCompression)
		z.Write(noise)
		z.Close()
		o.Body = b.Bytes()
	})
	s.run(t)
	s.expect(t, want, "log-modified")
}

// The detail of a malformed log file says once what is wrong, in one line.
func TestMalformedLogIsToldOnce(t *testing.T) {
	s := newSite(t, 1)
	s.c.Hour([]byte(`{"Records":[{"eventID":"a"}]}x`))
	s.run(t)
	want := "proven, and malformed after 1 records: unexpected 'x': not a log file"
	if len(s.found.all) != 1 || s.found.all[0].Detail != want {
		t.Errorf("%+v, want %q", s.found.all, want)
	}
}

// deafUntil shows no digests, and places only when the messages have come: a chain that an
// earlier listing did not show would begin at its oldest digest.
type deafUntil struct {
	unlisted
	until unlistedUntil
}

func (d deafUntil) Children(ctx context.Context, bucket, prefix string) iter.Seq2[trail.Object, error] {
	return d.until.Children(ctx, bucket, prefix)
}
