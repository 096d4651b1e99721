package verify

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// walk finds the chains among the names of one trail. Two things say what comes
// next: the name that the last trusted digest gives its predecessor, and the
// listing. A signed name is followed wherever it leads; a name of the listing is
// only where a strand can begin.
type walk struct {
	r       *run
	scope   *scope
	names   *names
	chains  []*strands     // that began in these names
	repeats *chain.Repeats // signatures that untrusted digests repeat
	ahead   *ahead
	again   []chain.Ref // trusted digests that a walk passed by: other strands begin there
	strays  []stray     // names in the range that are not proven
	stray   *strands    // counts them
	gap     *gap        // waits for the logs that may explain it
	more    bool        // more is read for what it lists: nothing is reported
	unread  *chain.Step // the oldest name that was not judged and that nothing trusted names
	// unreadEnds are the ends of all these names, lastUnread is the newest of them.
	unreadEnds []time.Time
	lastUnread *chain.Step
}

// stray is a name that is not proven.
type stray struct {
	end   time.Time
	state report.State
}

// extent is the time whose digests are read. Names above are not looked at; a
// walk stops at the first digest that ends at lower or before.
type extent struct {
	lower, upper time.Time
	// isSilent says that nothing is reported: the digests are read for what they
	// list.
	isSilent bool
}

func (r *run) newWalk(s *scope, n *names) *walk {
	w := &walk{r: r, scope: s, names: n, repeats: chain.NewRepeats()}
	w.stray = &strands{name: n.trail, isSilent: n.isSilent}
	w.stray.name.Account, w.stray.name.Region = s.account, s.region
	w.ahead = &ahead{r: r, names: n, isDone: s.isWalked, listed: map[site]error{}}
	return w
}

// pass walks everything in an extent: the names above the range until one is
// trusted, those of the range, and below it as far as is needed to know what came
// before.
func (w *walk) pass(ctx context.Context, e extent) error {
	return w.passNames(ctx, w.pending(e.lower, e.upper), e)
}

func (w *walk) passNames(ctx context.Context, todo []name, e extent) error {
	w.ahead.begin(ctx, todo, aheadMost)
	return w.passBegun(ctx, e)
}

// passBegun is pass where the names are read ahead already.
func (w *walk) passBegun(ctx context.Context, e extent) error {
	w.ahead.onPassed = w.passed(ctx, e)
	w.r.cfg.Progress.DigestsListed.Add(int64(len(w.ahead.todo)))
	defer func() { w.ahead.stop() }()
	for ctx.Err() == nil {
		ref, ok := w.take(ctx)
		if !ok {
			break
		}
		w.strand(ctx, nil, ref, nil, e)
	}
	return ctx.Err()
}

// pending returns the names that end after from and not after to and that were not
// walked, newest first.
func (w *walk) pending(from, to time.Time) []name {
	all := w.names.between(from, to)
	if len(w.scope.walked) == 0 {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(n name) bool { return w.scope.isWalked(w.names.ref(n)) })
}

// extend reads more digests of the chains than those of an extent, for what they
// list. Nothing of them is reported.
func (w *walk) extend(ctx context.Context, from, to extent) error {
	to.isSilent, w.more = true, true
	for _, c := range w.chains {
		if b := c.bottom; c.joined == nil && b.kind == atRange && b.named != nil && c.oldest.After(to.lower) {
			w.ahead.onPassed = w.passed(ctx, to)
			w.ahead.begin(ctx, w.pending(to.lower, b.ref.End), aheadMost)
			w.strand(ctx, c, b.ref, b.named, to)
			w.ahead.stop()
		}
	}
	for _, names := range [][]name{w.pending(to.lower, from.upper), w.pending(from.upper, to.upper)} {
		if err := w.passNames(ctx, names, to); err != nil {
			return err
		}
	}
	if err := w.lookBackTo(ctx, to, to.lower); err != nil {
		return err
	}
	for _, c := range w.chains {
		if b := c.bottom; c.joined == nil && b.kind == starting && c.began.IsZero() && (w.unread == nil || !w.unread.End.Before(b.ref.End)) {
			c.began = b.ref.End
		}
	}
	return nil
}

