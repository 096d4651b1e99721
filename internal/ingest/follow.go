package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/disposition"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// follower goes along one chain, oldest digest first. One goroutine at a time
// follows; others only announce digests to it.
type follower struct {
	*Worker
	source *feed
	name   trail.Chain
	last   sizes // what the next log is likely to need

	// Owned by the goroutine that follows.
	stored  []byte
	emitted map[trail.Object]bool // logs of digests that are not finished, by location
	walked  trail.DigestKey       // before it, all that is there is known
	// repeated are signatures of digests, by key, that were proven by their
	// successors when these were there before them.
	repeated map[string]string
	// pace is of how many digests the logs are asked for ahead. A chain that
	// waits, has holes, or whose sinks are slow, asks for none in vain; one that
	// goes on asks for ever more.
	pace int

	mu      sync.Mutex      // guards what follows
	head    head            // written by the goroutine that follows, which reads it freely
	loaded  bool            // head is what is stored; written by that goroutine, too
	bad     map[string]bool // keys of quarantined digests after the head's cursor
	known   map[trail.DigestKey]discover.Digest
	waiting map[trail.DigestKey][]func(error) // told when a digest is dealt with
	hinted  map[trail.DigestKey]bool          // known from announcers alone: perhaps not there
	running bool
	again   bool // kicked while running: what was announced may have been overlooked
	lastErr error
	late    bool // the head is known to be late
	// recalled is how far an earlier run came, where the chain is followed
	// because of that.
	recalled time.Time
	gaps     int
}

// errWaits: the newest digest of a copy has no signature yet.
var errWaits = errors.New("waits for its successor")

// follow deals with all that is known of the chain. An error means that the
// chain stands where it was and is to be tried again.
func (f *follower) follow(ctx context.Context) error {
	if err := f.loadHead(ctx); err != nil {
		return err
	}
	for {
		list := f.pending()
		if len(list) == 0 {
			return nil
		}
		err := f.followList(ctx, list)
		if o := (*older)(nil); errors.As(err, &o) {
			err = f.walkBack(ctx, o) // and begin anew, with what it found
		}
		if err != nil {
			return err
		}
	}
}

// got is a digest with what was read of it.
type got struct {
	discover.Digest
	ahead fetch.Candidates // the files that can be it, as they were read ahead; large ones were not
	found []chain.Found    // the files, when its turn has come
	step  *chain.Step      // the verdict where its own signature proves it; nil before that is known
	says  *digest.Digest   // of a large one that was looked at before its turn: its predecessor
	asked []*fetch.Answer  // of its first logs, before their turn; nil: in their turn
}

// digest returns what the digest's file says, nil where it is not known.
func (g *got) digest() *digest.Digest {
	if g.says != nil {
		return g.says
	}
	for _, f := range g.ahead.Found() {
		if f.File.Digest != nil {
			return f.File.Digest
		}
	}
	return nil
}

// isSigned reports whether some file has a signature of its own.
func (g *got) isSigned() bool {
	return slices.ContainsFunc(g.ahead.Found(), func(f chain.Found) bool { return f.File.Meta[digest.MetaSignature] != "" })
}

// followList goes along a list. The digests are fetched ahead, and what they
// list is asked for ahead; each is judged when the one after it is there, too,
// since that one repeats its signature.
func (f *follower) followList(ctx context.Context, list []discover.Digest) error {
	ctx, cancel := context.WithCancel(ctx)
	n, done := f.source.depth()
	defer done()
	calls := fetch.Begin(ctx, n, slices.Values(list), f.get)
	defer calls.End()
	var queue []*got // oldest first
	defer func() { dropAll(queue) }()
	defer cancel()
	for {
		for len(queue) < 2 || f.ask(ctx, queue) && calls.Ready() {
			d, g, ok := calls.Next()
			if !ok {
				break
			}
			g.Digest = d
			queue = append(queue, &g)
		}
		if len(queue) == 0 {
			return ctx.Err()
		}
		began := time.Now()
		if err := f.takeFirst(ctx, queue); err != nil {
			f.pace = 0
			return err
		}
		dropAll(queue[:1])
		queue = queue[1:]
		inTime := min(fetch.MaxUnread/2/(time.Since(began)+1), maxPace) // at this speed
		f.pace = min(2*f.pace+2, int(inTime))
	}
}

func (f *follower) takeFirst(ctx context.Context, queue []*got) error {
	var newer *got
	if len(queue) > 1 {
		newer = queue[1]
	}
	return f.take(ctx, *queue[0], newer)
}

