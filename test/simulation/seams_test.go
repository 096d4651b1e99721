package simulation_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing/iotest"
	"time"

	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/queue"
	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// simWorker is one worker of a simulation, with what it loses when it is killed. Its
// methods are the seams that the worker calls.
type simWorker struct {
	sim    *sim
	plan   simRunPlan
	number int
	cancel context.CancelFunc
	log    func(format string, args ...any)

	mu     sync.Mutex // guards what follows
	isDead bool
	calls  map[string]int // of each seam
	worker *ingest.Worker // nil before it begins
}

// errDead is what all calls of a killed worker return.
var errDead = fmt.Errorf("the worker was killed: %w", context.Canceled)

// errStruck is the error of calls that fail, where no other fits.
var errStruck = errors.New("connection reset by peer")

// kill ends the worker as SIGKILL does: no call of it has an effect from now on.
func (w *simWorker) kill() {
	w.mu.Lock()
	w.isDead = true
	w.mu.Unlock()
	w.cancel()
}

func (w *simWorker) dead() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.isDead
}

// strike makes one call, which may be slow, hang, fail, or fail although it took effect.
// The worker may be killed at it.
func (w *simWorker) strike(ctx context.Context, seam, object string, call func() error) error {
	w.mu.Lock()
	w.calls[seam]++
	isLast := w.plan.how == "kill at" && w.plan.seam == seam && w.calls[seam] == w.plan.call
	isDead := w.isDead
	w.mu.Unlock()
	n := w.sim.count(seam, object)
	switch {
	case isDead:
		return errDead
	case isLast && w.plan.after:
		_ = call()
		w.log("killed after %s %s", seam, object)
		w.kill()
		return errDead
	case isLast:
		w.log("killed before %s %s", seam, object)
		w.kill()
		return errDead
	}
	if n%8 == 0 {
		w.checkAccounts()
	}
	if w.plan.isQuiet || w.sim.plan.isCalm {
		return call()
	}
	r := w.sim.plan.at(seam, object, n)
	now := w.sim.now()
	isOut := slices.ContainsFunc(w.sim.plan.outages, func(o simOutage) bool {
		return o.seam == seam && now.After(o.from) && now.Before(o.to)
	})
	if !isOut && r.Float64() >= w.sim.plan.rates[seam] {
		return call()
	}
	mode := r.IntN(10)
	if isOut {
		mode = 0
	}
	return w.struck(ctx, seam, object, n, mode, time.Duration(1+r.IntN(600))*time.Second, call)
}

// struck makes a call go wrong.
func (w *simWorker) struck(
	ctx context.Context, seam, object string, n, mode int, pause time.Duration, call func() error,
) error {
	what := "fails"
	defer func() { w.log("%s %s, call %d, %s", seam, object, n, what) }()
	wait := func(d time.Duration) error {
		select {
		case <-ctx.Done():
		case <-time.After(d):
		}
		if w.dead() {
			return errDead
		}
		return ctx.Err()
	}
	switch mode {
	case 0, 1, 2, 3:
		return errStruck
	case 4, 5:
		what = "fails but took effect"
		if err := call(); err != nil {
			return err
		}
		return errStruck
	case 6, 7:
		what = "is slow: " + (pause / 10).String()
		if err := wait(pause / 10); err != nil {
			return err
		}
		return call()
	case 8:
		what = "hangs for " + (2 * pause).String() + " and fails"
		return cmp.Or(wait(2*pause), errStruck)
	}
	what = "is slow and does not notice its context: " + (pause / 20).String()
	time.Sleep(pause / 20)
	if w.dead() {
		return errDead
	}
	return call()
}

func (w *simWorker) begins(worker *ingest.Worker) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.worker = worker
}

// checkAccounts demands that nothing is unaccounted at this moment.
func (w *simWorker) checkAccounts() {
	w.mu.Lock()
	worker := w.worker
	w.mu.Unlock()
	if worker == nil {
		return
	}
	for kind, n := range worker.Unaccounted() {
		if n != 0 {
			w.sim.fail("worker %d: %d unaccounted %s", w.number, n, kind)
		}
	}
}

