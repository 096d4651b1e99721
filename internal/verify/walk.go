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
// listing. The walk follows a signed name to any place. A name of
// the listing only says where a strand can begin.
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
	more    bool        // the walk reads more digests for what they list, and does not report
	unread  *chain.Step // the oldest name that was not judged and that no trusted digest names
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
	// isSilent says that the digests are read for what they list, and not reported.
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
			c.bottom = bottom{
				kind:  atRange,
				ref:   *s.Next,
				named: &chain.Successor{Previous: *s.Digest.Previous, At: s.At},
			}
		}
	}
}

// chainOf returns the chain that a strand which begins with s continues: the one
// of the same organization, since a trail has one chain in an account and region
// under every prefix. Where trusted digests of that chain cover the time
// already, the strand is a fork of it.
func (w *walk) chainOf(s chain.Step) (c *strands, isFork bool) {
	from := s.End // a starting digest does not list log files
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
			w.r.find(
				finding.Finding{
					Class:    finding.ChainHole,
					Subject:  subject(s.Chain, s.At, s.End),
					Detail:   s.WindowErr.Error(),
					Evidence: e,
				},
			)
		}
	}
	switch {
	case s.NameErr != nil:
		c.bottom = bottom{kind: unnamed}
		if asked {
			w.r.find(
				finding.Finding{
					Class:    finding.ChainHole,
					Subject:  subject(s.Chain, s.At, s.End),
					Detail:   s.NameErr.Error(),
					Evidence: chain.SignatureEvidence(d, ""),
				},
			)
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
	c.bottom = bottom{kind: broken, at: s.At, ref: s.Ref, named: s.Named}
	if s.Verdict.Status == chain.Unverified {
		c.bottom.unread = &s
	}
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
	w.r.find(
		finding.Finding{
			Class:    finding.ChainHole,
			Subject:  subject(s.Chain, s.At, s.End),
			Detail:   "no link of the chain leads here: a fork, or planted",
			Evidence: e,
		},
	)
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

// unproven reports a name that is not proven. The name does not steer the walk.
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
				Detail: fmt.Sprintf(
					"repeats a signature for %s that does not verify over it: one of the two was altered",
					s.At,
				),
				Evidence: finding.Evidence{Digest: s.At.String()},
			})
		}
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
