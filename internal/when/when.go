// Package when reads moments as people write them on a command line. It knows
// no clock: a caller says what now is.
package when

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Forms of a moment on the command line. Any date goes with any time of day.
// Times without a zone are UTC.
var (
	dateForms = []string{
		"2006-01-02", "2006/01/02", "20060102", "1/2/2006", "2/1/2006", // month first where both are possible, as in the AWS CLI
		"January 2, 2006", "January 2 2006", "Jan 2, 2006", "Jan 2 2006", "2 January 2006", "2 Jan 2006", "2-Jan-2006",
		"Monday, January 2, 2006", "Mon, 2 Jan 2006", "Mon, Jan 2, 2006", "Mon Jan 2 2006",
	}
	timeForms = []string{"", "15:04:05", "15:04", "150405", "1504", "3:04:05 PM", "3:04 PM", "3:04:05PM", "3:04PM", "3 PM", "3PM"}
	wholes    = []string{"Mon Jan 2 15:04:05 2006"} // date's own form once its zone is gone

	utcName = regexp.MustCompile(`(?i)^(.*[\d\s])(?:UTC|GMT|Z)(\s+\d{4})?$`)
	offset  = regexp.MustCompile(`^(.*(?:\d:\d\d|\d:\d\d:\d\d|\d:\d\d:\d\d[.,]\d+|[T ]\d{4}|[T ]\d{6}))\s*([+-])(\d\d):?(\d\d)?$`)
	span    = regexp.MustCompile(`^(\d{1,6})([smhdw])$`)
)

// Date reads a moment in any of the usual forms, as the AWS CLI does: 1/2/2026
// is 2 January.
func Date(s string) (time.Time, error) {
	all, err := readings(s)
	if err != nil {
		return time.Time{}, err
	}
	return all[0], nil
}

// StrictDate reads a moment as Date does, and refuses a date whose month and day
// could be exchanged. The error names both readings.
func StrictDate(s string) (time.Time, error) {
	all, err := readings(s)
	switch {
	case err != nil:
		return time.Time{}, err
	case len(all) > 1:
		return time.Time{}, fmt.Errorf("time %q: ambiguous, write %s or %s", s, all[0].Format(time.RFC3339Nano), all[1].Format(time.RFC3339Nano))
	}
	return all[0], nil
}

// readings returns the moments that a text can mean, at least one, each once,
// the most likely one first.
func readings(s string) (all []time.Time, err error) {
	text, zone, err := splitZone(strings.Join(strings.Fields(s), " "))
	if err != nil {
		return nil, fmt.Errorf("time %q: %w", s, err)
	}
	add := func(forms ...string) {
		if at, ok := parseAny(forms, text, zone); ok && !slices.ContainsFunc(all, at.Equal) {
			all = append(all, at)
		}
	}
	for _, date := range dateForms {
		for _, clock := range timeForms {
			if clock == "" {
				add(date)
			} else {
				add(date+"T"+clock, date+" "+clock)
			}
		}
	}
	add(wholes...)
	if len(all) == 0 {
		return nil, fmt.Errorf("time %q: not in a form that is known", s)
	}
	return all, nil
}

func parseAny(forms []string, text string, zone *time.Location) (time.Time, bool) {
	for _, form := range forms {
		if at, err := time.ParseInLocation(form, text, zone); err == nil {
			return at.UTC(), true
		}
	}
	return time.Time{}, false
}

// splitZone cuts the zone off: UTC, GMT, Z or an offset. Other names are no
// zones to it, since most of them mean several.
func splitZone(s string) (rest string, zone *time.Location, err error) {
	if m := utcName.FindStringSubmatch(s); m != nil {
		s = strings.TrimSpace(m[1]) + m[2]
		// "+02:00 UTC" would be two zones; a bare Z follows the time directly.
		return s, time.UTC, nil
	}
	m := offset.FindStringSubmatch(s)
	if m == nil {
		return s, time.UTC, nil
	}
	hours, _ := strconv.Atoi(m[3])
	minutes, _ := strconv.Atoi(m[4])
	if hours > 14 || minutes > 59 {
		return "", nil, fmt.Errorf("no such offset")
	}
	seconds := hours*3600 + minutes*60
	if m[2] == "-" {
		seconds = -seconds
	}
	return m[1], time.FixedZone("", seconds), nil
}

const maxSpan = 100 * 365 * 24 * time.Hour

// Relative reports whether s is a span before now: 90m, 24h, 30d, 2w.
func Relative(s string) bool { return span.MatchString(s) }

// Time reads a moment as StrictDate does, or a span before now.
func Time(s string, now time.Time) (time.Time, error) {
	m := span.FindStringSubmatch(s)
	if m == nil {
		return StrictDate(s)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return time.Time{}, fmt.Errorf("time %q: %w", s, err)
	}
	unit := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour}[m[2]]
	if n > int(maxSpan/unit) {
		return time.Time{}, fmt.Errorf("time %q: more than a hundred years ago", s)
	}
	return now.Add(-time.Duration(n) * unit).UTC(), nil
}
