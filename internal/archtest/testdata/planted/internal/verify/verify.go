// Package verify knows an adapter.
package verify

// want: imports example.com/planted/internal/dir: against the direction of the design
import _ "example.com/planted/internal/dir"
