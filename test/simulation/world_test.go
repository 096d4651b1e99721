package simulation_test

import (
	"bytes"
	"cmp"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/trailseal/trailseal/internal/ledger"
	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// simWorld is a signed world. Signing takes longest, so all simulations share a few
// worlds. A simulation changes only its own copy of the list of objects.
type simWorld struct {
	keys       *testtrail.World
	source     string // the bucket that is followed
	start, end time.Time
	chains     []*simChain
	digests    map[trail.Object]*simDigest
	logs       map[trail.Object]*simLog
	listed     []*simLog // the same, in the order of the digests
	events     int
	objects    map[string][]simObject // by bucket, in the order of their keys
}

// simObject is a key with what lies there from when on.
type simObject struct {
	key      string
	versions []simVersion // in the order of their times
}

// simVersion is what lies under a key from a time on: nothing where stored is nil.
type simVersion struct {
	at     time.Time
	stored *testtrail.Stored
}

// simChain is the digests of one head, in the order of their ends.
type simChain struct {
	id      string // the name of its head
	name    trail.Chain
	digests []*simDigest
}

type simDigest struct {
	object  trail.Object
	key     trail.DigestKey
	chain   *simChain
	index   int // in its chain
	starts  bool
	logs    []*simLog
	genuine *testtrail.Stored
}

// next returns the digest that names this one, nil where none does.
func (d *simDigest) next() *simDigest {
	if d.index+1 < len(d.chain.digests) && !d.chain.digests[d.index+1].starts {
		return d.chain.digests[d.index+1]
	}
	return nil
}

type simLog struct {
	object   trail.Object
	sum      digest.Sum
	ids      []string
	records  [][]byte
	first    int // number of its first event among all of the world
	listedBy []*simDigest
	isOff    bool // it has an event that switches logging off
	genuine  *testtrail.Stored
}

// simWorlds are the worlds of all simulations.
var simWorlds = sync.OnceValue(func() (all []*simWorld) {
	// Small worlds, which together have all that a random world can have.
	for _, n := range []uint64{13, 14, 26, 27, 34, 39, 41, 42, 45, 47, 51, 53, 56, 59, 78, 81, 88} {
		all = append(all, newSimWorld(testtrail.NewRandom(rand.New(rand.NewPCG(n, 2)))))
	}
	for n := range uint64(4) {
		all = append(all, newSimWorld(newOrganizationWorld(rand.New(rand.NewPCG(n, 3)))))
	}
	return all
})

var day = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// newOrganizationWorld returns a world whose trail becomes an organization's or changes its
// prefix, and whose other chains begin later: in a folder that is there, and in a new one.
func newOrganizationWorld(r *rand.Rand) *testtrail.Random {
	w := testtrail.New()
	g := &testtrail.Random{World: w, Source: "trail-bucket", Start: day}
	t := w.Trail(testtrail.Options{})
	c := t.Chain("111122223333", "us-east-1", day)
	c.Hours(2 + r.IntN(4))
	if r.IntN(2) == 0 {
		t.Organization = "o-abcdefghij"
	} else {
		t.Prefix = []string{"A", "zz"}[r.IntN(2)]
	}
	c.Hours(3 + r.IntN(4))
	late := w.Trail(testtrail.Options{Name: []string{"aaa", "zzz"}[r.IntN(2)], Offset: 41 * time.Minute})
	second := late.Chain("111122223333", "us-east-1", day.Add(time.Duration(2+r.IntN(5))*time.Hour))
	second.Hours(3 + r.IntN(3))
	third := late.Chain("444455556666", "eu-west-1", day.Add(time.Duration(3+r.IntN(5))*time.Hour))
	third.Hours(2)
	third.Hour()
	third.Hour([]byte(`{"Records":[{"eventID":"a"},5,"x",{"eventID":"b"}]}`), []byte(`{"Records":[]}`))
	b := c.Backfill(day.Add(time.Hour))
	b.Hour(w.Log(2))
	b.Hour(w.Log(1))
	g.Chains = []*testtrail.Chain{c, second, third, b}
	for _, c := range g.Chains {
		if end := c.Now().Add(30 * time.Minute); end.After(g.End) {
			g.End = end
		}
	}
	return g
}

func newSimWorld(g *testtrail.Random) *simWorld {
	w := &simWorld{
		keys: g.World, source: g.Source, start: g.Start, end: g.End, digests: map[trail.Object]*simDigest{},
		logs: map[trail.Object]*simLog{}, objects: map[string][]simObject{},
	}
	for _, b := range g.World.Buckets() {
		keys, _ := g.World.Keys(b, "")
		for _, k := range keys {
			o, _ := g.World.Stored(b, k)
			w.objects[b] = append(w.objects[b], simObject{k, []simVersion{{o.Modified, &o}}})
		}
	}
	byID := map[string]*simChain{}
	for _, c := range g.Chains {
		for _, issued := range c.Issued {
			w.addDigest(byID, issued)
		}
	}
	for _, c := range w.chains {
		slices.SortFunc(c.digests, func(a, b *simDigest) int { return a.key.End.Compare(b.key.End) })
		for i, d := range c.digests {
			d.index = i
		}
	}
	slices.SortFunc(w.chains, func(a, b *simChain) int { return cmp.Compare(a.id, b.id) })
	return w
}

func (w *simWorld) addDigest(byID map[string]*simChain, issued *testtrail.Issued) {
	key, err := trail.ParseDigestKey(issued.Key)
	if err != nil {
		panic(err)
	}
	name := key.Chain
	name.Prefix = ""
	id := ledger.Name("s3://"+w.source, name)
	c := byID[id]
	if c == nil {
		c = &simChain{id: id, name: name}
		byID[id] = c
		w.chains = append(w.chains, c)
	}
	o := trail.Object{Bucket: issued.Bucket, Key: issued.Key}
	d := &simDigest{object: o, key: key, chain: c, starts: issued.Doc.PrevObject == nil, genuine: w.stored(o)}
	c.digests = append(c.digests, d)
	w.digests[o] = d
	parsed, err := digest.Parse(issued.Body)
	if err != nil {
		panic(err)
	}
	for _, l := range parsed.Logs {
		log := w.logs[l.Location()]
		if log == nil {
			log = w.addLog(l)
		}
		log.listedBy = append(log.listedBy, d)
		d.logs = append(d.logs, log)
	}
}

func (w *simWorld) addLog(l digest.Log) *simLog {
	log := &simLog{object: l.Location(), sum: l.Hash, first: w.events, genuine: w.stored(l.Location())}
	var events []sink.Event
	for r, err := range trail.Records(bytes.NewReader(simInflate(log.genuine.Body))) {
		if err != nil && !errors.Is(err, trail.ErrRecordTooLarge) {
			break // the records before that place are emitted
		}
		i := len(log.records)
		log.records = append(log.records, slices.Clone(r))
		events = append(events, sink.Event{Index: i})
		log.isOff = log.isOff || bytes.Contains(r, []byte("StopLogging"))
	}
	sink.Identify(log.object, events)
	for i := range events {
		log.ids = append(log.ids, events[i].ID)
	}
	w.events += len(events)
	w.logs[log.object] = log
	w.listed = append(w.listed, log)
	return log
}

// stored returns what lies under a name.
func (w *simWorld) stored(o trail.Object) *testtrail.Stored {
	i, isThere := findKey(w.objects[o.Bucket], o.Key)
	if !isThere {
		panic("no object " + o.String())
	}
	return w.objects[o.Bucket][i].versions[0].stored
}

// findKey returns where a key is or belongs.
func findKey(objects []simObject, key string) (int, bool) {
	return slices.BinarySearchFunc(
		objects,
		key,
		func(a simObject, key string) int { return strings.Compare(a.key, key) },
	)
}

// isOdd reports whether a record is set aside.
func isOdd(record []byte) bool { return trail.CheckRecord(record) != nil }
