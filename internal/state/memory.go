package state

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Memory keeps values until the process ends, for a run that has nothing to
// remember.
type Memory struct {
	mu     sync.Mutex
	values map[string]Value
	last   uint64 // the newest version of any name
}

var _ Store = (*Memory)(nil)

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{values: map[string]Value{}} }

// Get implements Store.
func (m *Memory) Get(ctx context.Context, name string) (Value, error) {
	if err := ctx.Err(); err != nil {
		return Value{}, fmt.Errorf("get %.64q: %w", name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.values[name]
	if !ok {
		return Value{}, fmt.Errorf("get %.64q: %w", name, fs.ErrNotExist)
	}
	v.Bytes = bytes.Clone(v.Bytes)
	return v, nil
}

// Put implements Store.
func (m *Memory) Put(ctx context.Context, name string, value []byte, prev Version) (Version, error) {
	if err := Check(name, value); err != nil {
		return "", fmt.Errorf("put %.64q: %w", name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.mayChange(ctx, name, prev); err != nil {
		return "", fmt.Errorf("put %.64q: %w", name, err)
	}
	m.last++
	next := Version(strconv.FormatUint(m.last, 10))
	m.values[name] = Value{Bytes: bytes.Clone(value), Version: next}
	return next, nil
}

// Delete implements Store.
func (m *Memory) Delete(ctx context.Context, name string, prev Version) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.mayChange(ctx, name, prev); err != nil {
		return fmt.Errorf("delete %.64q: %w", name, err)
	}
	delete(m.values, name)
	return nil
}

// mayChange returns why the name cannot be changed. The caller holds mu.
func (m *Memory) mayChange(ctx context.Context, name string, prev Version) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.values[name].Version != prev {
		return ErrConflict
	}
	return nil
}

// List implements Store.
func (m *Memory) List(ctx context.Context, prefix string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(Entry{}, fmt.Errorf("list %.64q: %w", prefix, err))
			return
		}
		for _, e := range m.entries(prefix) {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (m *Memory) entries(prefix string) (all []Entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(m.values)) {
		if strings.HasPrefix(name, prefix) {
			all = append(all, Entry{Name: name, Version: m.values[name].Version})
		}
	}
	return all
}
