package ingest_test

import (
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/dir"
	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// copied writes a plain copy of the bucket, without metadata, and makes it the source. It lies in
// a folder below that of the source.
func (s *site) copied(folder, below string) {
	s.t.Helper()
	if err := s.WriteFolder(bucket, filepath.Join(folder, below), nil); err != nil {
		s.t.Fatal(err)
	}
	d, err := dir.Open(folder)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { d.Close() })
	src, err := source.Parse(folder)
	if err != nil {
		s.t.Fatal(err)
	}
	s.cfg.Sources = []ingest.Source{{Source: src, Objects: d}}
}

// In a plain copy a digest is proven by the one after it: the newest waits, and nothing of it
// is emitted before. What is planted holds nothing back, whatever the layout.
func TestCopy(t *testing.T) {
	many := func(n int) func(*site) {
		return func(s *site) {
			for i := range n {
				s.plant(2, time.Duration(i+1)*time.Second)
			}
		}
	}
	// The planted digest is the fourth one under another name. It repeats a signature that is
	// not that of the third.
	digest := func(s *site) {
		doc, end, wrong := s.c.Issued[3].Doc, s.c.Issued[2].End.Add(time.Minute), strings.Repeat("00", 256)
		doc.Object, doc.End, doc.PrevSignature = s.c.Name().Digest(end).String(), end.Format(time.RFC3339), &wrong
		s.Put(bucket, doc.Object, testtrail.Stored{Body: testtrail.Gzip(doc.Bytes())})
	}
	for _, tt := range []struct {
		name   string
		below  string
		tamper func(*site)
		want   []string
	}{
		{"control", "", nothing, nil},
		{"a planted name, below a folder", "exports/one", many(1), found("digest-corrupt")},
		{"many planted names", "", many(40), slices.Repeat(found("digest-corrupt"), 40)},
		{"a planted digest", "", digest, found("coverage")},
		{"a planted digest, below a folder", "exports/one", digest, found("coverage")},
		// The last digest before a gap has no successor: its hour cannot be proven.
		{"a gap", "", func(s *site) { s.lose(6); stops(s, 4*time.Hour); s.c.Hours(3) }, found("coverage", "gap")},
	} {
		withSite(t, tt.name, 6, func(s *site) {
			folder := s.t.TempDir()
			tt.tamper(s)
			s.copied(folder, tt.below)
			o, series := s.run()
			if o.Waiting != 1 || series["chains{state=unsigned}"] != 1 || series["chains{state=waiting}"] != 0 {
				s.t.Errorf("%+v, %v", o, series)
			}
			lost, newest := s.lost, len(s.c.Issued)-1
			s.lose(newest)
			s.expect(tt.want...)
			s.c.Hours(1)
			s.copied(folder, tt.below)
			s.run()
			s.lost = lost
			s.lose(newest + 1)
			s.expect(tt.want...)
		})
	}
}

// An account that was not asked for counts as one that was never listed: it begins at the asked
// time when it is.
func TestCopyOfAnotherAccount(t *testing.T) {
	for name, accounts := range map[string][]string{"asked for": nil, "not asked for": {account}} {
		withSite(t, name, 6, func(s *site) {
			s.trail.Chain(other, region, day).Hours(6)
			s.copied(s.t.TempDir(), "")
			s.cfg.Since, s.cfg.Accounts = s.c.Now().Add(-90*time.Minute), accounts
			s.run()
			s.cfg.Accounts = nil
			s.run()
			if n := s.eventsOf(other); n != 5 { // the digest after the asked time, and the newest one waits
				s.t.Errorf("%d events of the other account", n)
			}
		})
	}
}

// A bucket and a copy of it are followed each for itself, with equal ids.
func TestBucketAndCopy(t *testing.T) {
	withSite(t, "", 3, func(s *site) {
		s.run()
		both := s.cfg.Sources
		s.copied(s.t.TempDir(), "")
		s.cfg.Sources = append(both, s.cfg.Sources...)
		s.run()
		s.repeat = true
		s.expect()
		if got, want := s.repeats(), s.want(); got != len(want)-5 { // the newest waits in the copy
			s.t.Errorf("%d events came again of %d", got, len(want))
		}
	})
}

// Of several files that can be a log file, one with the signed hash is emitted, once.
func TestSecondCopyOfALog(t *testing.T) {
	edit := func(s *site, o trail.Object) { s.EditLog(o, space) }
	deny := func(s *site, o trail.Object) { s.deny(o, fs.ErrPermission) }
	same := func(*site, trail.Object) {}
	lose := func(s *site, _ trail.Object) { s.lose(2, 1) }
	// twice makes two copies the source, and tampers with a log file in each of them.
	twice := func(tamper ...func(*site, trail.Object)) []func(*site) {
		return steps(func(s *site) {
			keys, _ := s.Keys(bucket, "")
			log := s.c.Issued[2].Logs[1].Key
			for i, folder := range []string{"first/", "second/"} {
				for _, key := range keys {
					o, _ := s.Stored(bucket, key)
					s.Put("", folder+key, o)
				}
				tamper[i](s, trail.Object{Key: folder + log})
			}
			for _, also := range tamper[2:] {
				also(s, trail.Object{})
			}
			s.sources("copies")
		})
	}
	live(t, []life{
		{"both genuine", 3, twice(same, same), nil},
		{"first edited", 3, twice(edit, same), found("log-modified")},
		{"first denied", 3, twice(deny, same), nil},
		{"both edited", 3, twice(edit, edit, lose), found("log-modified", "log-modified")},
		{"denied and edited", 3, append(twice(deny, edit), func(s *site) {
			s.repeat = true // the other log file of the digest
			s.deny(trail.Object{Key: "first/" + s.c.Issued[2].Logs[1].Key}, nil)
		}), found("log-modified")},
	})
}

// A starting digest may be there before the last one before its gap, as in a replicated bucket:
// within the grace it waits for that one, and then it is a gap.
func TestReplicatedBeforeAGap(t *testing.T) {
	withSite(t, "", 3, func(s *site) {
		s.run()
		s.c.Hours(1)
		before := len(s.want())
		late := s.digest(4)
		s.c.Skip(2 * time.Hour)
		s.c.Hours(1)
		stored, _ := s.Stored(bucket, late.Key)
		s.Delete(bucket, late.Key)
		began, end := time.Now(), s.c.Now()
		s.cfg.Now = func() time.Time { return end.Add(time.Since(began)) }
		s.cfg.Grace, s.cfg.Poll = 5*time.Hour, time.Minute
		_, _, stop := s.begin()
		defer stop()
		time.Sleep(30 * time.Minute)
		s.Put(bucket, late.Key, stored)
		time.Sleep(10 * time.Minute)
		if n := len(s.sink.all()); n != before {
			s.t.Errorf("%d events within the grace, want %d", n, before)
		}
		time.Sleep(2 * time.Hour)
		s.expect("gap")
	})
}
