package simulation_test

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// simPlan is all that a seed decides before the first worker starts.
type simPlan struct {
	seed    uint64
	world   *simWorld
	begin   time.Time // when the first worker starts
	isCalm  bool      // no call fails, no worker is killed, and none shares the state
	objects map[string][]simObject
	marks   map[string]simMark // by key: what was done to an object
	mails   []*simMail         // nil: no queue
	runs    []simRunPlan
	rates   map[string]float64 // of calls that fail, by seam
	outages []simOutage
	notes   []string

	grace       time.Duration
	poll        time.Duration
	concurrency int
	sinks       int
	regions     []string
}

// simMark says which findings about an object are right, and what must be so in the end.
type simMark struct {
	classes  []finding.Class
	since    time.Time
	isFound  bool // a finding about it is required
	isNeeded bool // its events are required all the same
	isJunk   bool
}

// simRunPlan is one worker, and how it ends.
type simRunPlan struct {
	pause   time.Duration // before it starts
	length  time.Duration
	how     string // "drain", "cancel", "kill", or "kill at" a call
	seam    string // of the call
	call    int
	after   bool // the call takes effect
	isOnce  bool
	isPair  bool // a second worker shares the state
	since   time.Time
	isQuiet bool // no call fails
}

// simOutage is a time in which each call of a seam fails.
type simOutage struct {
	seam     string
	from, to time.Time
}

// simMail is a message in the queue.
type simMail struct {
	body     string
	digest   *simDigest // that it announces, or nil
	sent     time.Time
	visible  time.Time
	receipt  string
	receives int
	deleted  bool
}

var simSeams = []string{
	"Get", "Body", "List", "Children", "PublicKeys", "state Get", "state Put", "state List", "Emit", "Flush", "Find",
	"Receive", "Delete", "Extend",
}

// newSimPlan draws a plan.
func newSimPlan(seed uint64) *simPlan {
	r := rand.New(rand.NewPCG(seed, 1))
	worlds := simWorlds()
	w := worlds[r.IntN(len(worlds))]
	p := &simPlan{
		seed: seed, world: w, isCalm: r.IntN(4) == 0,
		objects: map[string][]simObject{}, marks: map[string]simMark{}, rates: map[string]float64{},
		grace:       time.Duration(1+r.IntN(4)) * 30 * time.Minute,
		poll:        []time.Duration{30, 60, 240}[r.IntN(3)] * time.Minute,
		concurrency: 1 + r.IntN(6), sinks: 1 + r.IntN(2),
	}
	life := int(w.end.Sub(w.start)/time.Minute) + 300
	p.begin = w.start.Add(time.Duration(r.IntN(life)-120) * time.Minute)
	if r.IntN(8) == 0 {
		p.regions = []string{"us-east-1"}
	}
	for b, objects := range w.objects {
		p.objects[b] = slices.Clone(objects)
	}
	isLate := r.IntN(3) == 0
	p.tamper(r, isLate)
	p.plant(r)
	if r.IntN(2) == 0 {
		p.announce(r)
	}
	p.drawRuns(r, isLate)
	if !p.isCalm {
		p.storm(r)
	}
	return p
}

func (p *simPlan) note(format string, args ...any) {
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
}

// storm draws which calls fail.
func (p *simPlan) storm(r *rand.Rand) {
	switch r.IntN(4) {
	case 0:
		p.rates[simSeams[r.IntN(len(simSeams))]] = 0.4
	case 1:
		for _, seam := range simSeams {
			p.rates[seam] = 0.15
		}
	default:
		for _, seam := range simSeams {
			p.rates[seam] = 0.03
		}
	}
	for range r.IntN(3) {
		from := p.begin.Add(time.Duration(r.IntN(20*60)) * time.Minute)
		o := simOutage{simSeams[r.IntN(len(simSeams))], from, from.Add(time.Duration(1+r.IntN(180)) * time.Minute)}
		p.outages = append(p.outages, o)
		p.note("outage of %s from %s to %s", o.seam, o.from.Format(time.DateTime), o.to.Format(time.DateTime))
	}
	p.note("rates %v", p.rates)
}

