package verify

import "sync/atomic"

// Progress counts what is under way. Run adds to it; anyone may read it at any
// time.
type Progress struct {
	DigestsListed atomic.Int64 // known to exist so far
	Digests       atomic.Int64 // checked
	LogsListed    atomic.Int64
	Logs          atomic.Int64 // checked
	InflatedBytes atomic.Int64
	Findings      atomic.Int64
}
