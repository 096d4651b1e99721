package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/trailseal/trailseal/internal/failure"
	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/internal/notify"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Errors that say why a delivery is refused. It stays in the queue, whose redrive policy
// brings it to the operator.
var (
	errForeign = errors.New("not in a bucket of the sources")
	errFuture  = errors.New("ends in the future")
)

// listener passes what an announcer announces to the chains.
type listener struct {
	worker *Worker
	from   Announcer
}

// run does not wait for the chains: each delivery ends when its own objects are done. It ends
// with intake. The chains run until ctx ends.
func (l listener) run(intake, ctx context.Context) error {
	w := l.worker
	for try := 0; ; {
		d, err := l.from.Next(intake)
		decision := failure.Decide(failure.Failure{Operation: failure.Queue, Err: err})
		switch {
		case err == nil:
			try = 0
			l.deliver(ctx, d)
			continue
		case errors.Is(err, io.EOF), intake.Err() != nil:
			return nil
		case decision.Do != failure.Retry, w.policy.Tries > 0 && try+1 >= w.policy.Tries:
			return err
		}
		w.config.Log.Warn("nothing can be received, trying again", "try", try+1, "error", err)
		if failure.Sleep(intake, failure.Pause(try)) != nil {
			return nil
		}
		try++
	}
}

// deliver passes a delivery on to the chains that its digests belong to.
func (l listener) deliver(ctx context.Context, d notify.Delivery) {
	w := l.worker
	parts := &delivery{end: d.Done, left: 1}
	objects := d.Created
	for _, r := range d.Removed {
		objects = append(objects[:len(objects):len(objects)], r.Object)
	}
	for _, o := range objects {
		if err := l.refuses(o); err != nil {
			w.metrics.announced.WithLabelValues("refused").Inc()
			w.config.Log.Warn("announcement refused", "object", o.String(), "error", err)
			parts.done(fmt.Errorf("%s: %w", o, err))
			return // of a delivery with a foreign object, nothing is followed
		}
	}
	for _, o := range d.Created {
		key, err := trail.ParseDigestKey(o.Key)
		if err != nil || !w.config.isSelected(key.Chain) {
			w.metrics.announced.WithLabelValues("skipped").Inc() // log files, too: their digest names them
			continue
		}
		w.metrics.announced.WithLabelValues("digest").Inc()
		f := feedOf(w.feeds, o)
		known := follow.Known{Ref: chain.Ref{DigestKey: key, Bucket: f.source.Signed()}}
		parts.add()
		c, err := w.chains.add(w, f, known, follow.Announced, parts.done)
		if err != nil {
			parts.done(fmt.Errorf("announced digest %s: %w", o, err))
			continue
		}
		f.schedule.Add(ctx, c)
	}
	if len(d.Removed) > 0 {
		parts.add()
		w.removals.wait.Go(func() { parts.done(w.removals.look(ctx, d)) })
	}
	parts.done(nil)
}

// refuses returns why an object is not looked at, nil if it is. A digest that ends in the
// future would make its chain wait.
func (l listener) refuses(o trail.Object) error {
	if feedOf(l.worker.feeds, o) == nil {
		return errForeign
	}
	if key, err := trail.ParseDigestKey(o.Key); err == nil && key.End.After(l.worker.config.Now().Add(window)) {
		return errFuture
	}
	return nil
}

// feedOf returns the source that an object lies in, nil for a foreign one.
func feedOf(feeds []*feed, o trail.Object) *feed {
	for _, f := range feeds {
		if f.contains(o) {
			return f
		}
	}
	return nil
}

// delivery counts the parts of a delivery that are not done.
type delivery struct {
	end func(error)

	mu   sync.Mutex // guards what follows
	left int
	err  error // the first
}

func (d *delivery) add() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left++
}

// done notes that a part is done, or why it is not. After the last one the delivery ends.
// It does not block.
func (d *delivery) done(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil {
		d.err = err
	}
	if d.left--; d.left == 0 {
		d.end(d.err)
	}
}
