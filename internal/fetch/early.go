package fetch

import (
	"context"
	"io"
	"sync"

	"github.com/trailseal/trailseal/pkg/trail"
)

// Answer is that to a request made before the object's turn: so the latency of
// many is waited for at once, while none of their bytes come to lie in memory
// but what the connection holds. It holds one of the fetcher's places until it
// is read to its end or dropped.
type Answer struct {
	object trail.Object
	cancel context.CancelFunc
	places [2]chan struct{}
	came   chan struct{} // closed when what follows is known
	body   io.ReadCloser
	meta   map[string]string
	err    error
	once   sync.Once // taken or dropped
}

// Ask asks for an object whose turn will come, unless no place is free: then
// it returns nil. An eighth of the places is left to those whose turn it is, so
// that these never wait for each other. Whoever asks must call Drop in the end.
func (f *Fetcher) Ask(ctx context.Context, o trail.Object) *Answer {
	select {
	case f.early <- struct{}{}:
	default:
		return nil
	}
	select {
	case f.places <- struct{}{}:
	default:
		<-f.early
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	a := &Answer{object: o, cancel: cancel, places: [2]chan struct{}{f.places, f.early}, came: make(chan struct{})}
	f.asking.Go(func() {
		defer close(a.came)
		a.body, a.meta, a.err = f.Objects.Get(ctx, o)
	})
	return a
}

// Wait ends what Ask started, after the last answer was read or dropped.
func (f *Fetcher) Wait() { f.asking.Wait() }

// Drop ends an answer that was not read; of any other it does nothing, nor of
// nil.
func (a *Answer) Drop() {
	if a == nil {
		return
	}
	a.once.Do(func() {
		a.cancel()
		<-a.came
		a.end()
	})
}

func (a *Answer) end() {
	if a.err == nil {
		a.body.Close()
	}
	a.cancel()
	for _, p := range a.places {
		<-p
	}
}

// read hands the body to use, once. It reports whether that settles it: an
// answer that never came, or broke off while it waited for its turn, says
// nothing about the object, which is then asked for anew.
func (a *Answer) read(ctx context.Context, o trail.Object, use func(io.Reader, map[string]string) error) (settled bool, err error) {
	if a == nil || a.object != o {
		return false, nil
	}
	a.once.Do(func() {
		select {
		case <-a.came:
		case <-ctx.Done():
			a.cancel()
			<-a.came
		}
		defer a.end()
		if a.err == nil && ctx.Err() == nil {
			err = use(a.body, a.meta)
			settled = err == nil || !worthRetrying(ctx, err)
		}
	})
	return settled, err
}
