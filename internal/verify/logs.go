package verify

import (
	"context"
	"errors"
	"hash/maphash"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// checkLogs hands every log that a trusted digest lists to the checkers. It waits
// while those are busy, and so holds the walk back. The logs of a digest that was
// not asked for are only remembered.
func (w *walk) checkLogs(c *strands, s chain.Step, asked bool) {
	d := s.Digest
	by := w.scope.listed.digest(s.Ref)
	for _, log := range d.Logs {
		w.covers(c, log)
		misplaced := d.CheckLog(log, s.Place)
		before, seen := w.scope.listed.add(w.r.signedName(log.Location()), log.Hash, by, asked)
		if !asked {
			continue
		}
		check := logCheck{
			r:      w.r,
			chain:  c,
			name:   c.name,
			log:    log,
			places: w.r.cfg.Source.Locate(log.Location()),
			digest: d.Location(),
			end:    d.End,
		}
		switch {
		case misplaced != nil:
			w.r.cfg.Progress.LogsListed.Add(1)
			check.wrong(finding.LogMisplaced, check.places[0], misplaced.Error(), digest.Sum{})
		case seen && before.by == by:
			w.r.cfg.Progress.LogsListed.Add(1)
			check.wrong(finding.LogMisplaced, check.places[0], "listed more than once", digest.Sum{})
		case seen && before.isSame(log.Hash):
			w.r.noteTwice(check, w.scope.listed.digests[before.by].Object())
			if !before.isChecked {
				w.startCheck(check)
			}
		case seen:
			w.r.cfg.Progress.LogsListed.Add(1)
			check.wrong(finding.LogMisplaced, check.places[0], "listed by two digests with two hashes", digest.Sum{})
		default:
			w.startCheck(check)
		}
	}
}

func (w *walk) startCheck(check logCheck) {
	w.r.cfg.Progress.LogsListed.Add(1)
	switch {
	case !w.r.mayFollow(check.log.Bucket):
		check.chain.countLogs(report.Count{Unverified: 1})
		w.r.doubt(w.r.logCtx, check.subject(check.log.Location()), errStay, 1)
	case w.r.cfg.NoLogs:
	default:
		w.r.logs.Go(func() error { check.run(w.r.logCtx); return nil })
	}
}

// covers notes that the chain belongs to the place of a log file that it lists,
// and that a digest lists files of a sibling folder.
func (w *walk) covers(c *strands, log digest.Log) {
	if k, err := trail.ParseLogKey(log.Object); err == nil {
		if w.r.cfg.Source.IsCopy() {
			k.Prefix = ""
		}
		c.places[k.Place] = true
		return
	}
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	for folder := range w.r.siblings {
		if strings.Contains("/"+log.Object, "/"+trail.Tail(folder)) {
			w.r.siblings[folder] = true
		}
	}
}

// signedName returns what tells one signed object from another. A copy has
// neither buckets nor prefixes.
func (r *run) signedName(o trail.Object) trail.Object {
	if !r.cfg.Source.IsCopy() {
		return o
	}
	if tail := trail.Tail(o.Key); tail != "" {
		return trail.Object{Key: tail}
	}
	return trail.Object{Key: o.Key}
}

// claim is what is remembered of a log that a digest lists which was not judged.
type claim struct {
	by         *walk     // of the digest's trail
	end        time.Time // of the digest
	isBackfill bool      // the digest has no hour of its own
	isSaid     bool      // the digest was asked for, so it is reported
}

// claim remembers the logs that a digest lists which was not judged. Where the
// digest is asked for, it counts them: they are said with that digest, unless
// something proves more about them.
func (w *walk) claim(c *strands, s chain.Step, asked bool) int {
	if s.Digest == nil || s.Verdict.Status != chain.Unverified {
		return 0
	}
	for _, log := range s.Digest.Logs {
		h := w.scope.hash(w.r.signedName(log.Location()))
		w.scope.claimed[h] = claim{
			by:         w,
			end:        s.End,
			isBackfill: s.Backfill,
			isSaid:     w.scope.claimed[h].isSaid || asked,
		}
	}
	if w.r.cfg.NoLogs || !asked {
		return 0
	}
	c.countLogs(report.Count{Unverified: len(s.Digest.Logs)})
	return len(s.Digest.Logs)
}

// noteTwice notes a log that two digests list with one hash: CloudTrail may
// deliver again.
func (r *run) noteTwice(check logCheck, other trail.Object) {
	r.collect.AddNote(finding.Note{
		Kind: finding.ListedTwice, Subject: check.subject(check.log.Location()),
		Detail: "two digests list it, with one hash", Digests: []string{check.digest.String(), other.String()},
	})
}

// logCheck is the check of one listed log file.
type logCheck struct {
	r      *run
	chain  *strands
	name   trail.Chain // of the chain when it was walked: the walk goes on beside the checks
	log    digest.Log
	places []trail.Object // where it can lie
	digest trail.Object   // the digest that lists it
	end    time.Time      // of that digest
}

// readLog is a file that can be the log, and what it holds.
type readLog struct {
	at  trail.Object
	sum fetch.LogSum
	err error
}

// run reads every file that can be the log. One with the signed hash is it, and
// makes the log valid; a file with another content is a finding all the same.
func (c logCheck) run(ctx context.Context) {
	var all []readLog
	isValid := false
	for _, at := range c.places {
		l := c.log
		l.Bucket, l.Object = at.Bucket, at.Key
		sum, err := c.r.cfg.Fetcher.Log(ctx, l)
		c.r.countInflated(sum.Inflated)
		isValid = isValid || err == nil
		if errors.Is(err, fs.ErrNotExist) || isUnread(all, at, err) {
			continue
		}
		all = append(all, readLog{at, sum, err})
	}
	c.r.cfg.Progress.Logs.Add(1)
	if len(all) == 0 {
		all = append(all, readLog{at: c.places[0], err: fs.ErrNotExist})
	}
	isInvalid := false
	for _, l := range all {
		isInvalid = c.judge(ctx, l, isValid) || isInvalid
	}
	switch {
	case ctx.Err() != nil:
	case isValid:
		c.chain.countLogs(report.Count{Valid: 1})
	case isInvalid:
		c.chain.countLogs(report.Count{Invalid: 1})
	default:
		c.chain.countLogs(report.Count{Unverified: 1})
	}
}

// isUnread reports whether at is the inflated name of a file that was not read
// either. Where a folder cannot be opened, neither name says that a file is there.
func isUnread(all []readLog, at trail.Object, err error) bool {
	return err != nil && !finding.IsFact(err) && slices.ContainsFunc(all, func(l readLog) bool {
		return l.at.Key == at.Key+".gz" && l.err != nil && !finding.IsFact(l.err)
	})
}

// judge reports what is wrong with one file, and whether something is. isCopy says
// that another file has the signed hash.
func (c logCheck) judge(ctx context.Context, l readLog, isCopy bool) bool {
	which := ""
	if isCopy {
		which = "a second copy: "
	}
	switch {
	case l.err == nil:
		return false
	case errors.Is(l.err, digest.ErrModified):
		c.find(finding.LogModified, l.at, which+"its content is not what was signed for", l.sum.Sum)
	case errors.Is(l.err, fs.ErrNotExist):
		c.find(finding.LogMissing, l.at, "listed, and not there", digest.Sum{})
	case errors.Is(l.err, finding.ErrContainer):
		c.find(finding.LogCorrupt, l.at, which+l.err.Error(), l.sum.Sum)
	default:
		c.r.doubt(ctx, c.subject(l.at), l.err, 1)
		return false
	}
	return true
}

// wrong reports a log that is not looked at, and counts it.
func (c logCheck) wrong(class finding.Class, at trail.Object, why string, got digest.Sum) {
	c.chain.countLogs(report.Count{Invalid: 1})
	c.find(class, at, why, got)
}

func (c logCheck) find(class finding.Class, at trail.Object, why string, got digest.Sum) {
	e := finding.Evidence{Want: c.log.Hash.String(), Digest: c.digest.String()}
	if got != (digest.Sum{}) {
		e.Got = got.String()
	}
	c.r.find(finding.Finding{Class: class, Subject: c.subject(at), Detail: why, Evidence: e})
}

// subject names a file that can be the log. Its time is the log's stamp, or the
// end of the digest where the name does not have one.
func (c logCheck) subject(at trail.Object) finding.Subject {
	t := c.end
	if k, err := trail.ParseLogKey(c.log.Object); err == nil {
		t = k.Stamp
	}
	return subject(c.name, at, t)
}

func (r *run) countInflated(n int64) {
	r.cfg.Progress.InflatedBytes.Add(n)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inflated += n
}

// listedSet remembers which objects the digests of a scope list, in few bytes
// each: a chain of years lists millions. The hash is seeded at random, so an
// attacker cannot choose a name that is taken for another.
type listedSet struct {
	seed    maphash.Seed
	keys    map[uint64]listed
	digests []chain.Ref // by number
}

// listed is what is remembered of a listed object.
type listed struct {
	sum       uint32 // the beginning of the signed hash
	by        uint32 // the number of the digest
	isChecked bool   // the digest was asked for
}

func (l listed) isSame(sum digest.Sum) bool { return l.sum == prefixOf(sum) }

func prefixOf(sum digest.Sum) uint32 {
	return uint32(sum[0])<<24 | uint32(sum[1])<<16 | uint32(sum[2])<<8 | uint32(sum[3])
}

func newListedSet(seed maphash.Seed) *listedSet {
	return &listedSet{seed: seed, keys: map[uint64]listed{}}
}

// digest returns the number of a digest.
func (s *listedSet) digest(ref chain.Ref) uint32 {
	s.digests = append(s.digests, ref)
	return uint32(len(s.digests) - 1)
}

// add remembers an object and returns what was remembered of it before.
func (s *listedSet) add(o trail.Object, sum digest.Sum, by uint32, isChecked bool) (before listed, seen bool) {
	h := s.hash(o)
	before, seen = s.keys[h]
	if !seen {
		s.keys[h] = listed{prefixOf(sum), by, isChecked}
	} else if isChecked && !before.isChecked {
		now := before
		now.isChecked = true
		s.keys[h] = now
	}
	return before, seen
}

func (s *listedSet) has(o trail.Object) bool {
	_, there := s.keys[s.hash(o)]
	return there
}

func (s *listedSet) hash(o trail.Object) uint64 {
	return maphash.String(s.seed, o.Bucket+"/"+o.Key)
}
