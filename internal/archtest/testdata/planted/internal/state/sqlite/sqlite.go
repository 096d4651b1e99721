// Package sqlite implements what the package above declares.
package sqlite

import "example.com/planted/internal/state"

// Store is a store.
type Store struct{}

var _ state.Store = Store{}
