package finding

import (
	"errors"
	"io/fs"

	"github.com/trailseal/trailseal/pkg/digest"
)

// Errors that a reader of evidence wraps. An absent object is [fs.ErrNotExist], a
// refused one [fs.ErrPermission]. Any error other than these and the check errors
// of pkg/digest counts as the network's.
//
// Where the bucket is absent, the object is absent too. A reader then wraps both
// ErrNoBucket and fs.ErrNotExist.
var (
	ErrNoBucket    = errors.New("no such bucket")
	ErrKMSDenied   = errors.New("key management service denied decryption")
	ErrArchived    = errors.New("archived: restore it first")
	ErrThrottled   = errors.New("throttled")
	ErrTooLarge    = errors.New("larger than the limit")
	ErrNotSearched = errors.New("not searched")
	ErrClock       = errors.New("later than this machine's clock")

	// ErrContainer says that the object's gzip container is broken. The error
	// is a fact: the object itself is at fault.
	ErrContainer = errors.New("broken container")

	// ErrMetadata comes with an open body: the object's content can be read, and
	// its user metadata cannot.
	ErrMetadata = errors.New("metadata cannot be read")
)

// IsFact reports whether err says something about the evidence: the evidence is
// absent, its container is broken, or its content fails a check. Any other error
// says only that the evidence was not read. A nil err is not a fact.
func IsFact(err error) bool {
	for _, fact := range []error{fs.ErrNotExist, ErrContainer, digest.ErrFormat, digest.ErrAlgorithm, digest.ErrModified} {
		if errors.Is(err, fact) {
			return true
		}
	}
	return false
}

// ReasonOf returns why evidence was not read. The caller asks only for an error
// that is not a fact. An error that this package does not know is [Network].
func ReasonOf(err error) Reason {
	switch {
	case errors.Is(err, ErrKMSDenied):
		return KMSDenied
	case errors.Is(err, fs.ErrPermission):
		return AccessDenied
	case errors.Is(err, ErrArchived):
		return Archived
	case errors.Is(err, ErrThrottled):
		return Throttled
	case errors.Is(err, ErrTooLarge):
		return TooLarge
	case errors.Is(err, ErrNotSearched):
		return NotSearched
	case errors.Is(err, ErrClock):
		return Clock
	case errors.Is(err, digest.ErrNoKeys):
		return NoKeys
	case errors.Is(err, digest.ErrUnsigned):
		return NoSignature
	}
	return Network
}
