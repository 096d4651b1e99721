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
	Uncovered  State = "uncovered"  // no digest vouches for it: a coverage finding
	NotBegun   State = "not-begun"  // before the chain began
	Ended      State = "ended"      // after the acknowledged end of the chain
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

	Began      []ChainEnd     `json:"began,omitempty"`       // chains that began in the asked range
	Ended      []ChainEnd     `json:"ended,omitempty"`       // chains whose end is acknowledged
	Ends       []ChainEnd     `json:"-"`                     // every chain that has ended, for the file that acknowledges them
	Notes      []finding.Note `json:"notes,omitempty"`       // neither wrong nor unverified
	NotCovered []string       `json:"not_covered,omitempty"` // folders whose files no digest lists; no effect on the verdict
	Omitted    []Omitted      `json:"omitted,omitempty"`     // what was counted and is not listed
	AskAgain   *Range         `json:"ask_again,omitempty"`   // the range that a later run must ask again

	// OriginalBucket is set where the source is a replica or an access point: the
	// bucket that signed locations name.
	OriginalBucket string `json:"original_bucket,omitempty"`
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

// ChainEnd is where a chain begins or ends.
type ChainEnd struct {
	Account      string    `json:"account"`
	Region       string    `json:"region"`
	Trail        string    `json:"trail"`
	HomeRegion   string    `json:"home_region"`
	Organization string    `json:"organization,omitempty"`
	Prefix       string    `json:"prefix,omitempty"`
	At           time.Time `json:"at"`
}

// Omitted counts findings, unverified entries or notes of one folder that are
// not listed. One of Class, Reason and Kind is set. Entries that have no key are
// counted by account and region. Where too many places have omitted entries, the
// last places share one Omitted that names no place.
type Omitted struct {
	Class   finding.Class  `json:"class,omitempty"`
	Reason  finding.Reason `json:"reason,omitempty"`
	Kind    string         `json:"kind,omitempty"`
	Account string         `json:"account,omitempty"`
	Region  string         `json:"region,omitempty"`
	Folder  string         `json:"folder,omitempty"` // s3://bucket/folder/, or the folder in a copy
	Count   int            `json:"count"`

	// Of unverified entries: the objects that they stand for, and how many of
	// them are folders that could not be searched.
	Objects int `json:"objects,omitzero"`
	Folders int `json:"folders,omitzero"`
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

// Counts are the sums of a report.
type Counts struct {
	Chains        int   `json:"chains"`
	Digests       Count `json:"digests"`
	Logs          Count `json:"logs"`
	Findings      int   `json:"findings"`           // with those that are not listed
	Unverified    int   `json:"unverified"`         // entries, with those that are not listed
	LogsListed    int   `json:"log_objects_listed"` // objects seen in log folders
	InflatedBytes int64 `json:"inflated_bytes"`

	FindingsListed    int   `json:"findings_listed,omitzero"`    // set where fewer findings are listed than counted
	UnverifiedObjects int   `json:"unverified_objects,omitzero"` // objects that could not be checked
	UnverifiedFolders int   `json:"unverified_folders,omitzero"` // folders that could not be searched
	UnprovenDigests   Count `json:"unproven_digests,omitzero"`   // in Digests, and in no chain: no proven chain has them
	Litter            int   `json:"litter,omitzero"`             // files of desktops that were skipped
}
