package ingest_test

import (
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/testtrail"
)

// A trail that becomes an organization's and then one account's again is followed all the way,
// whenever the worker ran. None of its chains is late but the last, once that stops.
func TestMovesThereAndBack(t *testing.T) {
	there := func(s *site) { asOrganization(s); s.c.Hours(3) }
	back := func(s *site) { s.trail.Organization = ""; s.c.Hours(3) }
	both := func(s *site) { there(s); back(s) }
	twice := func(s *site) { both(s); both(s) }
	late := func(s *site) {
		s.at(s.c.Now().Add(10 * time.Hour))
		s.during(time.Minute)
		if s.expect("coverage"); !s.t.Failed() && !s.found.all[0].Time.Equal(s.c.Now()) {
			s.t.Errorf("finding %+v", s.found.all[0])
		}
	}
	// again resets the organization's chain to before the first move.
	again := func(s *site) {
		asOrganization(s)
		s.carry(reset(day))
		s.run()
		if n := s.repeats(); n != 3*5 {
			s.t.Errorf("%d events came again", n)
		}
		s.repeat = true
	}
	live(t, []life{
		{"all at once", 3, steps(both, late), found("coverage")},
		{"after a run", 3, steps(nothing, both, late), found("coverage")},
		{"a run between", 3, steps(there, back, late), found("coverage")},
		{"a run before each", 3, steps(nothing, there, back, late), found("coverage")},
		{"twice, all at once", 3, steps(twice, late), found("coverage")},
		{"twice, a run before each", 3, steps(nothing, there, back, there, back, late), found("coverage")},
		{"reset after a move", 3, steps(there, again), found("coverage")},
		{"reset after a move, and another history", 3, steps(there, func(s *site) {
			s.c.ReissueFrom(5, func(d *testtrail.Doc) { d.Newest = nil })
			s.c.Hours(1)
			again(s)
		}), found("coverage", "rollback")},
		{"reset after it came back", 3, steps(there, back, again), found("coverage")},
		{"the former chain is reset", 3, steps(nothing, there, func(s *site) {
			s.trail.Organization = ""
			s.carry(reset(day))
			asOrganization(s)
			s.run()
			s.repeat = true
			s.c.Hours(6)
			s.during(time.Minute)
		}), found("coverage")}, // the order itself
	})
}
