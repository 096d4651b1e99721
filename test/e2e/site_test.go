package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// begin is long ago: what is absent is missing by now, so that an outage that
// is taken for absence becomes a finding.
var begin = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

const (
	logsPerHour  = 3
	eventsPerLog = 20
)

// site is a trail in a bucket, and what of it was delivered there.
type site struct {
	*testtrail.World
	t         *testing.T
	server    *bucketServer
	bucket    string
	sink      string // bucket of proven events
	trail     *testtrail.Trail
	chains    []*testtrail.Chain
	delivered map[string]bool   // keys
	expected  map[string]string // events by name
}

// newSite makes a trail with two chains and a few hours, and buckets for it
// and for what is proven of it.
func newSite(t *testing.T, server *bucketServer) *site {
	t.Helper()
	s := &site{
		World: testtrail.New(), t: t, server: server, bucket: "trail-" + plainName(t), sink: "proven-" + plainName(t),
		delivered: map[string]bool{}, expected: map[string]string{},
	}
	server.makeBucket(s.bucket)
	server.makeBucket(s.sink)
	s.trail = s.Trail(testtrail.Options{Bucket: s.bucket})
	s.chain("111122223333", "us-east-1")
	s.chain("444455556666", "eu-west-1")
	return s
}

// chain begins a chain in which there is a starting digest.
func (s *site) chain(account, region string) {
	s.chains = append(s.chains, s.trail.Chain(account, region, begin))
}

// hours lets each chain run on, and returns the keys of the new digests. The
// site's bucket has them when they are delivered.
func (s *site) hours(n int) (digests []string) {
	for range n {
		for _, c := range s.chains {
			var bodies [][]byte
			for range logsPerHour {
				bodies = append(bodies, s.Log(eventsPerLog))
			}
			d := c.Hour(bodies...)
			digests = append(digests, d.Key)
			for i, l := range d.Logs {
				s.expect(l, bodies[i])
			}
		}
	}
	return digests
}

// expect notes the events of a log by the names that they have in what is
// emitted.
func (s *site) expect(l trail.Object, body []byte) {
	var log struct{ Records []json.RawMessage }
	if err := json.Unmarshal(body, &log); err != nil || len(log.Records) != eventsPerLog {
		s.t.Fatalf("%s: %d records, %v", l, len(log.Records), err)
	}
	for i, r := range log.Records {
		s.expected[fmt.Sprintf("%s %d", l, i)] = string(r)
	}
}

// deliver uploads what is new, as CloudTrail does: logs before the digests that
// list them.
func (s *site) deliver() {
	s.t.Helper()
	all, _ := s.Keys(s.bucket, "")
	for _, digests := range []bool{false, true} {
		var fresh []string
		for _, k := range all {
			if !s.delivered[k] && strings.Contains(k, "/"+trail.DigestFolder+"/") == digests {
				s.delivered[k] = true
				fresh = append(fresh, k)
			}
		}
		s.server.putAll(s.Store, s.bucket, fresh)
	}
}

// logs is how many log files there are.
func (s *site) logs() int { return len(s.expected) / eventsPerLog }

// keysFile returns the public keys as the programs read them.
func (s *site) keysFile() []byte {
	s.t.Helper()
	b, err := s.KeySet(begin.AddDate(0, 0, -2), begin.AddDate(0, 3, 0)).JSON()
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// tally is what a sink holds: how often each event came, and its line.
type tally struct {
	counts map[string]int
	lines  map[string]string
}

// count reads lines of proven events. An event has one id and one line, however
// often it comes.
func count(t *testing.T, all []string) tally {
	t.Helper()
	n, byID := tally{map[string]int{}, map[string]string{}}, map[string]string{}
	for _, line := range all {
		var e struct {
			Trailseal struct {
				Status, Log, ID string
				Record          int
			}
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Trailseal.Status != "verified" || e.Trailseal.ID == "" {
			t.Fatalf("%v: %s", err, line)
		}
		name := fmt.Sprintf("%s %d", e.Trailseal.Log, e.Trailseal.Record)
		if old, again := n.lines[name]; again && old != line {
			t.Fatalf("one event, two lines:\n%s\n%s", old, line)
		}
		if other, taken := byID[e.Trailseal.ID]; taken && other != name {
			t.Fatalf("one id, two events: %s, %s", other, name)
		}
		byID[e.Trailseal.ID], n.lines[name] = name, line
		n.counts[name]++
	}
	return n
}

// repeats is how many lines more there are than events.
func (n tally) repeats() (more int) {
	for _, c := range n.counts {
		more += c - 1
	}
	return more
}

// complete demands every event of the site in its own bytes, and nothing else.
func (s *site) complete(sink string, n tally) {
	s.t.Helper()
	lost, strange := 0, 0
	for name, record := range s.expected {
		line, there := n.lines[name]
		if !there {
			lost++
		} else if !strings.HasSuffix(line, `"},`+record[1:]) {
			s.t.Fatalf("%s: not its own bytes:\n%s\n%s", name, record, line)
		}
	}
	for name := range n.lines {
		if _, ours := s.expected[name]; !ours {
			strange++
		}
	}
	if lost > 0 || strange > 0 || len(s.expected) == 0 {
		s.t.Errorf("%s: of %d events %d are lost, %d more are not of the trail", sink, len(s.expected), lost, strange)
	}
}

// exactlyOnce demands every event once in the bucket of proven ones.
func (s *site) exactlyOnce() {
	s.t.Helper()
	var all []string
	keys := s.server.keys(s.sink)
	for _, key := range keys {
		z, err := gzip.NewReader(bytes.NewReader(s.server.read(s.sink, key)))
		if err != nil {
			s.t.Fatalf("%s: %v", key, err)
		}
		text, err := io.ReadAll(z)
		if err != nil {
			s.t.Fatalf("%s: %v", key, err)
		}
		all = append(all, lines(s.t, key, text)...)
	}
	n := count(s.t, all)
	s.complete("s3://"+s.sink, n)
	if n.repeats() > 0 || len(keys) != s.logs() {
		s.t.Errorf("s3://%s: %d events twice, %d objects for %d log files", s.sink, n.repeats(), len(keys), s.logs())
	}
}
