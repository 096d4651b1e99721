package follow

import (
	"errors"
	"slices"
	"time"

	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// SkipOrder is an object that the operator has given up: a digest, or a log file that a
// digest lists. The head keeps it until the chain has passed the object.
type SkipOrder struct {
	Key    string    `json:"key"` // in a copy from AWSLogs/ on
	By     string    `json:"by"`  // USER@HOST
	Reason string    `json:"reason"`
	At     time.Time `json:"at"` // when it was ordered
}

// maxSkips is how many objects a head keeps that the operator has given up.
const maxSkips = 100

// logFolderTime is how long after the day of a log file's folder the digest that lists
// the log file can end.
const logFolderTime = 3 * 24 * time.Hour

// ErrSkips says that the head keeps as many skipped objects as it can.
var ErrSkips = errors.New("100 skipped objects are not passed yet")

// GiveUp returns the head with an object that the chain passes over when it comes to it.
// The error is ErrSkips.
func (h Head) GiveUp(s SkipOrder) (Head, error) {
	if len(h.Skips) >= maxSkips {
		return h, ErrSkips
	}
	h = h.clone()
	h.Skips = append(h.Skips, s)
	return h, nil
}

// Skipped returns the order to skip a digest, nil where there is none.
func (h Head) Skipped(k trail.DigestKey) *SkipOrder {
	if len(h.Skips) == 0 {
		return nil
	}
	key := k.String()
	return h.skip(func(s SkipOrder) bool { return s.Key == key })
}

// SkippedLog returns the order to skip a log file that a proven digest lists, nil where
// there is none. The part of the key before AWSLogs does not count.
func (h Head) SkippedLog(l digest.Log) *SkipOrder {
	if len(h.Skips) == 0 {
		return nil
	}
	return h.skip(func(s SkipOrder) bool { return isSameLog(s.Key, l.Object) })
}

func isSameLog(a, b string) bool {
	return a == b || trail.Tail(a) != "" && trail.Tail(a) == trail.Tail(b)
}

func (h Head) skip(is func(SkipOrder) bool) *SkipOrder {
	if i := slices.IndexFunc(h.Skips, is); i >= 0 {
		s := h.Skips[i]
		return &s
	}
	return nil
}

// forgetSkips drops the orders about a digest that is done, about the log files that it
// lists, and about what lies before the cursor. h is the receiver's own copy.
func (h Head) forgetSkips(done trail.DigestKey, logs []digest.Log) Head {
	key := done.String()
	h.Skips = slices.DeleteFunc(h.Skips, func(s SkipOrder) bool {
		if s.Key == key || slices.ContainsFunc(logs, func(l digest.Log) bool { return isSameLog(s.Key, l.Object) }) {
			return true
		}
		if k, err := trail.ParseDigestKey(s.Key); err == nil {
			return !k.Backfill && !k.End.After(h.Cursor)
		}
		k, err := trail.ParseLogKey(s.Key)
		return err == nil && !done.Backfill && h.HasPassed(k)
	})
	return h
}

// HasPassed reports whether every digest that can list a log file is done.
func (h Head) HasPassed(k trail.LogKey) bool { return k.Day.Add(logFolderTime).Before(h.Cursor) }

// Reset returns the head of a chain that is followed again from a time on. The newest
// digest that was done stays as the witness. Quarantined digests are judged again.
func (h Head) Reset(from time.Time) Head {
	next := Begin(from)
	isKnown := h.Link.Sum != "" || h.Witness.Sum == ""
	if next.Witness = h.Witness; isKnown && h.Link.End.After(h.Witness.End) {
		next.Witness = h.Link
		next.Witness.Continued = h.Ended && h.EndedWhy == ""
	}
	for _, end := range h.Backfills {
		if end.Before(from) {
			next.Backfills = append(next.Backfills, end)
		}
	}
	next.Skips = slices.Clone(h.Skips)
	return next
}

// End returns the head of a chain that has ended for good. The next digest makes the
// chain go on.
func (h Head) End(why string) Head {
	h = h.clone()
	h.Ended, h.EndedWhy = true, why
	return h
}

// Until returns the end of the newest trusted digest that is done. After a reset it is the
// time from which the chain is followed. It is zero for a chain of which no digest was ever
// trusted.
func (h Head) Until() time.Time {
	if h.Link.End.IsZero() && !h.Witness.End.IsZero() {
		return h.Cursor
	}
	return h.Link.End
}
