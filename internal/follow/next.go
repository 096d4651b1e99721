package follow

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/trailseal/trailseal/internal/failure"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Policy says how patient a run is. The zero Policy waits for nothing.
type Policy struct {
	Grace   time.Duration // how long after its hour an object may be absent before that counts
	GapWait time.Duration // how long a starting digest waits for digests before it
	Tries   int           // how often a run tries what fails; 0: for ever
}

// Candidate is the oldest known digest, read and judged.
type Candidate struct {
	Known
	Origin  Origin
	At      trail.Object   // the file that counts
	Digest  *digest.Digest // nil where the file was not parsed
	Verdict chain.Verdict
	Copies  []chain.Copy // other files under the name that have another content

	// Unprovable says that no digest will ever repeat the signature of this one,
	// which has none itself.
	Unprovable bool
	// AfterStart says that the digest that it names was a starting one. The caller tells
	// by the signature that it repeats, also where that digest is gone or bad.
	AfterStart bool
	// SwitchedOff is the event that explains a gap before a starting digest, or nil.
	SwitchedOff *finding.Event
	// WalkedBack and IsListed say that the caller has looked for digests between the
	// head and this one since it became the candidate, by signed names or by listing.
	WalkedBack, IsListed bool

	Skip *SkipOrder // the operator's order to skip it, or nil
	Sum  digest.Sum // of the file at At, zero where it could not be hashed
}

// Action is what to do with a candidate.
type Action int

// The actions.
const (
	Emit       Action = iota + 1 // emit its log files, then store the head
	WalkBack                     // look for the digests before it by signed names, from Step.To on
	List                         // look for the digests before it by listing
	Again                        // an older digest is known: begin with that
	Wait                         // try again later; Step.Why says why
	Quarantine                   // remember it as bad
	Skip                         // it is done
	PassOver                     // the operator skips it: store the head, emit nothing
	Forget                       // it was announced and is not there; Step.Why says so
)

// Step is what to do with a candidate.
type Step struct {
	Do     Action
	Find   []finding.Finding // to report first
	Why    error             // of Wait and Forget
	Reason finding.Reason    // of Wait, where evidence was not checked
	Gap    bool              // the chain has a gap before the candidate
	// To and Previous are what a trusted digest says of its predecessor, for WalkBack.
	To       chain.Ref
	Previous digest.Previous
}

// Errors that say why a chain waits.
var (
	// ErrNotYet says that an object is absent that may still arrive.
	ErrNotYet = errors.New("not there yet")
	// ErrUnsigned says that the newest digest of a copy has no signature. Its successor
	// will repeat it.
	ErrUnsigned = errors.New("waits for its successor")
	// ErrElsewhere says that the chain continues another one, which has not come to its
	// end.
	ErrElsewhere = errors.New("waits for the chain that it continues")
)

// Next decides what to do with a candidate. known are the other known digests of
// the chain; Next looks at those that are not newer than the candidate.
func Next(h Head, c Candidate, known []chain.Ref, p Policy, now time.Time) Step {
	step := next(h, c, known, p, now)
	if c.Skip != nil {
		return c.skip(h, known, p, now, step)
	}
	return step
}

func next(h Head, c Candidate, known []chain.Ref, p Policy, now time.Time) Step {
	v := c.Verdict
	switch {
	case h.Covers(c.DigestKey):
		return Step{Do: Skip}
	case c.Origin == Announced && v.Class == finding.DigestMissing:
		// Anyone may have written the message, so this is not a finding. If the digest
		// was there, its successor names it.
		return Step{Do: Forget, Why: fmt.Errorf("announced digest %s: %w", c.Object(), fs.ErrNotExist)}
	case v.Status == chain.Valid && c.Digest == nil:
		return Step{Do: Wait, Why: fmt.Errorf("digest %s: %w", c.At, ErrNotYet)}
	}
	fresh := now.Sub(c.End) < p.Grace
	decision := failure.Decide(failure.Failure{
		Operation: failure.Digest, Err: v.Err, Class: v.Class, Trusted: v.Trusted && c.Digest != nil, Fresh: fresh,
	})
	var find []finding.Finding
	if decision.Class != "" {
		find = append(find, c.finding(decision.Class, c.At, c.End, v.Detail, v.Evidence))
	}
	for _, other := range c.Copies {
		if other.Verdict.Status == chain.Invalid {
			o := other.Verdict
			find = append(find, c.finding(o.Class, other.At, c.End, o.Detail, o.Evidence))
		}
	}
	switch decision.Do {
	case failure.Quarantine:
		return Step{Do: Quarantine, Find: find}
	case failure.Retry, failure.Release:
		return c.wait(decision, find)
	}
	step := link(h, c, known, p, now)
	if step.Do == Emit {
		step.Find = slices.Concat(find, c.afterReset(h), step.Find)
	}
	return step
}

