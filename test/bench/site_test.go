package bench

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
)

// site is what a server serves: a trail with chains of as many accounts as it
// takes, each some hours long. All chains end at the same time.
type site struct {
	Chains  int
	Hours   int
	Logs    int // in an hour
	LogSize int // inflated bytes
	Latency time.Duration
	Queue   bool // announces the digests

	// Of the memory test: the logs and digests that are out of the ordinary.
	HugeLog     int // inflated bytes of one more log, if any
	Bomb        int // inflated zeros, in the place of a log and of a digest
	HugeDigests int // hours more, in which a digest has so many entries:
	Entries     int
}

const (
	bucket    = "trail-bucket"
	owner     = "111122223333"
	queueName = "trail"
)

// newest is when the newest digests end.
var newest = time.Date(2026, 3, 11, 0, 8, 11, 0, time.UTC)

// begin is when the starting digests end.
func (s site) begin() time.Time {
	return newest.Add(-time.Duration(s.Hours+s.HugeDigests) * time.Hour)
}

// logs and digests return how many the site has, without the extraordinary.
func (s site) logs() int    { return s.Chains * s.Hours * s.Logs }
func (s site) digests() int { return s.Chains * (s.Hours + 1) }

// events returns how many a log file of the site has.
func (s site) events() int {
	return bytes.Count(testtrail.New().SizedLog(s.LogSize), []byte(`"eventID"`))
}

// regions are as many as an account has that switched none on.
var regions = []string{
	"us-east-1", "us-east-2", "us-west-1", "us-west-2", "ca-central-1", "sa-east-1", "eu-west-1", "eu-west-2", "eu-west-3",
	"eu-central-1", "eu-north-1", "ap-south-1", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-southeast-1", "ap-southeast-2",
}

// announced is a digest that a queue announces.
type announced struct {
	key string
	end time.Time
}

// world builds the site. It keeps of the chains only what lies in the bucket:
// ten thousand of them must fit.
func (s site) world() (*testtrail.World, testaws.Trail, []announced) {
	w := testtrail.New()
	tr := w.Trail(testtrail.Options{})
	var digests []announced
	for i := range s.Chains {
		account := fmt.Sprintf("%012d", 111122223333+i/len(regions))
		c := tr.Chain(account, regions[i%len(regions)], s.begin())
		for hour := range s.Hours {
			s.hour(w, c, hour == 0)
			if s.Bomb == 0 && s.HugeDigests == 0 {
				for _, d := range c.Issued {
					digests = append(digests, announced{d.Key, d.End})
				}
				c.Issued = nil
			}
		}
		s.excess(w, c)
	}
	slices.SortStableFunc(digests, func(a, b announced) int { return cmp.Compare(a.end.Unix(), b.end.Unix()) })
	return w, testaws.Describe(tr, owner), digests
}

func (s site) hour(w *testtrail.World, c *testtrail.Chain, first bool) {
	bodies := make([][]byte, s.Logs, s.Logs+1)
	for i := range bodies {
		bodies[i] = w.SizedLog(s.LogSize)
	}
	if first && s.HugeLog > 0 {
		bodies = append(bodies, w.SizedLog(s.HugeLog))
	}
	c.Hour(bodies...)
}

// excess puts what is out of the ordinary into a chain.
func (s site) excess(w *testtrail.World, c *testtrail.Chain) {
	if s.Bomb > 0 {
		bomb := testtrail.Gzip(make([]byte, s.Bomb))
		log, digest := c.Issued[2].Logs[0], c.Issued[3]
		w.Edit(log.Bucket, log.Key, func(o *testtrail.Stored) { o.Body = bomb })
		w.Edit(digest.Bucket, digest.Key, func(o *testtrail.Stored) { o.Body = bomb })
	}
	for range s.HugeDigests {
		crowd(w, c, s.Entries)
	}
}

// crowd adds an hour with very many log files, all of one content.
func crowd(w *testtrail.World, c *testtrail.Chain, n int) {
	o, entry := c.Deliver(c.Now().Add(30*time.Minute), w.Log(1))
	stored, _ := w.Stored(o.Bucket, o.Key)
	logs := make([]testtrail.DocLog, n)
	for i := range logs {
		logs[i] = entry
		if i > 0 {
			logs[i].Object = fmt.Sprintf("%s%08d.json.gz", o.Key[:len(o.Key)-len("00000000.json.gz")], i)
			w.Put(o.Bucket, logs[i].Object, stored)
		}
	}
	c.Hour()
	c.ReissueFrom(len(c.Issued)-1, func(d *testtrail.Doc) { d.Logs = logs })
}

// verifyFlags are the arguments of a verification of the whole site.
func (s site) verifyFlags(more ...string) []string {
	return append([]string{
		"verify", "s3://" + bucket, "--start-time", s.begin().Format(time.RFC3339), "--end-time", newest.Format(time.RFC3339),
	}, more...)
}
