package prove

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/pkg/digest"
)

// Keyring asks a key source once for each region and stretch of time, and
// remembers which keys proved something. It is safe for concurrent use.
type Keyring struct {
	source   fetch.KeySource
	from, to time.Time

	mu    sync.Mutex
	asked map[query]func() (digest.KeySet, error)
	used  map[string]digest.Key // by region and fingerprint
}

type query struct {
	region   string
	from, to time.Time
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

// NewKeyring returns a keyring for digests that end between from and to; a
// region's keys for that time are asked for at once, others when they are
// needed.
func NewKeyring(source fetch.KeySource, from, to time.Time) *Keyring {
	return &Keyring{
		source: source, from: from.Add(-before), to: to.Add(after),
		asked: map[query]func() (digest.KeySet, error){}, used: map[string]digest.Key{},
	}
}

// Find returns the key that the region can have signed with at t. Errors are
// those of digest.KeySet.Find; a source that fails is digest.ErrNoKeys.
func (k *Keyring) Find(ctx context.Context, region, fingerprint string, t time.Time) (digest.Key, error) {
	q := query{region: region, from: k.from, to: k.to}
	if !t.IsZero() && (t.Before(q.from) || t.After(q.to)) {
		q.from = t.Truncate(stretch).Add(-before)
		q.to = q.from.Add(before + stretch + after)
	}
	set, err := k.ask(ctx, q)
	if err != nil {
		return digest.Key{}, fmt.Errorf("list public keys of %s: %v: %w", region, err, digest.ErrNoKeys)
	}
	if len(set.Keys) == 0 {
		return digest.Key{}, fmt.Errorf("%s lists no key from %s to %s: %w", region, q.from.Format(time.RFC3339), q.to.Format(time.RFC3339), digest.ErrNoKeys)
	}
	return set.Find(region, fingerprint, t)
}

// ask asks once and remembers the answer, be it a failure.
func (k *Keyring) ask(ctx context.Context, q query) (digest.KeySet, error) {
	k.mu.Lock()
	once, ok := k.asked[q]
	if !ok {
		once = sync.OnceValues(func() (digest.KeySet, error) { return k.source.PublicKeys(ctx, q.region, q.from, q.to) })
		k.asked[q] = once
	}
	k.mu.Unlock()
	return once()
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