// wait returns the step for a digest that was not judged.
func (c Candidate) wait(d failure.Decision, find []finding.Finding) Step {
	err := c.Verdict.Err
	switch {
	case d.Reason == finding.NoSignature && c.Unprovable:
		return Step{Do: Quarantine, Find: append(find, c.finding(
			finding.Coverage, c.At, c.End, "no digest in this copy repeats its signature: its hour is not emitted",
			finding.Evidence{From: c.End.Add(-window), To: c.End},
		))}
	case d.Reason == finding.NoSignature:
		err = fmt.Errorf("%w: %w", ErrUnsigned, err)
	case err == nil:
		err = fmt.Errorf("%s: %w", c.Verdict.Detail, ErrNotYet)
	}
	return Step{Do: Wait, Find: find, Why: fmt.Errorf("digest %s: %w", c.At, err), Reason: d.Reason}
}

// link returns the step for a trusted digest: it compares it with the head. The
// digest is signed, so it is emitted whatever the comparison finds.
func link(h Head, c Candidate, known []chain.Ref, p Policy, now time.Time) Step {
	d := c.Digest
	if c.Backfill { // these come in no order
		return Step{Do: Emit}
	}
	if slices.ContainsFunc(known, func(o chain.Ref) bool { return o.End.Before(c.End) && !h.Covers(o.DigestKey) }) {
		return Step{Do: Again}
	}
	if d.Previous == nil {
		return start(h, c, p, now)
	}
	named, err := chain.Previous(d, c.Chain)
	switch {
	case err != nil:
		return c.emit(c.finding(finding.ChainHole, c.At, c.End, err.Error(), chain.SignatureEvidence(d, "")))
	case named.End.After(h.Cursor) && !c.WalkedBack:
		return Step{Do: WalkBack, To: named, Previous: *d.Previous}
	case named.End.After(h.Cursor) && h.Link.Key == "" && !c.IsListed:
		return Step{Do: List} // no digest names what is before the hole
	case named.End.After(h.Cursor) && now.Sub(d.End) < p.Grace:
		return Step{Do: Wait, Why: fmt.Errorf("digest %s: its predecessor %s: %w", c.At, d.Previous.Object, ErrNotYet)}
	case named.End.After(h.Cursor) && !c.IsListed:
		return Step{Do: List} // what is before the hole may lie below another prefix
	case named.End.After(h.Cursor):
		step := c.emit(c.missing(h, named.DigestKey)...)
		if c.AfterStart && h.Link.Key != "" {
			step.Find, step.Gap = append(step.Find, c.gap(h, named.End)), true
		}
		return step
	case h.Link.Key == "":
		return Step{Do: Emit} // the chain begins here, as it was asked to
	case trail.Tail(d.Previous.Object) == trail.Tail(h.Link.Key):
		return c.emit(c.compare(h)...)
	}
	e := chain.SignatureEvidence(d, "")
	e.From, e.To = h.Link.End, d.Start
	return c.emit(c.finding(finding.Rollback, c.At, c.End, fmt.Sprintf(
		"its predecessor is %s, and the remembered head s3://%s/%s is not in the chain",
		d.Previous.Object, h.Link.Bucket, h.Link.Key,
	), e))
}

func (c Candidate) emit(find ...finding.Finding) Step { return Step{Do: Emit, Find: find} }

