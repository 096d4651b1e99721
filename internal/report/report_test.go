package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/pkg/finding"
)

func at(hour, minute int) time.Time { return time.Date(2026, 3, 1, hour, minute, 11, 0, time.UTC) }

// sample has every member and every kind of state, finding and reason text.
func sample() *report.Report {
	chain := report.Chain{
		Account: "111122223333", Region: "us-east-1", Trail: "main", HomeRegion: "us-east-1", Organization: "o-0123456789", Prefix: "a/b",
		Digests: report.Count{Valid: 5, Invalid: 2, Unverified: 1}, Logs: report.Count{Valid: 9, Invalid: 1, Unverified: 2},
		Covered: []report.Segment{
			{Start: at(0, 8), End: at(4, 8), State: report.Verified}, {Start: at(4, 8), End: at(5, 30), State: report.Gap},
			{Start: at(5, 30), End: at(6, 8), State: report.Missing}, {Start: at(6, 8), End: at(7, 8), State: report.Invalid},
			{Start: at(7, 8), End: at(8, 8), State: report.Unverified}, {Start: at(8, 8), End: at(9, 0), State: report.NotDue},
		},
	}
	backfill := report.Chain{
		Account: "111122223333", Region: "us-east-1", Trail: "main", HomeRegion: "us-east-1", Backfill: true,
		Digests: report.Count{Valid: 1}, Covered: []report.Segment{},
	}
	subject := finding.Subject{Account: "111122223333", Region: "us-east-1", Trail: "main", Bucket: "b", Time: at(4, 8)}
	log, digest := subject, subject
	log.Key, digest.Key = "AWSLogs/x\x1b[2J.json.gz", "AWSLogs/y.json.gz"
	return &report.Report{
		Tool: report.Tool{Name: "test", Version: "1"}, Source: "s3://b/a",
		Requested: report.Range{Start: at(0, 8), End: at(9, 0)},
		Chains:    []report.Chain{chain, backfill},
		Findings: []finding.Finding{
			{Class: finding.LogModified, Subject: log, Detail: "its content\nis not what was signed for", Evidence: finding.Evidence{
				Want: strings.Repeat("ab", 32), Got: strings.Repeat("cd", 32), Digest: "s3://b/AWSLogs/y.json.gz"}},
			{Class: finding.DigestSignature, Subject: digest, Detail: "does not verify", Evidence: finding.Evidence{
				Got: strings.Repeat("ef", 32), StringToSign: "a\nb\nc\nnull", Signature: "0123", Fingerprint: strings.Repeat("12", 16)}},
			{Class: finding.Gap, Subject: subject, Detail: "logging was off", Evidence: finding.Evidence{From: at(4, 8), To: at(5, 30),
				Event: &finding.Event{ID: "e-1", Name: "StopLogging", Time: at(4, 0), Actor: "arn:aws:iam::111122223333:user/\u202em", From: "198.51.100.7", Log: "s3://b/l"}}},
		},
		Unverified: []finding.Unverified{{Reason: finding.AccessDenied, Subject: digest, Detail: "get s3://b/AWSLogs/y.json.gz: AccessDenied"}},
		Keys:       []report.Key{{Region: "us-east-1", Fingerprint: strings.Repeat("12", 16), From: "cloudtrail", ValidFrom: at(0, 0), ValidTo: at(9, 0)}},
		Counts:     report.Counts{LogsListed: 12, InflatedBytes: 1_234_567},
		Skipped:    []string{"the moon"},
		Elapsed:    1.5,
	}
}

// The published forms. They change only on purpose: members are added, none is
// renamed or removed within a version.
func TestGolden(t *testing.T) {
	for name, write := range map[string]func(*report.Report, *bytes.Buffer) error{
		"report.json": func(r *report.Report, b *bytes.Buffer) error { return r.JSON(b) },
		"report.txt":  func(r *report.Report, b *bytes.Buffer) error { return r.Text(b) },
	} {
		r := sample()
		r.Conclude()
		var b bytes.Buffer
		if err := write(r, &b); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", name)
		if os.Getenv("UPDATE") == "1" {
			if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.Bytes(), want) {
			t.Errorf("%s (UPDATE=1 writes it):\n%s", file, b.Bytes())
		}
		checkPrintable(t, b.String())
	}
}

// What nothing was found in has empty lists, not null.
func TestEmptyJSON(t *testing.T) {
	r := &report.Report{Chains: []report.Chain{}, Findings: []finding.Finding{}, Unverified: []finding.Unverified{}, Keys: []report.Key{}}
	r.Conclude()
	var b bytes.Buffer
	if err := r.JSON(&b); err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b.Bytes(), &m); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"chains", "findings", "unverified", "keys"} {
		if list, ok := m[name].([]any); !ok || len(list) != 0 {
			t.Errorf("%s is %v", name, m[name])
		}
	}
	if m["version"] != 1.0 || m["verdict"] != "intact" {
		t.Errorf("%s", b.Bytes())
	}
}

