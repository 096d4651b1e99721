package dashboards

import (
	"encoding/json"
	"math"
	"net/url"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

const (
	bucket     = "trail-bucket"
	sinkBucket = "proven-events"
)

// feed is a trail that delivers the last hours of its chains one after the
// other, in fast motion: as when a worker was away, and catches up. Some of it
// goes wrong.
type feed struct {
	world  *testtrail.World
	aws    *testaws.Server
	queue  *testaws.Queue
	chains []*testtrail.Chain
	hours  int // of each chain
	denied trail.Object
}

// newFeed returns a feed in the world of the sample, so that one list of keys
// serves both.
func newFeed(t *testing.T, hours int) *feed {
	t.Helper()
	w := testtrail.Sample().World
	w.AddBucket(sinkBucket)
	f := &feed{world: w, aws: testaws.New(t, w), hours: hours}
	f.aws.Latency = 15 * time.Millisecond
	f.queue = f.aws.Queue("trail")
	tr := w.Trail(testtrail.Options{Bucket: bucket})
	begin := time.Now().UTC().Add(-time.Duration(hours+1) * time.Hour)
	for _, account := range []string{"100110011001", "100210021002", "100310031003"} {
		for _, region := range []string{"us-east-1", "eu-west-1", "ap-southeast-2", "sa-east-1"} {
			f.chains = append(f.chains, tr.Chain(account, region, begin))
		}
	}
	return f
}

// What goes wrong, by the hour in tenths of all, and the chain.
const (
	tamperedChain = 5 // a log file is edited
	stoppedChain  = 2 // logging is off for two hours
	deniedChain   = 7 // a log file may not be read for a while
	plantedChain  = 9 // a digest file is planted beside the genuine one
)

// hour delivers hour n of every chain but one that is off, and announces it.
func (f *feed) hour(n int) {
	for i, c := range f.chains {
		if c.Now().Add(time.Hour).After(time.Now()) {
			continue // it comes when it is over
		}
		before := len(c.Issued)
		switch at := func(chain, tenth int) bool { return i == chain && n == f.hours*tenth/10 }; {
		case at(tamperedChain, 3):
			f.world.HideMallory(c.SecretHour().Logs[0])
		case at(stoppedChain, 4):
			c.StopHour()
			c.Skip(2 * time.Hour)
		case i == stoppedChain && n == f.hours*4/10+1:
			continue
		case i == stoppedChain && n == f.hours*4/10+2:
			c.Restart(c.Now())
		case at(deniedChain, 5):
			f.denied = f.usual(i, n).Logs[0]
			f.aws.Fail(testaws.AccessDenied().On("GetObject", bucket, f.denied.Key))
		case at(plantedChain, 7):
			d := f.usual(i, n)
			o, _ := f.world.Stored(bucket, d.Key)
			f.world.Put(bucket, c.Name().Digest(d.End.Add(10*time.Minute)).String(), o)
		default:
			f.usual(i, n)
		}
		for _, d := range c.Issued[before:] {
			f.announce(d)
		}
	}
	switch n {
	case f.hours * 6 / 10: // the sink's bucket is overloaded
		slow := testaws.SlowDown().On("PutObject", sinkBucket, "")
		slow.Times = 60
		f.aws.Fail(slow)
	case f.hours * 8 / 10:
		f.aws.Heal()
	}
}

// usual is an hour with more events by day than by night.
func (f *feed) usual(i, n int) *testtrail.Issued {
	c := f.chains[i]
	day := 1 - math.Cos(2*math.Pi*float64(c.Now().Hour())/24)
	events := 40 + int(day*120*float64(1+i%4))
	return c.Hour(f.world.Log(events), f.world.Log(events/2+n%7), f.world.Log(events/3))
}

// announce sends what S3 sends of a digest and its log files.
func (f *feed) announce(d *testtrail.Issued) {
	for _, o := range append([]trail.Object{{Bucket: d.Bucket, Key: d.Key}}, d.Logs...) {
		b, err := json.Marshal(map[string]any{"Records": []any{map[string]any{
			"eventVersion": "2.1", "eventName": "ObjectCreated:Put",
			"s3": map[string]any{"bucket": map[string]any{"name": o.Bucket}, "object": map[string]any{"key": url.QueryEscape(o.Key)}},
		}}})
		if err != nil {
			panic(err)
		}
		f.queue.Send(string(b))
	}
}
