package follow

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// Head is how far a chain is done. It is a value: its methods return copies.
//
// Its JSON form is what the state keeps (docs/formats.md).
type Head struct {
	Version int `json:"version"`
	// Cursor is the end of the newest trusted digest that is done: the events of this
	// and of all older digests are durable in every sink, or quarantined. A digest
	// that is not trusted never moves it. Before the first trusted digest it is the
	// time at which the chain begins. A zero Cursor is the beginning of time.
	Cursor time.Time `json:"cursor,omitzero"`
	// Link is the newest trusted digest, which the next digest must name. It is zero
	// before the first.
	Link Link `json:"link,omitzero"`
	// Bad are the keys of the newest quarantined digests after Cursor, and of any
	// quarantined backfill digests.
	Bad []string `json:"bad,omitempty"`
	// Backfills are the ends of the newest 2,000 backfill digests that are done. These
	// digests come in no order.
	Backfills []time.Time `json:"backfills,omitempty"`
	// LateTold says that the chain was reported as late since its newest digest.
	LateTold bool `json:"late_told,omitempty"`
	// Ended says that the operator declared the chain as ended after its newest digest.
	Ended bool `json:"ended,omitempty"`
	// EndedWhy is who declared that, and why: "USER@HOST: REASON". It is "" where another
	// chain continues this one.
	EndedWhy string `json:"ended_why,omitempty"`
	// Skips are objects that the operator has given up, and that the chain has not passed.
	Skips []SkipOrder `json:"skips,omitempty"`
	// Witness is the newest digest from before the chain was reset by the operator.
	// The chain must still contain it.
	Witness Link `json:"witness,omitzero"`
}

// Link identifies a trusted digest, so that its successor can be compared with it.
type Link struct {
	End       time.Time `json:"end,omitzero"`
	Bucket    string    `json:"bucket,omitempty"` // that was signed, and in a copy not where the file lies
	Key       string    `json:"key,omitempty"`
	Sum       string    `json:"sha256,omitempty"`    // hex
	Signature string    `json:"signature,omitempty"` // hex, "" where it is not known
	// Skipped says that the operator skipped the digest: its content was not proven,
	// and Sum is what its file had, or "".
	Skipped bool `json:"skipped,omitempty"`
	// Continued says of a witness that another chain continues this one after it.
	Continued bool `json:"continued,omitempty"`
}

// HeadVersion is the version of the JSON form.
const HeadVersion = 2

// Bounds of what a head remembers.
const (
	maxBad       = 100
	maxBackfills = 2000 // 83 days of hours; a poll looks back 45 days
)

// Begin returns the head of a chain that is not known yet, and whose digests count
// when they end at from or later. A zero from counts all.
func Begin(from time.Time) Head {
	h := Head{Version: HeadVersion}
	if !from.IsZero() {
		h.Cursor = from.Add(-1).UTC()
	}
	return h
}

// ParseHead returns the head that the state keeps. Errors say what is wrong with
// its form.
func ParseHead(b []byte) (Head, error) {
	var h Head
	if err := json.Unmarshal(b, &h); err != nil {
		return Head{}, err
	}
	if h.Version != HeadVersion {
		return Head{}, fmt.Errorf("version %d is not known", h.Version)
	}
	return h, nil
}

// IsProven reports whether a digest of the chain is trusted and done.
func (h Head) IsProven() bool { return h.Link.Key != "" || len(h.Backfills) > 0 }

// Covers reports whether a digest is done.
func (h Head) Covers(k trail.DigestKey) bool {
	if k.Backfill {
		return slices.ContainsFunc(h.Backfills, k.End.Equal) || h.IsQuarantined(k)
	}
	return !k.End.After(h.Cursor) || h.IsQuarantined(k)
}

// IsQuarantined reports whether a digest is remembered as bad. Those that end before the
// cursor are forgotten.
func (h Head) IsQuarantined(k trail.DigestKey) bool {
	return len(h.Bad) > 0 && slices.Contains(h.Bad, k.String())
}

// Pass returns the head after a trusted digest is done. The signature is its own or
// the one that its successor repeats, "" where it is not known.
func (h Head) Pass(k trail.DigestKey, d *digest.Digest, signature string) Head {
	h = h.clone()
	if k.Backfill {
		return h.addBackfill(k.End).forgetSkips(k, d.Logs)
	}
	l := Link{End: d.End, Bucket: d.Bucket, Key: d.Object, Sum: d.Sum.String(), Signature: signature}
	return h.passTo(l).forgetSkips(k, d.Logs)
}

// Skip returns the head after the operator skipped a digest. The link says what is known
// of the digest.
func (h Head) Skip(k trail.DigestKey, l Link) Head {
	h = h.clone()
	if k.Backfill {
		return h.addBackfill(k.End).forgetSkips(k, nil)
	}
	l.Skipped = true
	return h.passTo(l).forgetSkips(k, nil)
}

// passTo moves the head on to a digest. One that is not newer than the cursor changes
// nothing.
func (h Head) passTo(l Link) Head {
	if !l.End.After(h.Cursor) {
		return h
	}
	h.Cursor, h.Link, h.LateTold, h.Ended, h.EndedWhy = l.End, l, false, false, ""
	if w := h.Witness; w.Continued && w.End.Equal(l.End) && w.Sum == l.Sum {
		h.Ended = true // as before the reset
	}
	h.Bad = slices.DeleteFunc(h.Bad, func(key string) bool {
		k, err := trail.ParseDigestKey(key)
		return err != nil || !k.End.After(h.Cursor)
	})
	if !h.Witness.End.IsZero() && h.Cursor.After(h.Witness.End) {
		h.Witness = Link{}
	}
	return h
}

// Quarantine returns the head after a digest that is not trusted is reported. It
// remembers the last 100 of them.
func (h Head) Quarantine(k trail.DigestKey) Head {
	h = h.clone()
	if !h.IsQuarantined(k) {
		h.Bad = append(h.Bad, k.String())
		h.Bad = h.Bad[max(0, len(h.Bad)-maxBad):]
	}
	return h.forgetSkips(k, nil)
}

func (h Head) addBackfill(end time.Time) Head {
	if h.Backfills = append(h.Backfills, end); len(h.Backfills) > maxBackfills {
		slices.SortFunc(h.Backfills, time.Time.Compare)
		h.Backfills = h.Backfills[len(h.Backfills)-maxBackfills:]
	}
	return h
}

// Restore returns the head without the quarantine of a digest, which is judged
// again then.
func (h Head) Restore(k trail.DigestKey) Head {
	h = h.clone()
	key := k.String()
	h.Bad = slices.DeleteFunc(h.Bad, func(bad string) bool { return bad == key })
	return h
}

// IsFull reports whether the head remembers as many quarantined digests as it can.
func (h Head) IsFull() bool { return len(h.Bad) >= maxBad }

func (h Head) clone() Head {
	h.Version = HeadVersion
	h.Bad = slices.Clone(h.Bad)
	h.Backfills = slices.Clone(h.Backfills)
	h.Skips = slices.Clone(h.Skips)
	return h
}

// window is the time that one digest covers.
const window = chain.Window
