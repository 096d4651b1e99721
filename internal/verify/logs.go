package verify

import (
	"context"
	"errors"
	"hash/maphash"
	"io/fs"
	"time"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// checkLogs hands every log that a proven digest lists to the checkers. It
// waits while those are busy, and so holds the walk back.
func (w *walk) checkLogs(ctx context.Context, l discover.Digest, d *digest.Digest, asked bool) {
	signed := d.Location().String()
	for _, log := range d.Logs {
		places := w.Source.Locate(l.Chain.Place, log.Location())
		err := d.CheckLog(log, w.name.Place)
		if !w.listed.add(places[0]) && err == nil {
			err = errTwice
		}
		if !asked {
			continue
		}
		w.Progress.LogsListed.Add(1)
		c := logCheck{chain: w.chain, log: log, places: places, digest: signed, end: d.End}
		switch {
		case err != nil:
			c.wrong(finding.LogMisplaced, places[0], err, digest.Sum{})
		case !w.mayFollow(log.Bucket):
			w.countLog(0, 0, 1)
			w.stayed(subject(w.name, log.Location(), c.time()))
		case w.NoLogs:
		default:
			w.logs.Go(func() { c.run(w.logCtx) })
		}
	}
}

var errTwice = errors.New("listed more than once")

// logCheck is the check of one listed log file.
type logCheck struct {
	*chain
	log    digest.Log
	places []trail.Object // where it can lie, the likeliest first
	digest string         // the digest that lists it
	end    time.Time      // of that digest
}

func (c logCheck) run(ctx context.Context) {
	var (
		sum fetch.LogSum
		err error
		at  trail.Object
	)
	for i, place := range c.places {
		l := c.log
		l.Bucket, l.Object = place.Bucket, place.Key
		got, e := c.Fetcher.Log(ctx, l)
		if i == 0 || !errors.Is(e, fs.ErrNotExist) {
			sum, err, at = got, e, place
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	c.Progress.Logs.Add(1)
	c.Progress.InflatedBytes.Add(sum.Inflated)
	c.chain.run.mu.Lock()
	c.inflated += sum.Inflated
	c.chain.run.mu.Unlock()
	c.conclude(ctx, at, sum, err)
}

func (c logCheck) conclude(ctx context.Context, at trail.Object, got fetch.LogSum, err error) {
	switch {
	case err == nil:
		c.countLog(1, 0, 0)
	case errors.Is(err, digest.ErrModified):
		c.wrong(finding.LogModified, at, errModified, got.Sum)
	case errors.Is(err, fs.ErrNotExist):
		c.wrong(finding.LogMissing, at, errGone, digest.Sum{})
	case errors.Is(err, finding.ErrContainer):
		c.wrong(finding.LogCorrupt, at, err, digest.Sum{})
	default:
		c.countLog(0, 0, 1)
		c.doubt(ctx, subject(c.name, at, c.time()), err)
	}
}

var (
	errModified = errors.New("its content is not what was signed for")
	errGone     = errors.New("listed, and not there")
)

func (c logCheck) wrong(class finding.Class, at trail.Object, why error, got digest.Sum) {
	c.countLog(0, 1, 0)
	e := finding.Evidence{Want: c.log.Hash.String(), Digest: c.digest}
	if got != (digest.Sum{}) {
		e.Got = got.String()
	}
	c.find(finding.Finding{Class: class, Subject: subject(c.name, at, c.time()), Detail: why.Error(), Evidence: e})
}

// time returns the log's stamp, or its digest's end where its name has none.
func (c logCheck) time() time.Time {
	if k, err := trail.ParseLogKey(c.log.Object); err == nil {
		return k.Stamp
	}
	return c.end
}

// listedSet remembers which objects the digests of a scope list, eight bytes
// each: a chain of years lists millions. The hash is seeded at random, so
// nobody can choose a name that is taken for another.
type listedSet struct {
	seed maphash.Seed
	keys map[uint64]struct{}
}

func newListedSet() *listedSet {
	return &listedSet{seed: maphash.MakeSeed(), keys: map[uint64]struct{}{}}
}

// add returns false if the object was there already.
func (s *listedSet) add(o trail.Object) bool {
	h := s.hash(o)
	if _, there := s.keys[h]; there {
		return false
	}
	s.keys[h] = struct{}{}
	return true
}

func (s *listedSet) has(o trail.Object) bool {
	_, there := s.keys[s.hash(o)]
	return there
}

func (s *listedSet) hash(o trail.Object) uint64 {
	return maphash.String(s.seed, o.Bucket+"/"+o.Key)
}