// drawRuns draws the workers. The last three meet no failure: the first of them goes on
// until everything is there and due, the second finds what is listed only once a day, and
// the third has nothing to do.
func (p *simPlan) drawRuns(r *rand.Rand, isLate bool) {
	w := p.world
	var since func(now time.Time) time.Time
	switch r.IntN(4) {
	case 0:
		at := w.start.Add(time.Duration(r.IntN(int(w.end.Sub(w.start)/time.Minute))) * time.Minute)
		since = func(time.Time) time.Time { return at }
	case 1:
		ago := time.Duration(r.IntN(12*60)) * time.Minute
		since = func(now time.Time) time.Time { return now.Add(-ago) }
	default:
		since = func(time.Time) time.Time { return w.start.Add(-24 * time.Hour) }
	}
	now := p.begin
	for i := range r.IntN(4) {
		run := simRunPlan{length: time.Duration(1+r.IntN(300)) * time.Minute, how: "drain"}
		if i > 0 {
			run.pause = time.Duration(r.IntN(180)) * time.Minute
		}
		now = now.Add(run.pause)
		run.since = since(now)
		if !p.isCalm {
			run.how = []string{"drain", "cancel", "kill", "kill at", "kill at"}[r.IntN(5)]
			run.seam, run.after = simSeams[r.IntN(len(simSeams))], r.IntN(2) == 0
			run.call = 1 + r.IntN(1+r.IntN(60))
			run.isPair = r.IntN(8) == 0
		}
		run.isOnce = !isLate && r.IntN(6) == 0
		now = now.Add(run.length)
		p.runs = append(p.runs, run)
	}
	last := w.end
	for _, objects := range p.objects {
		for _, o := range objects {
			if v := o.versions[len(o.versions)-1]; v.at.After(last) {
				last = v.at
			}
		}
	}
	length := 2*p.grace + 4*time.Hour + 2*p.poll
	if now.Before(last) {
		length += last.Sub(now)
	}
	p.runs = append(p.runs,
		simRunPlan{length: length, how: "drain", isQuiet: true, since: since(now)},
		simRunPlan{length: p.grace + 3*time.Hour + p.poll, how: "drain", isQuiet: true, since: since(now.Add(length))},
		simRunPlan{length: time.Hour, how: "drain", isQuiet: true, isOnce: true, since: since(now.Add(2 * length))},
	)
}

// pick returns a random digest of the source that its successor names and whose neighbours
// are as they were, or nil.
func (p *simPlan) pick(r *rand.Rand) *simDigest {
	c := p.world.chains[r.IntN(len(p.world.chains))]
	d := c.digests[r.IntN(len(c.digests))]
	next := d.next()
	if next == nil || c.name.Backfill || d.object.Bucket != p.world.source ||
		d.index > 0 && c.digests[d.index-1].object.Bucket != p.world.source {
		return nil
	}
	for _, near := range c.digests[max(0, d.index-2):min(len(c.digests), d.index+3)] {
		if _, isMarked := p.marks[near.object.Key]; isMarked {
			return nil
		}
	}
	for _, l := range d.logs {
		if _, isMarked := p.marks[l.object.Key]; isMarked {
			return nil
		}
	}
	return d
}

// tamper draws what becomes of some objects: from the start on, or later.
func (p *simPlan) tamper(r *rand.Rand, isLate bool) {
	for range r.IntN(4) {
		d := p.pick(r)
		if d == nil {
			continue
		}
		at, isFirst := d.genuine.Modified, r.IntN(2) == 0
		if !isFirst {
			at = at.Add(time.Duration(r.IntN(12*60)) * time.Minute)
		}
		if len(d.logs) > 0 && r.IntN(2) == 0 {
			if l := d.logs[r.IntN(len(d.logs))]; len(l.listedBy) == 1 && l.object.Bucket == p.world.source {
				p.tamperLog(r, l, at, isFirst)
			}
			continue
		}
		p.tamperDigest(r, d, at, isFirst)
	}
	if !isLate {
		return
	}
	for range 1 + r.IntN(2) {
		if d := p.pick(r); d != nil {
			at := d.genuine.Modified.Add(time.Duration(r.IntN(6*60)) * time.Minute)
			p.change(d.object, at, true, d.genuine)
			p.marks[d.object.Key] = simMark{}
			p.note("digest %s comes at %s", d.object.Key, at.Format(time.DateTime))
			if len(d.logs) > 0 && r.IntN(3) == 0 {
				l := d.logs[0]
				at := l.genuine.Modified.Add(time.Duration(r.IntN(6*60)) * time.Minute)
				p.change(l.object, at, true, l.genuine)
				p.marks[l.object.Key] = simMark{}
				p.note("log %s comes at %s", l.object.Key, at.Format(time.DateTime))
			}
		}
	}
}

