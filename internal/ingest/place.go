package ingest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/follow"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// places finds the accounts and regions below each prefix of the source. Where one cannot be
// searched, or holds none, that is an error of the poll beside what the others hold. An error
// says that there are none at all.
func (p *poll) places(ctx context.Context) (found discover.Found, err error) {
	at := map[trail.Place]int{}
	var errs []error
	for _, prefix := range p.f.prefixes {
		finder := p.finder(ctx)
		finder.Source.Prefix = prefix
		here, err := finder.Places(ctx)
		if err == nil && len(here.Places) == 0 && p.found.err() == nil {
			err = here.Absent()
		}
		if err != nil {
			errs = append(errs, err)
		}
		found.Accounts, found.Regions = append(found.Accounts, here.Accounts...), append(found.Regions, here.Regions...)
		for _, place := range here.Places {
			i, there := at[place.Place]
			if !there {
				at[place.Place] = len(found.Places)
				found.Places = append(found.Places, place)
				continue
			}
			same := &found.Places[i]
			same.Digests, same.Logs = same.Digests || place.Digests, same.Logs || place.Logs
			same.Roots = slices.Concat(same.Roots, place.Roots)
			slices.Sort(same.Roots)
			same.Roots = slices.Compact(same.Roots)
		}
	}
	if len(found.Accounts) > 0 && !p.poller.toldSelected {
		p.poller.toldSelected = true
		tellSelected(p.w, p.f, found)
	}
	for _, err := range errs {
		p.found.missed(region{}, err)
	}
	if len(errs) == len(p.f.prefixes) {
		return found, errors.Join(errs...)
	}
	for _, err := range errs {
		p.found.fail(err)
	}
	return found, nil
}

// place lists a place's digests and adds them to the frontiers of their chains.
func (p *poll) place(ctx context.Context, place discover.Place, chains map[*chainLoop]bool) error {
	until := p.w.config.Now().Add(window)
	past := place.Day(trail.DigestFolder, until.AddDate(0, 0, 1))
	oldest := earlier(p.began.Add(-reach), p.reaches(place)) // of backfill digests
	from, isNew := p.from(place)
	hasDigests, isWhole := false, true
	own := map[trail.Chain]*chainLoop{}
	err := p.finder(ctx).EachDigest(ctx, p.f.source.Signed(), place, from, func(d discover.Digest) bool {
		switch {
		case d.Day(trail.DigestFolder, d.End) >= past:
			return false
		case d.End.After(until) || p.f.refuted.has(d.DigestKey):
			return true
		case d.Backfill && d.End.Before(oldest):
			return true // older ones come by message only
		}
		hasDigests = true
		p.found.sawTrail(d.Trail)
		if !p.w.config.isSelected(d.Chain) {
			return true
		}
		c, err := p.w.chains.add(p.w, p.f, follow.Known{Ref: d}, follow.Listed, nil)
		if err != nil {
			isWhole = false
			return true // counted, and told in the end
		}
		if d.Backfill && own[d.Chain] != c {
			c.progress.change(func(s *standing) { s.sweep = oldest })
		}
		own[d.Chain], chains[c] = c, true
		return isNew || p.isFull && p.w.config.Until.IsZero() || !areFull(own, d.End)
	})
	if err == nil && isWhole && hasDigests {
		p.poller.begin(place.Place)
	}
	if err != nil || hasDigests || !place.Logs || len(p.w.chains.of(p.f, place.Place)) > 0 {
		return err
	}
	return p.withoutDigests(ctx, place)
}

// areFull reports whether a day folder has nothing to add to any of the chains.
func areFull(chains map[trail.Chain]*chainLoop, end time.Time) bool {
	for _, c := range chains {
		if !c.frontier.Full(end.Add(-24 * time.Hour)) {
			return false
		}
	}
	return true
}

// from returns the day from which a place's digests are listed. A place that this run has not
// listed before, and none of whose chains is followed, is new: all of its digests may be older
// than the reach.
func (p *poll) from(place discover.Place) (from time.Time, isNew bool) {
	if !p.w.config.Until.IsZero() {
		return day(p.w.config.Since), false
	}
	from, oldest := p.w.config.Now().Add(-window), time.Time{}
	chains := p.w.chains.of(p.f, place.Place)
	if len(chains) == 0 && !p.poller.hasBegun(place.Place) {
		return p.begins(place), true
	}
	for _, c := range chains {
		at := c.progress.now()
		h := at.head
		if !at.isKnown {
			return time.Time{}, false
		}
		if c.name.Backfill || h.Ended || h.Until().IsZero() {
			continue
		}
		if oldest.IsZero() || h.Cursor.Before(oldest) {
			oldest = h.Cursor
		}
	}
	if !oldest.IsZero() {
		from = earlier(from, oldest)
	}
	if p.isFull || oldest.IsZero() {
		from = earlier(from, p.w.config.Now().Add(-reach))
	}
	return day(earlier(from, p.reaches(place))), false
}

// begins returns the day from which the digests of a place count that no chain of is followed.
func (p *poll) begins(place discover.Place) time.Time {
	if p.f.lastListed(place.Place).IsZero() {
		return day(p.f.since(p.w.config.Since))
	}
	return time.Time{} // a chain that was absent then begins at its oldest digest
}

// reaches returns how far back a place is listed, whatever the heads of its chains are. Backfill
// digests that end before come by message only.
func (p *poll) reaches(place discover.Place) time.Time {
	switch listed := p.f.lastStored(place.Place); {
	case listed.IsZero():
		return p.f.since(p.w.config.Since)
	case p.isFull:
		return listed.Add(-reach) // what came while no worker ran
	}
	return p.began
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// withoutDigests reports a place that has log files in the asked time and no digests. The
// digest of a log file that came within the grace and an hour may still come.
func (p *poll) withoutDigests(ctx context.Context, place discover.Place) error {
	due := p.began.Add(-p.w.config.Grace - window)
	for _, root := range place.Roots {
		folder := root + place.Folder(trail.LogFolder)
		after := root + place.Day(trail.LogFolder, p.w.config.Since)
		for o, err := range p.f.objects.List(ctx, p.f.source.Signed(), folder, after) {
			if err != nil {
				return err
			}
			if u := p.w.config.Until; !u.IsZero() && o.Key >= root+place.Day(trail.LogFolder, u.AddDate(0, 0, 1)) {
				break // it is not of the asked time
			}
			if discover.IsMarker(o) || p.cameAt(root, o).After(due) {
				continue
			}
			return p.w.report(ctx, finding.Finding{
				Class: finding.Coverage,
				Subject: finding.Subject{
					Account: place.Account, Region: place.Region, Bucket: p.f.source.Signed(), Key: folder,
				},
				Detail: "log files, and no digests: switch validation on (aws cloudtrail update-trail --enable-log-file-validation)",
			})
		}
	}
	return nil
}

// cameAt returns when a listed log file came. In a copy that is not known, and it is the
// time in the file's name, where it has one.
func (p *poll) cameAt(root string, o trail.Object) time.Time {
	if p.f.source.IsCopy() {
		logical, _ := source.Logical(o.Key[len(root):])
		if key, err := trail.ParseLogKey(logical); err == nil {
			return key.Stamp
		}
	}
	return o.Modified
}
