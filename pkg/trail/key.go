package trail

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrKey is wrapped by the errors of ParseDigestKey and ParseLogKey.
var ErrKey = errors.New("outside the key grammar")

const (
	digestStamp = "20060102T150405Z"
	logStamp    = "20060102T1504Z"
	dayFolder   = "2006/01/02"
	suffix      = ".json.gz"
	backfillEnd = "_backfill"
)

// DigestKey is the key of a digest file.
type DigestKey struct {
	Chain
	End time.Time // digestEndTime, UTC, whole seconds
}

// ParseDigestKey parses the whole of key. The folder's date must be that of
// the stamp.
func ParseDigestKey(key string) (DigestKey, error) {
	bad := func(why string) (DigestKey, error) {
		return DigestKey{}, fmt.Errorf("digest key %q: %s: %w", key, why, ErrKey)
	}
	p, day, name, err := splitKey(key, DigestFolder)
	if err != nil {
		return bad(err.Error())
	}
	rest, ok := strings.CutPrefix(name, p.Account+"_"+DigestFolder+"_"+p.Region+"_")
	if !ok {
		return bad("file name disagrees with its folder")
	}
	rest, ok = strings.CutSuffix(rest, suffix)
	if !ok {
		return bad("does not end in " + suffix)
	}
	k := DigestKey{Chain: Chain{Place: p}}
	rest, k.Backfill = strings.CutSuffix(rest, backfillEnd)
	rest, stamp, _ := cutLast(rest, "_")
	if k.End, err = parseStamp(digestStamp, stamp); err != nil {
		return bad("bad time stamp")
	}
	k.Trail, k.HomeRegion, _ = cutLast(rest, "_")
	switch {
	case !ValidName(k.Trail):
		return bad("bad trail name")
	case !ValidRegion(k.HomeRegion):
		return bad("bad home region")
	case k.End.Format(dayFolder) != day:
		return bad("date of the folder is not that of the stamp")
	}
	return k, nil
}

// String returns the object key.
func (k DigestKey) String() string {
	s := k.Day(DigestFolder, k.End) + k.Account + "_" + DigestFolder + "_" + k.Region + "_" +
		k.Trail + "_" + k.HomeRegion + "_" + k.End.UTC().Format(digestStamp)
	if k.Backfill {
		s += backfillEnd
	}
	return s + suffix
}

// LogKey is the key of a log file.
type LogKey struct {
	Place
	Stamp  time.Time // delivery slot, UTC, whole minutes; may lie a little after the delivery itself
	Day    time.Time // the folder's date: the day of publication
	Unique string    // 16 letters and digits
}

// ParseLogKey parses the whole of key. The stamp may be any time before the
// folder's day, and at most a day after the end of that day.
//
// The folder is named for the day of publication. CloudTrail retries a delivery
// for 30 days, so a stamp can be weeks older than its folder. It cannot be much
// newer: it is the delivery slot, rounded up to five minutes.
func ParseLogKey(key string) (LogKey, error) {
	bad := func(why string) (LogKey, error) {
		return LogKey{}, fmt.Errorf("log key %q: %s: %w", key, why, ErrKey)
	}
	p, day, name, err := splitKey(key, LogFolder)
	if err != nil {
		return bad(err.Error())
	}
	rest, ok := strings.CutPrefix(name, p.Account+"_"+LogFolder+"_"+p.Region+"_")
	if !ok {
		return bad("file name disagrees with its folder")
	}
	rest, ok = strings.CutSuffix(rest, suffix)
	if !ok {
		return bad("does not end in " + suffix)
	}
	stamp, unique, _ := strings.Cut(rest, "_")
	k := LogKey{Place: p, Unique: unique}
	if k.Stamp, err = parseStamp(logStamp, stamp); err != nil {
		return bad("bad time stamp")
	}
	if len(unique) != 16 || !onlyBytes(unique, isAlnum) {
		return bad("bad unique part")
	}
	if k.Day, err = parseStamp(dayFolder, day); err != nil {
		return bad("bad date folder")
	}
	if k.Stamp.Sub(k.Day) >= 48*time.Hour {
		return bad("stamp is more than a day after the date of the folder")
	}
	return k, nil
}

// String returns the object key.
func (k LogKey) String() string {
	return k.Place.Day(LogFolder, k.Day) + k.Account + "_" + LogFolder + "_" + k.Region + "_" +
		k.Stamp.UTC().Format(logStamp) + "_" + k.Unique + suffix
}

// Late reports whether the log was published on a later day than that of its
// stamp, so that it lies in another day's folder.
func (k LogKey) Late() bool { return k.Day.After(k.Stamp) }

// splitKey cuts [prefix/]AWSLogs/[o-ID/]ACCOUNT/KIND/REGION/YYYY/MM/DD/NAME
// from its end: nothing that a prefix holds can move the parts that count.
func splitKey(key, kind string) (p Place, day, name string, err error) {
	parts := strings.Split(key, "/")
	n := len(parts)
	if n < 8 {
		return p, "", "", errors.New("too few folders")
	}
	name, day = parts[n-1], strings.Join(parts[n-4:n-1], "/")
	p.Region, p.Account = parts[n-5], parts[n-7]
	if parts[n-6] != kind {
		return p, "", "", errors.New("not in a " + kind + " folder")
	}
	root := n - 8
	if ValidOrganization(parts[root]) && root > 0 {
		p.Organization = parts[root]
		root--
	}
	switch {
	case parts[root] != "AWSLogs":
		return p, "", "", errors.New("not below AWSLogs")
	case !ValidAccount(p.Account):
		return p, "", "", errors.New("bad account")
	case !ValidRegion(p.Region):
		return p, "", "", errors.New("bad region")
	}
	p.Prefix = strings.Join(parts[:root], "/")
	if root > 0 && p.Prefix == "" {
		// "/AWSLogs/..." would read as the key without the slash: another object.
		return p, "", "", errors.New("begins with an empty folder")
	}
	return p, day, name, nil
}

// parseStamp accepts only the exact form that Format writes for a layout of
// digits from year to second. It does what time.Parse does, for that alone, in
// a tenth of the time: each log file's name goes through it.
func parseStamp(layout, s string) (time.Time, error) {
	if len(s) != len(layout) {
		return time.Time{}, errStamp
	}
	var digits [len("20060102150405")]int
	n := 0
	for i := range len(s) {
		switch {
		case !isDigit(layout[i]):
			if s[i] != layout[i] {
				return time.Time{}, errStamp
			}
		case !isDigit(s[i]):
			return time.Time{}, errStamp
		default:
			digits[n] = int(s[i] - '0')
			n++
		}
	}
	two := func(i int) int { return digits[i]*10 + digits[i+1] }
	t := time.Date(two(0)*100+two(2), time.Month(two(4)), two(6), two(8), two(10), two(12), 0, time.UTC)
	if t.Month() != time.Month(two(4)) || t.Day() != two(6) || t.Hour() != two(8) || t.Minute() != two(10) || t.Second() != two(12) {
		return time.Time{}, errStamp
	}
	return t, nil
}

var errStamp = errors.New("bad stamp")

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// Tail returns the part of a key from its AWSLogs folder on, the part that a
// copy of a bucket keeps whatever folder it was put in; "" without one.
func Tail(key string) string {
	if i := strings.LastIndex(key, "/AWSLogs/"); i >= 0 {
		return key[i+1:]
	}
	if strings.HasPrefix(key, "AWSLogs/") {
		return key
	}
	return ""
}