// take returns the name at which the next strand can begin.
func (w *walk) take(ctx context.Context) (chain.Ref, bool) {
	for len(w.again) > 0 {
		ref := w.again[0]
		w.again = w.again[1:]
		if !w.scope.isWalked(ref) {
			return ref, true
		}
	}
	return w.ahead.take(ctx)
}

// asked reports whether something is to be said of a digest with this end.
func (w *walk) asked(end time.Time, e extent) bool {
	return !e.isSilent && !w.names.isSilent && w.r.inRange(end)
}

// inRange reports whether the hour of a digest touches the asked range.
func (r *run) inRange(end time.Time) bool {
	return end.After(r.cfg.Start) && end.Add(-window).Before(r.cfg.End)
}

// strand walks from a digest along the signed names. named is what a trusted
// digest of the chain c says of the first one; both are nil where the listing
// alone shows it.
func (w *walk) strand(ctx context.Context, c *strands, ref chain.Ref, named *chain.Successor, e extent) {
	options := chain.Options{Now: w.r.cfg.Now, Until: e.lower, Successor: named, Repeats: w.repeats}
	isFork := false
	keepBottom := func() {}
	defer func() { keepBottom() }()
	for s, err := range chain.Walk(ctx, w.ahead, w.r.keys, ref, options) {
		if err != nil {
			return
		}
		w.scope.walk(s.Ref, nil)
		asked := w.asked(s.End, e)
		if !s.Verdict.Trusted && s.Named == nil {
			w.unproven(ctx, s, asked)
			return
		}
		if s.Verdict.Trusted && c == nil {
			if c, isFork = w.chainOf(s); !isFork {
				keepBottom = w.keepBottom(c, s.End)
				w.bridge(ctx, c, s)
			}
		}
		w.scope.walk(s.Ref, c)
		switch {
		case isFork:
			w.fork(ctx, c, s, asked)
		case s.Verdict.Trusted:
			w.trusted(ctx, c, s, asked)
		default:
			w.breaks(ctx, c, s, asked)
		}
		if s.Next == nil {
			return
		}
		if other := w.scope.chainOf(*s.Next); other != nil {
			if !isFork {
				c.bottom = bottom{kind: joins}
				c.join(other)
			}
			return
		}
		if !isFork {
			c.bottom = bottom{kind: atRange, ref: *s.Next, named: &chain.Successor{Previous: *s.Digest.Previous, At: s.At}}
		}
	}
}

// keepBottom returns what sets the bottom of a chain back to what it is now, where a
// strand that begins above the oldest digest did not lead below it. Before a starting
// digest there, logging was off.
func (w *walk) keepBottom(c *strands, end time.Time) func() {
	bottom, oldest, newest := c.bottom, c.oldest, c.newest
	return func() {
		if oldest.IsZero() || !end.After(oldest) || c.joined != nil || !c.oldest.Equal(oldest) {
			return
		}
		above := c.bottom
		if c.bottom = bottom; above.kind == starting && above.ref.End.After(newest) {
			w.openGap(c, newest, above.ref.End, above.at, "")
		}
	}
}

// chainOf returns the chain that a strand which begins with s continues: the one
// of the same organization, since a trail has one chain in an account and region
// whatever its prefix is. Where trusted digests of that chain cover the time
// already, the strand is a fork of it.
func (w *walk) chainOf(s chain.Step) (c *strands, isFork bool) {
	from := s.End // a starting digest lists nothing
	if s.Digest != nil && !s.Starting() {
		from = s.Digest.Start
	}
	for _, o := range w.chains {
		if o.joined == nil && o.name.Organization == s.Organization {
			return o, !s.Backfill && o.overlaps(from, s.End) && !o.startsWithin(s.End)
		}
	}
	c = &strands{name: s.Chain, isSilent: w.names.isSilent, places: map[trail.Place]bool{}, newest: s.End}
	w.chains = append(w.chains, c)
	return c, false
}

