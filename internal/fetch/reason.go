package fetch

import (
	"context"
	"errors"
	"io/fs"

	"github.com/trailseal/trailseal/internal/finding"
	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// IsFact reports whether err says something about the evidence: it is absent,
// its container is broken or its content fails a check. Any other error says
// only that it could not be looked at.
func IsFact(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || inflate.IsContainer(err) ||
		errors.Is(err, digest.ErrFormat) || errors.Is(err, digest.ErrAlgorithm) || errors.Is(err, digest.ErrModified)
}

// ReasonOf names why an object could not be looked at, for an error that is
// no fact.
func ReasonOf(err error) finding.Reason {
	switch {
	case errors.Is(err, trail.ErrKMSDenied):
		return finding.KMSDenied
	case errors.Is(err, fs.ErrPermission):
		return finding.AccessDenied
	case errors.Is(err, trail.ErrArchived):
		return finding.Archived
	case errors.Is(err, trail.ErrThrottled):
		return finding.Throttled
	case errors.Is(err, inflate.ErrTooLarge):
		return finding.TooLarge
	case errors.Is(err, digest.ErrNoKeys):
		return finding.NoKeys
	case errors.Is(err, digest.ErrUnsigned):
		return finding.NoSignature
	}
	return finding.Network
}

// worthRetrying reports whether reading the object again may go better: its
// body broke off on the way.
func worthRetrying(ctx context.Context, err error) bool {
	return ctx.Err() == nil && !IsFact(err) && ReasonOf(err) == finding.Network
}
