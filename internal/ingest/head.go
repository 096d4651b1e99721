package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// head is how far a chain has been dealt with, as it is stored.
type head struct {
	Version int `json:"version"`
	// Cursor is the end of the newest proven digest that was dealt with: its
	// events and all before are durable downstream, or quarantined. Anyone who
	// may write to the bucket can make objects that are named like digests of
	// any time: what is not proven never moves it. In a chain without a proven
	// digest yet it says where to begin.
	Cursor time.Time `json:"cursor,omitzero"`
	// The newest proven digest, which the next one must name.
	End       time.Time `json:"end,omitzero"`
	Bucket    string    `json:"bucket,omitempty"`
	Key       string    `json:"key,omitempty"`
	Sum       string    `json:"sha256,omitempty"`
	Signature string    `json:"signature,omitempty"` // as far as known
	// Bad are the keys of quarantined digests after Cursor, the last badKept.
	Bad []string `json:"bad,omitempty"`
	// Done are the ends of the backfill digests dealt with, of the last days:
	// they come in no order.
	Done []time.Time `json:"done,omitempty"`
	Gaps int         `json:"gaps,omitempty"`
}

const headVersion = 1

// badKept bounds what planted digests can make of a head. The rest is judged
// again after a restart.
const badKept = 100

// doneKept is how long a backfill digest is remembered as dealt with, counted
// from its end.
const doneKept = 45 * 24 * time.Hour

// headName names the head of a chain in a source: the same chain in a bucket
// and in a copy of it is followed twice.
func headName(s *feed, c trail.Chain) string {
	name := headsOf(s) + c.Account + "/" + c.Region + "/" + c.HomeRegion + "/" + c.Trail
	if c.Backfill {
		name += "/" + backfill
	}
	return name
}

const backfill = "backfill"

// headsOf is what the names of a source's heads begin with.
func headsOf(s *feed) string {
	if s.IsCopy() {
		return "chain/" + s.Name + "/"
	}
	return "chain/" + s.Bucket + "/" + s.Prefix + "/"
}

// parseHeadName is the reverse of headName. A source's heads begin like those
// of one whose prefix is longer: not ok are the other's.
func parseHeadName(s *feed, name string) (c trail.Chain, ok bool) {
	parts := strings.Split(strings.TrimPrefix(name, headsOf(s)), "/")
	if len(parts) == 5 && parts[4] == backfill {
		c.Backfill = true
		parts = parts[:4]
	}
	if len(parts) != 4 {
		return c, false
	}
	c.Account, c.Region, c.HomeRegion, c.Trail = parts[0], parts[1], parts[2], parts[3]
	return c, trail.ValidAccount(c.Account) && trail.ValidRegion(c.Region)
}

// recallFor is how old a head may be to be recalled: for so long a chain that
// ended is told as late after each start, then it is forgotten.
const recallFor = 90 * 24 * time.Hour

// recall returns the followers of the chains that an earlier run followed,
// wherever their digests are now: one whose folders were emptied while no
// worker ran must not be forgotten with them. A head that cannot be read is an
// error beside the others.
func (w *Worker) recall(ctx context.Context, s *feed) (all []*follower, err error) {
	names, err := w.State.Names(ctx, headsOf(s))
	if err != nil {
		w.m.stateFailed(ctx, err)
		return nil, fmt.Errorf("recall chains: %w", err)
	}
	for _, name := range names {
		c, ok := parseHeadName(s, name)
		if !ok || c.Backfill || !wanted(w.Accounts, c.Account) || !wanted(w.Regions, c.Region) || !wanted(w.Trails, c.Trail) {
			continue
		}
		h, headErr := w.newFollower(s, c).storedHead(ctx)
		if headErr != nil {
			err = errors.Join(err, headErr)
			continue
		}
		if h.End.IsZero() || w.Now().Sub(h.End) > recallFor {
			continue // never proven, or over
		}
		f := w.follower(s, c)
		f.mu.Lock()
		f.recalled = h.Cursor
		f.mu.Unlock()
		all = append(all, f)
	}
	return all, err
}

