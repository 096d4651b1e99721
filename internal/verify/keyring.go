package verify

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/pkg/digest"
)

// keyring asks the key source once for each region, and once more for each
// hour outside the run's range at which a backfill digest was made.
type keyring struct {
	source   fetch.KeySource
	from     string
	start    time.Time
	end      time.Time
	mu       sync.Mutex
	asked    map[keyQuery]func() (digest.KeySet, error)
	usedKeys map[report.Key]bool
}

type keyQuery struct {
	region   string
	from, to time.Time
}

func newKeyring(c Config) *keyring {
	return &keyring{
		source: c.Keys, from: c.KeysFrom, start: c.Start.Add(-2 * window), end: c.End.Add(3 * window),
		asked: map[keyQuery]func() (digest.KeySet, error){}, usedKeys: map[report.Key]bool{},
	}
}

// find returns the key that the region can have signed with at t. Errors are
// those of digest.KeySet.Find; a source that fails is digest.ErrNoKeys.
func (k *keyring) find(ctx context.Context, region, fingerprint string, t time.Time) (digest.Key, error) {
	q := keyQuery{region: region, from: k.start, to: k.end}
	if !t.IsZero() && (t.Before(q.from) || t.After(q.to)) {
		q.from = t.Truncate(time.Hour).Add(-time.Hour)
		q.to = q.from.Add(4 * time.Hour)
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

func (k *keyring) ask(ctx context.Context, q keyQuery) (digest.KeySet, error) {
	k.mu.Lock()
	once, ok := k.asked[q]
	if !ok {
		once = sync.OnceValues(func() (digest.KeySet, error) { return k.source.PublicKeys(ctx, q.region, q.from, q.to) })
		k.asked[q] = once
	}
	k.mu.Unlock()
	return once()
}

// use notes a key that a signature was verified with.
func (k *keyring) use(region string, key digest.Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.usedKeys[report.Key{Region: region, Fingerprint: key.Fingerprint, From: k.from, ValidFrom: key.From, ValidTo: key.To}] = true
}

func (k *keyring) used() []report.Key {
	k.mu.Lock()
	defer k.mu.Unlock()
	keys := make([]report.Key, 0, len(k.usedKeys))
	for key := range k.usedKeys {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b report.Key) int {
		return cmp.Or(cmp.Compare(a.Region, b.Region), a.ValidFrom.Compare(b.ValidFrom), cmp.Compare(a.Fingerprint, b.Fingerprint))
	})
	return keys
}
