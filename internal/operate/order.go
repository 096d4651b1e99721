// Package operate carries out what the operator of a worker orders about its chains.
//
//	ingest chains skip ... ─> Order ─┬─ no worker runs ──> Carry, on the state
//	                                 └─> Client ──> STATE.sock ──> Server ──> Carry, in the chain's loop
//
// An order changes one head, by Apply, which is pure. Carry reports what the order leaves
// out, and then stores the head by compare-and-swap. So a crash between the two repeats a
// finding and never hides one.
package operate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/internal/ledger"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Verb says what is ordered.
type Verb string

// The verbs.
const (
	Skip  Verb = "skip"  // go on without a digest or a log file
	Reset Verb = "reset" // follow the chain again from a time on
	End   Verb = "end"   // the chain has ended for good
)

// Order is one order of the operator about one chain.
type Order struct {
	Verb   Verb      `json:"verb"`
	Chain  string    `json:"chain"`            // a text that Resolve takes
	Object string    `json:"object,omitempty"` // of Skip: a key, or s3://BUCKET/KEY
	Since  time.Time `json:"since,omitzero"`   // of Reset
	By     string    `json:"by"`               // USER@HOST
	Reason string    `json:"reason,omitempty"` // Skip and Reset need one
}

// ErrUsage is wrapped by errors about an order that cannot be carried out on any state of
// its chain.
var ErrUsage = errors.New("not an order")

// Longest texts of an order, in bytes.
const (
	maxName = 1024
	maxText = 500
)

// Check returns what is wrong with an order, whatever the chains are. The error wraps
// ErrUsage.
func (o Order) Check() error {
	switch {
	case !slices.Contains([]Verb{Skip, Reset, End}, o.Verb):
		return usage("verb %q: must be skip, reset or end", o.Verb)
	case !isText(o.Chain, maxName):
		return usage("chain %q: must be a name of at most %d bytes", o.Chain, maxName)
	case (o.Verb == Skip) != (o.Object != "") || o.Object != "" && !isText(o.Object, maxName):
		return usage("object %q: must be the key of a digest or a log file that is skipped", o.Object)
	case (o.Verb == Reset) == o.Since.IsZero():
		return usage("since %s: must be the time from which a chain is followed again", o.Since.Format(time.RFC3339))
	case !isText(o.By, maxText):
		return usage("by %q: must say who orders it, in at most %d bytes", o.By, maxText)
	case o.Reason == "" && o.Verb != End:
		return usage("reason: must say why")
	case o.Reason != "" && !isText(o.Reason, maxText):
		return usage("reason %q: must be one line of at most %d bytes", o.Reason, maxText)
	}
	return nil
}

func usage(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// usageError is an error that is ErrUsage and has a text of its own.
type usageError struct{ text string }

func (e *usageError) Error() string        { return e.text }
func (e *usageError) Is(target error) bool { return target == ErrUsage }

// isText reports whether s is one line that people can read.
func isText(s string, most int) bool {
	isOdd := func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }
	return strings.TrimSpace(s) != "" && len(s) <= most && !strings.ContainsFunc(s, isOdd)
}

// Outcome is what an order does to a chain.
type Outcome struct {
	Head    follow.Head
	Finding *finding.Finding // what the order leaves out; nil for nothing
	Text    string           // for people
}

// Apply returns what an order does to the head with a name. Errors that wrap ErrUsage say
// that the order is not about this chain. Others say why the chain cannot take it now.
func (o Order) Apply(name string, h follow.Head, now time.Time) (Outcome, error) {
	src, c, err := ledger.Parse(name)
	if err == nil {
		err = o.Check()
	}
	if err != nil {
		return Outcome{}, err
	}
	subject := finding.Subject{Account: c.Account, Region: c.Region, Trail: c.Trail}
	subject.Bucket = strings.TrimPrefix(src, bucketScheme)
	if isCopy(src) {
		subject.Bucket = ""
	}
	switch o.Verb {
	case Skip:
		return o.skip(src, c, h, subject, now)
	case Reset:
		return o.reset(c, h, subject, now)
	}
	return o.end(h)
}

// signed returns who ordered something, when and why.
func (o Order) signed(now time.Time) string {
	return fmt.Sprintf("by %s at %s: %s", o.By, now.UTC().Format(time.RFC3339), o.Reason)
}

func (o Order) skip(src string, c trail.Chain, h follow.Head, s finding.Subject, now time.Time) (Outcome, error) {
	at, err := parseObject(src, c, o.Object)
	if err != nil {
		return Outcome{}, err
	}
	if at.bucket != "" {
		s.Bucket = at.bucket
	}
	s.Key, s.Time = at.key, at.time
	f := finding.Finding{Class: finding.Coverage, Subject: s}
	out := Outcome{Finding: &f}
	if at.isDigest {
		f.Detail = "digest skipped " + o.signed(now) + "; its log files are not emitted"
		f.Evidence = finding.Evidence{From: at.time.Add(-chain.Window), To: at.time}
		out.Text = fmt.Sprintf("the chain passes over digest %s when it comes to it", at.key)
	} else {
		f.Detail = "log file skipped " + o.signed(now) + "; its events are not emitted"
		out.Text = fmt.Sprintf("the digest that lists log file %s is processed without it", at.key)
	}
	switch {
	case at.isDigest && h.Covers(at.digest), at.log.Unique != "" && !c.Backfill && h.HasPassed(at.log):
		return Outcome{}, fmt.Errorf("%s: the chain has passed it", at.key)
	case at.isDigest && !h.IsProven() && h.Witness.Key == "":
		return Outcome{}, fmt.Errorf("digest %s: no digest of the chain is proven: reset it to a later time", at.key)
	case slices.ContainsFunc(h.Skips, func(s follow.SkipOrder) bool { return s.Key == at.key }):
		return Outcome{}, fmt.Errorf("%s: is skipped already", at.key)
	}
	ordered := now.UTC().Truncate(time.Second)
	out.Head, err = h.GiveUp(follow.SkipOrder{Key: at.key, By: o.By, Reason: o.Reason, At: ordered})
	return out, err
}

