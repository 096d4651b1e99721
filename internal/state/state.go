// Package state keeps the worker's progress: small values by name, such as the
// head of each chain. A value is replaced only by a caller that knows its
// present version.
//
// This package declares the interface and has a store in memory. Package
// sqlite keeps the values in a file. A store never takes a damaged place for
// an empty one: a chain whose head is forgotten begins anew, and a rollback of
// that chain passes unseen. The stores do not know what the values mean.
package state

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// Version says which change of a name a value comes from. Only a store makes
// versions, and callers only compare and return them. The zero Version means
// that the name has no value. A version never comes back for its name, not
// even after the name was deleted and created again.
type Version string

// Value is what a name has.
type Value struct {
	Bytes   []byte
	Version Version
}

// Entry is one name in a listing.
type Entry struct {
	Name    string
	Version Version
}

// Store keeps small values by name. It is safe for concurrent use.
//
// A call whose context ends returns soon, with the context's error. After any
// error of Put or Delete but ErrConflict the change is made wholly or not at
// all, and only Get can say which. A store may try such a change again by
// itself and meet its own success. So a caller that gets ErrConflict for a
// change that it alone can have made calls Get and compares.
type Store interface {
	// Get returns the value of a name. The error wraps fs.ErrNotExist where
	// there is none. The caller may keep and change the bytes.
	Get(ctx context.Context, name string) (Value, error)
	// Put stores a value if the present version of the name is prev, and
	// returns the new version. The zero Version creates the name. The error
	// wraps ErrConflict where the name has another version. The value is
	// durable when the error is nil. Values are never empty.
	Put(ctx context.Context, name string, value []byte, prev Version) (Version, error)
	// Delete removes a name if its present version is prev. The error wraps
	// ErrConflict where the name has another version or none. The removal is
	// durable when the error is nil. To delete the zero Version changes
	// nothing: it succeeds where the name has no value.
	Delete(ctx context.Context, name string, prev Version) error
	// List yields the names that begin with prefix, in the order of their
	// bytes. The loop may call the store. A name that is stored or deleted
	// during the loop may be missing or not. An error ends the loop.
	List(ctx context.Context, prefix string) iter.Seq2[Entry, error]
}

// Errors that callers act on.
var (
	ErrConflict = errors.New("changed by another writer")
	ErrLocked   = errors.New("in use by another process")
	ErrCorrupt  = errors.New("damaged")
	ErrForeign  = errors.New("not a state of this program")
	ErrVersion  = errors.New("written by a newer version")
	ErrClosed   = errors.New("closed")
)

// What a store takes: as much as each kind of store can hold.
const (
	MaxName  = 1 << 10
	MaxValue = 1 << 20
)

// Check returns an error for a name or a value that no store takes. Stores
// call it first in Put.
func Check(name string, value []byte) error {
	switch {
	case name == "" || len(name) > MaxName:
		return fmt.Errorf("name of %d bytes, not of 1 to %d", len(name), MaxName)
	case len(value) == 0 || len(value) > MaxValue:
		return fmt.Errorf("value of %d bytes, not of 1 to %d", len(value), MaxValue)
	}
	return nil
}