// simObjects are the buckets.
type simObjects struct{ w *simWorker }

// stored returns what lies under a key now, nil for nothing.
func (s *sim) stored(o simObject) *simVersion {
	now := s.now()
	for i := len(o.versions) - 1; i >= 0; i-- {
		if v := &o.versions[i]; !v.at.After(now) {
			return v
		}
	}
	return nil
}

// errsOfGet are the errors of objects that cannot be read.
var errsOfGet = []error{
	errStruck, fs.ErrPermission, finding.ErrThrottled, finding.ErrKMSDenied, finding.ErrArchived,
	fmt.Errorf("NoSuchBucket: %w %w", fs.ErrNotExist, finding.ErrNoBucket),
}

// Get implements fetch.Objects.
func (b simObjects) Get(ctx context.Context, o trail.Object) (io.ReadCloser, map[string]string, error) {
	o = trail.Object{Bucket: o.Bucket, Key: o.Key}
	var v *simVersion
	called := false
	err := b.w.strike(ctx, "Get", o.Key, func() error {
		called = true
		s := b.w.sim
		objects := s.plan.objects[o.Bucket]
		i, isThere := findKey(objects, o.Key)
		if isThere {
			v = s.stored(objects[i])
		}
		if v == nil || v.stored == nil {
			return fmt.Errorf("get %s: %w", o, fs.ErrNotExist)
		}
		return nil
	})
	switch {
	case errors.Is(err, errStruck) && called: // the answer comes, and breaks off
		body := v.stored.Body[:len(v.stored.Body)/2]
		return io.NopCloser(io.MultiReader(bytes.NewReader(body), iotest.ErrReader(errStruck))), v.stored.Meta, nil
	case errors.Is(err, errStruck) && o.Bucket == b.w.sim.plan.world.source:
		return nil, nil, errsOfGet[len(o.Key)%len(errsOfGet)]
	case err != nil:
		return nil, nil, err
	}
	return io.NopCloser(&simBody{w: b.w, ctx: ctx, object: o.Key, rest: v.stored.Body}), v.stored.Meta, ctx.Err()
}

// simBody is a body that can stall before its first bytes, and before its last half.
type simBody struct {
	w      *simWorker
	ctx    context.Context // of the request, as in a body of net/http
	object string
	rest   []byte
	read   bool
}

// Read implements io.Reader.
func (b *simBody) Read(p []byte) (n int, err error) {
	part := b.rest
	if !b.read {
		part = part[:len(part)/2]
	}
	b.read = true
	err = b.w.strike(b.ctx, "Body", b.object, func() error {
		n = copy(p, part)
		return b.ctx.Err()
	})
	b.rest = b.rest[n:]
	if err == nil && len(b.rest) == 0 {
		err = io.EOF
	}
	return n, err
}

// List implements fetch.Objects. A listing that fails breaks off after its first half.
func (b simObjects) List(ctx context.Context, bucket, prefix, after string) iter.Seq2[trail.Object, error] {
	return func(yield func(trail.Object, error) bool) {
		var all []trail.Object
		err := b.w.strike(ctx, "List", prefix, func() (err error) {
			all, err = b.w.sim.list(bucket, prefix, after)
			return cmp.Or(ctx.Err(), err)
		})
		yieldAll(all, err, yield)
	}
}

// Children implements fetch.Objects.
func (b simObjects) Children(ctx context.Context, bucket, prefix string) iter.Seq2[trail.Object, error] {
	return func(yield func(trail.Object, error) bool) {
		var all []trail.Object
		err := b.w.strike(ctx, "Children", prefix, func() (err error) {
			all, err = b.w.sim.children(bucket, prefix)
			return cmp.Or(ctx.Err(), err)
		})
		yieldAll(all, err, yield)
	}
}

func yieldAll(all []trail.Object, err error, yield func(trail.Object, error) bool) {
	if err != nil {
		all = all[:len(all)/2]
	}
	for _, o := range all {
		if !yield(o, nil) {
			return
		}
	}
	if err != nil {
		yield(trail.Object{}, err)
	}
}

