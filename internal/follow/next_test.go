package follow_test

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
)

// step is a row of the table of docs/ingest.md: a scene, and what to do.
type step struct {
	name    string
	changes []change
	want    follow.Step
}

func emit(find ...finding.Finding) follow.Step { return follow.Step{Do: follow.Emit, Find: find} }

func passOver(find ...finding.Finding) follow.Step {
	return follow.Step{Do: follow.PassOver, Find: find}
}

func quarantine(find ...finding.Finding) follow.Step {
	return follow.Step{Do: follow.Quarantine, Find: find}
}

func wait(why error, reason finding.Reason, find ...finding.Finding) follow.Step {
	return follow.Step{Do: follow.Wait, Why: why, Reason: reason, Find: find}
}

// back is a step back to the names before the digest of an hour.
func back(n int) follow.Step {
	return follow.Step{Do: follow.WalkBack, To: ref(key(n - 1)), Previous: *file(key(n)).Previous}
}

func withGap(s follow.Step) follow.Step { s.Gap = true; return s }

func steps() []step {
	otherSum := digest.Sum{1}
	event := finding.Event{ID: "e-1", Name: "StopLogging", Actor: "mallory", Time: hour(3)}
	possible := event
	possible.Possible = true
	begun := follow.Begin(hour(3))
	isBad := chain.Verdict{
		Status:   chain.Invalid,
		Class:    finding.DigestCorrupt,
		Detail:   "a copy",
		Evidence: finding.Evidence{Got: "2"},
	}
	badCopy := found(finding.DigestCorrupt, "copy", hour(4), "a copy", finding.Evidence{Got: "2"})
	notRead := chain.Verdict{Status: chain.Unverified, Err: errWhy}
	earlier := func(p *digest.Previous) { p.Object = key(2).String() }
	return []step{
		{"next to the head", nil, emit()},
		{"next to the head, in a run that ends by itself", []change{once}, emit()},

		// What is done.
		{"it is done", []change{candidate(3)}, follow.Step{Do: follow.Skip}},
		{"it was quarantined", []change{quarantined(4)}, follow.Step{Do: follow.Skip}},
		{"backfill, done", []change{backfilled, head(pass(headAt(3), backfill(2)))}, follow.Step{Do: follow.Skip}},

		// The verdict.
		{"corrupt", []change{invalid(finding.DigestCorrupt)}, quarantine(wrong(finding.DigestCorrupt))},
		{"signature wrong", []change{invalid(finding.DigestSignature)}, quarantine(wrong(finding.DigestSignature))},
		{"key unknown", []change{invalid(finding.DigestKeyUnknown)}, quarantine(wrong(finding.DigestKeyUnknown))},
		{"moved", []change{invalid(finding.DigestMoved)}, quarantine(wrong(finding.DigestMoved))},
		{
			"not the one its successor names",
			[]change{invalid(finding.ChainMismatch)},
			quarantine(wrong(finding.ChainMismatch)),
		},
		{
			"signature lost, content proven",
			[]change{invalid(finding.DigestSignature), trusted},
			emit(wrong(finding.DigestSignature)),
		},
		{
			"signature lost, and its predecessor is not there",
			[]change{candidate(5), invalid(finding.DigestSignature), trusted}, back(5),
		},
		{
			"trusted, and not parsed",
			[]change{invalid(finding.DigestCorrupt), trusted, notParsed},
			quarantine(wrong(finding.DigestCorrupt)),
		},
		{
			"too large", []change{unread(inflate.ErrTooLarge), trusted},
			quarantine(
				found(
					finding.DigestCorrupt,
					key(4).String(),
					hour(4),
					"get: inflates to more than the limit",
					finding.Evidence{},
				),
			),
		},
		{"not read", []change{unread(errWhy)}, wait(errWhy, finding.Network)},
		{"access denied", []change{unread(fs.ErrPermission)}, wait(fs.ErrPermission, finding.AccessDenied)},
		{"no keys", []change{unread(digest.ErrNoKeys)}, wait(digest.ErrNoKeys, finding.NoKeys)},
		{"ends after now", []change{unread(finding.ErrClock), trusted}, wait(finding.ErrClock, finding.Clock)},
		{"valid, and not parsed", []change{notParsed}, wait(follow.ErrNotYet, "")},
		{"missing", []change{invalid(finding.DigestMissing), late}, quarantine(wrong(finding.DigestMissing))},
		{"missing, within the grace", []change{invalid(finding.DigestMissing)}, wait(follow.ErrNotYet, "")},
		{
			"missing, at the end of the grace", []change{invalid(finding.DigestMissing), after(3 * time.Hour)},
			quarantine(wrong(finding.DigestMissing)),
		},
		{
			"missing, in a run that ends by itself", []change{invalid(finding.DigestMissing), once},
			quarantine(wrong(finding.DigestMissing)),
		},
		{
			"announced, and not there", []change{invalid(finding.DigestMissing), from(follow.Announced)},
			follow.Step{Do: follow.Forget, Why: fs.ErrNotExist},
		},
		{
			"announced, and not there after the grace",
			[]change{invalid(finding.DigestMissing), from(follow.Announced), late},
			follow.Step{Do: follow.Forget, Why: fs.ErrNotExist},
		},
		{
			"announced, and corrupt",
			[]change{invalid(finding.DigestCorrupt), from(follow.Announced)},
			quarantine(wrong(finding.DigestCorrupt)),
		},
		{"announced, and not read", []change{unread(errWhy), from(follow.Announced)}, wait(errWhy, finding.Network)},
		{"announced, and next to the head", []change{from(follow.Announced)}, emit()},

		// Copies.
		{"another file is wrong", []change{copies(isBad)}, emit(badCopy)},
		{"another file is not read", []change{copies(notRead)}, emit()},
		{
			"it and another file are wrong",
			[]change{invalid(finding.DigestMoved), copies(isBad)},
			quarantine(wrong(finding.DigestMoved), badCopy),
		},
		{
			"not read, and another file is wrong",
			[]change{unread(errWhy), copies(isBad)},
			wait(errWhy, finding.Network, badCopy),
		},
		{"no signature", []change{unread(digest.ErrUnsigned)}, wait(follow.ErrUnsigned, finding.NoSignature)},
		{
			"no signature, and none will come", []change{unread(digest.ErrUnsigned), unprovable, copies(isBad)},
			quarantine(badCopy, found(finding.Coverage, key(4).String(), hour(4),
				"no digest in this copy repeats its signature: its hour is not emitted",
				finding.Evidence{From: hour(3), To: hour(4)})),
		},
		{"not read, and no signature will come", []change{unread(errWhy), unprovable}, wait(errWhy, finding.Network)},

		// Backfill digests.
		{"backfill", []change{backfilled}, emit()},
		{"backfill, with others before it", []change{backfilled, older(1), starting}, emit()},
		{
			"backfill, corrupt",
			[]change{candidate(4), func(s *scene) { s.is(backfill(4)) }, invalid(finding.DigestCorrupt)},
			quarantine(
				found(
					finding.DigestCorrupt,
					backfill(4).String(),
					hour(4),
					"wrong",
					finding.Evidence{Got: "the evidence"},
				),
			),
		},
		{"backfill after a reset", []change{func(s *scene) { s.is(backfill(9)) }, witness(link(5))}, emit()},

		// Others come first.
		{"an older one is known", []change{candidate(6), older(5)}, follow.Step{Do: follow.Again}},
		{
			"an older one is known before a starting one",
			[]change{candidate(6), starting, isListed, older(5)},
			follow.Step{Do: follow.Again},
		},
		{"known ones are done or newer", []change{older(2, 3, 4, 5)}, emit()},
		{"known ones are bad", []change{candidate(6), quarantined(5), older(5)}, back(6)},
		{"its predecessor is not the head", []change{candidate(6)}, back(6)},
		{"its predecessor is not the head, after the grace", []change{candidate(6), late}, back(6)},
		{"its predecessor is absent, within the grace", []change{candidate(6), walkedBack}, wait(follow.ErrNotYet, "")},

		// Digests are missing.
		{
			"its predecessor is missing, and not listed yet",
			[]change{candidate(5), walkedBack, late},
			follow.Step{Do: follow.List},
		},
		{"its predecessor is missing", []change{candidate(5), walkedBack, isListed, late}, emit(missing(4, 5, ""))},
		{
			"its predecessor is missing, in a run that ends by itself",
			[]change{candidate(5), walkedBack, isListed, once},
			emit(missing(4, 5, "")),
		},
		{
			"its predecessor is missing, at the end of the grace",
			[]change{candidate(5), walkedBack, isListed, after(3 * time.Hour)},
			emit(missing(4, 5, "")),
		},
		{"several are missing", []change{candidate(7), walkedBack, isListed, late}, emit(missing(6, 7, ""), due(5), due(4))},
		{
			"several are missing, and some are bad", []change{candidate(8), quarantined(5, 7), walkedBack, isListed, late},
			emit(due(6), due(4)),
		},
		{"all are bad", []change{candidate(6), quarantined(4, 5), walkedBack, isListed, late}, emit()},
		{
			"its predecessor is missing, and was a starting one", []change{candidate(7), walkedBack, isListed, afterStart, late},
			withGap(emit(missing(6, 7, ""), gapTo(6, 7))),
		},
		{
			"its predecessor is bad, and was a starting one", []change{candidate(7), quarantined(6), walkedBack, isListed, afterStart, late},
			withGap(emit(gapTo(6, 7))),
		},
		{
			"its predecessor is new, and was a starting one", []change{candidate(7), walkedBack, afterStart},
			wait(follow.ErrNotYet, ""),
		},
		{
			"one that ends early is missing",
			[]change{
				candidate(4),
				names(func(p *digest.Previous) { p.Object = name.Digest(hour(3).Add(10 * time.Minute)).String() }),
				walkedBack, isListed,
				late,
			},
			emit(func() finding.Finding {
				f := missing(3, 4, "")
				k := name.Digest(hour(3).Add(10 * time.Minute))
				f.Key, f.Time = k.String(), k.End
				return f
			}()),
		},
		{
			"its predecessor is missing in another bucket",
			[]change{candidate(5), names(func(p *digest.Previous) { p.Bucket = "former" }), walkedBack, isListed, late},
			emit(func() finding.Finding { f := missing(4, 5, ""); f.Bucket = "former"; return f }()),
		},
		{
			"signature lost, and its predecessor is missing",
			[]change{candidate(4), head(headAt(2)), invalid(finding.DigestSignature), trusted, walkedBack, isListed, late},
			emit(wrong(finding.DigestSignature), missing(3, 4, "")),
		},

		// The first of a chain.
		{"first, and a starting one", []change{head(follow.Head{}), starting}, follow.Step{Do: follow.List}},
		{"first, and a starting one, listed", []change{head(follow.Head{}), starting, isListed}, emit()},
		{"first at the time to begin", []change{head(follow.Begin(hour(4)))}, emit()},
		{"first after the time to begin", []change{head(begun)}, back(4)},
		{"first after the time to begin, not by name", []change{head(begun), walkedBack}, follow.Step{Do: follow.List}},
		{
			"first after the time to begin, and new",
			[]change{head(begun), walkedBack, isListed},
			wait(follow.ErrNotYet, ""),
		},
		{
			"first after the time to begin, and others are missing",
			[]change{head(begun), candidate(6), walkedBack, isListed, late},
			emit(missing(5, 6, notFollowed)),
		},
		{
			"first after the time to begin, and its predecessor is bad",
			[]change{head(begun), quarantined(3), walkedBack, isListed, late}, emit(),
		},
		{
			"first of all time, and its predecessor was a starting one",
			[]change{head(follow.Head{}), walkedBack, isListed, afterStart, late},
			emit(missing(3, 4, notFollowed)),
		},
		{
			"first of all time, and not a starting one",
			[]change{head(follow.Head{}), walkedBack, isListed, late},
			emit(missing(3, 4, notFollowed)),
		},

		// Logging was off.
		{"a starting one after the head", []change{starting}, follow.Step{Do: follow.List}},
		{"a starting one after the head, new", []change{starting, isListed}, wait(follow.ErrNotYet, "")},
		{"a gap", []change{starting, isListed, after(time.Hour)}, withGap(emit(gap("", nil)))},
		{"a gap, in a run that ends by itself", []change{starting, isListed, once}, withGap(emit(gap("", nil)))},
		{
			"a gap, explained", []change{starting, isListed, late, switchedOff(event)},
			withGap(emit(gap("; StopLogging by mallory", &event))),
		},
		{
			"a gap, possibly explained", []change{starting, isListed, late, switchedOff(possible)},
			withGap(emit(gap("; possibly StopLogging by mallory (the owner of the organization's trail is not known: "+
				"--management-account)", &possible))),
		},
		{
			"a gap, and another file is wrong", []change{starting, isListed, late, copies(isBad)},
			withGap(emit(badCopy, gap("", nil))),
		},

		// The link to the head.
		{
			"the head has another hash", []change{names(func(p *digest.Previous) { p.Hash = otherSum })},
			emit(mismatch(otherSum.String())),
		},
		{
			"the hours do not meet", []change{func(s *scene) { s.c.Digest.Start = hour(3).Add(time.Minute) }},
			emit(
				found(
					finding.ChainHole,
					key(4).String(),
					hour(4),
					"begins at 2026-03-01T03:09:11Z, its predecessor ends at 2026-03-01T03:08:11Z",
					signed(4, func(e *finding.Evidence) { e.From, e.To = hour(3), hour(3).Add(time.Minute) }),
				),
			),
		},
		{
			"it names another chain",
			[]change{names(func(p *digest.Previous) { p.Object = strings.ReplaceAll(p.Object, "main", "other") })},
			emit(
				found(
					finding.ChainHole,
					key(4).String(),
					hour(4),
					"names a digest of another chain as its predecessor: "+
						strings.ReplaceAll(
							key(3).String(),
							"main",
							"other",
						)+": the chain cannot be followed",
					signed(4, func(*finding.Evidence) {}),
				),
			),
		},
		{
			"it names a newer one", []change{names(func(p *digest.Previous) { p.Object = key(4).String() })},
			emit(
				found(
					finding.ChainHole,
					key(4).String(),
					hour(4),
					"names a digest as its predecessor that is not older: "+
						key(4).String()+": the chain cannot be followed",
					signed(4, func(*finding.Evidence) {}),
				),
			),
		},
		{
			"the head is not in the chain", []change{names(earlier)},
			emit(found(finding.Rollback, key(4).String(), hour(4), "its predecessor is "+key(2).String()+
				", and the remembered head s3://"+bucket+"/"+key(3).String()+" is not in the chain",
				signed(4, func(e *finding.Evidence) { e.From, e.To = hour(3), hour(3) }))),
		},
		{
			"the trail moved to another prefix and bucket",
			[]change{names(func(p *digest.Previous) { p.Object, p.Bucket = "former/"+p.Object, "former" })}, emit(),
		},

		// What the operator skips.
		{"skipped", []change{ordered, unread(errWhy), isListed}, passOver()},
		{"skipped, and not listed yet", []change{ordered, unread(errWhy)}, follow.Step{Do: follow.List}},
		{
			"skipped, and an older one is known",
			[]change{candidate(5), ordered, unread(errWhy), older(4)},
			follow.Step{Do: follow.Again},
		},
		{"skipped, and others are done", []change{ordered, unread(errWhy), isListed, older(2, 3, 5)}, passOver()},
		{"skipped, and read", []change{ordered}, passOver()},
		{"skipped, and read, and the head has another hash", []change{
			ordered, names(func(p *digest.Previous) { p.Hash = otherSum }),
		}, passOver(mismatch(otherSum.String()))},
		{"skipped, and read, and its predecessor is not the head", []change{candidate(6), ordered}, back(6)},
		{
			"skipped, and read, and its predecessor is absent, within the grace",
			[]change{candidate(6), ordered, walkedBack}, wait(follow.ErrNotYet, ""),
		},
		{"skipped, and ends after now", []change{
			ordered, func(s *scene) { s.c.Verdict.Status, s.c.Verdict.Err = chain.Unverified, finding.ErrClock },
			isListed,
		}, wait(finding.ErrClock, finding.Clock)},
		{
			"skipped, and missing within the grace",
			[]change{ordered, invalid(finding.DigestMissing), isListed},
			passOver(),
		},
		{
			"skipped, and corrupt",
			[]change{ordered, invalid(finding.DigestCorrupt)},
			quarantine(wrong(finding.DigestCorrupt)),
		},
		{
			"skipped, and another file is wrong",
			[]change{ordered, unread(errWhy), isListed, copies(isBad)},
			passOver(badCopy),
		},
		{"skipped, and done", []change{candidate(3), ordered}, follow.Step{Do: follow.Skip}},
		{
			"skipped, and announced, and not there",
			[]change{ordered, invalid(finding.DigestMissing), from(follow.Announced)},
			follow.Step{Do: follow.Forget, Why: fs.ErrNotExist},
		},
		{
			"skipped, and another one of its hour is known",
			[]change{ordered, unread(errWhy), isListed, elsewhere},
			quarantine(),
		},
		{
			"skipped, and below another prefix than the head",
			[]change{func(s *scene) { s.c.Prefix = "planted" }, ordered, unread(errWhy), isListed}, quarantine(),
		},
		{
			"skipped, and not at the chain's minute",
			[]change{
				func(s *scene) { s.c.End = s.c.End.Add(20 * time.Minute) },
				ordered,
				unread(errWhy),
				isListed,
			}, quarantine(),
		},
		{
			"skipped, and the first",
			[]change{head(follow.Begin(hour(3))), ordered, unread(errWhy), isListed},
			quarantine(),
		},
		{
			"skipped in a copy, whose names have no prefix",
			[]change{
				func(s *scene) { s.c.Bucket, s.head.Link.Key = "", "p/"+s.head.Link.Key },
				ordered,
				unread(errWhy),
				isListed,
			},
			passOver(),
		},
		{
			"skipped, and others are missing",
			[]change{candidate(6), ordered, unread(errWhy), isListed, late}, passOver(due(5), due(4)),
		},
		{
			"skipped, and others are bad",
			[]change{candidate(6), ordered, unread(errWhy), isListed, late, quarantined(4, 5)}, passOver(),
		},
		{
			"skipped, and others are absent, within the grace",
			[]change{candidate(6), ordered, unread(errWhy), isListed}, wait(follow.ErrNotYet, ""),
		},
		{"skipped, a backfill", []change{backfilled, ordered, unread(errWhy)}, passOver()},

		// What the operator did.
		{"after a skipped one", []change{head(headAt(2).Skip(key(3), skipped(3, func(*follow.Link) {})))}, emit()},
		{
			"after a skipped one that was not there",
			[]change{head(headAt(2).Skip(key(3), skipped(3, noFingerprint)))},
			emit(),
		},
		{
			"after a skipped one with another hash",
			[]change{head(headAt(2).Skip(key(3), skipped(3, func(l *follow.Link) { l.Sum = "5eed" })))},
			emit(func() finding.Finding { f := mismatch(sum(key(3)).String()); f.Evidence.Got = "5eed"; return f }()),
		},
		{"after a reset, before the witness", []change{witness(link(5))}, emit()},
		{"after a reset, the witness itself", []change{witness(link(4))}, emit()},
		{"after a reset, and the head is the witness", []change{witness(link(3))}, emit()},
		{
			"after a reset, and a gap after the witness", []change{starting, isListed, late, witness(link(3))},
			withGap(emit(gap("", nil))),
		},
		{
			"after a reset, and the witness is another digest",
			[]change{witness(otherLink(3, otherSum))},
			emit(lostLink(4, 3, otherSum)),
		},
		{
			"after a reset, and the witness is missing",
			[]change{candidate(6), witness(link(4)), walkedBack, isListed, late},
			emit(lost(6, 4), missing(5, 6, ""), due(4)),
		},
		{
			"after a reset, and the witness is named, and missing",
			[]change{candidate(5), witness(link(4)), walkedBack, isListed, late},
			emit(missing(4, 5, "")),
		},
		{
			"after a reset, and the witness is in a gap",
			[]change{candidate(4), starting, isListed, late, witness(otherLink(3, otherSum))},
			withGap(emit(lostLink(4, 3, otherSum), gap("", nil))),
		},
		{
			"after a reset to begin at the witness",
			[]change{head(follow.Begin(hour(3))), witness(link(3)), walkedBack, isListed, late},
			emit(missing(3, 4, notFollowed)),
		},
		{"after a reset to begin later", []change{head(follow.Begin(hour(4))), witness(link(2))}, emit()},
		{
			"after a reset, and the witness was skipped and not there",
			[]change{witness(skipped(2, noFingerprint))},
			emit(),
		},
	}
}