func (o Order) reset(c trail.Chain, h follow.Head, s finding.Subject, now time.Time) (Outcome, error) {
	since := o.Since.UTC()
	if since.After(now) {
		return Outcome{}, usage("since %s: must not be after now", since.Format(time.RFC3339))
	}
	s.Time = since
	f := finding.Finding{Class: finding.Coverage, Subject: s, Detail: "chain reset " + o.signed(now)}
	text := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	until := h.Until()
	switch what := "it is followed from " + text(since) + " on"; {
	case until.IsZero() || c.Backfill:
		f.Detail += "; " + what
	case since.After(until):
		f.Detail += fmt.Sprintf("; %s, and what is not done between %s and then is left out", what, text(until))
		f.Evidence.From, f.Evidence.To = until, since
	default:
		f.Detail += fmt.Sprintf("; %s, and its events up to %s are emitted again", what, text(until))
		f.Evidence.From, f.Evidence.To = since, until
	}
	if h.Link.Key != "" {
		f.Evidence.Digest = trail.Object{Bucket: h.Link.Bucket, Key: h.Link.Key}.String()
		f.Evidence.Want = h.Link.Sum
	}
	return Outcome{Head: h.Reset(since), Finding: &f, Text: "the " + f.Detail}, nil
}

func (o Order) end(h follow.Head) (Outcome, error) {
	switch {
	case h.Until().IsZero():
		return Outcome{}, errors.New("no digest of the chain is proven, so it cannot have ended")
	case h.Ended:
		return Outcome{}, errors.New("the chain has ended already")
	}
	why := o.By
	if o.Reason != "" {
		why += ": " + o.Reason
	}
	return Outcome{Head: h.End(why), Text: "the chain is not reported as late; a new digest makes it go on"}, nil
}

// Ledger keeps heads, as a ledger.Ledger does.
type Ledger interface {
	Commit(ctx context.Context, e ledger.Entry, h follow.Head) (ledger.Entry, error)
}

// Carry carries out an order on the entry of its chain: it reports what the order leaves
// out, and then stores the head. It returns the entry as it is then, and what was done, for
// people. Errors are those of Apply, report and Commit. The caller owns the entry: nobody
// else changes it meanwhile.
func Carry(
	ctx context.Context, l Ledger, report func(context.Context, finding.Finding) error, e ledger.Entry, o Order,
	now time.Time,
) (ledger.Entry, string, error) {
	out, err := o.Apply(e.Name, e.Head, now)
	if err != nil {
		return e, "", err
	}
	if out.Finding != nil {
		if err := report(ctx, *out.Finding); err != nil {
			return e, "", err
		}
	}
	stored, err := l.Commit(ctx, e, out.Head)
	if err != nil {
		return e, "", err
	}
	return stored, out.Text, nil
}

// object is what an order to skip names.
type object struct {
	bucket   string // "" where it is not given, and in a copy
	key      string // in a copy from AWSLogs/ on
	isDigest bool
	digest   trail.DigestKey
	log      trail.LogKey // zero for a file of another kind
	time     time.Time
}

const bucketScheme = "s3://"

// isCopy reports whether the identity of a source is that of a folder.
func isCopy(src string) bool { return !strings.HasPrefix(src, bucketScheme) }

// parseObject returns the object of a chain that a text names.
func parseObject(src string, c trail.Chain, text string) (o object, err error) {
	o.key = text
	if rest, ok := strings.CutPrefix(text, bucketScheme); ok {
		o.bucket, o.key, _ = strings.Cut(rest, "/")
	}
	if isCopy(src) {
		key, _ := source.Logical(o.key)
		o.bucket, o.key = "", trail.Tail(key)
	}
	if k, err := trail.ParseDigestKey(o.key); err == nil {
		if k.Organization != c.Organization || !k.Chain.Same(c) {
			return o, usage("%s: is a digest of the chain %s", text, k.Chain)
		}
		o.isDigest, o.digest, o.time = true, k, k.End
		return o, nil
	}
	if k, err := trail.ParseLogKey(o.key); err == nil {
		if k.Account != c.Account || k.Region != c.Region {
			return o, usage("%s: is a log file of %s %s", text, k.Account, k.Region)
		}
		o.log, o.time = k, k.Stamp
		return o, nil
	}
	// A digest can list a file of another kind, such as CloudTrail-Insight.
	folders := strings.Split(trail.Tail(o.key), "/")
	isOther := slices.Contains(folders, c.Account) && slices.Contains(folders, c.Region) &&
		!slices.Contains(folders, trail.DigestFolder) && !slices.Contains(folders, trail.LogFolder)
	if !isOther {
		return o, usage("%s: must be the key of a digest or a log file, with or without s3://BUCKET/", text)
	}
	return o, nil
}