// bridge looks at the time between the bottom of a chain and the trusted digest s
// that comes before it.
func (w *walk) bridge(ctx context.Context, c *strands, s chain.Step) {
	if c.oldest.IsZero() || !s.End.Before(c.oldest) || s.Backfill {
		return
	}
	b := c.bottom
	c.bottom = bottom{kind: atRange}
	switch b.kind {
	case starting:
		w.openGap(c, s.End, b.ref.End, b.at, w.mayBeLater(s.End, b.ref.End))
	case broken:
		isStart, err := chain.Starting(ctx, w.r.keys, b.ref.DigestKey, b.named.Previous)
		follows, followsErr := chain.Follows(ctx, w.r.keys, b.ref.DigestKey, b.named.Previous, s.Verdict.Signature)
		switch {
		case isStart:
			w.openGap(c, s.End, b.ref.End, b.at, "; the starting digest itself is gone, altered or was not read"+w.mayBeLater(s.End, b.ref.End))
		case follows:
		case err != nil, followsErr != nil, b.isUnread, !w.scope.isComplete:
			// Those between lie where what was not read would say, or listed.
			c.time.add(s.End, b.ref.End.Add(-window), report.Unverified)
		default:
			w.missing(c, s.End, b.ref.End.Add(-window))
		}
	case unnamed:
		w.missing(c, s.End, c.from)
	}
}

// mayBeLater says where a digest in a gap was not read, that can be the last one
// before it.
func (w *walk) mayBeLater(from, to time.Time) string {
	var last time.Time
	for _, end := range w.unreadEnds {
		if end.After(from) && end.Before(to) && end.After(last) {
			last = end
		}
	}
	switch {
	case !w.scope.isComplete:
		return "; a digest folder of the account and region was not listed, and can hold later ones than the last before the gap"
	case last.IsZero():
		return ""
	}
	return fmt.Sprintf("; the digest that ends at %s was not proven, and can be the last one before the gap", last.Format(time.RFC3339))
}

// missing reports the digests that are due between two trusted ones. An hour
// whose own name is there was looked at as that.
func (w *walk) missing(c *strands, older, newer time.Time) {
	for t := range chain.Due(older, newer) {
		if w.names.has(t) {
			continue
		}
		c.time.add(t.Add(-window), t, report.Missing)
		if !w.asked(t, extent{isSilent: w.more}) {
			continue
		}
		o := trail.Object{Bucket: w.r.cfg.Source.Signed(), Key: c.name.Digest(t).String()}
		w.r.find(finding.Finding{Class: finding.DigestMissing, Subject: subject(c.name, o, t), Detail: chain.DetailDue})
		w.counted(c, report.Missing)
	}
}

func (w *walk) counted(c *strands, s report.State) {
	w.r.cfg.Progress.Digests.Add(1)
	c.count(s)
}

// judged reports what is wrong with a digest or why it was not judged.
func (w *walk) judged(ctx context.Context, s chain.Step, v chain.Verdict, at trail.Object, objects int) {
	about := subject(s.Chain, at, s.End)
	switch v.Status {
	case chain.Invalid:
		w.r.find(finding.Finding{Class: v.Class, Subject: about, Detail: v.Detail, Evidence: v.Evidence})
	case chain.Unverified:
		w.r.doubt(ctx, about, v.Err, objects)
	}
}

// trusted takes a digest whose content is CloudTrail's.
func (w *walk) trusted(ctx context.Context, c *strands, s chain.Step, asked bool) {
	w.r.use(s.Region, s.Verdict.Key)
	c.places[s.Place] = true
	if s.End.After(c.newest) {
		c.newest, c.name = s.End, s.Chain
	}
	if c.oldest.IsZero() || s.End.Before(c.oldest) {
		c.oldest = s.End
	}
	d := s.Digest
	if d == nil { // too large to be parsed: what it names is not known
		w.breaks(ctx, c, s, asked)
		return
	}
	if s.End.Equal(c.oldest) {
		c.from = d.Start
	}
	if !s.Starting() {
		c.time.add(d.Start, d.End, stateOf(s.Verdict))
	}
	if asked {
		w.judged(ctx, s, s.Verdict, s.At, 1)
		w.counted(c, countedAs(s.Verdict))
		w.copies(ctx, s)
	}
	if s.WindowErr != nil {
		c.time.add(s.Next.End, d.Start, report.Invalid)
		if asked {
			e := chain.SignatureEvidence(d, s.Verdict.Signature)
			e.From, e.To = s.Next.End, d.Start
			w.r.find(finding.Finding{Class: finding.ChainHole, Subject: subject(s.Chain, s.At, s.End), Detail: s.WindowErr.Error(), Evidence: e})
		}
	}
	switch {
	case s.NameErr != nil:
		c.bottom = bottom{kind: unnamed}
		if asked {
			w.r.find(finding.Finding{Class: finding.ChainHole, Subject: subject(s.Chain, s.At, s.End), Detail: s.NameErr.Error(), Evidence: chain.SignatureEvidence(d, "")})
		}
	case s.Starting():
		c.bottom = bottom{kind: starting, at: s.At, ref: s.Ref}
		if !s.Backfill {
			c.starts.add(d.Start, d.End, report.Gap)
		}
	}
	w.r.trusted.Store(true)
	w.offerExplanation(c, s)
	w.checkLogs(c, s, asked)
}

