package verify

import (
	"context"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/prove"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
)

// judge has a digest judged and records what is wrong with it or why that is
// not known; outside the asked range nothing is recorded.
func (w *walk) judge(ctx context.Context, l discover.Digest, got fetched, successor *digest.Previous, asked bool) prove.Answer {
	q := prove.Question{
		Key: l.DigestKey, At: got.at, File: got.file, Err: got.err,
		Successor: successor, Repeated: w.repeated(l, successor),
	}
	if successor != nil {
		q.SuccessorAt = w.newer.Location()
	}
	a := prove.Digest(ctx, w.keys, q)
	switch {
	case !asked:
	case a.Wrong != "":
		w.findDigest(a.Wrong, got.at, l.End, a.Detail, a.Evidence)
	case a.Unknown != nil:
		w.doubt(ctx, subject(w.name, got.at, l.End), a.Unknown)
	}
	return a
}

// stateOf returns the state of the time that a digest covers.
func stateOf(a prove.Answer) report.State {
	switch {
	case a.Wrong == finding.DigestMissing:
		return report.Missing
	case a.Wrong != "":
		return report.Invalid
	case a.Unknown != nil:
		return report.Unverified
	}
	return report.Verified
}

// repeated returns the signature that the digest just taken gives l.
func (w *walk) repeated(l discover.Digest, successor *digest.Previous) string {
	switch {
	case successor != nil:
		return successor.Signature
	case w.unproven != nil && w.unproven.Previous != nil && w.isNamed(l, w.unproven.Previous):
		return w.unproven.Previous.Signature
	}
	return ""
}
