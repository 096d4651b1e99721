package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/disposition"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/internal/provenance"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// logFile is a log file that a proven digest lists, on its way to the sinks.
type logFile struct {
	*follower
	digest.Log
	at     trail.Object    // where it lies
	signed *digest.Digest  // the digest that lists it
	found  discover.Digest // and where that was found
	asked  *fetch.Answer   // what was asked for before its turn, or nil
	sum    fetch.LogSum    // of what was read
	proven bool            // the file at l.at has the signed hash

	quarantined bool // at least in part
}

// emit reads, proves and emits the log. It returns nil when the log is dealt
// with: emitted as a whole, or quarantined with a finding. Any other outcome
// is an error, and the log is tried again.
func (l *logFile) emit(ctx context.Context) error {
	l.m.accounts.begin()
	err := l.deal(ctx)
	l.m.accounts.end(l.quarantined, err)
	return err
}

func (l *logFile) deal(ctx context.Context) error {
	err := l.signed.CheckLog(l.Log, l.name.Place)
	if err == nil {
		err = l.readAll(ctx)
	}
	trouble := disposition.Trouble{What: disposition.Log, Err: err, Fresh: l.fresh(l.signed.End)}
	switch d := disposition.Of(trouble); d.Fate {
	case disposition.Emit:
		l.m.logs.WithLabelValues("valid").Inc()
		l.m.inflated.Add(float64(l.sum.Inflated))
		if !l.Oldest.IsZero() {
			l.m.eventAge.Observe(l.Now().Sub(l.Oldest).Seconds())
		}
		return nil
	case disposition.Quarantine:
		return l.quarantine(ctx, d.Class, err)
	case disposition.Wait:
		l.m.wait(d.Reason)
	}
	return fmt.Errorf("log %s: %w", l.at, err)
}

// readAll reads the files that can be the log, of which a copy can keep several,
// until one has the signed hash: that one is emitted. The others are compared, too,
// and one with another content is a finding. Where one is emitted, another that
// cannot be read holds nothing back.
func (l *logFile) readAll(ctx context.Context) error {
	type failed struct {
		at  trail.Object
		sum fetch.LogSum
		err error
	}
	var (
		wrong, unread []failed
		good          *logFile // a copy of l, as it was when the log was emitted
	)
	places := l.source.Locate(l.Location())
	for _, l.at = range places {
		var err error
		l.proven = false
		if good == nil {
			err = l.read(ctx)
		} else {
			l.sum, err = l.source.logs.Log(ctx, l.here())
		}
		switch {
		case err == nil && good == nil:
			emitted := *l
			good = &emitted
		case err == nil:
		case l.proven, ctx.Err() != nil: // it was not emitted as a whole
			return err
		case errors.Is(err, fs.ErrNotExist):
		case finding.IsFact(err):
			wrong = append(wrong, failed{l.at, l.sum, err})
		default:
			unread = append(unread, failed{l.at, l.sum, err})
		}
	}
	switch {
	case good != nil:
		for _, u := range unread {
			l.m.unverified.WithLabelValues(string(finding.ReasonOf(u.err))).Inc()
			l.Worker.Log.Warn("a second copy of a log was not read", "log", u.at.String(), "error", u.err)
		}
		for _, w := range wrong {
			l.at, l.sum = w.at, w.sum
			if err := l.altered(ctx, "a second copy: ", w.err); err != nil {
				return err
			}
		}
		l.at, l.sum = good.at, good.sum
		return nil
	case len(unread) > 0:
		l.at = unread[0].at
		return unread[0].err
	case len(wrong) > 0:
		for _, w := range wrong[1:] {
			l.at, l.sum = w.at, w.sum
			if err := l.altered(ctx, "", w.err); err != nil {
				return err
			}
		}
		l.at, l.sum = wrong[0].at, wrong[0].sum
		return wrong[0].err
	}
	l.at = places[0]
	return fs.ErrNotExist
}

// altered reports that the file at l.at is not the log.
func (l *logFile) altered(ctx context.Context, which string, why error) error {
	return l.find(ctx, l.finding(disposition.Of(disposition.Trouble{What: disposition.Log, Err: why}).Class, which, why))
}