// start returns the step for a starting digest.
func start(h Head, c Candidate, p Policy, now time.Time) Step {
	switch {
	case !c.IsListed:
		return Step{Do: List}
	case h.Link.Key == "":
		return Step{Do: Emit} // the first of its chain
	case now.Sub(c.Digest.End) < p.GapWait:
		return Step{Do: Wait, Why: fmt.Errorf(
			"starting digest %s: others between the head and it may still come: %w", c.At, ErrNotYet,
		)}
	}
	step := c.emit(c.gap(h, c.Digest.End))
	step.Gap = true
	return step
}

// gap returns the finding for the time between the head and a starting digest, which the
// candidate is or names.
func (c Candidate) gap(h Head, end time.Time) finding.Finding {
	e := finding.Evidence{From: h.Link.End, To: end, Event: c.SwitchedOff, Digest: c.At.String()}
	detail := "logging or validation was off: nothing was digested"
	switch by := c.SwitchedOff; {
	case by != nil && by.Possible:
		detail += fmt.Sprintf(
			"; possibly %s by %s (the owner of the organization's trail is not known: --management-account)",
			by.Name, by.Actor,
		)
	case by != nil:
		detail += fmt.Sprintf("; %s by %s", by.Name, by.Actor)
	}
	return c.finding(finding.Gap, trail.Object{Bucket: c.At.Bucket}, h.Link.End, detail, e)
}

// missing returns the findings for the candidate's predecessor, and for the digests that
// are due between it and the head: none before a starting one. Those that were
// quarantined were reported then. Of a chain that begins after them, the predecessor
// stands for all.
func (c Candidate) missing(h Head, named trail.DigestKey) (find []finding.Finding) {
	bad := map[string]bool{}
	for _, key := range h.Bad {
		bad[trail.Tail(key)] = true
	}
	add := func(k trail.DigestKey, detail string, e finding.Evidence) {
		if !bad[trail.Tail(k.String())] {
			o := trail.Object{Bucket: c.Digest.Previous.Bucket, Key: k.String()}
			find = append(find, c.finding(finding.DigestMissing, o, k.End, detail, e))
		}
	}
	detail, e := chain.DetailNamed, finding.Evidence{Digest: c.At.String(), Want: c.Digest.Previous.Hash.String()}
	if h.Link.Key == "" {
		add(named, detail+"; the chain is followed from its successor on", e)
		return find
	}
	add(named, detail, e)
	if c.AfterStart {
		return find
	}
	for _, k := range due(h, named) {
		add(k, chain.DetailDue, finding.Evidence{})
	}
	return find
}

// due returns the names of the digests that are due between the head and a digest, newest
// first.
func due(h Head, before trail.DigestKey) (keys []trail.DigestKey) {
	for t := range chain.Due(h.Cursor, before.End.Add(-window)) {
		keys = append(keys, before.Chain.Digest(t))
	}
	return keys
}

// skip returns the step for a digest that the operator skips, given the step that it had
// without that. What comes before it is done first. A digest that is bad is quarantined all
// the same. An unread one may be planted, so it moves the head only where it has the name of
// the chain's next digest and no other digest of its hour is known. Else it is quarantined,
// and the digests around it count.
func (c Candidate) skip(h Head, known []chain.Ref, p Policy, now time.Time, step Step) Step {
	isUndone := func(is func(chain.Ref) bool) bool {
		return slices.ContainsFunc(known, func(o chain.Ref) bool { return is(o) && !h.Covers(o.DigestKey) })
	}
	isTrusted := c.Verdict.Trusted && c.Digest != nil
	switch {
	case step.Do == Emit:
		step.Do = PassOver
		return step
	case step.Do != Wait || isTrusted: // a trusted one waits for what comes before it
		return step
	case c.Backfill:
		return Step{Do: PassOver, Find: step.Find}
	case isUndone(func(o chain.Ref) bool { return o.End.Before(c.End) }):
		return Step{Do: Again}
	case !c.IsListed:
		return Step{Do: List}
	case !c.isOfHead(h) || isUndone(func(o chain.Ref) bool { return o.End.Equal(c.End) && o.DigestKey != c.DigestKey }):
		return Step{Do: Quarantine, Find: step.Find}
	}
	find := step.Find
	for _, k := range due(h, c.DigestKey) {
		if !h.IsQuarantined(k) {
			at := trail.Object{Bucket: h.Link.Bucket, Key: k.String()}
			find = append(find, c.finding(finding.DigestMissing, at, k.End, chain.DetailDue, finding.Evidence{}))
		}
	}
	if len(find) > len(step.Find) && now.Sub(c.End) < p.Grace {
		return Step{Do: Wait, Why: fmt.Errorf("digest %s: the digests before it: %w", c.At, ErrNotYet)}
	}
	return Step{Do: PassOver, Find: find}
}

