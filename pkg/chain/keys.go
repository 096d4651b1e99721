package chain

import (
	"context"
	"time"

	"github.com/trailseal/trailseal/pkg/digest"
)

// KeySource gives public keys. It is safe for concurrent use.
type KeySource interface {
	// PublicKeys returns the region's keys that were valid at some time between
	// from and to. A source that holds every such key says so in Complete. An error
	// says that the keys are not known now.
	PublicKeys(ctx context.Context, region string, from, to time.Time) (digest.KeySet, error)
}

// Keys finds the public key that a digest can have been signed with. It is safe
// for concurrent use. [Keyring] and [Saved] implement it.
type Keys interface {
	// Find returns the key with the fingerprint that can have signed a digest of
	// the region that ended at t; a zero t stands for any time. Errors are those
	// of digest.KeySet.Find. A source that fails is digest.ErrNoKeys.
	Find(ctx context.Context, region, fingerprint string, t time.Time) (digest.Key, error)
	// At returns every key that can have signed a digest of the region that
	// ended at t. A source that fails is digest.ErrNoKeys.
	At(ctx context.Context, region string, t time.Time) ([]digest.Key, error)
}

// Saved is a list of keys, for instance of a file that digest.ParseKeySet read.
// It implements [Keys] and [KeySource]. The zero Saved holds no key.
type Saved digest.KeySet

// Find implements Keys.
func (s Saved) Find(_ context.Context, region, fingerprint string, t time.Time) (digest.Key, error) {
	return digest.KeySet(s).Find(region, fingerprint, t)
}

// At implements Keys.
func (s Saved) At(_ context.Context, region string, t time.Time) ([]digest.Key, error) {
	return digest.KeySet(s).At(region, t), nil
}

// PublicKeys implements KeySource. It returns the whole list.
func (s Saved) PublicKeys(context.Context, string, time.Time, time.Time) (digest.KeySet, error) {
	return digest.KeySet(s), nil
}
