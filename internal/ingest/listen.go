package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Announcer announces objects, as a queue of notifications does. Whoever can
// write to the queue chooses what it says: an announcement makes the worker
// look, it proves nothing and moves no head.
type Announcer interface {
	// Next blocks for the objects announced together; io.EOF: no more. The
	// function ends the delivery exactly once and does not block: nil removes
	// it, an error makes it come back, at once if it wraps context.Canceled.
	// After any other error of Next it is called again.
	Next(ctx context.Context) ([]trail.Object, func(ctx context.Context, err error) error, error)
	// Report says who takes findings, such as an announced removal; what is
	// refused with an error comes back. It is called once, before Next.
	Report(find func(ctx context.Context, f finding.Finding) error)
}

// Why a delivery is refused. It stays in the queue, whose redrive policy shows
// it to someone.
var (
	errForeign  = errors.New("not in a bucket of the sources")
	errFuture   = errors.New("ends in the future")
	errStopping = fmt.Errorf("shutting down: %w", context.Canceled)
)

// listen announces what an announcer says to the chains concerned. It waits
// for none of them: each delivery ends when its own objects are dealt with.
func (w *Worker) listen(ctx context.Context, a Announcer) error {
	listening, halt := context.WithCancelCause(ctx)
	defer halt(nil)
	a.Report(func(ctx context.Context, f finding.Finding) error {
		if w.sourceOf(trail.Object{Bucket: f.Bucket, Key: f.Key}) == nil {
			return errForeign
		}
		err := w.find(ctx, f)
		if errors.Is(err, ErrHalt) {
			halt(err)
		}
		return err
	})
	for try := 0; ; {
		objects, ack, err := a.Next(listening)
		switch {
		case err == nil:
			try = 0
			w.announced(ctx, objects, ack)
		case errors.Is(err, io.EOF):
			return nil
		case listening.Err() != nil:
			return context.Cause(listening)
		case w.Once && try+1 >= onceTries:
			return err
		default:
			w.Log.Warn("nothing can be received, trying again", "try", try+1, "error", err)
			if err := pause(ctx, try); err != nil {
				return err
			}
			try++
		}
	}
}

// announced passes a delivery on to the chains that its digests belong to.
func (w *Worker) announced(ctx context.Context, objects []trail.Object, ack func(context.Context, error) error) {
	d := &delivery{left: 1, end: func(err error) {
		if err := ack(context.WithoutCancel(ctx), err); err != nil {
			w.Log.Warn("delivery not ended", "error", err)
		}
	}}
	for _, o := range objects {
		if err := w.refuses(o); err != nil {
			w.m.announced.WithLabelValues("refused").Inc()
			w.Log.Warn("announcement refused", "object", o.String(), "error", err)
			d.dealt(fmt.Errorf("%s: %w", o, err))
			return // of a delivery in which something is foreign nothing is followed
		}
	}
	for _, o := range objects {
		key, err := trail.ParseDigestKey(o.Key)
		if err != nil || !wanted(w.Accounts, key.Account) || !wanted(w.Regions, key.Region) || !wanted(w.Trails, key.Trail) {
			w.m.announced.WithLabelValues("skipped").Inc() // logs, too: their digest brings them
			continue
		}
		w.m.announced.WithLabelValues("digest").Inc()
		f := w.follower(w.sourceOf(o), bare(key.Chain))
		d.add()
		f.announce(discover.Digest{DigestKey: key, Bucket: f.source.Signed()}, d.dealt)
		w.kick(ctx, f)
	}
	d.dealt(nil)
}

// refuses returns why an object is not looked at. A digest that is to come
// must not be: a chain that waits for it would wait for long.
func (w *Worker) refuses(o trail.Object) error {
	if w.sourceOf(o) == nil {
		return errForeign
	}
	if key, err := trail.ParseDigestKey(o.Key); err == nil && key.End.After(w.Now().Add(window)) {
		return errFuture
	}
	return nil
}

// sourceOf returns the source that an object lies in, nil for a foreign one.
func (w *Worker) sourceOf(o trail.Object) *feed {
	for _, s := range w.sources {
		if !s.IsCopy() && s.Bucket == o.Bucket && strings.HasPrefix(o.Key, s.Prefix) {
			return s
		}
	}
	return nil
}

// announce makes a digest known: one that is there or, with dealt, one that
// someone says is. dealt is called once it is dealt with, or with an error if
// the chain waits or the worker ends before; under a lock, so it never blocks.
func (f *follower) announce(d discover.Digest, dealt func(error)) {
	f.mu.Lock()
	done := f.loaded && f.isPast(d.DigestKey)
	if !done {
		_, known := f.known[d.DigestKey]
		f.known[d.DigestKey] = d
		if dealt == nil {
			delete(f.hinted, d.DigestKey)
		} else {
			f.hinted[d.DigestKey] = !known || f.hinted[d.DigestKey]
			f.waiting[d.DigestKey] = append(f.waiting[d.DigestKey], dealt)
		}
	}
	f.mu.Unlock()
	if done && dealt != nil {
		dealt(nil)
	}
}

// pending returns the known digests that are not dealt with, oldest first.
func (f *follower) pending() []discover.Digest {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []discover.Digest
	for key, d := range f.known {
		if f.isPast(key) {
			delete(f.known, key)
			f.settleLocked(key, nil)
			continue
		}
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b discover.Digest) int { return a.End.Compare(b.End) })
	return list
}

// settleLocked tells who waits for a digest. The functions never block.
func (f *follower) settleLocked(key trail.DigestKey, err error) {
	for _, dealt := range f.waiting[key] {
		dealt(err)
	}
	delete(f.waiting, key)
	delete(f.hinted, key)
}

// notThere forgets a digest that nobody but an announcer knows of. Anyone may
// have written the announcement: it is no finding and moves no head. If the
// digest was there once, its successor names it.
func (f *follower) notThere(g got) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !g.ahead.IsAbsent() || !f.hinted[g.DigestKey] {
		return false
	}
	delete(f.known, g.DigestKey)
	f.settleLocked(g.DigestKey, fmt.Errorf("announced digest %s: %w", g.Object(), fs.ErrNotExist))
	return true
}

func (f *follower) onlyAnnounced(key trail.DigestKey) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hinted[key]
}

// giveBack tells all who wait that the chain does, so that they are not held up
// by it: an announcement comes again. What nobody else knows of is forgotten
// till then, or a forged one would hold the chain.
func (f *follower) giveBack(why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key := range f.waiting {
		if f.hinted[key] {
			delete(f.known, key)
		}
		f.settleLocked(key, why)
	}
}

// delivery counts the objects of a delivery that are not dealt with.
type delivery struct {
	end func(error)

	mu   sync.Mutex
	left int
	err  error // the first
}

func (d *delivery) add() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left++
}

// dealt notes that an object is dealt with, or why it could not be. After the
// last one the delivery ends.
func (d *delivery) dealt(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil {
		d.err = err
	}
	if d.left--; d.left == 0 {
		d.end(d.err)
	}
}