// breaks takes a digest that a trusted one names, and that is not trusted.
func (w *walk) breaks(ctx context.Context, c *strands, s chain.Step, asked bool) {
	c.bottom = bottom{kind: broken, at: s.At, ref: s.Ref, named: s.Named, isUnread: s.Verdict.Status == chain.Unverified}
	if !s.Backfill || s.Verdict.Status == chain.Unverified {
		c.time.add(s.End.Add(-window), s.End, stateOf(s.Verdict))
	}
	if s.Backfill && s.Verdict.Status == chain.Unverified {
		w.scope.addUnread(s)
	}
	claimed := w.claim(c, s, asked)
	if asked {
		w.judged(ctx, s, s.Verdict, s.At, 1+claimed)
		w.counted(c, stateOf(s.Verdict))
		w.copies(ctx, s)
	}
}

// copies reports second files under a digest's name.
func (w *walk) copies(ctx context.Context, s chain.Step) {
	for _, o := range s.Copies {
		w.judged(ctx, s, o.Verdict, o.At, 1)
	}
}

// fork reports a trusted digest that no link of its chain leads to.
func (w *walk) fork(ctx context.Context, c *strands, s chain.Step, asked bool) {
	if !asked {
		return
	}
	w.counted(c, report.Invalid)
	if s.Verdict.Status != chain.Valid {
		w.judged(ctx, s, s.Verdict, s.At, 1)
		return
	}
	e := chain.SignatureEvidence(s.Digest, s.Verdict.Signature)
	w.r.find(finding.Finding{Class: finding.ChainHole, Subject: subject(s.Chain, s.At, s.End), Detail: "no link of the chain leads here: a fork, or planted", Evidence: e})
}

// passed returns what is called for names that a walk passes by.
func (w *walk) passed(ctx context.Context, e extent) func(chain.Ref, []chain.Found) {
	return func(ref chain.Ref, found []chain.Found) {
		for s, err := range chain.Walk(ctx, given{found}, w.r.keys, ref, chain.Options{Now: w.r.cfg.Now, Until: ref.End, Repeats: w.repeats}) {
			switch {
			case err != nil:
				return
			case s.Verdict.Trusted:
				w.again = append(w.again, ref)
			default:
				w.scope.walk(ref, nil)
				w.unproven(ctx, s, w.asked(ref.End, e))
			}
		}
	}
}

// unproven takes a name that nothing proves. It is reported, and steers nothing.
func (w *walk) unproven(ctx context.Context, s chain.Step, asked bool) {
	if s.Verdict.SignedFor.Bucket != "" && s.Verdict.SignedFor.Key == s.At.Key {
		w.r.moved(s.Verdict.SignedFor.Bucket)
	}
	if s.Verdict.Status == chain.Unverified {
		w.unreadEnds = append(w.unreadEnds, s.End)
		if w.lastUnread == nil || s.End.After(w.lastUnread.End) {
			w.lastUnread = &s
		}
		w.scope.addUnread(s)
		if w.unread == nil || s.End.Before(w.unread.End) {
			w.unread = &s
		}
	}
	claimed := w.claim(w.stray, s, asked)
	if !asked {
		return
	}
	w.judged(ctx, s, s.Verdict, s.At, 1+claimed)
	w.copies(ctx, s)
	w.counted(w.stray, stateOf(s.Verdict))
	w.strays = append(w.strays, stray{s.End, stateOf(s.Verdict)})
	w.contradictions(s)
}

// contradictions reports the untrusted digests that repeat a signature for s which
// does not verify over it: they or s were altered. The finding is on them, since s
// is reported as it is, and anyone can plant a digest that says something of s.
func (w *walk) contradictions(s chain.Step) {
	for _, ref := range s.Repeaters {
		if w.asked(ref.End, extent{}) {
			w.r.find(finding.Finding{
				Class: finding.ChainMismatch, Subject: subject(ref.Chain, ref.Object(), ref.End),
				Detail:   fmt.Sprintf("repeats a signature for %s that does not verify over it: one of the two was altered", s.At),
				Evidence: finding.Evidence{Digest: s.At.String()},
			})
		}
	}
}