func (p *simPlan) tamperLog(r *rand.Rand, l *simLog, at time.Time, isFirst bool) {
	what := []string{"gone", "forged", "cut", "longer"}[r.IntN(4)]
	s := *l.genuine
	m := simMark{classes: []finding.Class{finding.LogModified, finding.LogCorrupt}, since: at, isFound: isFirst}
	stored := &s
	switch what {
	case "gone":
		stored, m.classes = nil, []finding.Class{finding.LogMissing}
	case "forged":
		s.Body = testtrail.Gzip([]byte(`{"Records":[{"eventID":"forged"}]}`))
	case "cut":
		s.Body = s.Body[:len(s.Body)-1-r.IntN(len(s.Body)/2)]
	case "longer":
		s.Body = append(slices.Clone(s.Body), 0)
	}
	if isFirst {
		m.since = l.genuine.Modified
		at = m.since
	}
	p.change(l.object, at, isFirst, stored)
	p.marks[l.object.Key] = m
	p.note("log %s is %s from %s on", l.object.Key, what, at.Format(time.DateTime))
}

func (p *simPlan) tamperDigest(r *rand.Rand, d *simDigest, at time.Time, isFirst bool) {
	what := []string{"gone", "edited", "replaced", "unsigned", "moved", "planted before"}[r.IntN(6)]
	s := *d.genuine
	stored := &s
	m := simMark{
		classes: []finding.Class{finding.DigestSignature, finding.DigestCorrupt, finding.DigestMoved},
		since:   at,
		isFound: isFirst,
	}
	switch what {
	case "gone":
		stored, m.classes = nil, []finding.Class{finding.DigestMissing}
	case "edited":
		s.Body = editedBody(s.Body)
	case "replaced":
		s.Body = []byte("x")
	case "unsigned":
		s.Meta, m.isNeeded = nil, true
	case "moved":
		s = *d.next().genuine
	case "planted before":
		at = d.genuine.Modified.Add(-time.Duration(1+r.IntN(120)) * time.Minute)
		s.Body = []byte("x")
		i := p.find(d.object)
		p.objects[d.object.Bucket][i].versions = []simVersion{{at, stored}, {d.genuine.Modified, d.genuine}}
		m.since, m.isFound, m.isNeeded = at, false, true
		p.marks[d.object.Key] = m
		p.note("digest %s is %s it comes, at %s", d.object.Key, what, at.Format(time.DateTime))
		return
	}
	p.change(d.object, at, isFirst, stored)
	p.marks[d.object.Key] = m
	p.note("digest %s is %s from %s on", d.object.Key, what, at.Format(time.DateTime))
}

// editedBody returns a digest's content with a byte more, packed: it stays a digest.
func editedBody(packed []byte) []byte {
	return testtrail.Gzip(append(simInflate(packed), ' '))
}

func (p *simPlan) find(o trail.Object) int {
	i, isThere := findKey(p.objects[o.Bucket], o.Key)
	if !isThere {
		panic("no object " + o.String())
	}
	return i
}

// change replaces an object from a time on or, with all, its only version.
func (p *simPlan) change(o trail.Object, at time.Time, all bool, stored *testtrail.Stored) {
	object := &p.objects[o.Bucket][p.find(o)]
	if all {
		object.versions = []simVersion{{at, stored}}
		return
	}
	object.versions = append(slices.Clip(object.versions), simVersion{at, stored})
}

