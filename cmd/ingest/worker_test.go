package main

import (
	"errors"
	"fmt"
	"testing"

	"github.com/trailseal/trailseal/internal/ingest"
)

// Accounts that do not balance go before findings, and findings before what is incomplete.
func TestExitCode(t *testing.T) {
	halt, broken := fmt.Errorf("chain: %w", ingest.ErrHalt), errors.New("down")
	found, waiting := ingest.Outcome{Findings: 1, Waiting: 1}, ingest.Outcome{Waiting: 1}
	for _, tt := range []struct {
		name          string
		outcome       ingest.Outcome
		err           error
		once, balance bool
		want          int
	}{
		{"once", ingest.Outcome{Events: 1}, nil, true, true, exitOK},
		{"once, findings", found, nil, true, true, exitFindings},
		{"once, waiting", waiting, nil, true, true, exitIncomplete},
		{"once, no balance", found, nil, true, false, exitIncomplete},
		{"once, broken", waiting, broken, true, true, exitIncomplete},
		{"once, broken, findings", found, broken, true, true, exitFindings},
		{"once, broken, findings, no balance", found, broken, true, false, exitIncomplete},
		{"once, halted", found, halt, true, true, exitFindings},
		{"ended", ingest.Outcome{Events: 1}, nil, false, true, exitOK},
		{"ended, findings", found, nil, false, true, exitOK},
		{"ended, waiting", waiting, nil, false, true, exitOK},
		{"ended, no balance", ingest.Outcome{}, nil, false, false, exitIncomplete},
		{"broken, findings", found, broken, false, true, exitIncomplete},
		{"halted", found, halt, false, true, exitFindings},
		{"halted, no balance", found, halt, false, false, exitIncomplete},
	} {
		if got := exitCode(tt.outcome, tt.err, tt.once, tt.balance); got != tt.want {
			t.Errorf("%s: exit %d, want %d", tt.name, got, tt.want)
		}
	}
}
