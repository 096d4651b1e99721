package ended

import (
	"fmt"
	"time"

	"github.com/trailseal/trailseal/pkg/trail"
)

// Standing is what a list says about the end of a chain.
type Standing int

// The standings of an end.
const (
	Unknown      Standing = iota // no line matches the chain
	Acknowledged                 // the chain ends when the list says
	Earlier                      // the chain ends earlier: digests are gone
	Later                        // the chain went on, and its new end is not acknowledged
)

// Judge compares the end of a chain's last digest with the acknowledged end,
// which it returns too.
func (l List) Judge(c trail.Chain, end time.Time) (Standing, time.Time) {
	last, ok := l.Find(c)
	switch {
	case !ok:
		return Unknown, time.Time{}
	case end.Before(last):
		return Earlier, last
	case end.Before(last.Add(tolerance)):
		return Acknowledged, last
	}
	return Later, last
}

// String returns the standing as a word.
func (s Standing) String() string {
	switch s {
	case Unknown:
		return "unknown"
	case Acknowledged:
		return "acknowledged"
	case Earlier:
		return "earlier"
	case Later:
		return "later"
	}
	return fmt.Sprintf("Standing(%d)", int(s))
}