// quarantine reports a log that will not be emitted.
func (l *logFile) quarantine(ctx context.Context, class finding.Class, why error) error {
	l.m.logs.WithLabelValues("invalid").Inc()
	l.quarantined = true
	return l.find(ctx, l.finding(class, "", why))
}

// finding returns what is wrong with the log file at l.at.
func (l *logFile) finding(class finding.Class, which string, why error) finding.Finding {
	e := finding.Evidence{Want: l.Hash.String(), Digest: l.signed.Location().String()}
	if class == finding.LogModified {
		e.Got = l.sum.Sum.String()
	}
	detail := why.Error()
	switch class {
	case finding.LogModified:
		detail = "its content is not what was signed for"
	case finding.LogMissing:
		detail = "listed, and not there"
	}
	return finding.Finding{Class: class, Subject: l.subject(), Detail: which + detail, Evidence: e}
}

func (l *logFile) subject() finding.Subject {
	s := finding.Subject{Account: l.name.Account, Region: l.name.Region, Trail: l.name.Trail, Bucket: l.at.Bucket, Key: l.at.Key, Time: l.signed.End}
	if l.at.Key == "" {
		s.Bucket, s.Key = l.Bucket, l.Object
	}
	if k, err := trail.ParseLogKey(l.Object); err == nil {
		s.Time = k.Stamp
	}
	return s
}

// read reads the log in the class that the chain's last one had, and goes up
// from there.
func (l *logFile) read(ctx context.Context) error {
	for n := fits(l.last.inflated.Load()); n < len(classes); n++ {
		err := l.readHeld(ctx, n)
		if !errors.Is(err, inflate.ErrTooLarge) {
			l.saw(l.sum.Inflated)
			return err
		}
	}
	l.saw(classes[len(classes)-1].inflated)
	return l.readLarge(ctx)
}

// here returns the listed log at the place where it is looked for.
func (l *logFile) here() digest.Log {
	h := l.Log
	h.Bucket, h.Object = l.at.Bucket, l.at.Key
	return h
}

// readHeld reads a log that is small enough to be held inflated until its hash
// is known.
func (l *logFile) readHeld(ctx context.Context, n int) (err error) {
	c := classes[n]
	hand := l.likely(c)
	if err := l.source.hands.Acquire(ctx, hand); err != nil {
		return err
	}
	defer l.source.hands.Release(hand)
	if err := l.source.budget.Acquire(ctx, c.reserve); err != nil {
		return err
	}
	defer l.source.budget.Release(c.reserve)
	held := &held{pool: &l.scratch[n], room: int(min(withSlack(l.last.inflated.Load()), c.inflated))}
	defer held.release()
	small := *l.source.logs
	small.Early = l.asked
	small.MaxLog = c.inflated
	began := l.Now()
	l.sum, err = small.CopyLog(ctx, func() io.Writer { held.reset(); return held }, l.here())
	if err != nil {
		return err
	}
	l.proven = true
	l.m.stage("fetch", l.Now().Sub(began))
	began = l.Now()
	defer func() { l.m.stage("emit", l.Now().Sub(began)) }()
	scratch := held.take()
	return l.lines(ctx, &part{most: c.lines, lineMaker: &scratch.lines}, func(s *trail.Splitter) error {
		_, err := s.Write(scratch.inflated)
		return err
	})
}

// readLarge reads a log that is too large to be held inflated: its compressed
// bytes are, they are inflated once for the hash, and once more for the
// records.
func (l *logFile) readLarge(ctx context.Context) error {
	if err := l.source.budget.Acquire(ctx, largeReserve); err != nil {
		return err
	}
	defer l.source.budget.Release(largeReserve)
	stored, err := l.source.logs.Stored(ctx, l.at, maxCompressed)
	if errors.Is(err, inflate.ErrTooLarge) {
		// CloudTrail writes none like it, so it is most likely planted, and the
		// chain need not wait for it: nothing is held for the hash alone.
		var modified error
		if l.sum, modified = l.source.logs.Log(ctx, l.here()); modified != nil {
			return modified
		}
	}
	if err != nil {
		return err
	}
	o := inflate.Options{Limit: l.source.logs.MaxLog, Plain: l.source.logs.Plain}
	if l.sum.Sum, l.sum.Inflated, err = inflate.Copy(nil, stored.Reader(), o); err != nil {
		return err
	}
	if err := l.Check(l.sum.Sum); err != nil {
		return err
	}
	l.proven = true
	return l.lines(ctx, &part{size: partBytes, lineMaker: new(lineMaker)}, func(s *trail.Splitter) error {
		_, _, err := inflate.Copy(s, stored.Reader(), o)
		return err
	})
}

