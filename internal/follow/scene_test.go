package follow_test

import (
	"fmt"
	"time"

	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// scene is what Next is asked about. It begins as the control: the digest of hour 4 is
// valid and comes half an hour after its end, next to the head.
type scene struct {
	head   follow.Head
	c      follow.Candidate
	known  []chain.Ref
	policy follow.Policy
	now    time.Time
}

func control() *scene {
	s := &scene{policy: follow.Policy{Grace: 3 * time.Hour, GapWait: time.Hour}, now: hour(4).Add(30 * time.Minute)}
	s.head = headAt(3)
	s.is(key(4))
	s.c.Verdict = chain.Verdict{Status: chain.Valid, Trusted: true, Signature: "cafe"}
	return s
}

// is makes the candidate a digest that names the one an hour before it.
func (s *scene) is(k trail.DigestKey) {
	s.c.Known, s.c.At, s.c.Digest = follow.Known{Ref: ref(k)}, ref(k).Object(), file(k)
}

// change is one fact about a scene.
type change func(*scene)

func head(h follow.Head) change    { return func(s *scene) { s.head = h } }
func older(ks ...int) change       { return func(s *scene) { s.known = refs(ks...) } }
func from(o follow.Origin) change  { return func(s *scene) { s.c.Origin = o } }
func late(s *scene)                { s.now = s.c.End.Add(24 * time.Hour) }
func walkedBack(s *scene)          { s.c.WalkedBack = true }
func isListed(s *scene)            { s.c.IsListed = true }
func once(s *scene)                { s.policy = follow.Policy{Tries: 4} }
func starting(s *scene)            { s.c.Digest.Previous = nil }
func unprovable(s *scene)          { s.c.Unprovable = true }
func afterStart(s *scene)          { s.c.AfterStart = true }
func notParsed(s *scene)           { s.c.Digest = nil }
func backfilled(s *scene)          { s.is(backfill(2)) }
func noFingerprint(h *follow.Link) { h.Sum, h.Signature = "", "" }

// candidate makes the candidate the digest of another hour, half an hour after its end.
func candidate(n int) change {
	return func(s *scene) {
		s.is(key(n))
		s.now = hour(n).Add(30 * time.Minute)
	}
}

// after says how long after its end the candidate is judged.
func after(d time.Duration) change { return func(s *scene) { s.now = s.c.End.Add(d) } }

// quarantined adds bad digests to the head.
func quarantined(ns ...int) change {
	return func(s *scene) {
		for _, n := range ns {
			s.head = s.head.Quarantine(key(n))
		}
	}
}

// witness is a head from before a reset.
func witness(l follow.Link) change { return func(s *scene) { s.head.Witness = l } }

// skipped is the link of a digest that the operator skipped.
func skipped(n int, change func(*follow.Link)) follow.Link {
	l := link(n)
	l.Skipped = true
	change(&l)
	return l
}

// ordered makes the candidate one that the operator skips.
func ordered(s *scene) {
	s.c.Skip = &follow.SkipOrder{Key: s.c.DigestKey.String(), By: "alice@desk", Reason: "lost"}
}

// elsewhere adds a digest of the candidate's hour below another prefix.
func elsewhere(s *scene) {
	k := s.c.DigestKey
	k.Prefix = "former"
	s.known = append(s.known, ref(k))
}

// names makes the candidate name another predecessor.
func names(p func(*digest.Previous)) change { return func(s *scene) { p(s.c.Digest.Previous) } }

// invalid, unread and trusted change the verdict.
func invalid(class finding.Class) change {
	return func(s *scene) {
		s.c.Verdict = chain.Verdict{
			Status: chain.Invalid, Class: class, Detail: "wrong", Evidence: finding.Evidence{Got: "the evidence"},
		}
		if class == finding.DigestMissing {
			s.c.Digest = nil
		}
	}
}

func unread(err error) change {
	return func(s *scene) {
		err = fmt.Errorf("get: %w", err)
		s.c.Digest, s.c.Verdict = nil, chain.Verdict{Status: chain.Unverified, Err: err, Detail: err.Error()}
	}
}

func trusted(s *scene) { s.c.Verdict.Trusted = true }

// copies adds another file under the candidate's name.
func copies(v chain.Verdict) change {
	return func(s *scene) {
		s.c.Copies = append(s.c.Copies, chain.Copy{At: trail.Object{Bucket: bucket, Key: "copy"}, Verdict: v})
	}
}

func switchedOff(e finding.Event) change { return func(s *scene) { s.c.SwitchedOff = &e } }

func refs(ns ...int) (all []chain.Ref) {
	for _, n := range ns {
		all = append(all, ref(key(n)))
	}
	return all
}

// found returns a finding about an object of the chain.
func found(class finding.Class, key string, at time.Time, detail string, e finding.Evidence) finding.Finding {
	return finding.Finding{Class: class, Detail: detail, Evidence: e, Subject: finding.Subject{
		Account: name.Account, Region: name.Region, Trail: name.Trail, Bucket: bucket, Key: key, Time: at,
	}}
}

// signed returns the evidence of the signature of the digest of an hour, unless it was
// changed by the scene.
func signed(n int, change func(*finding.Evidence)) finding.Evidence {
	e := chain.SignatureEvidence(file(key(n)), "")
	change(&e)
	return e
}

// Findings that several rows have.
func wrong(class finding.Class) finding.Finding {
	return found(class, key(4).String(), hour(4), "wrong", finding.Evidence{Got: "the evidence"})
}

func missing(n, by int, more string) finding.Finding {
	e := finding.Evidence{Digest: ref(key(by)).Object().String(), Want: sum(key(n)).String()}
	return found(finding.DigestMissing, key(n).String(), hour(n), chain.DetailNamed+more, e)
}

func due(n int) finding.Finding {
	return found(finding.DigestMissing, key(n).String(), hour(n), chain.DetailDue, finding.Evidence{})
}

func gap(more string, e *finding.Event) finding.Finding {
	return found(finding.Gap, "", hour(3), "logging or validation was off: nothing was digested"+more,
		finding.Evidence{From: hour(3), To: hour(4), Event: e, Digest: ref(key(4)).Object().String()})
}

// gapTo is a gap before the starting digest of an hour that the digest of another names.
func gapTo(n, by int) finding.Finding {
	f := gap("", nil)
	f.Evidence.To, f.Evidence.Digest = hour(n), ref(key(by)).Object().String()
	return f
}

func lost(at, w int) finding.Finding {
	return found(finding.Rollback, key(at).String(), hour(at),
		"the head s3://"+bucket+"/"+key(w).String()+" from before the reset is not in the chain",
		signed(at, func(e *finding.Evidence) { e.From, e.To, e.Want = hour(w), hour(at-1), sum(key(w)).String() }))
}

const notFollowed = "; the chain is followed from its successor on"

// mismatch is the finding about a candidate that names another hash than the head has.
func mismatch(want string) finding.Finding {
	return found(finding.ChainMismatch, key(3).String(), hour(3),
		"the remembered head is not the digest that its successor names",
		signed(4, func(e *finding.Evidence) { e.Want, e.Got = want, sum(key(3)).String() }))
}