// plant draws objects of others: names of digests in real and in invented chains, and names
// that do not belong into a digest folder.
func (p *simPlan) plant(r *rand.Rand) {
	if r.IntN(2) == 0 {
		return
	}
	for range 1 + r.IntN(6) {
		c := p.world.chains[r.IntN(len(p.world.chains))]
		d := c.digests[r.IntN(len(c.digests))]
		name := d.key.Chain
		classes := []finding.Class{finding.DigestCorrupt, finding.DigestSignature, finding.DigestMoved}
		switch r.IntN(6) {
		case 0:
			name.Trail = []string{"000", "planted", "zzzz"}[r.IntN(3)]
		case 1:
			name.Account = "999900001111"
		case 2:
			name.Region = "ap-south-1"
		case 3:
			name.Backfill = !name.Backfill
		}
		end := d.key.End.Add(time.Duration(r.IntN(7200)-3600) * time.Second)
		key := name.Digest(end).String()
		if r.IntN(6) == 0 {
			key, classes = key+".x", []finding.Class{finding.ForeignObject}
		}
		stored := &testtrail.Stored{Body: []byte("x")}
		switch r.IntN(4) {
		case 0:
			stored.Body = testtrail.Gzip([]byte("{}"))
		case 1:
			stored = d.genuine
		}
		at := p.world.start.Add(time.Duration(r.IntN(int(p.world.end.Sub(p.world.start)/time.Minute)+60)) * time.Minute)
		objects := p.objects[p.world.source]
		i, isThere := findKey(objects, key)
		if isThere {
			continue
		}
		p.objects[p.world.source] = slices.Insert(objects, i, simObject{key, []simVersion{{at, stored}}})
		p.marks[key] = simMark{classes: classes, since: at, isJunk: true}
		p.note("planted at %s: %s", at.Format(time.DateTime), key)
	}
}

// announce draws the messages of the queue.
func (p *simPlan) announce(r *rand.Rand) {
	loss, again := r.Float64()*0.3, r.Float64()*0.3
	if r.IntN(2) == 0 {
		loss = 0
	}
	send := func(at time.Time, d *simDigest, body string) {
		if r.Float64() < loss {
			return
		}
		at = at.Add(time.Duration(r.IntN(300)) * time.Second)
		if r.IntN(10) == 0 {
			at = at.Add(time.Duration(r.IntN(5)) * time.Hour)
		}
		if at.Before(p.begin.Add(-96 * time.Hour)) {
			return
		}
		p.mails = append(p.mails, &simMail{body: body, digest: d, sent: at, visible: at})
	}
	for _, c := range p.world.chains {
		for _, d := range c.digests {
			if d.object.Bucket != p.world.source {
				continue
			}
			for _, v := range p.objects[d.object.Bucket][p.find(d.object)].versions {
				body := created(d.object)
				if v.stored == nil {
					body = removed(d.object)
				}
				announced := d
				if v.stored != d.genuine {
					announced = nil
				}
				send(v.at, announced, body)
				for r.Float64() < again {
					send(v.at, announced, body)
				}
			}
		}
	}
	for _, l := range p.world.listed {
		if r.IntN(5) > 0 || l.object.Bucket != p.world.source {
			continue
		}
		body := created(l.object)
		if r.IntN(3) == 0 {
			body = removed(l.object) // true or not
		}
		send(l.genuine.Modified.Add(time.Duration(r.IntN(600))*time.Minute), nil, body)
	}
	for range r.IntN(6) {
		d := p.world.chains[r.IntN(len(p.world.chains))].digests[0]
		at := d.genuine.Modified.Add(time.Duration(r.IntN(900)) * time.Minute)
		name := d.key
		name.End = at.Add(-time.Duration(r.IntN(300)) * time.Minute).Truncate(time.Second)
		o := trail.Object{Bucket: p.world.source, Key: name.String()}
		send(at, nil, []string{
			created(o), removed(o), removed(d.object), created(trail.Object{Bucket: "foreign", Key: o.Key}), `{"no":"form"}`,
		}[r.IntN(5)])
	}
	p.note("%d messages, loss %.2f, again %.2f", len(p.mails), loss, again)
}

// removed is a message that an object was deleted.
func removed(o trail.Object) string {
	return message("ObjectRemoved:Delete", o)
}

// created is a message that an object came.
func created(o trail.Object) string { return message("ObjectCreated:Put", o) }

func message(event string, o trail.Object) string {
	return fmt.Sprintf(
		`{"Records":[{"eventVersion":"2.9","eventName":%q,"s3":{"bucket":{"name":%q},"object":{"key":%q,"size":1}}}]}`,
		event, o.Bucket, strings.ReplaceAll(o.Key, "+", "%2B"),
	)
}

// at returns random numbers for one call: the n-th of a seam about an object. What they
// are does not depend on what other goroutines do.
func (p *simPlan) at(seam, object string, n int) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprint(h, seam, "\x00", object, "\x00", n)
	return rand.New(rand.NewPCG(p.seed, h.Sum64()))
}