// lines splits proven bytes into records and emits them as lines.
func (l *logFile) lines(ctx context.Context, p *part, write func(*trail.Splitter) error) error {
	p.ctx, p.log = ctx, l
	p.Reset(int(min(withSlack(l.last.lines.Load()), int64(p.most))))
	p.made.Reset(l.Raw, l.Log, l.signed.Location(), l.signed.Fingerprint)
	defer func() { l.m.accounts.lines(p.made.Records(), p.emitted, p.odd) }()
	s := trail.Splitter{Record: p.record, TooLarge: p.tooLarge}
	err := write(&s)
	if err == nil {
		err = s.Close()
	}
	switch {
	case errors.Is(err, trail.ErrRecords):
		err = l.notRecords(ctx, p, err)
	case err == nil:
		err = p.flush()
	}
	if err != nil {
		return err
	}
	for _, r := range p.large {
		l.m.unverified.WithLabelValues(string(finding.OddRecord)).Inc()
		l.Worker.Log.Warn("record is too large and was passed over", "log", l.at.String(), "record", r.n, "bytes", r.size)
	}
	return nil
}

// notRecords deals with a proven file that is not what a log file looks like:
// what could be split is emitted, the rest is a finding.
func (l *logFile) notRecords(ctx context.Context, p *part, why error) error {
	if err := p.flush(); err != nil {
		return err
	}
	return l.quarantine(ctx, finding.LogCorrupt, fmt.Errorf("proven, and malformed after %d records: %w", p.made.Records(), why))
}

// part gathers the lines of a proven log and emits them. A log that is held
// inflated is one part; a larger one has several, whose ends depend on its
// bytes alone, so that a repeat has the same.
type part struct {
	ctx  context.Context
	log  *logFile
	size int // of a part; 0: the log is one part
	most int // of the log's one part: one with more lines than its size suggests is treated as a larger log
	n    int // parts so far

	emitted, odd int           // records
	large        []largeRecord // those of odd that were passed over, at most one for each trail.MaxRecord bytes of the log

	*lineMaker
}

// largeRecord is a record that is larger than trail.MaxRecord.
type largeRecord struct {
	n    int // its number in the log
	size int64
}

// scratch is what a held log needs. Each class has its own, so that none keeps
// more than its logs reserve.
type scratch struct {
	inflated []byte
	lines    lineMaker
}

// lineMaker makes and gathers lines.
type lineMaker struct {
	made provenance.Log
	provenance.Lines
}

// held holds what is written to it. It takes its scratch when the first bytes
// come: of many logs on their way few need one at a time, and one that was just
// used is still in the processor's caches.
type held struct {
	pool *sync.Pool
	room int // what the log is likely to need
	*scratch
}

func (h *held) take() *scratch {
	if h.scratch == nil {
		h.scratch = h.pool.Get().(*scratch)
		h.inflated = slices.Grow(h.inflated[:0], h.room) // append alone would make twice of it
	}
	return h.scratch
}

// reset forgets what was written.
func (h *held) reset() {
	if h.scratch != nil {
		h.inflated = h.inflated[:0]
	}
}

func (h *held) Write(p []byte) (int, error) {
	s := h.take()
	s.inflated = append(s.inflated, p...)
	return len(p), nil
}

func (h *held) release() {
	if h.scratch != nil {
		h.pool.Put(h.scratch)
	}
}

