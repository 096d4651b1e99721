package ingest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
	"github.com/trailseal/trailseal/test/s3server"
)

// dataSets are the real events: each is signed into an account of its own.
var dataSets = []struct{ name, account string }{
	{"stratus", "111111111111"}, {"invictus", "222222222222"}, {"panther_analysis", "333333333333"}, {"otrf", "444444444444"},
}

// realSite delivers the events of every data set to two regions, half and half.
func realSite(t *testing.T, data string) *site {
	t.Helper()
	const hours = 4
	s := &site{World: testtrail.New()}
	tr := s.Trail(testtrail.Options{})
	for _, set := range dataSets {
		files, err := testtrail.ReadEventFiles(filepath.Join(data, set.name))
		if err != nil {
			t.Fatal(err)
		}
		bodies := testtrail.LogBodies(files, 20)
		bodies = append(bodies, testtrail.LogBodies(files, 0)...) // and the files as they are
		for i, region := range []string{"us-east-1", "ap-southeast-2"} {
			c := tr.Chain(set.account, region, begin)
			for _, hour := range testtrail.Spread(bodies[i*len(bodies)/2:(i+1)*len(bodies)/2], hours) {
				c.Hour(hour...)
			}
			s.chains = append(s.chains, c)
		}
	}
	return s
}

// Events of real accounts, signed: every one comes out once, with the bytes
// that it has in its log, from a folder, from the fake AWS and from an S3
// server that is not ours. TRAILSEAL_DATA names the folder of the data sets.
func TestRealEvents(t *testing.T) {
	data := os.Getenv("TRAILSEAL_DATA")
	if data == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("TRAILSEAL_DATA is not set in CI")
		}
		t.Skip("TRAILSEAL_DATA is not set: no folder of real events to sign")
	}
	sources := []struct {
		name string
		put  func(t *testing.T, s *site, w *worker)
	}{
		{"folder", func(t *testing.T, s *site, w *worker) { w.source = s.folder(t) }},
		{"fake AWS", func(t *testing.T, s *site, w *worker) { w.fakeAWS(t, s.World) }},
		{"versitygw", func(t *testing.T, s *site, w *worker) {
			server := s3server.Start(t)
			server.PutAll(t, s.Store)
			w.env, w.source = server.Env(), "s3://"+bucket
		}},
	}
	for _, source := range sources {
		t.Run(source.name, func(t *testing.T) {
			s := realSite(t, data)
			w := newWorker(t, s.World, "")
			source.put(t, s, w)
			w.once(t, 0)
			s.exactly(t, w, s.proven(), 3000)
			w.once(t, 0) // and again: there is nothing left to do
			s.exactly(t, w, s.proven(), 3000)
		})
		t.Run(source.name+" tampered", func(t *testing.T) {
			s := realSite(t, data)
			spoiled := map[trail.Object]bool{}
			for _, c := range s.chains {
				edited, deleted := someLog(c, 0), someLog(c, 1)
				s.EditLog(edited, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
				s.Delete(deleted.Bucket, deleted.Key)
				c.Deliver(begin.Add(2*time.Hour), testtrail.LogOf([]byte(`{"eventName":"Planted"}`)))
				spoiled[edited], spoiled[deleted] = true, true
			}
			w := newWorker(t, s.World, "")
			source.put(t, s, w)
			w.once(t, 1)
			s.exactly(t, w, proven(s.World, func(_ *testtrail.Issued, l trail.Object) bool { return spoiled[l] }, s.chains...), 2000)
			if found := strings.Join(lines(t, w.findings()), "\n"); strings.Count(found, `"class":"log-modified"`) != len(s.chains) ||
				strings.Count(found, `"class":"log-missing"`) != len(s.chains) || strings.Count(found, "\n")+1 != 2*len(s.chains) {
				t.Errorf("findings\n%s", found)
			}
		})
	}
}

// exactly demands that every event came once, byte for byte, and no other.
func (s *site) exactly(t *testing.T, w *worker, want map[string]string, atLeast int) {
	t.Helper()
	counts, got := w.emitted(t)
	if len(want) < atLeast || len(got) != len(want) {
		t.Errorf("%d events, want %d and no less than %d", len(got), len(want), atLeast)
	}
	for name, record := range want {
		if counts[name] != 1 || got[name] != record {
			t.Fatalf("%s came %d times:\n%s\nwant\n%s", name, counts[name], got[name], record)
		}
	}
}

// someLog returns the n-th log of a chain.
func someLog(c *testtrail.Chain, n int) trail.Object {
	for _, d := range c.Issued {
		if n < len(d.Logs) {
			return d.Logs[n]
		}
		n -= len(d.Logs)
	}
	panic("too few logs")
}
