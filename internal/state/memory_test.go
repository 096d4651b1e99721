package state_test

import (
	"testing"

	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/internal/state/statetest"
)

func TestMemoryIsAStore(t *testing.T) {
	statetest.Run(t, func(*testing.T) func() state.Store {
		m := state.NewMemory()
		return func() state.Store { return m }
	})
}
