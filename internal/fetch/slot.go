package fetch

import (
	"context"
	"io"
	"sync"
	"time"
)

// Stalled is how long a read may receive no bytes before it gives its slot to others.
const Stalled = time.Second

// Slots bound the reads that make progress at once. A read that stalls gives its slot
// back and takes one again when bytes come. So a server that hangs for one chain leaves
// all slots to the others.
type Slots struct {
	used     chan struct{}
	released sync.Pool // of *Slot: a timer for each read would cost more than the rest of it
}

// NewSlots returns n slots, one where n is less.
func NewSlots(n int) *Slots { return &Slots{used: make(chan struct{}, max(n, 1))} }

// Take waits for a slot. The caller releases it. The error is the context's.
func (s *Slots) Take(ctx context.Context) (*Slot, error) {
	select {
	case s.used <- struct{}{}:
		return s.slot(), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// tryTake returns a slot, nil where all are in use.
func (s *Slots) tryTake() *Slot {
	if s.try() {
		return s.slot()
	}
	return nil
}

// try reports whether it used a slot.
func (s *Slots) try() bool {
	select {
	case s.used <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s *Slots) slot() *Slot {
	slot, _ := s.released.Get().(*Slot)
	if slot == nil {
		slot = &Slot{slots: s}
		slot.timer = time.AfterFunc(Stalled, slot.stall)
		slot.timer.Stop()
	}
	slot.took()
	return slot
}

// Slot is the right to one read. One goroutine reads with it. A nil Slot bounds nothing.
type Slot struct {
	slots *Slots
	timer *time.Timer // runs while bytes are awaited

	mu        sync.Mutex // guards what follows
	isOurs    bool       // false after the read has stalled, and after Release
	isAwaited bool       // the read waits for bytes
}

// Release ends the use of the slot. It must be called once.
func (s *Slot) Release() {
	if s == nil {
		return
	}
	s.timer.Stop()
	s.mu.Lock()
	s.isAwaited = false
	s.giveBack()
	s.mu.Unlock()
	s.slots.released.Put(s)
}

// giveBack makes room for others. The caller has locked the mutex.
func (s *Slot) giveBack() {
	if s.isOurs {
		s.isOurs = false
		<-s.slots.used
	}
}

// stall gives the slot back where bytes did not come in time.
func (s *Slot) stall() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isAwaited {
		s.giveBack()
	}
}

// await notes that the read waits for bytes from now on.
func (s *Slot) await() {
	if s == nil {
		return
	}
	s.mu.Lock()
	s.isAwaited = true
	s.mu.Unlock()
	s.timer.Reset(Stalled)
}

// pause notes that the read does not wait for bytes any more. It reports whether the read
// has its slot.
func (s *Slot) pause() bool {
	s.timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.isAwaited = false
	return s.isOurs
}

// resume notes that bytes came. Where the read has given its slot back, resume waits for
// one. The error is the context's.
func (s *Slot) resume(ctx context.Context) error {
	if s == nil || s.pause() {
		return nil
	}
	select {
	case s.slots.used <- struct{}{}:
		s.took()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// took notes that the read has a slot.
func (s *Slot) took() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.isOurs = true
}

// whileWaiting calls f, which may wait for something other than bytes. Where that takes
// long, the slot goes to others meanwhile. The error is that of f or the context's.
func (s *Slot) whileWaiting(ctx context.Context, f func(context.Context) error) error {
	s.await()
	err := f(ctx)
	if slotErr := s.resume(ctx); err == nil {
		err = slotErr
	}
	return err
}

// tryAgain is resume that does not wait. It reports whether the read has a slot.
func (s *Slot) tryAgain() bool {
	if s.pause() {
		return true
	}
	if s.slots.try() {
		s.took()
		return true
	}
	return false
}

// watch returns a reader of a body that tells the slot when bytes are awaited and when
// they came.
func (s *Slot) watch(ctx context.Context, body io.Reader) io.Reader {
	if s == nil {
		return body
	}
	return readerFunc(func(p []byte) (int, error) {
		s.await()
		n, err := body.Read(p)
		if slotErr := s.resume(ctx); slotErr != nil {
			return 0, slotErr
		}
		return n, err
	})
}

type readerFunc func([]byte) (int, error)

// Read implements io.Reader.
func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
