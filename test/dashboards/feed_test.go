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

// feed is a trail that delivers the last hours of its chains in fast motion, as
// when a worker was away and catches up, and then each hour when it is over.
// Some of it goes wrong.
type feed struct {
	world  *testtrail.World
	aws    *testaws.Server
	queue  *testaws.Queue
	chains []*fed
	ticks  int // of the whole run, each of which is an hour of a chain at least
}

// fed is one chain of the feed.
type fed struct {
	*testtrail.Chain
	hours int // so far
	ready int // the tick at which it has caught up
}

// newFeed returns a feed in the world of the sample, so that one list of keys
// serves both. Its chains' hours end one after the other in the second half of
// a run.
func newFeed(t *testing.T, ticks int, tick time.Duration) *feed {
	t.Helper()
	w := testtrail.Sample().World
	w.AddBucket(sinkBucket)
	f := &feed{world: w, aws: testaws.New(t, w), ticks: ticks}
	f.aws.Latency = 15 * time.Millisecond
	f.queue = f.aws.Queue("trail")
	for _, account := range []string{"100110011001", "100210021002", "100310031003"} {
		for _, region := range []string{"us-east-1", "eu-west-1", "ap-southeast-2", "sa-east-1"} {
			n := len(f.chains)
			over := time.Now().UTC().Add(tick * time.Duration(ticks*(12+n)/26)).Truncate(time.Second)
			tr := w.Trail(testtrail.Options{Bucket: bucket, Offset: over.Sub(over.Truncate(time.Hour))})
			c := tr.Chain(account, region, over.Add(-time.Duration(ticks)*time.Hour))
			f.chains = append(f.chains, &fed{Chain: c, ready: ticks * (10 + n%5) / 40})
		}
	}
	return f
}

// What goes wrong, by the chain, and by its hour in tenths of all.
const (
	tamperedChain = 5 // a log file is edited
	stoppedChain  = 2 // logging is off for two hours
	deniedChain   = 7 // a log file may not be read for a while
	plantedChain  = 9 // a digest file is planted beside the genuine one
)

// tick delivers what is due at tick n, and announces it.
func (f *feed) tick(n int) {
	for i, c := range f.chains {
		for c.hours < f.ticks*(n+1)/c.ready && !c.Now().Add(time.Hour).After(time.Now()) {
			before := len(c.Issued)
			f.hour(i, c)
			c.hours++
			for _, d := range c.Issued[before:] {
				f.announce(d)
			}
		}
	}
	switch n {
	case f.ticks * 3 / 10: // the sink's bucket is overloaded
		slow := testaws.SlowDown().On("PutObject", sinkBucket, "")
		slow.Times = 60
		f.aws.Fail(slow)
	case f.ticks * 5 / 10:
		f.aws.Heal()
	}
}

// hour makes the next hour of a chain.
func (f *feed) hour(i int, c *fed) {
	at := func(chain, tenth int) bool { return i == chain && c.hours == f.ticks*tenth/10 }
	switch stopped := f.ticks * 4 / 10; {
	case at(tamperedChain, 3):
		f.world.HideMallory(c.SecretHour().Logs[0])
	case i == stoppedChain && c.hours == stopped:
		c.StopHour()
		c.Skip(2 * time.Hour)
	case i == stoppedChain && c.hours == stopped+1:
		c.Restart(c.Now())
	case at(deniedChain, 5):
		f.aws.Fail(testaws.AccessDenied().On("GetObject", bucket, f.usual(i, c).Logs[0].Key))
	case at(plantedChain, 7): // before the next one comes, or nobody would look at it
		last := c.Issued[len(c.Issued)-1]
		o, _ := f.world.Stored(bucket, last.Key)
		planted := testtrail.Issued{Bucket: bucket, Key: c.Name().Digest(last.End.Add(10 * time.Minute)).String()}
		f.world.Put(bucket, planted.Key, o)
		f.announce(&planted)
		f.usual(i, c)
	default:
		f.usual(i, c)
	}
}

// usual is an hour with more events by day than by night.
func (f *feed) usual(i int, c *fed) *testtrail.Issued {
	day := 1 - math.Cos(2*math.Pi*float64(c.Now().Hour())/24)
	events := 40 + int(day*120*float64(1+i%4))
	return c.Hour(f.world.Log(events), f.world.Log(events/2+c.hours%7), f.world.Log(events/3))
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
