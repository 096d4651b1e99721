package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// head is how far a chain has been dealt with, as it is stored.
type head struct {
	Version int `json:"version"`
	// Cursor is the end of the newest digest that was dealt with: its events
	// are durable downstream, or it is quarantined.
	Cursor time.Time `json:"cursor,omitzero"`
	// The newest proven digest, which the next one must name.
	End       time.Time `json:"end,omitzero"`
	Bucket    string    `json:"bucket,omitempty"`
	Key       string    `json:"key,omitempty"`
	Sum       string    `json:"sha256,omitempty"`
	Signature string    `json:"signature,omitempty"` // as far as known
	// Bad are the keys of quarantined digests since: the next one names one.
	Bad []string `json:"bad,omitempty"`
	// Done are the ends of the backfill digests dealt with, of the last days:
	// they come in no order.
	Done []time.Time `json:"done,omitempty"`
	Gaps int         `json:"gaps,omitempty"`
}

const headVersion = 1

// doneKept is how long a backfill digest is remembered as dealt with, counted
// from its end.
const doneKept = 45 * 24 * time.Hour

func headName(c trail.Chain) string {
	name := "chain/" + c.Account + "/" + c.Region + "/" + c.HomeRegion + "/" + c.Trail
	if c.Backfill {
		name += "/backfill"
	}
	return name
}

// loadHead reads the stored head once.
func (f *follower) loadHead(ctx context.Context) error {
	if f.loaded {
		return nil
	}
	b, err := f.State.Load(ctx, headName(f.name))
	if err != nil {
		return fmt.Errorf("load head of %s: %w", f.name, err)
	}
	var h head // anew: after a conflict nothing of the old one remains
	if b != nil {
		if err := json.Unmarshal(b, &h); err != nil {
			return fmt.Errorf("load head of %s: %w", f.name, err)
		}
		if h.Version != headVersion {
			return fmt.Errorf("load head of %s: version %d is not known", f.name, h.Version)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.head, f.stored, f.loaded = h, b, true
	return nil
}

// advance stores the head with what change makes of it. Only when it returns
// nil is the digest dealt with; a crash before repeats it.
func (f *follower) advance(ctx context.Context, change func(*head)) error {
	next := f.head
	next.Version = headVersion
	next.Bad = slices.Clone(f.head.Bad)
	next.Done = slices.Clone(f.head.Done)
	change(&next)
	b, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("store head of %s: %w", f.name, err)
	}
	if err := f.State.Replace(ctx, headName(f.name), f.stored, b); err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		if errors.Is(err, trail.ErrConflict) {
			f.m.stateConflicts.Inc()
		}
		f.loaded = false // somebody else may have it
		return fmt.Errorf("store head of %s: %w", f.name, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.head, f.stored = next, b
	return nil
}

// passed marks a digest as dealt with.
func (h *head) passed(d trail.DigestKey) {
	if !d.Backfill {
		if d.End.After(h.Cursor) {
			h.Cursor = d.End
		}
		return
	}
	h.Done = slices.DeleteFunc(h.Done, func(t time.Time) bool { return d.End.Sub(t) > doneKept })
	if !slices.ContainsFunc(h.Done, d.End.Equal) {
		h.Done = append(h.Done, d.End)
	}
}

// proven makes a digest the chain's head.
func (h *head) proven(d *digest.Digest, signature string) {
	h.End, h.Bucket, h.Key, h.Sum, h.Signature, h.Bad = d.End, d.Bucket, d.Object, d.Sum.String(), signature, nil
}

// isPast reports whether a digest was dealt with.
func (h *head) isPast(d trail.DigestKey) bool {
	if d.Backfill {
		return slices.ContainsFunc(h.Done, d.End.Equal)
	}
	return !d.End.After(h.Cursor)
}
