package disposition_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	. "github.com/trailseal/trailseal/internal/disposition"
	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// rows is the table of docs/ingest.md, by the text of its first column.
var rows = map[string]struct {
	trouble Trouble
	want    Disposition
}{
	"digest: nothing wrong":                  {Trouble{What: Digest, Proven: true}, Disposition{Fate: Emit}},
	"digest: access denied":                  {Trouble{What: Digest, Err: fs.ErrPermission}, Disposition{Fate: Wait, Reason: finding.AccessDenied}},
	"digest: KMS denied":                     {Trouble{What: Digest, Err: finding.ErrKMSDenied}, Disposition{Fate: Wait, Reason: finding.KMSDenied}},
	"digest: archived":                       {Trouble{What: Digest, Err: finding.ErrArchived}, Disposition{Fate: Wait, Reason: finding.Archived}},
	"digest: throttled":                      {Trouble{What: Digest, Err: finding.ErrThrottled}, Disposition{Fate: Wait, Reason: finding.Throttled}},
	"digest: network":                        {Trouble{What: Digest, Err: errors.New("connection reset")}, Disposition{Fate: Wait, Reason: finding.Network}},
	"digest: too large":                      {Trouble{What: Digest, Err: inflate.ErrTooLarge}, Disposition{Fate: Quarantine, Class: finding.DigestCorrupt}},
	"digest: no keys":                        {Trouble{What: Digest, Err: digest.ErrNoKeys}, Disposition{Fate: Wait, Reason: finding.NoKeys}},
	"digest: no signature yet":               {Trouble{What: Digest, Err: digest.ErrUnsigned}, Disposition{Fate: Wait, Reason: finding.NoSignature}},
	"digest: missing":                        {Trouble{What: Digest, Class: finding.DigestMissing}, Disposition{Fate: Quarantine, Class: finding.DigestMissing}},
	"digest: corrupt":                        {Trouble{What: Digest, Class: finding.DigestCorrupt}, Disposition{Fate: Quarantine, Class: finding.DigestCorrupt}},
	"digest: signature wrong":                {Trouble{What: Digest, Class: finding.DigestSignature}, Disposition{Fate: Quarantine, Class: finding.DigestSignature}},
	"digest: signature lost, content proven": {Trouble{What: Digest, Class: finding.DigestSignature, Proven: true}, Disposition{Fate: Emit, Class: finding.DigestSignature}},
	"digest: key unknown":                    {Trouble{What: Digest, Class: finding.DigestKeyUnknown}, Disposition{Fate: Quarantine, Class: finding.DigestKeyUnknown}},
	"digest: moved":                          {Trouble{What: Digest, Class: finding.DigestMoved}, Disposition{Fate: Quarantine, Class: finding.DigestMoved}},
	"digest: missing, within the grace":      {Trouble{What: Digest, Class: finding.DigestMissing, Fresh: true}, Disposition{Fate: Wait}},
	"log: missing, within the grace":         {Trouble{What: Log, Err: fs.ErrNotExist, Fresh: true}, Disposition{Fate: Wait}},
	"log: nothing wrong":                     {Trouble{What: Log}, Disposition{Fate: Emit}},
	"log: modified":                          {Trouble{What: Log, Err: digest.ErrModified}, Disposition{Fate: Quarantine, Class: finding.LogModified}},
	"log: missing":                           {Trouble{What: Log, Err: fs.ErrNotExist}, Disposition{Fate: Quarantine, Class: finding.LogMissing}},
	"log: corrupt":                           {Trouble{What: Log, Err: inflate.ErrTrailing}, Disposition{Fate: Quarantine, Class: finding.LogCorrupt}},
	"log: misplaced":                         {Trouble{What: Log, Err: digest.ErrMisplaced}, Disposition{Fate: Quarantine, Class: finding.LogMisplaced}},
	"log: access denied":                     {Trouble{What: Log, Err: fs.ErrPermission}, Disposition{Fate: Wait, Reason: finding.AccessDenied}},
	"log: network":                           {Trouble{What: Log, Err: errors.New("connection reset")}, Disposition{Fate: Wait, Reason: finding.Network}},
	"log: too large":                         {Trouble{What: Log, Err: inflate.ErrTooLarge}, Disposition{Fate: Quarantine, Class: finding.LogCorrupt}},
	"record: no JSON object":                 {Trouble{What: Record, Err: errors.New("no object")}, Disposition{Fate: Quarantine, Class: finding.LogCorrupt}},
	"batch: a sink fails":                    {Trouble{What: Batch, Err: errors.New("503")}, Disposition{Fate: Wait}},
	"head: the store fails":                  {Trouble{What: Head, Err: errors.New("disk full")}, Disposition{Fate: Wait}},
	"head: changed by somebody else":         {Trouble{What: Head, Err: trail.ErrConflict}, Disposition{Fate: Wait}},
	"finding: its sink fails":                {Trouble{What: Finding, Err: errors.New("disk full")}, Disposition{Fate: Wait}},
	"anything: the worker ends":              {Trouble{What: Log, Err: context.Canceled}, Disposition{Fate: Release}},
}

func TestTable(t *testing.T) {
	for name, row := range rows {
		if row.trouble.Err != nil {
			row.trouble.Err = fmt.Errorf("get s3://b/k: %w", row.trouble.Err)
		}
		if got := Of(row.trouble); got != row.want {
			t.Errorf("%s: %+v, want %+v", name, got, row.want)
		}
	}
}

// The page and the code must say the same.
func TestPage(t *testing.T) {
	f, err := os.Open("../../docs/ingest.md")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	told := map[string]bool{}
	for s := bufio.NewScanner(f); s.Scan(); {
		cells := strings.Split(strings.Trim(s.Text(), "| "), " | ")
		row, known := rows[cells[0]]
		if !known {
			continue
		}
		told[cells[0]] = true
		want := string(row.want.Fate)
		if row.want.Class != "" {
			want += ", `" + string(row.want.Class) + "`"
		}
		if row.want.Reason != "" {
			want += ", `" + string(row.want.Reason) + "`"
		}
		if len(cells) < 3 || cells[1] != want {
			t.Errorf("docs/ingest.md says of %q %q, the code %q", cells[0], cells[1], want)
		}
	}
	for name := range rows {
		if !told[name] {
			t.Errorf("docs/ingest.md has no row %q", name)
		}
	}
}
