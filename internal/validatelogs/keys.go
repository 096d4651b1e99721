package validatelogs

import (
	"context"
	"fmt"
	"time"

	proof "github.com/trailseal/trailseal/pkg/chain"

	"github.com/trailseal/trailseal/pkg/digest"
)

const (
	keyLag         = 2 * time.Hour // how long after the range's end its digests may be signed
	backfillMargin = time.Hour     // around the time at which a backfill digest was made
)

// keyring holds public keys by fingerprint, as they were served: like the
// reference it asks CloudTrail for the range and trusts the answer.
type keyring struct {
	source proof.KeySource
	region string
	keys   map[string]digest.Key
}

// NoKeysError is the reference's message for an empty list of keys.
type NoKeysError struct{ From, To time.Time }

func (e NoKeysError) Error() string {
	return fmt.Sprintf("No public keys found between %s and %s", stamp(e.From), stamp(e.To))
}

// load adds the region's keys from from to to. An empty list is a NoKeysError.
func (k *keyring) load(ctx context.Context, from, to time.Time) error {
	set, err := k.source.PublicKeys(ctx, k.region, from, to)
	if err != nil {
		return fmt.Errorf("public keys of %s: %w", k.region, err)
	}
	if len(set.Keys) == 0 {
		return NoKeysError{from, to}
	}
	if k.keys == nil {
		k.keys = map[string]digest.Key{}
	}
	for _, key := range set.Keys {
		k.keys[key.Fingerprint] = key
	}
	return nil
}