// otherLink is a head with another hash than the chain has.
func otherLink(n int, s digest.Sum) follow.Link {
	l := link(n)
	l.Sum = s.String()
	return l
}

func lostLink(at, w int, s digest.Sum) finding.Finding {
	f := lost(at, w)
	f.Evidence.Want = s.String()
	return f
}

func TestNext(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range steps() {
		t.Run(row.name, func(t *testing.T) {
			if seen[row.name] {
				t.Error("another row has this name")
			}
			seen[row.name] = true
			s := control()
			for _, change := range row.changes {
				change(s)
			}
			// The evidence of a signature is that of the digest as the scene has it.
			for i, f := range row.want.Find {
				if f.Evidence.StringToSign != "" {
					row.want.Find[i].Evidence.StringToSign = s.c.Digest.StringToSign()
				}
			}
			got := follow.Next(s.head, s.c, s.known, s.policy, s.now)
			if !errors.Is(got.Why, row.want.Why) || (got.Why == nil) != (row.want.Why == nil) {
				t.Errorf("why: %v, want %v", got.Why, row.want.Why)
			}
			if got.Why != nil && !strings.Contains(got.Why.Error(), s.c.DigestKey.String()) {
				t.Errorf("why: %v: does not name the digest", got.Why)
			}
			got.Why, row.want.Why = nil, nil
			if d := differ(got, row.want); d != "" {
				t.Error(d)
			}
		})
	}
}