// ask asks for the logs of digests in the queue, oldest first, and reports
// whether there is room for more. It goes no further than the first that its
// own signature does not prove, or whoever may write to the bucket could make
// the worker ask for anything.
func (f *follower) ask(ctx context.Context, queue []*got) (more bool) {
	if f.source.IsCopy() {
		return false // a folder answers at once
	}
	for _, g := range queue[:min(f.pace, len(queue))] {
		if !f.provesItself(ctx, g) {
			return false
		}
		d := g.step.Digest
		for _, l := range d.Logs[len(g.asked):] {
			var a *fetch.Answer
			if name := l.Location(); !f.emitted[name] && d.CheckLog(l, f.name.Place) == nil {
				if a = f.source.logs.Ask(ctx, name); a == nil {
					return false
				}
			}
			g.asked = append(g.asked, a)
		}
	}
	return len(queue) < f.pace
}

func (f *follower) provesItself(ctx context.Context, g *got) bool {
	if g.step == nil && !g.ahead.IsLarge() {
		if s := chain.JudgeFiles(ctx, f.keys, g.Digest, g.ahead.Found(), chain.Options{Now: f.Now()}); s.Verdict.Trusted && s.Digest != nil {
			g.step = &s
		}
	}
	return g.step != nil
}

func dropAll(queue []*got) {
	for _, g := range queue {
		for _, a := range g.asked {
			a.Drop()
		}
	}
}

// maxPace is how many digests wait for their turn while their logs are asked
// for: these are small, or have no place.
const maxPace = 16

func (f *follower) get(ctx context.Context, d discover.Digest) got {
	return got{Digest: d, ahead: f.source.digests.ReadAhead(ctx, f.source.Locate(d.Object()))}
}

// turn reads a large digest, which is held until done is called. Of the one
// after it, if that is large too, it reads before that what it says of g.
func (f *follower) turn(ctx context.Context, g, newer *got) (done func(), err error) {
	if newer != nil && newer.ahead.IsLarge() && !g.isSigned() {
		file, err := f.source.digests.Digest(ctx, newer.ahead.Found()[0].At)
		if err == nil {
			newer.says = &digest.Digest{Previous: file.Digest.Previous}
		}
	}
	g.found = f.source.digests.Take(ctx, g.ahead)
	return func() {
		for _, found := range g.found {
			if found.Release != nil {
				found.Release()
			}
		}
	}, ctx.Err()
}

// take deals with a digest: those between the head and it first, then its own
// logs, then the head. Nothing is dealt with twice in one run.
func (f *follower) take(ctx context.Context, g got, newer *got) error {
	if f.isPast(g.DigestKey) || f.notThere(g) {
		return nil
	}
	done, err := f.turn(ctx, &g, newer)
	defer done()
	if err != nil {
		return err
	}
	s := f.judge(ctx, g, newer)
	v := s.Verdict
	if v.Status == chain.Valid && s.Digest == nil {
		return fmt.Errorf("digest %s: %w", s.At, errNotYet)
	}
	fate := disposition.Of(disposition.Trouble{What: disposition.Digest, Err: v.Err, Class: v.Class, Proven: v.Trusted && s.Digest != nil, Fresh: f.fresh(g.End)})
	if fate.Class != "" {
		if err := f.findDigest(ctx, fate.Class, s.At, g.End, v.Detail, v.Evidence); err != nil {
			return err
		}
	}
	for _, c := range s.Copies {
		if c.Verdict.Status == chain.Invalid {
			if err := f.findDigest(ctx, c.Verdict.Class, c.At, g.End, c.Verdict.Detail, c.Verdict.Evidence); err != nil {
				return err
			}
		}
	}
	switch fate.Fate {
	case disposition.Wait:
		f.m.wait(fate.Reason)
		if fate.Reason == finding.NoSignature && (f.endsBefore(g, newer) || f.isPassedBy(ctx, g)) {
			return f.unprovable(ctx, g, s.At)
		}
		if fate.Reason == finding.NoSignature {
			return fmt.Errorf("digest %s: %w: %w", s.At, errWaits, v.Err)
		}
		if v.Err == nil {
			return fmt.Errorf("digest %s: %s: %w", s.At, v.Detail, errNotYet)
		}
		return fmt.Errorf("digest %s: %w", s.At, v.Err)
	case disposition.Release:
		return v.Err
	case disposition.Quarantine:
		f.m.digests.WithLabelValues("invalid").Inc()
		return f.pass(ctx, g.DigestKey, func(h *head) { h.quarantined(g.DigestKey) })
	}
	d := s.Digest
	if err := f.join(ctx, g, s.At, d); err != nil {
		return err
	}
	if err := f.emitLogs(ctx, g, d); err != nil {
		return err
	}
	f.m.digests.WithLabelValues("valid").Inc()
	signature := v.Signature
	if err := f.pass(ctx, g.DigestKey, func(h *head) { h.passed(d, g.DigestKey, signature) }); err != nil {
		return err
	}
	f.showHead(d.End)
	f.m.attestationDelay.Observe(f.Now().Sub(d.End).Seconds())
	return nil
}

