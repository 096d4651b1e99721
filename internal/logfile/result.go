package logfile

import (
	"context"
	"fmt"

	"github.com/trailseal/trailseal/internal/failure"
	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/internal/pipeline"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// result is what processing one log file of a digest came to. Its methods report what was
// found.
type result struct {
	rules     *Rules
	candidate follow.Candidate // the digest
	log       digest.Log
	receipt   pipeline.Receipt
}

// at returns the file that the result is about.
func (r result) at() trail.Object {
	if r.receipt.At.Key == "" {
		return r.log.Location()
	}
	return r.receipt.At
}

// reportReceipt reports what was found in an emitted log file: events that switch a trail
// off, records that could not be taken, and other files that are not equal.
func (r result) reportReceipt(ctx context.Context) error {
	for _, off := range r.receipt.SwitchOffs {
		if err := r.reportSwitchOff(ctx, off); err != nil {
			return err
		}
	}
	if r.receipt.Malformed != nil {
		why := fmt.Errorf("proven, and malformed after %d records: %w", r.receipt.Counts.Split, r.receipt.Malformed)
		if err := r.report(ctx, finding.LogCorrupt, "", why); err != nil {
			return err
		}
	}
	for _, o := range r.receipt.Odd {
		decision := failure.Decide(failure.Failure{Operation: failure.Record, Err: o.Why})
		r.rules.Log.Warn("record is not emitted", "reason", string(decision.Reason), "log", r.receipt.At.String(),
			"record", o.Index, "bytes", o.Size, "error", o.Why, "text", o.Text)
	}
	r.rules.Unverified(finding.OddRecord, r.receipt.Counts.Odd)
	return r.reportOthers(ctx, "a second copy: ")
}

// reportOthers reports the other files of a copy that can be the log file and are not equal.
func (r result) reportOthers(ctx context.Context, which string) error {
	for _, o := range r.receipt.Others {
		decision := failure.Decide(failure.Failure{Operation: failure.Log, Err: o.Err})
		if decision.Do != failure.Quarantine {
			r.rules.Unverified(decision.Reason, 1)
			r.rules.Log.Warn("a second copy of a log file was not read", "log", o.At.String(), "error", o.Err)
			continue
		}
		other := r
		other.receipt = pipeline.Receipt{At: o.At, Sum: o.Sum}
		if err := other.report(ctx, decision.Class, which, o.Err); err != nil {
			return err
		}
	}
	return nil
}

// report reports what is wrong with the log file.
func (r result) report(ctx context.Context, class finding.Class, which string, why error) error {
	e := finding.Evidence{Want: r.log.Hash.String(), Digest: r.candidate.Digest.Location().String()}
	detail := why.Error()
	switch class {
	case finding.LogModified:
		e.Got = r.receipt.Sum.String()
		detail = "its content is not what was signed for"
	case finding.LogMissing:
		detail = "listed, and not there"
	}
	return r.rules.Report(ctx, finding.Finding{Class: class, Subject: r.subject(), Detail: which + detail, Evidence: e})
}

func (r result) subject() finding.Subject {
	g, at := r.candidate, r.at()
	s := finding.Subject{
		Account: g.Account, Region: g.Region, Trail: g.Trail, Bucket: at.Bucket, Key: at.Key, Time: g.Digest.End,
	}
	if k, err := trail.ParseLogKey(r.log.Object); err == nil {
		s.Time = k.Stamp
	}
	return s
}

// reportSwitchOff remembers an event that switches a trail off, to explain a gap with it,
// and reports it where the trail is the chain's own.
func (r result) reportSwitchOff(ctx context.Context, off pipeline.SwitchOff) error {
	r.rules.Offs.add(off)
	event := off.Event
	switch off.Off.Of(r.candidate.Chain, r.rules.Management(ctx, r.candidate.Organization)) {
	case chain.No:
		return nil // another trail: if it is followed, its own log files say so
	case chain.Possible:
		r.rules.Log.Warn("a trail of this name was switched off; the owner of the organization's trail is not known: "+
			"set --management-account", "chain", r.candidate.Chain.String(), "event", event.ID, "name", event.Name,
			"actor", event.Actor)
		return nil
	}
	s := r.subject()
	s.Time = event.Time
	return r.rules.Report(ctx, finding.Finding{
		Class: finding.Gap, Subject: s,
		Detail:   fmt.Sprintf("%s by %s: logging or validation is switched off from now on", event.Name, event.Actor),
		Evidence: finding.Evidence{From: event.Time, Event: &event},
	})
}