func (s *sim) list(bucket, prefix, after string) (all []trail.Object, err error) {
	objects, isThere := s.plan.objects[bucket]
	if !isThere {
		return nil, fmt.Errorf("list %s: %w", bucket, fs.ErrNotExist)
	}
	i, _ := findKey(objects, max(prefix, after))
	for ; i < len(objects) && strings.HasPrefix(objects[i].key, prefix); i++ {
		if v := s.stored(objects[i]); v != nil && v.stored != nil && objects[i].key > after {
			all = append(
				all,
				trail.Object{Bucket: bucket, Key: objects[i].key, Size: int64(len(v.stored.Body)), Modified: v.at},
			)
		}
	}
	return all, nil
}

func (s *sim) children(bucket, prefix string) (all []trail.Object, err error) {
	objects, isThere := s.plan.objects[bucket]
	if !isThere {
		return nil, fmt.Errorf("list %s: %w", bucket, fs.ErrNotExist)
	}
	from := func(key string) int {
		i, _ := findKey(objects, key)
		return i
	}
	for i := from(prefix); i < len(objects) && strings.HasPrefix(objects[i].key, prefix); {
		v := s.stored(objects[i])
		if v == nil || v.stored == nil {
			i++
			continue
		}
		name, _, isBelow := strings.Cut(objects[i].key[len(prefix):], "/")
		if !isBelow {
			all = append(
				all,
				trail.Object{Bucket: bucket, Key: objects[i].key, Size: int64(len(v.stored.Body)), Modified: v.at},
			)
			i++
			continue
		}
		all = append(all, trail.Object{Bucket: bucket, Key: prefix + name + "/"})
		i = from(prefix + name + "0") // behind the folder
	}
	return all, nil
}

// simKeys are the public keys.
type simKeys struct{ w *simWorker }

// PublicKeys implements chain.KeySource.
func (k simKeys) PublicKeys(ctx context.Context, region string, from, to time.Time) (set digest.KeySet, err error) {
	err = k.w.strike(ctx, "PublicKeys", region, func() (err error) {
		set, err = k.w.sim.plan.world.keys.PublicKeys(ctx, region, from, to)
		return err
	})
	return set, err
}

// simState is the state. It outlives workers.
type simState struct{ w *simWorker }

// Get implements state.Store.
func (s simState) Get(ctx context.Context, name string) (v state.Value, err error) {
	err = s.w.strike(ctx, "state Get", name, func() (err error) {
		v, err = s.w.sim.store.Get(ctx, name)
		return err
	})
	return v, err
}

// Put implements state.Store. What fails although it took effect looks like any failure,
// or like a conflict.
func (s simState) Put(ctx context.Context, name string, value []byte, prev state.Version) (v state.Version, err error) {
	done := false
	err = s.w.strike(ctx, "state Put", name, func() (err error) {
		s.w.sim.stateMu.Lock()
		defer s.w.sim.stateMu.Unlock()
		if v, err = s.w.sim.store.Put(ctx, name, value, prev); err == nil {
			done = true
			s.w.stores(name, value)
		}
		return err
	})
	if err == nil {
		return v, nil
	}
	if errors.Is(err, errStruck) && done && len(value)%3 == 0 {
		err = state.ErrConflict
	}
	return "", err
}

// Delete implements state.Store.
func (s simState) Delete(ctx context.Context, name string, prev state.Version) error {
	return s.w.strike(ctx, "state Delete", name, func() error { return s.w.sim.store.Delete(ctx, name, prev) })
}

// List implements state.Store.
func (s simState) List(ctx context.Context, prefix string) iter.Seq2[state.Entry, error] {
	return func(yield func(state.Entry, error) bool) {
		err := s.w.strike(ctx, "state List", prefix, func() error { return nil })
		if err != nil {
			yield(state.Entry{}, err)
			return
		}
		s.w.sim.store.List(ctx, prefix)(yield)
	}
}

// simSink is one sink of one worker. What it took and did not flush is lost with the worker.
type simSink struct {
	w      *simWorker
	number int

	mu   *sync.Mutex // guards kept
	kept *[]int      // numbers of events
}

