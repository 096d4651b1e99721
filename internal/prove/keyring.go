package prove

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/pkg/digest"
)

// Keyring asks a key source for each region and stretch of time, remembers the
// answers, and which keys proved something. It is safe for concurrent use.
type Keyring struct {
	source   fetch.KeySource
	from, to time.Time
	now      func() time.Time

	mu    sync.Mutex
	asked map[query]*answer
	used  map[string]digest.Key // by region and fingerprint
}

type query struct {
	region   string
	from, to time.Time
}

// answer is what a source said; done is closed when it has.
type answer struct {
	done chan struct{}
	at   time.Time
	set  digest.KeySet
	err  error
}

// Slack around a time for which keys are asked: they rotate, and a digest is
// signed a while after its end.
const (
	before = 2 * time.Hour
	after  = 3 * time.Hour
)

// stretch is the time for which keys are asked at once, about as long as a key
// is in use. The time at which a backfill digest was made is in its metadata,
// where anyone can have written it: it must not cost a call an object.
const stretch = 30 * 24 * time.Hour

// stale is how old an answer may be that has failed, or that lacks a key which
// may be newer than it, before the source is asked again.
const stale = time.Minute

// NewKeyring returns a keyring for digests that end between from and to; a
// region's keys for that time are asked for at once, others when they are
// needed.
func NewKeyring(source fetch.KeySource, from, to time.Time, now func() time.Time) *Keyring {
	return &Keyring{
		source: source, from: from.Add(-before), to: to.Add(after), now: now,
		asked: map[query]*answer{}, used: map[string]digest.Key{},
	}
}

// Find returns the key that the region can have signed with at t. Errors are
// those of digest.KeySet.Find; a source that fails is digest.ErrNoKeys.
func (k *Keyring) Find(ctx context.Context, region, fingerprint string, t time.Time) (digest.Key, error) {
	q := query{region: region, from: k.from, to: k.to}
	if !t.IsZero() && (t.Before(q.from) || t.Add(before).After(q.to)) {
		q.from = t.Truncate(stretch).Add(-before)
		q.to = q.from.Add(before + stretch + after)
	}
	a := k.ask(ctx, q, func(*answer) bool { return false })
	key, err := a.find(q, fingerprint, t)
	if errors.Is(err, digest.ErrKeyUnknown) || errors.Is(err, digest.ErrNoKeys) {
		a = k.ask(ctx, q, func(a *answer) bool {
			return k.now().Sub(a.at) > stale && (a.err != nil || t.Add(before).After(a.at))
		})
		key, err = a.find(q, fingerprint, t)
	}
	return key, err
}

func (a *answer) find(q query, fingerprint string, t time.Time) (digest.Key, error) {
	switch {
	case a.err != nil:
		return digest.Key{}, fmt.Errorf("list public keys of %s: %v: %w", q.region, a.err, digest.ErrNoKeys)
	case len(a.set.Keys) == 0:
		return digest.Key{}, fmt.Errorf("%s lists no key from %s to %s: %w", q.region, q.from.Format(time.RFC3339), q.to.Format(time.RFC3339), digest.ErrNoKeys)
	}
	return a.set.Find(q.region, fingerprint, t)
}

// ask returns the source's answer, a new one where the present one is old.
func (k *Keyring) ask(ctx context.Context, q query, old func(*answer) bool) *answer {
	k.mu.Lock()
	a := k.asked[q]
	if a != nil {
		k.mu.Unlock()
		<-a.done
		if !old(a) {
			return a
		}
		k.mu.Lock()
		if now := k.asked[q]; now != a { // another asked meanwhile
			k.mu.Unlock()
			<-now.done
			return now
		}
	}
	a = &answer{done: make(chan struct{}), at: k.now()}
	k.asked[q] = a
	k.mu.Unlock()
	a.set, a.err = k.source.PublicKeys(ctx, q.region, q.from, q.to)
	close(a.done)
	return a
}

// use notes a key that proved something.
func (k *Keyring) use(region string, key digest.Key) {
	key.Region = region
	k.mu.Lock()
	defer k.mu.Unlock()
	k.used[region+" "+key.Fingerprint] = key
}

// Used returns the keys that proved something, by region and time.
func (k *Keyring) Used() []digest.Key {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.SortedFunc(maps.Values(k.used), func(a, b digest.Key) int {
		return cmp.Or(cmp.Compare(a.Region, b.Region), a.From.Compare(b.From), cmp.Compare(a.Fingerprint, b.Fingerprint))
	})
}
