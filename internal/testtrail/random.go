package testtrail

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Random is a small world that a source of random numbers makes: trails with
// stops, moves, late logs, backfill and all else that CloudTrail does. Nothing in
// it is wrong but the times in which logging was off.
type Random struct {
	World  *World
	Source string   // the bucket that every trail writes into in the end
	Chains []*Chain // backfill chains are among them
	Start  time.Time
	End    time.Time // when the last trail delivers its last digest
}

// life is what happens to a trail, by the hours of its chains.
type life struct {
	begin time.Time
	hours int

	move                 int // the hour in which bucket or prefix change; 0: never
	oldBucket, oldPrefix string
	isMidHour            bool // the log files of the hour's first half lie in the old place

	stop      int // the last hour before logging is off; 0: never
	off       time.Duration
	isLogged  bool // a verified event tells who did it
	isStillOn bool // only validation was off: logs go on
}

// NewRandom makes a world of 1 to 3 trails. Equal numbers make equal worlds.
func NewRandom(r *rand.Rand) *Random {
	w := New()
	// The keys of all regions change on March 8.
	start := time.Date(2026, 3, 1+r.IntN(9), r.IntN(24), 0, 0, 0, time.UTC)
	g := &Random{World: w, Source: "trail-bucket", Start: start, End: start}
	accounts := []string{"111122223333", "444455556666"}[:1+r.IntN(2)]
	regions := []string{"us-east-1", "eu-west-1"}[:1+r.IntN(2)]
	names := []string{"main", "x_us-east-1_y", "audit.log"}
	prefixes := []string{"", "", "p", "a/b/c/d/e/f", "AWSLogs"}
	for i := range 1 + r.IntN(3) {
		l := newLife(r, start)
		prefix := prefixes[r.IntN(len(prefixes))]
		o := Options{
			Bucket: g.Source, Prefix: prefix, Name: names[i], HomeRegion: regions[r.IntN(len(regions))],
			Offset: time.Duration(1+r.IntN(3599)) * time.Second,
		}
		if r.IntN(4) == 0 {
			o.Organization = "o-0123456789"
		}
		t := w.Trail(o)
		w.AddBucket("old-bucket")
		if l.oldPrefix = prefix; r.IntN(2) == 0 {
			l.oldPrefix = "old"
		}
		if l.oldBucket = g.Source; l.oldPrefix == prefix || r.IntN(2) == 0 {
			l.oldBucket = "old-bucket"
		}
		for _, account := range accounts {
			for _, region := range regions {
				if len(g.Chains) < 6 && (len(g.Chains) == 0 || r.IntN(3) > 0) {
					g.live(r, t, l, account, region, prefix)
				}
			}
		}
	}
	return g
}

func newLife(r *rand.Rand, start time.Time) life {
	l := life{begin: start, hours: 6 + r.IntN(14)}
	if r.IntN(3) == 0 {
		l.begin = start.Add(time.Duration(r.IntN(8)) * time.Hour)
	}
	if r.IntN(3) == 0 {
		l.move, l.isMidHour = 2+r.IntN(l.hours-2), r.IntN(2) == 0
	}
	if r.IntN(3) == 0 {
		l.stop = 1 + r.IntN(l.hours-1)
		l.off = time.Duration(2+r.IntN(6)) * time.Hour
		if r.IntN(3) == 0 { // the new digests end at another minute
			l.off += time.Duration(r.IntN(3600)) * time.Second
		}
		l.isLogged, l.isStillOn = r.IntN(2) == 0, r.IntN(3) == 0
		if l.move == l.stop+1 { // the first digest after a restart does not tell of the old place
			l.move = 0
		}
	}
	return l
}

