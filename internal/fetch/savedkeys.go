package fetch

import (
	"context"
	"time"

	"github.com/trailseal/trailseal/pkg/digest"
)

// SavedKeys is a KeySource that has a list already: it answers with the whole
// of it, whatever is asked.
type SavedKeys digest.KeySet

// PublicKeys implements KeySource.
func (k SavedKeys) PublicKeys(context.Context, string, time.Time, time.Time) (digest.KeySet, error) {
	return digest.KeySet(k), nil
}