func (f *follower) judge(ctx context.Context, g got, newer *got) chain.Step {
	if g.step != nil {
		return *g.step
	}
	var repeated []string
	if newer != nil {
		if d := newer.digest(); d != nil && d.Previous != nil && trail.Tail(d.Previous.Object) == trail.Tail(g.DigestKey.String()) {
			repeated = append(repeated, d.Previous.Signature)
		}
	}
	if signature := f.repeated[g.DigestKey.String()]; signature != "" {
		repeated = append(repeated, signature)
	}
	judge := func() chain.Step {
		return chain.JudgeFiles(ctx, f.keys, g.Digest, g.found, chain.Options{Now: f.Now(), Repeated: repeated})
	}
	s := judge()
	if newer == nil || !errors.Is(s.Verdict.Err, digest.ErrUnsigned) {
		return s
	}
	more := f.successors(ctx, g.Digest, !g.ahead.IsLarge())
	if len(more) == 0 {
		return s
	}
	repeated = append(repeated, more...)
	return judge()
}

// pass stores that a digest is dealt with and tells who waits for it: durable
// downstream, then the head, then the acknowledgement.
func (f *follower) pass(ctx context.Context, key trail.DigestKey, change func(*head)) error {
	if err := f.advance(ctx, change); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forgetLocked(key)
	delete(f.known, key)
	f.settleLocked(key, nil)
	return nil
}

// forgetLocked keeps of the quarantined digests, to which key may belong now,
// those that the head is not past.
func (f *follower) forgetLocked(key trail.DigestKey) {
	if key.End.After(f.head.Cursor) {
		f.bad[key.String()] = true
		return
	}
	clear(f.repeated)
	for name := range f.bad {
		if k, err := trail.ParseDigestKey(name); err != nil || !k.End.After(f.head.Cursor) {
			delete(f.bad, name)
		}
	}
}

// emitLogs emits the logs of a proven digest, side by side. After a failure it
// is called again, and what was emitted before is not emitted anew. When it
// returns nothing of it runs any more.
func (f *follower) emitLogs(ctx context.Context, g got, d *digest.Digest) error {
	var (
		mu   sync.Mutex // guards f.emitted and errs
		errs []error
		wait sync.WaitGroup
	)
	done := func(log trail.Object, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			errs = append(errs, err)
			return
		}
		f.emitted[log] = true
	}
	seen := make(map[trail.Object]bool, len(d.Logs))
	for i, l := range d.Logs {
		name := l.Location()
		file := &logFile{follower: f, Log: l, signed: d, found: g.Digest}
		if i < len(g.asked) {
			file.asked = g.asked[i]
		}
		if seen[name] {
			if err := file.quarantine(ctx, finding.LogMisplaced, errors.New("listed more than once")); err != nil {
				done(name, err)
			}
			continue
		}
		seen[name] = true
		mu.Lock()
		before := f.emitted[name]
		mu.Unlock()
		if before {
			continue
		}
		if err := ctx.Err(); err != nil {
			done(name, err)
			break
		}
		wait.Add(1)
		f.source.workers.Go(func() {
			defer wait.Done()
			done(name, file.emit(ctx))
		})
	}
	wait.Wait()
	if len(errs) == 0 {
		clear(f.emitted)
	}
	return errors.Join(errs...)
}

func (f *follower) findDigest(ctx context.Context, class finding.Class, o trail.Object, end time.Time, detail string, e finding.Evidence) error {
	return f.find(ctx, finding.Finding{
		Class: class, Detail: detail, Evidence: e,
		Subject: finding.Subject{Account: f.name.Account, Region: f.name.Region, Trail: f.name.Trail, Bucket: o.Bucket, Key: o.Key, Time: end.UTC()},
	})
}

// fresh reports whether what belongs to a digest that ends at end may still be
// on its way: a replicated bucket gets its objects in any order. A run that
// ends by itself takes what is there.
func (f *follower) fresh(end time.Time) bool { return !f.Once && f.Now().Sub(end) < f.Grace }

// endsBefore reports whether the next digest is a starting one: then nothing
// will ever repeat the signature of g.
func (f *follower) endsBefore(g got, newer *got) bool {
	if newer == nil {
		return false
	}
	d := newer.digest()
	return d != nil && d.Previous == nil
}

// unprovable passes the last digest before a gap in a copy without metadata:
// its hour cannot be proven, its events do not leave, and that is told.
func (f *follower) unprovable(ctx context.Context, g got, at trail.Object) error {
	e := finding.Evidence{From: g.End.Add(-window), To: g.End}
	if err := f.findDigest(ctx, finding.Coverage, at, g.End, "nothing in this copy repeats its signature: its hour is not emitted", e); err != nil {
		return err
	}
	return f.pass(ctx, g.DigestKey, func(h *head) { h.quarantined(g.DigestKey) })
}