// isOfHead reports whether the candidate has the name of a digest that comes after the
// head: it ends at the same minute of the hour, below the same prefix.
func (c Candidate) isOfHead(h Head) bool {
	k, err := trail.ParseDigestKey(h.Link.Key)
	isCopy := c.Bucket == "" // its names have no prefix
	return err == nil && (isCopy || k.Prefix == c.Prefix) && c.End.Sub(h.Link.End)%window == 0
}

// compare returns what differs between the head and what the candidate says of it.
func (c Candidate) compare(h Head) []finding.Finding {
	d, l := c.Digest, h.Link
	e := chain.SignatureEvidence(d, "")
	switch {
	case d.Previous.Hash.String() != l.Sum && l.Skipped && l.Sum == "":
		return nil // the file of the skipped digest was not there to be hashed
	case d.Previous.Hash.String() != l.Sum:
		e.Want, e.Got = d.Previous.Hash.String(), l.Sum
		return []finding.Finding{c.finding(finding.ChainMismatch, trail.Object{Bucket: l.Bucket, Key: l.Key}, l.End,
			"the remembered head is not the digest that its successor names", e)}
	case d.CheckWindow(trail.DigestKey{End: l.End}) != nil:
		e.From, e.To = l.End, d.Start
		return []finding.Finding{c.finding(finding.ChainHole, c.At, c.End, fmt.Sprintf(
			"begins at %s, its predecessor ends at %s", d.Start.Format(time.RFC3339), l.End.Format(time.RFC3339)), e)}
	}
	return nil
}

// afterReset returns the finding for the head from before the operator reset the chain,
// where the candidate is the first digest after it and the chain does not contain it.
func (c Candidate) afterReset(h Head) []finding.Finding {
	w, d := h.Witness, c.Digest
	switch {
	case w.Sum == "", c.Backfill, !c.End.After(w.End), h.Cursor.After(w.End):
		return nil // the last: the chain was reset to begin after it
	case h.Link.Sum == w.Sum, d.Previous != nil && d.Previous.Hash.String() == w.Sum:
		return nil
	}
	e := chain.SignatureEvidence(d, "")
	e.From, e.To, e.Want = w.End, d.Start, w.Sum
	return []finding.Finding{c.finding(finding.Rollback, c.At, c.End, fmt.Sprintf(
		"the head s3://%s/%s from before the reset is not in the chain", w.Bucket, w.Key), e)}
}

// finding returns a finding about the candidate's chain.
func (c Candidate) finding(
	class finding.Class, o trail.Object, at time.Time, detail string, e finding.Evidence,
) finding.Finding {
	return finding.Finding{Class: class, Detail: detail, Evidence: e, Subject: finding.Subject{
		Account: c.Account, Region: c.Region, Trail: c.Trail, Bucket: o.Bucket, Key: o.Key, Time: at.UTC(),
	}}
}

// Link returns the link of a digest that the operator skips: what is known of the digest.
func (c Candidate) Link() Link {
	switch d := c.Digest; {
	case c.Verdict.Trusted && d != nil:
		return Link{End: d.End, Bucket: d.Bucket, Key: d.Object, Sum: d.Sum.String(), Signature: c.Verdict.Signature}
	case c.Sum != (digest.Sum{}):
		return Link{End: c.End, Bucket: c.Bucket, Key: c.DigestKey.String(), Sum: c.Sum.String()}
	}
	return Link{End: c.End, Bucket: c.Bucket, Key: c.DigestKey.String()}
}
