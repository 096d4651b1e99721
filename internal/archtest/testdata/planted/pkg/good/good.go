// Package good breaks no rule, though it comes near some.
package good

import (
	"errors"
	"sync"
)

// ErrX is an error.
var ErrX = errors.New("x")

var _ error = ErrX

var pool = sync.Pool{New: func() any { return new(int) }}

var table = []int{1, 2}

// Sum uses the variables without setting any.
func Sum() (n int) {
	p := pool.Get().(*int)
	defer pool.Put(p)
	table := append([]int(nil), table...)
	table[0] = 7
	_ = table[0]
	table = table[1:]
	for _, t := range table {
		n += t
	}
	return n
}

// Config may be a field, and not embedded.
type Config struct{ N int }

// Value may be embedded by other packages.
type Value struct{ N int }
