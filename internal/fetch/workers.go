package fetch

import "sync"

// Workers make calls in a bounded number of goroutines that stay. A request through the
// SDK runs on a deep stack, which a new goroutine would have to grow for every object.
// That was a seventh of all the time that small log files took.
type Workers struct {
	calls   chan func()   // closed by Wait
	started chan struct{} // one for each worker
	done    sync.WaitGroup
}

// NewWorkers returns at most n workers, one where n is less. They start with the calls.
func NewWorkers(n int) *Workers {
	return &Workers{calls: make(chan func()), started: make(chan struct{}, max(n, 1))}
}

// Go gives a call to a worker. It waits while all are busy. It is safe for concurrent use
// until Wait is called.
func (w *Workers) Go(call func()) {
	select {
	case w.calls <- call:
		return
	default:
	}
	select {
	case w.calls <- call:
	case w.started <- struct{}{}:
		w.done.Go(func() {
			call()
			for next := range w.calls {
				next()
			}
		})
	}
}

// Wait waits for all calls and ends the workers.
func (w *Workers) Wait() {
	close(w.calls)
	w.done.Wait()
}
