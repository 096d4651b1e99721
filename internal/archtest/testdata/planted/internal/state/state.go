// Package state declares an interface.
package state

// Store is the interface.
type Store interface{}