// live makes a chain of a trail.
func (g *Random) live(r *rand.Rand, t *Trail, l life, account, region, prefix string) {
	place := func(hour int) {
		if t.Bucket, t.Prefix = g.Source, prefix; hour < l.move {
			t.Bucket, t.Prefix = l.oldBucket, l.oldPrefix
		}
	}
	place(0)
	c := t.Chain(account, region, l.begin)
	g.Chains = append(g.Chains, c)
	var again []DocLog // listed again by the next digest
	for hour := 1; hour <= l.hours; hour++ {
		half := 0
		if place(hour); hour == l.move && l.isMidHour {
			half = 30
			place(hour - 1)
			g.deliver(r, c, 0, half)
			place(hour)
		}
		c.pending = append(c.pending, again...)
		again = nil
		g.deliver(r, c, half, 60)
		if hour == l.stop && l.isLogged && region == t.HomeRegion {
			at := c.at.Add(30 * time.Minute)
			_, entry := c.Deliver(at, LogOf(g.World.StopLogging(at, t.ARN(account).String())))
			c.pending = append(c.pending, entry)
		}
		if n := len(c.pending); n > 0 && r.IntN(8) == 0 && c.pending[n-1].Bucket == t.Bucket {
			again = append(again, c.pending[n-1])
		}
		c.Hour()
		if hour == l.stop && hour < l.hours {
			if l.isStillOn {
				o, _ := c.Deliver(c.at.Add(l.off/3), g.World.Log(1))
				c.Undigested = append(c.Undigested, o)
			}
			c.Skip(l.off)
			c.Restart(c.at)
			again = nil
		}
	}
	g.backfill(r, c)
	if end := c.at.Add(digestDelay); end.After(g.End) {
		g.End = end
	}
}

// deliver delivers some log files between two minutes of a chain's hour.
func (g *Random) deliver(r *rand.Rand, c *Chain, from, to int) {
	for range r.IntN(3) {
		at := c.at.Add(time.Duration(from*60+r.IntN((to-from)*60)) * time.Second)
		stamp := slotOf(at)
		var entry DocLog
		switch r.IntN(12) {
		case 0: // CloudTrail could not deliver before: the folder is that of the publication
			late := stamp.AddDate(0, 0, -1-r.IntN(3)).Add(-time.Duration(r.IntN(20)) * time.Hour)
			_, entry = c.deliver(at, late, at, g.World.Log(1))
		case 1: // a few hours late
			_, entry = c.deliver(at, stamp.Add(-time.Duration(1+r.IntN(5))*time.Hour), at, g.World.Log(1))
		case 2: // the day of the delivery, where the stamp is rounded up to the next day
			_, entry = c.deliver(at, stamp, at, g.World.Log(1))
		case 3:
			entry = g.sibling(r, c, at)
		default:
			_, entry = c.deliver(at, stamp, stamp, g.World.Log(1))
		}
		if entry.Object != "" {
			c.pending = append(c.pending, entry)
		}
	}
}

// sibling delivers a file into the folder of Insights beside the logs. Whether
// digests list such files is not known, so some do.
func (g *Random) sibling(r *rand.Rand, c *Chain, at time.Time) DocLog {
	folder := strings.Replace(c.Place().Day("CloudTrail", at), "/CloudTrail/", "/CloudTrail-Insight/", 1)
	name := fmt.Sprintf("%s_CloudTrail-Insight_%s_%s_%s.json.gz", c.account, c.region, slotOf(at).Format("20060102T1504Z"), unique(g.World.next()))
	_, entry := c.put(at, folder+name, g.World.Log(1))
	if r.IntN(2) == 0 {
		return DocLog{}
	}
	return entry
}

// backfill makes a backfill chain beside some chains.
func (g *Random) backfill(r *rand.Rand, c *Chain) {
	if r.IntN(4) > 0 {
		return
	}
	b := c.Backfill(c.Issued[0].End.Add(time.Duration(r.IntN(6)) * time.Hour))
	g.Chains = append(g.Chains, b)
	for range 1 + r.IntN(2) {
		b.Hour(g.World.Log(1))
	}
}
