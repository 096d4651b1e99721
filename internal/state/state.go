// Package state keeps the worker's progress: small values by name, such as the
// head of each chain, each replaced only by whoever knows its present value.
//
// A value is what was once stored under its name or it is an error; a store
// that was damaged, cut short or mixed up is never taken for an empty one,
// since a chain whose head is forgotten begins anew and a rollback of it would
// pass unseen. The package knows nothing of what the values mean, and repairs
// nothing.
package state

import (
	"context"
	"errors"
	"fmt"

	"github.com/trailseal/trailseal/pkg/trail"
)

// Store keeps small values by name. It is safe for concurrent use.
type Store interface {
	// Load returns the value of a name, nil when it has none. It may be kept
	// and changed.
	Load(ctx context.Context, name string) ([]byte, error)
	// Replace stores new for name if its present value is old, nil meaning
	// that it has none; else the error wraps ErrConflict and nothing changed.
	// The value is durable when Replace returns nil. After any other error the
	// value is old or new, never a mixture. Values are never empty and never
	// removed.
	Replace(ctx context.Context, name string, old, new []byte) error
	// Names returns the names that begin with prefix and have a value, sorted.
	Names(ctx context.Context, prefix string) ([]string, error)
}

// Errors that callers act on.
var (
	ErrConflict = trail.ErrConflict
	ErrLocked   = errors.New("in use by another process")
	ErrCorrupt  = errors.New("corrupt")
	ErrVersion  = errors.New("written by a newer version")
)

// What a store takes: as much as each kind of store can hold.
const (
	MaxName  = 1 << 10
	MaxValue = 1 << 20
)

// check refuses what not every store could keep.
func check(name string, new []byte) error {
	switch {
	case name == "" || len(name) > MaxName:
		return fmt.Errorf("name of %d bytes, not of 1 to %d", len(name), MaxName)
	case len(new) == 0 || len(new) > MaxValue:
		return fmt.Errorf("value of %d bytes, not of 1 to %d", len(new), MaxValue)
	}
	return nil
}
