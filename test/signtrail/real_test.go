package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/trailseal/trailseal/internal/testtrail"
)

// Events of real accounts, signed, written to a folder and read back: every
// digest verifies, and every record has the bytes that it had. TRAILSEAL_DATA
// names the folder that holds the data sets.
func TestRealEvents(t *testing.T) {
	data := os.Getenv("TRAILSEAL_DATA")
	if data == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("TRAILSEAL_DATA is not set in CI")
		}
		t.Skip("TRAILSEAL_DATA is not set: no folder of real events to sign")
	}
	for name, events := range map[string]int{"stratus": 310, "invictus": 2900, "panther_analysis": 458, "otrf": 103} {
		for _, perLog := range []string{"0", "50"} {
			t.Run(name+" "+perLog+" a log", func(t *testing.T) {
				folder := filepath.Join(data, name)
				files, err := testtrail.ReadEventFiles(folder)
				if err != nil {
					t.Fatal(err)
				}
				w := walk(t, command(t, "-hours", "5", "-metadata", "newest", "-per-log", perLog, folder))
				if len(w.verified) != 6 || len(w.unsigned) != 0 || len(w.badLogs) != 0 || len(w.records) != events {
					t.Fatalf("%d digests verified, %d unsigned, bad: %v, %d records, want %d", len(w.verified), len(w.unsigned), w.badLogs, len(w.records), events)
				}
				i := 0
				for _, f := range files {
					for _, r := range f.Records {
						if !bytes.Equal(w.records[i], r) {
							t.Fatalf("record %d, of %s, is not as it was", i, f.Name)
						}
						i++
					}
				}
				if i != events {
					t.Errorf("read %d events, signed %d", i, events)
				}
			})
		}
	}
}
