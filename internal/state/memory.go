package state

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Memory keeps values until the process ends: for a run that deals with what
// is there and needs to remember nothing.
type Memory struct {
	mu     sync.Mutex
	values map[string][]byte
}

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{values: map[string][]byte{}} }

// Load implements Store.
func (m *Memory) Load(ctx context.Context, name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.values[name]), ctx.Err()
}

// Replace implements Store.
func (m *Memory) Replace(ctx context.Context, name string, old, new []byte) error {
	if err := check(name, new); err != nil {
		return fmt.Errorf("store %.64q: %w", name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if now := m.values[name]; !bytes.Equal(now, old) || (now == nil) != (old == nil) {
		return fmt.Errorf("store %q: %w", name, ErrConflict)
	}
	m.values[name] = bytes.Clone(new)
	return nil
}

// Names implements Store.
func (m *Memory) Names(ctx context.Context, prefix string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for _, name := range slices.Sorted(maps.Keys(m.values)) {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names, ctx.Err()
}