// Emit implements sink.Sink.
func (s simSink) Emit(ctx context.Context, b sink.Batch) error {
	return s.w.strike(ctx, "Emit", fmt.Sprint(s.number, b.Log.Key), func() error {
		numbers := s.w.takes(b)
		s.mu.Lock()
		defer s.mu.Unlock()
		*s.kept = append(*s.kept, numbers...)
		return ctx.Err()
	})
}

// Flush implements sink.Sink.
func (s simSink) Flush(ctx context.Context) error {
	return s.w.strike(ctx, "Flush", fmt.Sprint(s.number), func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.w.sim.keep(s.number, *s.kept)
		*s.kept = nil
		return ctx.Err()
	})
}

// Close implements sink.Sink. A part of what was not flushed may have reached the disk.
func (s simSink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.w.sim.keep(s.number, (*s.kept)[:len(*s.kept)/3])
	*s.kept = nil
	return nil
}

// simFindings takes findings.
type simFindings struct{ w *simWorker }

// Find implements findings.Sink.
func (s simFindings) Find(ctx context.Context, f finding.Finding) error {
	return s.w.strike(ctx, "Find", f.Key, func() error {
		s.w.finds(f)
		return ctx.Err()
	})
}

// simQueue is the queue. It outlives workers.
type simQueue struct{ w *simWorker }

// Receive implements queue.Client.
func (q simQueue) Receive(
	ctx context.Context,
	limit int,
	wait, visibility time.Duration,
) (list []queue.Message, err error) {
	until := q.w.sim.now().Add(wait)
	for {
		var next time.Time
		err := q.w.strike(ctx, "Receive", "", func() error {
			list, next = q.w.sim.receive(limit, visibility)
			return ctx.Err()
		})
		now := q.w.sim.now()
		if err != nil || len(list) > 0 || !now.Before(until) {
			if err != nil {
				list = nil
			}
			return list, err
		}
		if next.IsZero() || next.After(until) {
			next = until
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(next.Sub(now)):
		}
	}
}

func (s *sim) receive(limit int, visibility time.Duration) (list []queue.Message, next time.Time) {
	s.queueMu.Lock()
	defer s.queueMu.Unlock()
	now := s.now()
	for i, m := range s.plan.mails {
		switch {
		case m.deleted:
		case m.visible.After(now):
			if next.IsZero() || m.visible.Before(next) {
				next = m.visible
			}
		case len(list) < limit:
			s.receipts++
			m.receives++
			m.receipt, m.visible = fmt.Sprint(s.receipts), now.Add(visibility)
			list = append(list, queue.Message{
				ID: fmt.Sprint("m", i), Receipt: m.receipt, Body: []byte(m.body), Sent: m.sent, Receives: m.receives,
			})
		}
	}
	return list, next
}

// Delete implements queue.Client.
func (q simQueue) Delete(ctx context.Context, receipts []string) []error {
	return q.each(ctx, "Delete", receipts, func(m *simMail) {
		m.deleted = true
		q.w.deletes(m)
	})
}

// Extend implements queue.Client.
func (q simQueue) Extend(ctx context.Context, receipts []string, visibility time.Duration) []error {
	return q.each(ctx, "Extend", receipts, func(m *simMail) { m.visible = q.w.sim.now().Add(visibility) })
}

func (q simQueue) each(ctx context.Context, op string, receipts []string, do func(*simMail)) []error {
	errs := make([]error, len(receipts))
	err := q.w.strike(ctx, op, "", func() error {
		s := q.w.sim
		s.queueMu.Lock()
		defer s.queueMu.Unlock()
		for i, r := range receipts {
			at := slices.IndexFunc(s.plan.mails, func(m *simMail) bool { return m.receipt == r && !m.deleted })
			if at < 0 {
				errs[i] = queue.ErrReceipt
				continue
			}
			do(s.plan.mails[at])
		}
		return ctx.Err()
	})
	if err != nil {
		for i := range errs {
			errs[i] = err
		}
	}
	return errs
}

// simInflate returns the content of a packed file.
func simInflate(packed []byte) []byte {
	b, _, err := inflate.Bytes(bytes.NewReader(packed), inflate.Options{Limit: 1 << 30})
	if err != nil {
		panic(err)
	}
	return b
}
