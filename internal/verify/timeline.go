package verify

import (
	"slices"
	"time"

	"github.com/trailseal/trailseal/internal/report"
)

// timeline is what is known of a chain's time: segments that a walk adds from
// the newest to the oldest, and that are read when it has ended.
type timeline struct {
	segments []report.Segment
}

func (t *timeline) add(start, end time.Time, s report.State) {
	if start.Before(end) {
		t.segments = append(t.segments, report.Segment{Start: start.UTC(), End: end.UTC(), State: s})
	}
}

// weight orders states where segments overlap: what is wrong is shown.
func weight(s report.State) int {
	switch s {
	case report.Invalid:
		return 5
	case report.Missing:
		return 4
	case report.Gap:
		return 3
	case report.Unverified:
		return 2
	case report.Verified:
		return 1
	}
	return 0 // not due
}

// within returns the timeline from start to end, cut where states change,
// without overlaps. Time without a segment is left out.
func (t *timeline) within(start, end time.Time) []report.Segment {
	var cuts []time.Time
	for _, s := range t.segments {
		cuts = append(cuts, clamp(s.Start, start, end), clamp(s.End, start, end))
	}
	slices.SortFunc(cuts, time.Time.Compare)
	cuts = slices.CompactFunc(cuts, time.Time.Equal)

	byStart := slices.Clone(t.segments)
	slices.SortFunc(byStart, func(a, b report.Segment) int { return a.Start.Compare(b.Start) })
	var out, open []report.Segment
	for i := 0; i+1 < len(cuts); i++ {
		from, to := cuts[i], cuts[i+1]
		for len(byStart) > 0 && !byStart[0].Start.After(from) {
			open, byStart = append(open, byStart[0]), byStart[1:]
		}
		open = slices.DeleteFunc(open, func(s report.Segment) bool { return !s.End.After(from) })
		if state, ok := heaviest(open); ok {
			out = appendSegment(out, report.Segment{Start: from, End: to, State: state})
		}
	}
	return out
}

func heaviest(open []report.Segment) (state report.State, ok bool) {
	for _, s := range open {
		if !ok || weight(s.State) > weight(state) {
			state, ok = s.State, true
		}
	}
	return state, ok
}

// appendSegment joins a segment to the last where state and time meet.
func appendSegment(to []report.Segment, s report.Segment) []report.Segment {
	if n := len(to); n > 0 && to[n-1].State == s.State && to[n-1].End.Equal(s.Start) {
		to[n-1].End = s.End
		return to
	}
	return append(to, s)
}

// uncovered returns the stretches from start to end that no segment covers.
func (t *timeline) uncovered(start, end time.Time) []report.Range {
	var holes []report.Range
	at := start
	for _, s := range t.within(start, end) {
		if s.Start.After(at) {
			holes = append(holes, report.Range{Start: at.UTC(), End: s.Start})
		}
		at = s.End
	}
	if at.Before(end) {
		holes = append(holes, report.Range{Start: at.UTC(), End: end.UTC()})
	}
	return holes
}

func clamp(t, lo, hi time.Time) time.Time {
	switch {
	case t.Before(lo):
		return lo.UTC()
	case t.After(hi):
		return hi.UTC()
	}
	return t
}
