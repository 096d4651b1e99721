package chain

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/trailseal/trailseal/pkg/digest"
)

// Keyring asks a KeySource for each region and stretch of time, and remembers
// the answers. It implements Keys.
type Keyring struct {
	source   KeySource
	from, to time.Time
	now      func() time.Time

	mu    sync.Mutex // guards asked
	asked map[query]*answer
}

type query struct {
	region   string
	from, to time.Time
}

// answer is what a source said. done is closed when the other fields are set.
type answer struct {
	done chan struct{}
	at   time.Time
	set  digest.KeySet
	err  error
	// gaveUp says that the caller's context ended: the failure is not the source's.
	gaveUp bool
}

// The times around a digest's end for which keys are asked: a digest can be signed
// weeks after its end. A time beyond now does not matter: a key that does not exist
// yet has not signed a digest that exists.
const (
	before = 2 * time.Hour
	after  = digest.SignedWithin + 3*time.Hour
)

// stretch is the length of time for which keys are asked at once, where a digest
// lies outside of the keyring's own range. Anyone who can write to the bucket
// can claim a generation time for a backfill digest, so a claim must not cost
// one call for each object.
const stretch = 30 * 24 * time.Hour

// stale is the age at which an answer is asked for again, where it failed or
// lacks a key that may be newer than the answer.
const stale = time.Minute

// NewKeyring returns a keyring for digests that end between from and to. The
// keys of a region for that time are asked for at once, others when a digest
// needs them.
func NewKeyring(source KeySource, from, to time.Time, now func() time.Time) *Keyring {
	return &Keyring{source: source, from: from.Add(-before), to: to.Add(after), now: now, asked: map[query]*answer{}}
}

// Find implements Keys.
func (k *Keyring) Find(ctx context.Context, region, fingerprint string, t time.Time) (digest.Key, error) {
	q := k.query(region, t)
	a := k.ask(ctx, q, func(*answer) bool { return false })
	key, err := a.find(q, fingerprint, t)
	if errors.Is(err, digest.ErrKeyUnknown) || errors.Is(err, digest.ErrNoKeys) {
		a = k.ask(ctx, q, func(a *answer) bool {
			return k.now().Sub(a.at) > stale && (a.err != nil || t.Add(digest.SignedWithin).After(a.at))
		})
		key, err = a.find(q, fingerprint, t)
	}
	return key, err
}

// At implements Keys.
func (k *Keyring) At(ctx context.Context, region string, t time.Time) ([]digest.Key, error) {
	q := k.query(region, t)
	a := k.ask(ctx, q, func(a *answer) bool {
		return k.now().Sub(a.at) > stale && (a.err != nil || t.Add(digest.SignedWithin).After(a.at))
	})
	if a.err != nil {
		return nil, a.failed(q)
	}
	return a.set.At(region, t), nil
}

// query returns the question that covers a digest's time.
func (k *Keyring) query(region string, t time.Time) query {
	q := query{region: region, from: k.from, to: k.to}
	if !t.IsZero() && (t.Before(q.from) || t.Add(digest.SignedWithin).After(q.to)) {
		q.from = t.Truncate(stretch).Add(-before)
		q.to = q.from.Add(before + stretch + after)
	}
	return q
}

func (a *answer) failed(q query) error {
	return fmt.Errorf("list public keys of %s: %v: %w", q.region, a.err, digest.ErrNoKeys)
}

func (a *answer) find(q query, fingerprint string, t time.Time) (digest.Key, error) {
	switch {
	case a.err != nil:
		return digest.Key{}, a.failed(q)
	case len(a.set.Keys) == 0:
		return digest.Key{}, fmt.Errorf("list public keys of %s: no key from %s to %s: %w",
			q.region, q.from.Format(time.RFC3339), q.to.Format(time.RFC3339), digest.ErrNoKeys)
	}
	return a.set.Find(q.region, fingerprint, t)
}

// ask returns the source's answer. It asks anew where the remembered one is old, or
// where whoever asked gave up.
func (k *Keyring) ask(ctx context.Context, q query, old func(*answer) bool) *answer {
	k.mu.Lock()
	a := k.asked[q]
	for a != nil {
		k.mu.Unlock()
		select {
		case <-a.done:
		case <-ctx.Done():
			return &answer{err: ctx.Err()}
		}
		if !a.gaveUp && !old(a) {
			return a
		}
		k.mu.Lock()
		if now := k.asked[q]; now != a { // another goroutine asked meanwhile
			a, old = now, func(*answer) bool { return false }
			continue
		}
		break
	}
	a = &answer{done: make(chan struct{}), at: k.now()}
	k.asked[q] = a
	k.mu.Unlock()
	a.set, a.err = k.source.PublicKeys(ctx, q.region, q.from, q.to)
	a.gaveUp = a.err != nil && ctx.Err() != nil
	close(a.done)
	return a
}
