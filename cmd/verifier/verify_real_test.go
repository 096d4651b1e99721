package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
	"github.com/trailseal/trailseal/test/s3server"
)

// dataSets are the real events: each is signed into an account of its own.
var dataSets = []struct{ name, account string }{
	{"stratus", "111111111111"}, {"invictus", "222222222222"}, {"panther_analysis", "333333333333"}, {"otrf", "444444444444"},
}

const realHours = 4

// realSite delivers the events of every data set to two regions, half and half.
func realSite(t *testing.T, data string) (s *site, chains []*testtrail.Chain) {
	t.Helper()
	s = &site{World: testtrail.New(), now: begin.Add((realHours + 1) * time.Hour)}
	s.trail = s.World.Trail(testtrail.Options{})
	for _, set := range dataSets {
		files, err := testtrail.ReadEventFiles(filepath.Join(data, set.name))
		if err != nil {
			t.Fatal(err)
		}
		bodies := testtrail.LogBodies(files, 20)
		for i, region := range []string{"us-east-1", "ap-southeast-2"} {
			c := s.trail.Chain(set.account, region, begin)
			for _, hour := range testtrail.Spread(bodies[i*len(bodies)/2:(i+1)*len(bodies)/2], realHours) {
				c.Hour(hour...)
			}
			chains = append(chains, c)
		}
	}
	return s, chains
}

// Events of real accounts, signed: whole from a folder, from the fake AWS and
// from an S3 server that is not ours, and then tampered with. TRAILSEAL_DATA
// names the folder that holds the data sets.
func TestVerifyRealEvents(t *testing.T) {
	data := os.Getenv("TRAILSEAL_DATA")
	if data == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("TRAILSEAL_DATA is not set in CI")
		}
		t.Skip("TRAILSEAL_DATA is not set: no folder of real events to sign")
	}
	signIn(t)
	// ask verifies where the source has the site's objects, with saved keys.
	sources := []struct {
		name string
		ask  func(t *testing.T, s *site, chains []*testtrail.Chain, keys string) (string, said)
	}{
		{"folder", func(t *testing.T, s *site, chains []*testtrail.Chain, keys string) (string, said) {
			folder := t.TempDir()
			heads := map[string]bool{}
			for _, c := range chains {
				heads[c.Issued[len(c.Issued)-1].Key] = true
			}
			if err := s.WriteFolder(s.trail.Bucket, folder, func(key string) bool { return heads[key] }); err != nil {
				t.Fatal(err)
			}
			return askReal(t, s, folder, keys)
		}},
		{"fake AWS", func(t *testing.T, s *site, _ []*testtrail.Chain, _ string) (string, said) {
			return askReal(t, s, "s3://trail-bucket", "auto")
		}},
		{"versitygw", func(t *testing.T, s *site, _ []*testtrail.Chain, keys string) (string, said) {
			server := s3server.Start(t)
			server.PutAll(t, s.Store)
			t.Setenv("AWS_ACCESS_KEY_ID", server.AccessKey)
			t.Setenv("AWS_SECRET_ACCESS_KEY", server.SecretKey)
			s.endpoint = server.URL
			return askReal(t, s, "s3://trail-bucket", keys)
		}},
	}
	for _, source := range sources {
		for _, tampered := range []bool{false, true} {
			name, want := source.name+" whole", ""
			if tampered {
				name = source.name + " tampered"
			}
			t.Run(name, func(t *testing.T) {
				s, chains := realSite(t, data)
				s.aws = testaws.New(t, s.World)
				if tampered {
					want = tamperReal(s, chains)
				}
				set, err := s.KeySet(begin.AddDate(0, 0, -1), begin.AddDate(0, 0, 2)).JSON()
				if err != nil {
					t.Fatal(err)
				}
				keys := filepath.Join(t.TempDir(), "keys.json")
				if err := os.WriteFile(keys, set, 0o600); err != nil {
					t.Fatal(err)
				}
				if got, said := source.ask(t, s, chains, keys); got != want {
					t.Errorf("got\n%s\nwant\n%s\n%+v", got, want, said)
				}
			})
		}
	}
}

// askReal verifies all hours and returns the report's lines; it counts the
// objects, too.
func askReal(t *testing.T, s *site, source, keys string) (string, said) {
	t.Helper()
	got, r := s.verify(t, source, "--keys", keys, "--end-time=2026-03-01T04:08:11Z")
	if r == nil {
		return "no report", got
	}
	if d := r.Counts.Digests; r.Counts.Chains != 2*len(dataSets) || d != (report.Count{Valid: 2 * len(dataSets) * realHours}) {
		t.Errorf("%d chains, digests %+v", r.Counts.Chains, d)
	}
	if l := r.Counts.Logs; l.Listed() < 150 || l.Invalid+l.Valid != l.Listed() || r.Counts.InflatedBytes < 4<<20 {
		t.Errorf("logs %+v, %d bytes", l, r.Counts.InflatedBytes)
	}
	return s.lines(r), got
}

// tamperReal changes a byte of one log of each chain, deletes another, plants
// a third, and returns what must be found.
func tamperReal(s *site, chains []*testtrail.Chain) string {
	var want []string
	for _, c := range chains {
		edited, deleted := someLog(c, 0), someLog(c, 1)
		s.EditLog(edited, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		s.Delete(deleted.Bucket, deleted.Key)
		planted, _ := c.Deliver(begin.Add(2*time.Hour), testtrail.LogOf([]byte(`{"eventName":"Planted"}`)))
		want = append(want, "log-modified "+edited.Key, "log-missing "+deleted.Key, "log-unlisted "+planted.Key)
	}
	slices.Sort(want)
	return strings.Join(want, "\n")
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
