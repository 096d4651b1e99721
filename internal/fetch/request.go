package fetch

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Request is a GetObject that was sent before its body is needed, so that many round
// trips overlap. The body stays unread in the connection. A Request occupies one of the
// slots for early requests until it is read or dropped, and while its response is late it
// does not. So no more bodies wait than there are slots: a late response is closed where none
// is free. A Request drops itself after MaxUnread, so that a chain that waits does not occupy
// them all. A nil Request was not sent.
type Request struct {
	object trail.Object
	cancel context.CancelFunc
	slot   *Slot
	timer  *time.Timer
	ended  atomic.Bool   // read or dropped
	done   chan struct{} // closed when what follows is known
	body   io.ReadCloser
	meta   metadata
	err    error // of the content
}

// errLate says that a response came late, when other requests had all slots.
var errLate = errors.New("the response was late")

// MaxUnread is how long a Request waits to be read.
const MaxUnread = 10 * time.Second

// Request sends a request for an object that will be read. It returns nil where all
// slots for early requests are in use. Other reads have slots of their own. The caller
// must call Drop in the end.
func (f *Fetcher) Request(ctx context.Context, o trail.Object) *Request {
	slot := f.early.tryTake()
	if slot == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &Request{object: o, cancel: cancel, slot: slot, done: make(chan struct{})}
	r.timer = time.AfterFunc(MaxUnread, r.Drop)
	f.requests.Go(func() {
		defer close(r.done)
		slot.await()
		r.body, r.meta, r.err = f.open(ctx, o)
		if r.err == nil && !slot.tryAgain() && !r.ended.Load() {
			r.body.Close()
			r.err = errLate
		}
	})
	return r
}

// Wait ends what Request started, after the last Request was read or dropped.
func (f *Fetcher) Wait() { f.requests.Wait() }

// Drop ends a Request that was not read. Otherwise it does nothing.
func (r *Request) Drop() {
	if r != nil && r.ended.CompareAndSwap(false, true) {
		r.cancel()
		<-r.done
		r.end()
	}
}

func (r *Request) end() {
	r.timer.Stop()
	if r.err == nil {
		r.body.Close()
	}
	r.cancel()
	r.slot.Release()
}

// read gives the body to use, once, and reports whether that settles the read. A request
// that failed before it was needed is sent again: its failure may be stale. A failure
// while read waits for it counts, except an absence, which may have been true only when
// the request was sent.
func (r *Request) read(ctx context.Context, o trail.Object, slot *Slot, use useBody) (settled bool, err error) {
	if r == nil || r.object != o || !r.ended.CompareAndSwap(false, true) {
		return false, nil
	}
	defer r.end()
	waited := false
	select {
	case <-r.done:
	default:
		waited = true
		slot.await()
		select {
		case <-r.done:
		case <-ctx.Done():
			r.cancel()
			<-r.done
		}
		if err := slot.resume(ctx); err != nil {
			return false, nil // readOnce returns the context's error
		}
	}
	switch {
	case ctx.Err() != nil, r.err == errLate:
		return false, nil
	case r.err != nil:
		return waited && !finding.IsFact(r.err), r.err
	}
	err = use(slot.watch(ctx, r.body), r.meta)
	return err == nil || !worthRetrying(ctx, err), err
}