// loadHead reads the stored head once.
func (f *follower) loadHead(ctx context.Context) error {
	if f.loaded {
		return nil
	}
	b, err := f.State.Load(ctx, headName(f.source, f.name))
	if err != nil {
		f.m.stateFailed(ctx, err)
		return fmt.Errorf("load head of %s: %w", f.name, err)
	}
	h, err := f.parseHead(b) // anew: after a conflict nothing of the old one remains
	if err != nil {
		f.m.stateFailed(ctx, err)
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.head, f.stored, f.loaded = h, b, true
	for _, key := range h.Bad {
		f.bad[key] = true
	}
	f.showHead(h.End)
	return nil
}

// showHead sets the chain's gauges, after a restart too: a chain that stands
// still must not vanish from the dashboards.
func (f *follower) showHead(end time.Time) {
	if !f.name.Backfill && !end.IsZero() {
		f.m.chain(f.m.verifiedUntil, f.name, func(g prometheus.Gauge) { g.Set(float64(end.Unix())) })
		f.m.chain(f.m.gaps, f.name, func(prometheus.Gauge) {}) // there, be it 0
	}
}

func (f *follower) parseHead(b []byte) (h head, err error) {
	if b == nil {
		if !f.Since.IsZero() {
			h.Cursor = f.Since.Add(-1).UTC()
		}
		return h, nil
	}
	if err := json.Unmarshal(b, &h); err != nil {
		return h, fmt.Errorf("load head of %s: %w", f.name, err)
	}
	if h.Version != headVersion {
		return h, fmt.Errorf("load head of %s: version %d is not known", f.name, h.Version)
	}
	return h, nil
}

// reached returns how far the chain was followed, by this run or an earlier
// one. It is for whoever does not follow it; where the state cannot be read
// it returns now, and what was not listed is fetched by its names.
func (f *follower) reached(ctx context.Context) time.Time {
	f.mu.Lock()
	loaded, at := f.loaded, f.head.Cursor
	f.mu.Unlock()
	if loaded {
		return at
	}
	h, err := f.storedHead(ctx)
	if err != nil {
		return f.Now()
	}
	return h.Cursor
}

// storedHead returns what the state has.
func (f *follower) storedHead(ctx context.Context) (head, error) {
	b, err := f.State.Load(ctx, headName(f.source, f.name))
	if err != nil {
		f.m.stateFailed(ctx, err)
		return head{}, err
	}
	return f.parseHead(b)
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
	if err := f.State.Replace(ctx, headName(f.source, f.name), f.stored, b); err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.m.stateFailed(ctx, err)
		f.loaded = false // somebody else may have it
		return fmt.Errorf("store head of %s: %w", f.name, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.head, f.stored = next, b
	return nil
}

// passed marks a proven digest as dealt with.
func (h *head) passed(d *digest.Digest, key trail.DigestKey, signature string) {
	if key.Backfill {
		h.Done = slices.DeleteFunc(h.Done, func(t time.Time) bool { return key.End.Sub(t) > doneKept })
		h.done(key)
		return
	}
	if d.End.After(h.Cursor) {
		h.Cursor = d.End
	}
	h.End, h.Bucket, h.Key, h.Sum, h.Signature = d.End, d.Bucket, d.Object, d.Sum.String(), signature
	h.Bad = slices.DeleteFunc(h.Bad, func(key string) bool {
		k, err := trail.ParseDigestKey(key)
		return err != nil || !k.End.After(h.Cursor)
	})
}

// quarantined marks a digest as dealt with that is not proven.
func (h *head) quarantined(key trail.DigestKey) {
	if key.Backfill {
		h.done(key)
		return
	}
	h.Bad = append(h.Bad, key.String())
	h.Bad = h.Bad[max(0, len(h.Bad)-badKept):]
}

func (h *head) done(key trail.DigestKey) {
	if !slices.ContainsFunc(h.Done, key.End.Equal) {
		h.Done = append(h.Done, key.End)
	}
}

// isPast reports whether a digest was dealt with. f.mu is held, or the caller
// follows.
func (f *follower) isPast(d trail.DigestKey) bool {
	if d.Backfill {
		return slices.ContainsFunc(f.head.Done, d.End.Equal)
	}
	return !d.End.After(f.head.Cursor) || f.bad[d.String()]
}
