package validatelogs

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	proof "github.com/trailseal/trailseal/pkg/chain"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

const (
	// Results of log files that wait to be printed behind a slow one: so many
	// places for each that is being read.
	windowPerRead = 4
	// Digest files that are read ahead at once, and held until their turn.
	maxAheadReads = 64
)

// errLoop ends a chain that leads back into itself, which the reference would
// walk for ever. Only CloudTrail's key can sign one.
var errLoop = errors.New("the chain leads back to a digest that was already visited")

// walk visits a trail's digests newest first, as the reference does: by the
// pointer to the previous one, and where there is none to follow, on with the
// next older listed key.
type walk struct {
	objects fetch.Objects
	digests *fetch.Fetcher
	ahead   *fetch.Fetcher // of its own, so that log files never hold up the walk
	logs    *fetch.Fetcher
	keys    keyring
	request Request
}

func newWalk(objects fetch.Objects, keys proof.KeySource, r Request) *walk {
	r.Concurrency = max(1, r.Concurrency)
	return &walk{
		objects: objects,
		digests: fetch.New(objects, 1),
		ahead:   fetch.New(objects, min(max(1, r.Concurrency/2), maxAheadReads)),
		logs:    fetch.New(objects, r.Concurrency),
		keys:    keyring{source: keys, region: r.Chain.Region},
		request: r,
	}
}

// step is one thing the walk came upon: an outcome, or a log file that has yet
// to be read.
type step struct {
	outcome Outcome
	log     *digest.Log
}

// outcomes yields everything in the reference's order. Log files are read
// ahead, across digests, while earlier outcomes are being consumed. An error
// is the last pair.
func (w *walk) outcomes(ctx context.Context) iter.Seq2[Outcome, error] {
	return func(yield func(Outcome, error) bool) {
		var stopped error
		check := func(ctx context.Context, s step) Outcome {
			if s.log == nil {
				return s.outcome
			}
			return checkLog(ctx, w.logs, *s.log, s.outcome.Backfill)
		}
		for _, o := range fetch.Ahead(ctx, w.request.Concurrency*windowPerRead, w.steps(ctx, &stopped), check) {
			if ctx.Err() != nil {
				break // what comes now failed because of that
			}
			if !yield(o, nil) {
				return
			}
		}
		if err := context.Cause(ctx); err != nil {
			stopped = err
		}
		if stopped != nil {
			yield(Outcome{}, stopped)
		}
	}
}

// steps walks the standard chain, then the backfill chain. It leaves what
// stopped it in *stopped.
func (w *walk) steps(ctx context.Context, stopped *error) iter.Seq[step] {
	return func(yield func(step) bool) {
		r := w.request
		keys := make(chan error, 1) // asked for beside the listing, and judged after it as the reference does
		go func() { keys <- w.keys.load(ctx, r.Start, r.End.Add(keyLag)) }()
		standard, backfill, err := list(ctx, w.objects, r.Bucket, r.Chain, r.Start, r.End)
		if noKeys := <-keys; err == nil {
			err = noKeys
		}
		if err != nil {
			*stopped = err
			return
		}
		// The backfill chain brings its own keys.
		for _, c := range []*chain{
			{walk: w, keys: &w.keys, left: standard},
			{walk: w, keys: &keyring{source: w.keys.source, region: w.keys.region}, left: backfill, backfill: true},
		} {
			if more, err := c.follow(ctx, yield); err != nil || !more {
				*stopped = err
				return
			}
		}
	}
}

// chain is the walk along one of a trail's chains.
type chain struct {
	*walk
	keys     *keyring
	backfill bool
	left     listed // keys of the bucket that the walk is in, not yet come by
}

// follow walks the chain. It returns false when yield did.
func (c *chain) follow(ctx context.Context, yield func(step) bool) (more bool, err error) {
	ahead := c.readAhead(ctx, c.request.Bucket)
	defer func() { ahead.stop() }()
	at, ok := c.older(visit{Object: trail.Object{Bucket: c.request.Bucket}})
	visited := map[trail.Object]bool{}
	started := at.end // start of the last valid digest; before the first, the end of the newest
	for ok && !c.request.Start.After(started) {
		if visited[at.Object] {
			return false, fmt.Errorf("%s: %w", at.Object, errLoop)
		}
		visited[at.Object] = true
		file := ahead.take(at)
		if err := ctx.Err(); err != nil {
			return false, err
		}
		outcome := c.keys.judge(ctx, file, at.Object, c.backfill, c.request.Chain.HomeRegion)
		if !yield(step{outcome: outcome}) {
			return false, nil
		}
		if outcome.Verdict != Valid {
			at, ok = c.older(at)
			continue
		}
		if !c.logFiles(file.digest, yield) {
			return false, nil
		}
		started = file.digest.Start
		previous := file.digest.Previous
		if previous == nil {
			if at, ok = c.older(at); ok && !yield(step{outcome: Outcome{Kind: Gap, Backfill: c.backfill, From: at.end, To: started}}) {
				return false, nil
			}
			continue
		}
		if previous.Bucket != at.Bucket && !c.request.Start.After(started) {
			ahead.stop()
			if err := c.move(ctx, previous.Bucket, file.digest.End); err != nil {
				return false, err
			}
			ahead = c.readAhead(ctx, previous.Bucket)
		}
		at = visit{previous.Location(), endOf(previous.Object, started)}
	}
	return true, nil
}

func (c *chain) logFiles(d *digest.Digest, yield func(step) bool) bool {
	for i := range d.Logs {
		if !yield(step{outcome: Outcome{Backfill: c.backfill}, log: &d.Logs[i]}) {
			return false
		}
	}
	return true
}

// older returns the newest listed digest that ended before at did, or the
// newest of all where at has no time.
func (c *chain) older(at visit) (visit, bool) {
	key, ok := c.left.pop(at.end)
	return visit{trail.Object{Bucket: at.Bucket, Key: key.String()}, key.End}, ok
}

// move lists the chain's digests in the bucket it had before the digest that
// ended at end.
func (c *chain) move(ctx context.Context, bucket string, end time.Time) error {
	standard, backfill, err := list(ctx, c.objects, bucket, c.request.Chain, c.request.Start, end)
	c.left = standard
	if c.backfill {
		c.left = backfill
	}
	return err
}

// visit is a digest that the walk has come to.
type visit struct {
	trail.Object
	end time.Time // by its key
}

// endOf returns the time in a digest's key. A key outside the grammar, which
// only a signed digest can name, counts as the time it was come by.
func endOf(key string, otherwise time.Time) time.Time {
	k, err := trail.ParseDigestKey(key)
	if err != nil {
		return otherwise
	}
	return k.End
}