// record takes the next record of the log.
func (p *part) record(record []byte) error {
	if err := p.Add(&p.made, record); err != nil {
		p.odd++
		return p.log.oddRecord(p.ctx, p.made.Records()-1, record)
	}
	if err := p.log.watch(p.ctx, record); err != nil {
		return err
	}
	switch {
	case p.size > 0 && p.Size() >= p.size:
		return p.flush()
	case p.size == 0 && p.Size() > p.most:
		return inflate.ErrTooLarge
	}
	return nil
}

// tooLarge passes over the next record of the log. It is reported once the
// records around it are emitted, so that a log that is tried again reports it
// once.
func (p *part) tooLarge(size int64) error {
	p.large = append(p.large, largeRecord{n: p.made.Records(), size: size})
	p.made.Skip()
	p.odd++
	return nil
}

// flush emits the lines gathered so far; a log without events has no batch.
func (p *part) flush() error {
	if p.Len() == 0 {
		return nil
	}
	if err := p.log.deliver(p.ctx, p.Batch(p.log.Location(), p.n)); err != nil {
		return err
	}
	p.n++
	p.emitted += p.Len()
	if p.size == 0 {
		p.log.sawLines(p.Size())
	}
	p.Reset(0)
	return nil
}

// oddRecord reports a record of a proven log that is no object, with its text;
// the rest of the log goes on.
func (l *logFile) oddRecord(ctx context.Context, n int, record []byte) error {
	const most = 4 << 10
	l.m.deadLetters.Inc()
	return l.find(ctx, finding.Finding{
		Class: finding.LogCorrupt, Subject: l.subject(),
		Detail:   fmt.Sprintf("record %d is no JSON object: %s", n, record[:min(len(record), most)]),
		Evidence: finding.Evidence{Want: l.Hash.String(), Digest: l.signed.Location().String()},
	})
}

// class is a size of log file: what a log of it may inflate to, what its lines
// may come to with the spliced members, and what both hold in memory together
// with the buffers of the connection and the sinks.
type class struct {
	inflated int64
	lines    int
	reserve  int64
}

// A log begins in the class that the last one of its chain ended in. Beyond
// the last class a log is never held inflated.
var classes = [...]class{
	{inflated: 512 << 10, lines: 1280 << 10, reserve: 2 << 20},
	{inflated: 4 << 20, lines: 10 << 20, reserve: 16 << 20},
	{inflated: 16 << 20, lines: 40 << 20, reserve: 64 << 20},
}

// sizes are those of a chain's last log: the next one is likely to need as
// much, and buffers that grow cost several times what they come to hold.
type sizes struct{ inflated, lines atomic.Int64 }

func (s *sizes) sum() int64 { return s.inflated.Load() + s.lines.Load() }

// saw remembers how large the last log was, and its lines how large these were.
func (f *follower) saw(inflated int64) {
	f.last.inflated.Store(inflated)
	f.source.last.inflated.Store(inflated)
}

func (f *follower) sawLines(size int) {
	f.last.lines.Store(int64(size))
	f.source.last.lines.Store(int64(size))
}

// likely returns how much of the source's hands a log of a class takes. It is a
// guess, by the last log of the chain or the source; what the log may come to
// at most is reserved of the budget.
func (l *logFile) likely(c class) int64 {
	n := l.last.sum()
	if n == 0 {
		n = l.source.last.sum()
	}
	if n == 0 {
		n = c.reserve / 2
	}
	return min(max(withSlack(n), leastHand), c.reserve, l.source.inHand)
}

// leastHand is that of a small log: its connection, too, takes something.
const leastHand = 64 << 10

// withSlack is an eighth more.
func withSlack(n int64) int64 { return n + n/8 }

// fits returns the class for logs of a size.
func fits(inflated int64) int {
	for n, c := range classes {
		if inflated <= c.inflated {
			return n
		}
	}
	return len(classes) - 1
}

// Of a log beyond the classes its compressed bytes are held, and a part of its
// lines at a time.
const (
	maxCompressed = 96 << 20 // CloudTrail's limit is 50 MB (User Guide, "Quotas")
	partBytes     = 4 << 20
	largeReserve  = maxCompressed + 6*partBytes
)