// actions are the words of docs/ingest.md for an Action.
var actions = map[follow.Action]string{
	follow.Emit: "emit", follow.WalkBack: "walk back", follow.List: "list", follow.Again: "begin again",
	follow.Wait: "wait", follow.Quarantine: "quarantine", follow.Skip: "skip", follow.PassOver: "pass over",
	follow.Forget: "forget",
}

// The page and the code say the same. Each action with each class of findings that a row
// here has is a row of the page.
func TestPage(t *testing.T) {
	cells, must := map[string]string{}, map[string]bool{}
	for _, row := range steps() {
		cell := actions[row.want.Do]
		for _, f := range row.want.Find {
			if word := ", `" + string(f.Class) + "`"; !strings.Contains(cell, word) {
				cell += word
			}
		}
		if row.want.Reason != "" {
			cell += ", `" + string(row.want.Reason) + "`"
		}
		cells[row.name] = cell
		if len(row.want.Find) < 2 {
			must[cell] = true
		}
	}
	page, err := os.ReadFile("../../docs/ingest.md")
	if err != nil {
		t.Fatal(err)
	}
	_, part, _ := strings.Cut(string(page), "\n## The order of a chain\n")
	part, _, _ = strings.Cut(part, "\n## ")
	rows := 0
	for line := range strings.Lines(part) {
		row := strings.Split(strings.Trim(line, "| \n"), " | ")
		if !strings.HasPrefix(line, "| ") || len(row) < 2 || slices.Contains(row, "step, with findings or reason") {
			continue
		}
		rows++
		if cell, isThere := cells[row[0]]; !isThere || cell != row[1] {
			t.Errorf("docs/ingest.md says of %q: %q, the code: %q", row[0], row[1], cell)
		}
		delete(must, row[1])
	}
	if rows == 0 {
		t.Error("docs/ingest.md has no table \"The order of a chain\"")
	}
	for cell := range must {
		t.Errorf("docs/ingest.md has no row that says %q", cell)
	}
}
