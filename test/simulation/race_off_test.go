//go:build !race

package simulation_test

// raced says whether the race detector is on: it multiplies time and memory.
const raced = false
