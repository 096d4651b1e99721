package provenance_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/trailseal/trailseal/internal/provenance"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

func newLog(raw bool) *provenance.Log {
	l := new(provenance.Log)
	l.Reset(!raw, digest.Log{Bucket: "another", Object: "log"}, trail.Object{}, "another") // nothing of it stays
	_, _, _ = l.Line(nil, nil, []byte(`{}`))
	l.Reset(raw, digest.Log{Bucket: "b", Object: "AWSLogs/k\"<&"}, trail.Object{Bucket: "b", Key: "digest"}, "fp")
	return l
}

func TestLine(t *testing.T) {
	for record, rest := range map[string]string{
		`{}`:                            `}`,
		`{ }`:                           ` }`,
		`{"a":1}`:                       `,"a":1}`,
		"{\n  \"a\": [1,\r\n 2]\n}":     `,  "a": [1, 2]}`,
		`{"n":12345678901234567890.10}`: `,"n":12345678901234567890.10}`,
		`{"s":"\u0041\/\n","t":"<&>ü"}`: `,"s":"\u0041\/\n","t":"<&>ü"}`,
	} {
		line, id, err := newLog(false).Line(nil, nil, []byte(record))
		if err != nil || !strings.HasSuffix(string(line), `-0"}`+rest) || !strings.HasSuffix(string(id), "-0") {
			t.Errorf("%s: %s, %s, %v", record, line, id, err)
		}
		var e struct {
			Trailseal struct{ Status, Log, Digest, Fingerprint, ID, SHA256 string }
		}
		if err := json.Unmarshal(line, &e); err != nil || e.Trailseal.ID != string(id) || e.Trailseal.Log != "s3://b/AWSLogs/k\"<&" || e.Trailseal.Status != "verified" {
			t.Errorf("%s: %v %+v", line, err, e)
		}
		raw, rawID, err := newLog(true).Line(nil, nil, []byte(record))
		if want := strings.NewReplacer("\n", "", "\r", "").Replace(record); err != nil || string(raw) != want || string(rawID) != string(id) {
			t.Errorf("raw %s: %s, %s, %v", record, raw, rawID, err)
		}
	}
}

func TestIDs(t *testing.T) {
	l := newLog(false)
	seen := map[string]bool{}
	for range 3 {
		_, id, err := l.Line(nil, nil, []byte(`{}`))
		if err != nil || seen[string(id)] {
			t.Errorf("id %s, %v", id, err)
		}
		seen[string(id)] = true
	}
	if _, id, _ := newLog(false).Line(nil, nil, []byte(`{}`)); !seen[string(id)] {
		t.Errorf("the first record of a repeat has the id %s", id)
	}
	other := new(provenance.Log)
	other.Reset(false, digest.Log{Bucket: "b", Object: "other"}, trail.Object{}, "")
	if _, id, _ := other.Line(nil, nil, []byte(`{}`)); seen[string(id)] {
		t.Error("two logs, one id")
	}
}

// A record that gets no line keeps its number.
func TestSkip(t *testing.T) {
	l := newLog(true)
	l.Skip()
	if _, id, err := l.Line(nil, nil, []byte(`{}`)); err != nil || !strings.HasSuffix(string(id), "-1") || l.Records() != 2 {
		t.Errorf("id %s, %d records, %v", id, l.Records(), err)
	}
}

func TestNoObject(t *testing.T) {
	l := newLog(false)
	for _, record := range []string{`5`, `"x"`, `null`, `[]`, ``} {
		if line, id, err := l.Line(nil, nil, []byte(record)); !errors.Is(err, provenance.ErrNoObject) || len(line) > 0 || len(id) > 0 {
			t.Errorf("%q: %s %s %v", record, line, id, err)
		}
	}
	if _, id, _ := l.Line(nil, nil, []byte(`{}`)); !strings.HasSuffix(string(id), "-5") || l.Records() != 6 {
		t.Errorf("id %s of record %d", id, l.Records())
	}
}
