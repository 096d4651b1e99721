package verify

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// logObjects is a listing of the objects that can hold log files of the asked
// time, made while the chains are walked: its pages come one after the other.
type logObjects struct {
	place  discover.Place
	found  chan foundObject
	cancel context.CancelFunc
}

type foundObject struct {
	trail.Object
	err error // the last
}

// aheadObjects is how many objects such a listing may be ahead: about a
// megabyte of them.
const aheadObjects = 4096

// listLogs begins to list a place. A log's folder may be that of the day before
// or after its stamp. Within a folder the names sort by stamp, so no more is
// listed of those two days than what is asked for. Its owner calls stop.
func (r *run) listLogs(ctx context.Context, p discover.Place) *logObjects {
	ctx, cancel := context.WithCancel(ctx)
	l := &logObjects{place: p, found: make(chan foundObject, aheadObjects), cancel: cancel}
	first, past := logBefore(p.Place, r.Start, -1), logBefore(p.Place, r.End.Add(time.Minute), 1)
	go func() {
		defer close(l.found)
		for o, err := range r.Fetcher.Objects.List(ctx, r.Source.Bucket, p.Folder(trail.LogFolder), first) {
			if err == nil && o.Key >= past {
				return
			}
			select {
			case l.found <- foundObject{o, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return l
}

// stop ends the listing and waits for it.
func (l *logObjects) stop() {
	l.cancel()
	for range l.found {
	}
}

// checkUnlisted looks at every object that can hold log files of the asked
// time: is it in a digest?
func (r *run) checkUnlisted(ctx context.Context, l *logObjects, chains []*chain, listed *listedSet) {
	p := l.place
	judge := newStampJudge(r, chains)
	seen, reported := 0, false
	for o := range l.found {
		if o.err != nil {
			at := trail.Object{Bucket: r.Source.Bucket, Key: p.Folder(trail.LogFolder)}
			r.doubt(ctx, subject(trail.Chain{Place: p.Place}, at, r.Start), o.err)
			break
		}
		seen++
		if discover.IsMarker(o.Object) || listed.has(trail.Object{Bucket: o.Bucket, Key: o.Key}) {
			continue
		}
		k, err := trail.ParseLogKey(o.Key)
		switch {
		case err != nil || k.Place != p.Place:
			r.foreign(p.Place, o.Object, "in a log folder, and named like no log file of it")
		case judge.known(k.Stamp):
			r.unlisted(p.Place, o.Object, k.Stamp)
		case len(chains) == 0 && len(r.Trails) == 0 && !reported && !k.Stamp.Before(r.Start) && k.Stamp.Before(r.End):
			reported = true // once is enough
			r.absent(p.Account, p.Region, "log files, and no digest chain: is log file validation switched on?")
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logObjects += seen
}

// logBefore returns a key that sorts before all logs with a stamp from the
// minute of t on, in the folder of a day that is some days away from the stamp.
func logBefore(p trail.Place, t time.Time, days int) string {
	k := trail.LogKey{Place: p, Stamp: t, Day: t.UTC().AddDate(0, 0, days)}
	return strings.TrimSuffix(k.String(), ".json.gz")
}

func (r *run) unlisted(p trail.Place, o trail.Object, stamp time.Time) {
	r.find(finding.Finding{
		Class: finding.LogUnlisted, Detail: "in a verified hour, and in no digest of it or its neighbours: planted, or written while validation was off",
		Subject: finding.Subject{Account: p.Account, Region: p.Region, Bucket: o.Bucket, Key: o.Key, Time: stamp},
	})
}

// stampJudge tells whether all digests that could list a log of some stamp
// were read and proven. A log can be listed an hour before or after the one
// its stamp lies in.
type stampJudge struct {
	chains [][]report.Segment // in order, without overlaps
}

// edge is how far a log's stamp can be from the time of its delivery, with
// some to spare: it is rounded up to five minutes.
const edge = 10 * time.Minute

func newStampJudge(r *run, chains []*chain) stampJudge {
	var j stampJudge
	for _, c := range chains {
		if !c.name.Backfill {
			if c.silent && !slices.ContainsFunc(c.time.segments, func(s report.Segment) bool { return s.State == report.Verified }) {
				continue // planted names; of an asked trail they are findings
			}
			all := timeline{segments: slices.Concat(c.time.segments, c.starts.segments)}
			j.chains = append(j.chains, all.within(r.Start.Add(-lookBack), r.End.Add(lookBack)))
		}
	}
	return j
}

// known reports whether at least one chain is verified around the stamp and no
// chain is in doubt there.
func (j stampJudge) known(stamp time.Time) bool {
	known := false
	for _, span := range j.chains {
		switch around(span, stamp) {
		case report.Verified:
			known = true
		case report.Missing, report.Invalid, report.Unverified:
			return false
		}
	}
	return known
}

// around returns the heaviest state within a window of the stamp; NotDue where
// some of that time is not covered at all. While validation was off nothing
// was listed, so a gap nearby is no matter.
func around(span []report.Segment, stamp time.Time) report.State {
	from, to := stamp.Add(-window), stamp.Add(window)
	i, _ := slices.BinarySearchFunc(span, from, func(s report.Segment, t time.Time) int {
		if s.End.After(t) {
			return 1
		}
		return -1
	})
	state, at := report.NotDue, from
	for ; i < len(span) && span[i].Start.Before(to); i++ {
		s := span[i]
		if s.Start.After(at) {
			return report.NotDue
		}
		at = s.End
		distant := !s.End.After(stamp.Add(-edge)) || !s.Start.Before(stamp.Add(edge))
		if weight(s.State) > weight(state) && !(distant && s.State == report.Gap) {
			state = s.State
		}
	}
	if at.Before(to) {
		return report.NotDue
	}
	return state
}