// finish says, when all walks of the scope have ended, what came before each
// chain and where the names that are not proven belong.
func (w *walk) finish(ctx context.Context) {
	for _, c := range w.chains {
		if c.joined != nil {
			continue
		}
		if u := w.lastUnread; u != nil && u.End.After(c.newest) {
			c.unread = u
		}
		switch b := c.bottom; {
		case c.name.Backfill:
		case b.kind == starting && w.unread != nil && w.unread.End.Before(b.ref.End):
			c.filled.add(w.r.cfg.Start, b.ref.End, report.Unverified)
			if !w.asked(w.unread.End, extent{}) && w.asked(b.ref.End, extent{}) {
				w.judged(ctx, *w.unread, w.unread.Verdict, w.unread.At, 1)
			}
		case b.kind == starting && w.ahead.listed[site{b.ref.Bucket, b.ref.Place}] != nil:
			c.filled.add(w.r.cfg.Start, b.ref.End, report.Unverified)
			if w.asked(b.ref.End, extent{}) {
				folder := trail.Object{Bucket: b.ref.Bucket, Key: b.ref.Folder(trail.DigestFolder)}
				w.r.doubt(ctx, subject(b.ref.Chain, folder, w.r.cfg.Start), w.ahead.listed[site{b.ref.Bucket, b.ref.Place}], 0)
			}
		case b.kind == starting:
			c.began = b.ref.End
		case b.kind == broken && b.isUnread:
			c.filled.add(w.r.cfg.Start, b.ref.End, report.Unverified)
		case b.kind == broken:
			if isStart, err := chain.Starting(ctx, w.r.keys, b.ref.DigestKey, b.named.Previous); err == nil && isStart {
				c.began = b.ref.End
			}
		}
	}
	w.unreadEnd(ctx)
	var to *strands
	for _, c := range w.chains {
		if c.joined == nil && !c.name.Backfill {
			to = c
			break
		}
	}
	w.place(to)
}

// unreadEnd reports a trail of which nothing is proven because its newest digest
// before the range was not read: it may have ended, and nothing says when. An end
// that the user knows of needs no proof.
func (w *walk) unreadEnd(ctx context.Context) {
	u := w.unread
	if len(w.chains) > 0 || len(w.strays) > 0 || u == nil || w.names.isSilent || u.Backfill || w.asked(u.End, extent{}) || w.scope.isWalkedInto(w.names) {
		return
	}
	if w.isLastKnown() {
		w.r.mu.Lock()
		defer w.r.mu.Unlock()
		last := &strands{name: w.lastUnread.Chain, newest: w.lastUnread.End}
		w.r.ended = append(w.r.ended, w.r.chainEnd(last, last.newest))
		return
	}
	if finding.ReasonOf(u.Verdict.Err) != finding.NoSignature {
		w.judged(ctx, *u, u.Verdict, u.At, 1)
	}
}

// place gives the names that are not proven to the chain that they are named for,
// where there is one. A name fills an hour that nothing trusted covers only if it
// ends where a digest of the chain would.
func (w *walk) place(c *strands) {
	for _, s := range w.strays {
		switch {
		case c == nil:
			w.stray.filled.add(s.end.Add(-window), s.end, s.state)
		case s.end.Sub(c.newest)%window == 0 || s.end.Sub(c.oldest)%window == 0:
			c.filled.add(s.end.Add(-window), s.end, s.state)
		}
	}
	if c != nil && !w.names.isSilent {
		w.stray.joined = c.root()
		c.root().parts = append(c.root().parts, w.stray)
	}
}

// given is a Fetcher that has read what it is asked for.
type given struct{ found []chain.Found }

// ReadDigest implements chain.Fetcher.
func (g given) ReadDigest(context.Context, chain.Ref) []chain.Found { return g.found }

// HashDigest implements chain.Fetcher. A walk without a trusted successor does not
// ask for it.
func (given) HashDigest(context.Context, trail.Object) (digest.Sum, error) {
	return digest.Sum{}, finding.ErrTooLarge
}
