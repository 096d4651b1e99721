package ingest_test

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/source"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/trailseal/trailseal/internal/dir"
	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// copied makes a plain copy of the bucket, without metadata, the source.
func (s *site) copied(t *testing.T, folder string) {
	t.Helper()
	if err := s.WriteFolder(bucket, folder, nil); err != nil {
		t.Fatal(err)
	}
	s.opened(t, folder)
}

// opened makes a folder the source.
func (s *site) opened(t *testing.T, folder string) {
	t.Helper()
	d, err := dir.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	src, err := source.Parse(folder)
	if err != nil {
		t.Fatal(err)
	}
	s.cfg.Sources = []ingest.Source{{Source: src, Objects: d}}
}

// In a plain copy a digest is proven by the one after it: the newest waits,
// and nothing of it comes out before.
func TestCopyWaitsForTheSuccessor(t *testing.T) {
	s, folder := newSite(t, 3), t.TempDir()
	s.copied(t, folder)
	if o := s.run(t); o.Waiting != 1 || o.Findings != 0 {
		t.Errorf("%+v", o)
	}
	newest := s.c.Issued[len(s.c.Issued)-1]
	s.expect(t, s.want(newest.Logs...))
	s.c.Hours(1)
	s.copied(t, folder)
	s.run(t)
	s.expect(t, s.want(s.c.Issued[len(s.c.Issued)-1].Logs...))
	s.once(t)
}

// Something planted between a digest and its successor in a plain copy holds
// neither.
func TestPlantedInACopy(t *testing.T) {
	s := newSite(t, 4)
	s.Put(bucket, s.c.Name().Digest(s.c.Issued[2].End.Add(1e9)).String(), testtrail.Stored{Body: []byte("x")})
	s.copied(t, t.TempDir())
	s.run(t)
	s.expect(t, s.want(s.c.Issued[len(s.c.Issued)-1].Logs...), "digest-corrupt")
}

// Names and digests that are planted in a plain copy hold back no events, whatever
// the layout of the copy. Each row plants after the third digest.
func TestManyPlantedInACopy(t *testing.T) {
	junk := func(n int) func(*site) map[string][]byte {
		return func(s *site) map[string][]byte {
			planted := map[string][]byte{}
			for i := range n {
				planted[s.c.Name().Digest(s.c.Issued[2].End.Add(time.Duration(i+1)*time.Second)).String()] = []byte("x")
			}
			return planted
		}
	}
	// The planted digest is the fourth one under another name. It repeats a
	// signature that is not that of the third.
	digest := func(s *site) map[string][]byte {
		doc, end, wrong := s.c.Issued[3].Doc, s.c.Issued[2].End.Add(time.Minute), strings.Repeat("00", 256)
		doc.Object, doc.End, doc.PrevSignature = s.c.Name().Digest(end).String(), end.Format(time.RFC3339), &wrong
		return map[string][]byte{doc.Object: testtrail.Gzip(doc.Bytes())}
	}
	for _, tt := range []struct {
		name  string
		below string // folder that the copy lies in
		plant func(*site) map[string][]byte
		found []string
	}{
		{"control", "", junk(0), nil},
		{"one name, below a folder", "exports/one", junk(1), []string{"digest-corrupt"}},
		{"many names", "", junk(40), slices.Repeat([]string{"digest-corrupt"}, 40)},
		{"a digest", "", digest, []string{"coverage"}},
		{"a digest, below a folder", "exports/one", digest, []string{"coverage"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, folder := newSite(t, 6), t.TempDir()
			want := s.want(s.c.Issued[len(s.c.Issued)-1].Logs...)
			for key, body := range tt.plant(s) {
				s.Put(bucket, key, testtrail.Stored{Body: body})
			}
			s.copied(t, filepath.Join(folder, tt.below))
			s.opened(t, folder)
			if o := s.run(t); o.Waiting != 1 { // for the newest alone
				t.Errorf("%+v", o)
			}
			s.expect(t, want, tt.found...)
		})
	}
}

// The last digest before a gap has no successor that repeats its signature:
// in a plain copy its hour cannot be proven, and holds nothing behind it.
func TestGapInACopy(t *testing.T) {
	s := newSite(t, 3)
	last := s.c.Issued[3]
	s.c.Skip(4 * time.Hour)
	s.c.Restart(s.c.Now())
	s.c.Hours(3)
	newest := s.c.Issued[len(s.c.Issued)-1]
	want := s.want(slices.Concat(last.Logs, newest.Logs)...)
	s.copied(t, t.TempDir())
	if o := s.run(t); o.Waiting != 1 { // for the newest alone
		t.Errorf("%+v", o)
	}
	s.expect(t, want, "coverage", "gap")
}

