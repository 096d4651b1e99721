// Package report is what a verification found, as data, and its renderings:
// JSON for programs and text for people. It verifies nothing and reads
// nothing.
package report

import (
	"time"

	"github.com/trailseal/trailseal/pkg/finding"
)

// Version is that of the JSON form. Within a version, members are only added.
const Version = 1

// Verdict is the sum of a report.
type Verdict string

// The verdicts. Findings outweigh what could not be checked.
const (
	Intact     Verdict = "intact"
	Findings   Verdict = "findings"
	Incomplete Verdict = "incomplete"
)

// State is what is known of a stretch of time in a chain.
type State string

// The states of time.
const (
	Verified   State = "verified"
	Gap        State = "gap"        // logging or validation was off
	Missing    State = "missing"    // a digest was due, none is there
	Invalid    State = "invalid"    // its digest is there and wrong
	Unverified State = "unverified" // its digest could not be checked
	NotDue     State = "not-due"    // its digest need not have arrived yet
)

// Report is the result of one run.
type Report struct {
	Version    int                  `json:"version"`
	Tool       Tool                 `json:"tool"`
	Source     string               `json:"source"`
	Requested  Range                `json:"requested"`
	Verdict    Verdict              `json:"verdict"`
	Chains     []Chain              `json:"chains"`
	Findings   []finding.Finding    `json:"findings"`
	Unverified []finding.Unverified `json:"unverified"`
	Keys       []Key                `json:"keys"`
	Counts     Counts               `json:"counts"`
	Skipped    []string             `json:"skipped,omitempty"` // what was left out on request
	Elapsed    float64              `json:"elapsed_seconds"`
}

// Tool names the program that made a report.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Range is a stretch of time.
type Range struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// Chain is what was found of one digest chain.
type Chain struct {
	Account      string    `json:"account"`
	Region       string    `json:"region"`
	Trail        string    `json:"trail"`
	HomeRegion   string    `json:"home_region"`
	Organization string    `json:"organization,omitempty"`
	Prefix       string    `json:"prefix,omitempty"`
	Backfill     bool      `json:"backfill,omitzero"`
	Digests      Count     `json:"digests"`
	Logs         Count     `json:"logs"`
	Covered      []Segment `json:"covered"`
}

// Count tells objects by verdict: those that were listed are the sum.
type Count struct {
	Valid      int `json:"valid"`
	Invalid    int `json:"invalid"`
	Unverified int `json:"unverified"`
}

// Listed returns how many objects were counted.
func (c Count) Listed() int { return c.Valid + c.Invalid + c.Unverified }

// Add adds o to c.
func (c *Count) Add(o Count) {
	c.Valid += o.Valid
	c.Invalid += o.Invalid
	c.Unverified += o.Unverified
}

// Segment is a stretch of a chain's time in one state.
type Segment struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	State State     `json:"state"`
}

// Key is a public key that digests were verified with.
type Key struct {
	Region      string    `json:"region"`
	Fingerprint string    `json:"fingerprint"`
	From        string    `json:"from"` // where the key came from
	ValidFrom   time.Time `json:"valid_from"`
	ValidTo     time.Time `json:"valid_to"`
}

// Counts are the sums over all chains.
type Counts struct {
	Chains        int   `json:"chains"`
	Digests       Count `json:"digests"`
	Logs          Count `json:"logs"`
	Findings      int   `json:"findings"`
	Unverified    int   `json:"unverified"`
	LogsListed    int   `json:"log_objects_listed"` // objects seen in log folders
	InflatedBytes int64 `json:"inflated_bytes"`
}

// Conclude fills what follows from the rest: verdict and sums.
func (r *Report) Conclude() {
	r.Version = Version
	r.Counts.Chains, r.Counts.Digests, r.Counts.Logs = len(r.Chains), Count{}, Count{}
	for _, c := range r.Chains {
		r.Counts.Digests.Add(c.Digests)
		r.Counts.Logs.Add(c.Logs)
	}
	r.Counts.Findings, r.Counts.Unverified = len(r.Findings), len(r.Unverified)
	switch {
	case len(r.Findings) > 0:
		r.Verdict = Findings
	case len(r.Unverified) > 0 || r.Counts.Digests.Unverified > 0 || r.Counts.Logs.Unverified > 0:
		r.Verdict = Incomplete
	default:
		r.Verdict = Intact
	}
}
