package fetch

import (
	"context"
	"io"
	"sync/atomic"
	"time"

	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Answer is that to a request made before the object's turn: so the latency of
// many is waited for at once, while none of their bytes come to lie in memory
// but what the connection holds. It holds a place until it is read to its end or
// dropped, which it is by itself if nobody reads it for long: a chain that
// stands leaves the places to others.
type Answer struct {
	object trail.Object
	cancel context.CancelFunc
	place  chan struct{}
	timer  *time.Timer
	ended  atomic.Bool   // taken or dropped
	came   chan struct{} // closed when what follows is known
	body   io.ReadCloser
	meta   metadata
	err    error // of the content
}

// MaxUnread is how long an answer waits to be read.
const MaxUnread = 10 * time.Second

// Ask asks for an object whose turn will come, unless as many answers as the
// fetcher has places wait to be read: then it returns nil. These places are
// their own, so that nobody whose turn it is waits for one whose turn is not.
// Whoever asks must call Drop in the end.
func (f *Fetcher) Ask(ctx context.Context, o trail.Object) *Answer {
	select {
	case f.early <- struct{}{}:
	default:
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	a := &Answer{object: o, cancel: cancel, place: f.early, came: make(chan struct{})}
	a.timer = time.AfterFunc(MaxUnread, a.Drop)
	f.asking.Go(func() {
		defer close(a.came)
		a.body, a.meta, a.err = f.open(ctx, o)
	})
	return a
}

// Wait ends what Ask started, after the last answer was read or dropped.
func (f *Fetcher) Wait() { f.asking.Wait() }

// Drop ends an answer that was not read; of any other it does nothing, nor of
// nil.
func (a *Answer) Drop() {
	if a != nil && a.ended.CompareAndSwap(false, true) {
		a.cancel()
		<-a.came
		a.end()
	}
}

func (a *Answer) end() {
	a.timer.Stop()
	if a.err == nil {
		a.body.Close()
	}
	a.cancel()
	<-a.place
}

// read hands the body to use, once. It reports whether that settles it. An
// answer that came before its turn and is no good, or broke off while it
// waited, says nothing about the object, which is then asked for anew; a
// failure of a request that was still under way is as good as that of another,
// but that nothing is there is said only of the time when it was asked for.
func (a *Answer) read(ctx context.Context, o trail.Object, use useBody) (settled bool, err error) {
	if a == nil || a.object != o || !a.ended.CompareAndSwap(false, true) {
		return false, nil
	}
	defer a.end()
	late := false
	select {
	case <-a.came:
	default:
		late = true
		select {
		case <-a.came:
		case <-ctx.Done():
			a.cancel()
			<-a.came
		}
	}
	switch {
	case ctx.Err() != nil:
		return false, nil
	case a.err != nil:
		return late && !finding.IsFact(a.err), a.err
	}
	err = use(a.body, a.meta)
	return err == nil || !worthRetrying(ctx, err), err
}
