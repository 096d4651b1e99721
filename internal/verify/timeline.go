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

// add adds a segment. One that meets the last, as the hours of a whole chain
// do, makes that longer.
func (t *timeline) add(start, end time.Time, s report.State) {
	if !start.Before(end) {
		return
	}
	if n := len(t.segments); n > 0 && t.segments[n-1].State == s && t.segments[n-1].Start.Equal(end) {
		t.segments[n-1].Start = start.UTC()
		return
	}
	t.segments = append(t.segments, report.Segment{Start: start.UTC(), End: end.UTC(), State: s})
}

const nStates = 9

// states lists all states by weight: where segments overlap, the heaviest is
// shown, which is what is wrong.
func states() [nStates]report.State {
	return [...]report.State{
		report.NotDue, report.NotBegun, report.Ended, report.Uncovered,
		report.Verified, report.Unverified, report.Gap, report.Missing, report.Invalid,
	}
}

func weight(s report.State) int {
	all := states()
	return max(0, slices.Index(all[:], s))
}

// within returns the timeline from start to end, cut where states change,
// without overlaps. Time without a segment is left out. Its time does not depend on
// how many segments overlap.
func (t *timeline) within(start, end time.Time) []report.Segment {
	type edge struct {
		at     time.Time
		weight int
		add    int
	}
	edges := make([]edge, 0, 2*len(t.segments))
	for _, s := range t.segments {
		if s.Start.Before(end) && s.End.After(start) {
			edges = append(
				edges,
				edge{clamp(s.Start, start, end), weight(s.State), 1},
				edge{clamp(s.End, start, end), weight(s.State), -1},
			)
		}
	}
	slices.SortFunc(edges, func(a, b edge) int { return a.at.Compare(b.at) })
	var (
		out  []report.Segment
		open [nStates]int
	)
	for i, e := range edges {
		open[e.weight] += e.add
		if i+1 == len(edges) || e.at.Equal(edges[i+1].at) {
			continue
		}
		for w := len(open) - 1; w >= 0; w-- {
			if open[w] > 0 {
				out = appendSegment(out, report.Segment{Start: e.at, End: edges[i+1].at, State: states()[w]})
				break
			}
		}
	}
	return out
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