func TestConclude(t *testing.T) {
	found, unread := []finding.Finding{{Class: finding.Gap}}, []finding.Unverified{{Reason: finding.Network}}
	for _, row := range []struct {
		findings   []finding.Finding
		unverified []finding.Unverified
		want       report.Verdict
		line       string
	}{
		{nil, nil, report.Incomplete, "INCOMPLETE: "}, // counted and not told is no less unverified
		{nil, unread, report.Incomplete, "INCOMPLETE: nothing wrong was found, 1 object could not be checked: 3/6 "},
		{found, nil, report.Findings, "FINDINGS: 1: 3/6 "},
		{found, unread, report.Findings, "FINDINGS: 1, and 1 unverified: 3/6 "},
	} {
		r := &report.Report{
			Findings: row.findings, Unverified: row.unverified, Verdict: "stale", Counts: report.Counts{Digests: report.Count{Valid: 99}},
			Chains: []report.Chain{
				{Digests: report.Count{Valid: 1, Invalid: 1}, Logs: report.Count{Valid: 1, Invalid: 2, Unverified: 3}},
				{Digests: report.Count{Valid: 2, Unverified: 2}, Logs: report.Count{Valid: 5, Invalid: 0, Unverified: 4}},
			},
		}
		r.Conclude()
		want := report.Counts{
			Chains: 2, Digests: report.Count{Valid: 3, Invalid: 1, Unverified: 2}, Logs: report.Count{Valid: 6, Invalid: 2, Unverified: 7},
			Findings: len(row.findings), Unverified: len(row.unverified),
		}
		if r.Verdict != row.want || r.Version != report.Version || r.Counts != want || !strings.HasPrefix(r.Conclusion(), row.line) {
			t.Errorf("%s, %+v, %s", r.Verdict, r.Counts, r.Conclusion())
		}
	}
}

// Intact is what has nothing unverified, in the lists and in the counts.
func TestConcludeIntact(t *testing.T) {
	for count, want := range map[report.Count]report.Verdict{
		{Valid: 2}: report.Intact, {}: report.Intact, {Valid: 2, Unverified: 1}: report.Incomplete,
	} {
		for _, c := range []report.Chain{{Digests: count}, {Logs: count}} {
			r := &report.Report{Chains: []report.Chain{c}}
			if r.Conclude(); r.Verdict != want {
				t.Errorf("%+v: %s, want %s", c, r.Verdict, want)
			}
		}
	}
}

func checkPrintable(t *testing.T, text string) {
	t.Helper()
	for _, r := range text {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("%U in %q", r, text)
			return
		}
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"":                "",
		"a b/ü/日本/\"x\"":  "a b/ü/日本/\"x\"",
		"two\nlines":      `two\nlines`,
		"\x1b[31m":        `\x1b[31m`,
		"\u202egnp.exe":   `\u202egnp.exe`,
		"\u009b31m":       `\u009b31m`,
		"\xff":            `\xff`,
		"a\u00a0b\u200bc": `a\u00a0b\u200bc`,
		"\"\x00\"":        `"\x00"`,
		"tag\U000E0041":   `tag\U000e0041`,
	} {
		if got := report.Quote(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

// Whatever is quoted is printable, valid and one line; what is so already is
// left alone.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "a", "\n", "\x1b[0m", "\xff\xfe", "\u202e", `\"`, "é", "\ufffd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q := report.Quote(s)
		clean := utf8.ValidString(s)
		for _, r := range s {
			clean = clean && unicode.IsPrint(r) && r != utf8.RuneError
		}
		if clean && q != s {
			t.Errorf("%q became %q", s, q)
		}
		if !utf8.ValidString(q) || strings.Contains(q, "\n") {
			t.Errorf("%q became %q", s, q)
		}
		checkPrintable(t, q)
	})
}

// Whatever a subject holds, the JSON is valid, printable and gives it back.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{"", "\x1b", "\u202e\U000E0041", "\xff", `\u0041`, "\ufeff", "</script>", "\u2028"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r := &report.Report{Source: s, Findings: []finding.Finding{{Subject: finding.Subject{Key: s}, Detail: s}}}
		var b bytes.Buffer
		if err := r.JSON(&b); err != nil {
			t.Fatal(err)
		}
		checkPrintable(t, b.String())
		var back report.Report
		if err := json.Unmarshal(b.Bytes(), &back); err != nil {
			t.Fatalf("%v\n%s", err, b.Bytes())
		}
		if utf8.ValidString(s) && (back.Source != s || back.Findings[0].Key != s) {
			t.Errorf("%q came back as %q", s, back.Source)
		}
	})
}

type full struct{}

var errFull = errors.New("no space left")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestWriteFails(t *testing.T) {
	if err := sample().JSON(full{}); !errors.Is(err, errFull) {
		t.Errorf("JSON: %v", err)
	}
	if err := sample().Text(full{}); !errors.Is(err, errFull) {
		t.Errorf("text: %v", err)
	}
}
