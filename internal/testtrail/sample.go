package testtrail

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// SampleBucket is the bucket that the sample is a copy of.
const SampleBucket = "example-trail-logs"

const sampleHours = 8

// SampleTrail is the trail that is committed as the built-in sample, and what
// a verifier must find in it.
type SampleTrail struct {
	World  *World
	Chains []*Chain
	Keys   digest.KeySet

	Tampered       trail.Object // this log file was edited
	Stopped        *Chain       // logging was off in this chain
	StopLog        trail.Object // this log file says who stopped it
	GapFrom, GapTo time.Time
	Unsigned       *Chain // the newest digest of this chain has no sidecar
}

// Sample makes the built-in sample, the same bytes each time: two accounts, two
// regions, the morning of 1 March 2026. Mallory stops the logging of one chain
// for two hours, and someone edits her name out of a log file of another.
func Sample() *SampleTrail {
	w := New()
	s := &SampleTrail{World: w}
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for _, account := range []string{"111122223333", "444455556666"} {
		t := w.Trail(Options{Bucket: SampleBucket})
		for _, region := range []string{"us-east-1", "eu-west-1"} {
			s.Chains = append(s.Chains, t.Chain(account, region, start))
		}
	}
	s.Stopped, s.Unsigned = s.Chains[0], s.Chains[2]
	tampered := s.Chains[3]
	for h := range sampleHours {
		for i, c := range s.Chains {
			switch {
			case c == s.Stopped && h == 3:
				s.stop(c)
			case c == s.Stopped && (h == 4 || h == 5): // off
			case c == s.Stopped && h == 6:
				s.restart(c)
			case c == tampered && h == 5:
				s.tamper(c)
			default:
				c.EverydayHour(h + i)
			}
		}
	}
	s.Keys = w.KeySet(start.Add(-time.Hour), start.Add(24*time.Hour))
	return s
}

// WriteFolder writes the sample below a folder: the bucket, as a copy is left,
// and keys.json.
func (s *SampleTrail) WriteFolder(folder string) error {
	signed := map[string]bool{}
	for _, c := range s.Chains {
		for _, d := range c.Heads() {
			signed[d.Key] = c != s.Unsigned
		}
	}
	if err := s.World.WriteFolder(SampleBucket, folder, func(key string) bool { return signed[key] }); err != nil {
		return err
	}
	b, err := s.Keys.JSON()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "keys.json"), b, 0o644)
}

func (s *SampleTrail) stop(c *Chain) {
	d := c.StopHour()
	s.StopLog, s.GapFrom = d.Logs[0], d.End
	c.Skip(2 * time.Hour)
}

func (s *SampleTrail) restart(c *Chain) {
	s.GapTo = c.Restart(c.Now()).End
	c.StartHour()
}

func (s *SampleTrail) tamper(c *Chain) {
	s.Tampered = c.SecretHour().Logs[0]
	s.World.HideMallory(s.Tampered)
}

// StopHour delivers an hour in which Mallory switches the trail off.
func (c *Chain) StopHour() *Issued {
	mallory := c.user("mallory", "198.51.100.7")
	return c.hourOf(func(at time.Time) []json.RawMessage {
		return []json.RawMessage{
			c.record(at.Add(-4*time.Minute), mallory, call{"iam", "CreateAccessKey", false, fields{"userName": "mallory"}}),
			c.record(at.Add(-3*time.Minute), mallory, call{"cloudtrail", "DescribeTrails", true, fields{"trailNameList": []string{}}}),
			c.record(at.Add(-2*time.Minute), mallory, call{"cloudtrail", "StopLogging", false, fields{"name": c.trail.ARN(c.account).String()}}),
		}
	})
}

// StartHour delivers an hour in which Alice switches the trail on again.
func (c *Chain) StartHour() *Issued {
	alice := c.user("alice", "192.0.2.21")
	return c.hourOf(func(at time.Time) []json.RawMessage {
		return []json.RawMessage{
			c.record(at.Add(-3*time.Minute), alice, call{"cloudtrail", "GetTrailStatus", true, fields{"name": c.trail.Name}}),
			c.record(at.Add(-2*time.Minute), alice, call{"cloudtrail", "StartLogging", false, fields{"name": c.trail.ARN(c.account).String()}}),
		}
	})
}

// SecretHour delivers an hour in which Mallory reads a secret.
func (c *Chain) SecretHour() *Issued {
	mallory := c.role("support", "mallory", "198.51.100.7")
	return c.hourOf(func(at time.Time) []json.RawMessage {
		return []json.RawMessage{
			c.record(at.Add(-3*time.Minute), mallory, call{"secretsmanager", "ListSecrets", true, fields{"maxResults": 100}}),
			c.record(at.Add(-2*time.Minute), mallory, call{"secretsmanager", "GetSecretValue", true, fields{"secretId": "prod/payments/db"}}),
		}
	})
}

// HideMallory edits her name out of a log file.
func (s *Store) HideMallory(o trail.Object) {
	s.EditLog(o, func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("mallory"), []byte("carol")) })
}

// EverydayHour delivers an hour of a day on which nothing happens: of every
// four in a row one has two log files, two have one and one has none.
func (c *Chain) EverydayHour(n int) *Issued {
	var logs []func(time.Time) []json.RawMessage
	for _, events := range [][]int{{4, 3}, {3}, {5}, {}}[n%4] {
		logs = append(logs, func(at time.Time) (records []json.RawMessage) {
			for i := range events {
				by, what := c.ordinary(7*c.trail.world.next() + i)
				records = append(records, c.record(at.Add(time.Duration(37*i)*time.Second-5*time.Minute), by, what))
			}
			return records
		})
	}
	return c.hourOf(logs...)
}

// hourOf delivers an hour of log files whose digest tells the times of their
// events.
func (c *Chain) hourOf(logs ...func(at time.Time) []json.RawMessage) *Issued {
	var objects []trail.Object
	for i, log := range logs {
		at := c.at.Add(15*time.Minute + time.Duration(i)*25*time.Minute)
		records := log(at)
		o, entry := c.Deliver(at, LogOf(records...))
		entry.Oldest, entry.Newest = eventTime(records[0]), eventTime(records[len(records)-1])
		c.pending, objects = append(c.pending, entry), append(objects, o)
	}
	d := c.Hour()
	d.Logs = objects
	return d
}

func eventTime(record []byte) *string {
	e, err := trail.ParseEvent(record)
	if err != nil {
		panic(err)
	}
	s := e.Time().Format(time.RFC3339)
	return &s
}