// A replicated bucket gets its objects in any order: what is absent within the
// grace is waited for.
func TestReplicatedLate(t *testing.T) {
	for _, late := range []func(*site) trail.Object{
		func(s *site) trail.Object { return s.c.Issued[2].Logs[1] },
		func(s *site) trail.Object { return trail.Object{Bucket: bucket, Key: s.c.Issued[2].Key} },
	} {
		s := newSite(t, 3)
		want := s.want()
		o := late(s)
		stored, _ := s.Stored(o.Bucket, o.Key)
		s.Delete(o.Bucket, o.Key)
		s.cfg.Once, s.cfg.Grace = false, 5*time.Hour
		s.cfg.Metrics = prometheus.NewRegistry()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			_, err := ingest.Run(ctx, s.cfg)
			ended <- err
		}()
		for s.sink.len() == 0 || s.Reads(o.Bucket, o.Key) < 2 {
			time.Sleep(time.Millisecond)
		}
		s.Put(o.Bucket, o.Key, stored)
		for s.sink.len() < len(want) {
			time.Sleep(time.Millisecond)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		s.expect(t, want)
	}
}

// A starting digest may be there before the last ones that lie before its gap:
// within the grace it waits for them, and then it is a gap.
func TestReplicatedBeforeAGap(t *testing.T) {
	s := newSite(t, 3)
	s.run(t)
	s.c.Hours(1)
	late := s.c.Issued[len(s.c.Issued)-1]
	before := s.want()
	s.c.Skip(2 * time.Hour)
	s.c.Hours(1)
	starting := s.c.Issued[len(s.c.Issued)-1]
	stored, _ := s.Stored(bucket, late.Key)
	s.Delete(bucket, late.Key)

	var passed atomic.Int64
	end := s.c.Now()
	s.cfg.Now = func() time.Time { return end.Add(time.Duration(passed.Load())) }
	s.cfg.Once, s.cfg.Grace = false, 5*time.Hour
	s.cfg.Metrics = prometheus.NewRegistry()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := ingest.Run(ctx, s.cfg)
		ended <- err
	}()
	wait := func(what string, done func() bool) {
		for begin := time.Now(); !done(); time.Sleep(time.Millisecond) {
			if time.Since(begin) > time.Minute {
				t.Error("never " + what)
				break
			}
		}
	}
	wait("read", func() bool { return s.Reads(bucket, starting.Key) > 1 })
	s.Put(bucket, late.Key, stored)
	wait("emitted what was late", func() bool { return s.sink.len() >= len(before) })
	passed.Store(int64(6 * time.Hour))
	wait("emitted the rest", func() bool { return s.sink.len() >= len(s.want()) })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	s.expect(t, s.want(), "gap")
}

// len returns how many events are there.
func (s *sinks) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.lines)
}

// A bucket and a copy of it are followed each for itself, with equal ids.
func TestBucketAndCopy(t *testing.T) {
	s := newSite(t, 3)
	s.run(t)
	s.once(t)
	both := s.cfg.Sources
	s.copied(t, t.TempDir())
	s.cfg.Sources = append(both, s.cfg.Sources...)
	s.run(t)
	twice := 0
	for id, n := range s.sink.counts {
		if n > 2 {
			t.Errorf("%s came %d times", id, n)
		}
		twice += n - 1
	}
	if want := len(s.want(s.c.Issued[3].Logs...)); twice != want { // the newest waits in the copy
		t.Errorf("%d events came twice, want %d", twice, want)
	}
}

// Of several files that can be a log, one with the signed hash is emitted, once. What
// the others are holds nothing back.
func TestSecondCopyOfALog(t *testing.T) {
	edited := func(s *site, key string) {
		s.EditLog(trail.Object{Key: key}, func(b []byte) []byte { return append(b, ' ') })
	}
	denied := func(s *site, key string) {
		s.Fail("", key, &testtrail.Fault{Err: fmt.Errorf("open: %w", fs.ErrPermission)})
	}
	gone := func(s *site, key string) { s.Delete("", key) }
	same := func(*site, string) {}
	for _, row := range []struct {
		name          string
		first, second func(*site, string)
		classes       []string
		isEmitted     bool
		waiting       int
	}{
		{"both genuine", same, same, nil, true, 0},
		{"second edited", same, edited, []string{"log-modified"}, true, 0},
		{"first edited", edited, same, []string{"log-modified"}, true, 0},
		{"both edited", edited, edited, []string{"log-modified", "log-modified"}, false, 0},
		{"second denied", same, denied, nil, true, 0},
		{"first denied", denied, same, nil, true, 0},
		{"denied and edited", denied, edited, nil, false, 1},
		{"second gone", same, gone, nil, true, 0},
		{"both gone", gone, gone, []string{"log-missing"}, false, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t, 3)
			keys, _ := s.Keys(bucket, "")
			for _, k := range keys {
				for _, root := range []string{"first/", "second/"} {
					o, _ := s.Stored(bucket, k)
					s.Put("", root+k, o)
				}
			}
			log := s.c.Issued[2].Logs[1]
			want := s.want()
			if !row.isEmitted {
				want = s.want(log)
			}
			row.first(s, "first/"+log.Key)
			row.second(s, "second/"+log.Key)
			src, err := source.Parse("copies")
			if err != nil {
				t.Fatal(err)
			}
			s.cfg.Sources = []ingest.Source{{Source: src, Objects: s.World}}
			o := s.run(t)
			if o.Waiting != row.waiting {
				t.Errorf("%+v", o)
			}
			if row.waiting == 0 {
				s.expect(t, want, row.classes...)
				s.once(t)
			}
		})
	}
}
