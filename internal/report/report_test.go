package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
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

// sampleOfAdditions has every member that was added to version 1.
func sampleOfAdditions() *report.Report {
	chain := report.Chain{
		Account: "111122223333", Region: "us-east-1", Trail: "main", HomeRegion: "us-east-1",
		Digests: report.Count{Valid: 5}, Logs: report.Count{Valid: 9},
		Covered: []report.Segment{
			{Start: at(0, 8), End: at(1, 8), State: report.NotBegun}, {Start: at(1, 8), End: at(6, 8), State: report.Verified},
			{Start: at(6, 8), End: at(7, 8), State: report.Uncovered}, {Start: at(7, 8), End: at(8, 8), State: report.Ended},
			{Start: at(8, 8), End: at(9, 0), State: "la\u202eter"},
		},
	}
	var chains []string
	for i := range 14 {
		chains = append(chains, fmt.Sprintf("1111222233%02d us-east-1 main", i))
	}
	place := finding.Subject{Account: "111122223333", Region: "us-east-1", Time: at(6, 8)}
	log, folder := place, place
	log.Bucket, log.Key = "b", "AWSLogs/\x1b/l.json.gz"
	folder.Bucket, folder.Key = "b", "AWSLogs/secret/"
	end := report.ChainEnd{Account: "111122223333", Region: "us-east-1", Trail: "main", HomeRegion: "us-east-1", Prefix: "a", At: at(1, 8)}
	other := end
	other.Region, other.Organization, other.At = "eu-\x1bwest-1", "o-0123456789", at(7, 8)
	return &report.Report{
		Tool: report.Tool{Name: "test", Version: "1"}, Source: "s3://b/a", OriginalBucket: "origi\x1bnal",
		Requested: report.Range{Start: at(0, 8), End: at(9, 0)},
		Chains:    []report.Chain{chain},
		Findings: []finding.Finding{
			{Class: finding.Coverage, Subject: place, Detail: "the chains end", Evidence: finding.Evidence{From: at(6, 8), To: at(7, 8), Chains: chains,
				Event: &finding.Event{ID: "e-1", Name: "StopLogging", Time: at(6, 0), Actor: "arn", From: "198.51.100.7", Log: "s3://b/l", Possible: true}}},
		},
		Unverified: []finding.Unverified{
			{Reason: finding.Throttled, Subject: log, Detail: "get: slow down", Objects: 12},
			{Reason: finding.NotSearched, Subject: folder, Detail: "deeper than the search goes"},
		},
		Notes: []finding.Note{{Kind: finding.ListedTwice, Subject: log, Detail: "two digests list it", Digests: []string{"s3://b/d\x1b1", "s3://b/d2"}}},
		Keys:  []report.Key{},
		Omitted: []report.Omitted{
			{Class: finding.LogUnlisted, Folder: "s3://b/AWSLogs/\x1b/", Count: 3512},
			{Class: finding.Coverage, Account: "111122223333", Region: "us-east-1", Count: 2},
			{Class: finding.LogUnlisted, Count: 1_000_000},
			{Reason: finding.Network, Folder: "s3://b/AWSLogs/", Count: 7, Objects: 20, Folders: 2},
			{Kind: finding.ListedTwice, Folder: "s3://b/AWSLogs/", Count: 1},
		},
		Began: []report.ChainEnd{end}, Ended: []report.ChainEnd{end, other},
		NotCovered: []string{"s3://b/AWSLogs/111122223333/CloudTrail-Insight/\x1b"},
		Skipped:    []string{"the moon (--except s3://b/\x1b)"},
		AskAgain:   &report.Range{Start: at(8, 0), End: at(9, 0)},
		Counts: report.Counts{LogsListed: 12, InflatedBytes: 1_234_567, Litter: 5,
			UnprovenDigests: report.Count{Invalid: 2, Unverified: 1}},
		Elapsed: 1.5,
	}
}

// The published forms. They change only on purpose: members are added, none is
// renamed or removed within a version.
func TestGolden(t *testing.T) {
	for name, build := range map[string]func() *report.Report{"report": sample, "additions": sampleOfAdditions} {
		for form, write := range map[string]func(*report.Report, io.Writer) error{
			".json": (*report.Report).JSON, ".txt": (*report.Report).Text,
		} {
			r := build()
			r.Conclude()
			var b bytes.Buffer
			if err := write(r, &b); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+form)
			if os.Getenv("UPDATE") == "1" {
				if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if d := diff(string(want), b.String()); d != "" {
				t.Errorf("%s (UPDATE=1 writes it):\n%s", file, d)
			}
			checkPrintable(t, b.String())
		}
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
	folders := []finding.Unverified{{Reason: finding.NotSearched}, {Reason: finding.AccessDenied, Subject: finding.Subject{Key: "a/"}}}
	several := []finding.Unverified{{Reason: finding.Network, Subject: finding.Subject{Key: "a/"}, Objects: 1200}, folders[0]}
	for _, row := range []struct {
		name       string
		findings   []finding.Finding
		unverified []finding.Unverified
		omitted    []report.Omitted
		chain      report.Count
		want       report.Verdict
		counts     report.Counts
		line       string
	}{
		{"nothing", nil, nil, nil, report.Count{Valid: 1}, report.Intact, report.Counts{}, "INTACT: 1/1 "},
		{"counted only", nil, nil, nil, report.Count{Unverified: 2}, report.Incomplete, report.Counts{UnverifiedObjects: 2},
			"INCOMPLETE: nothing wrong was found, 2 objects could not be checked: 0/2 "},
		{"an object", nil, unread, nil, report.Count{Unverified: 1}, report.Incomplete, report.Counts{Unverified: 1, UnverifiedObjects: 1},
			"INCOMPLETE: nothing wrong was found, 1 object could not be checked: 0/1 "},
		{"a folder", nil, folders[:1], nil, report.Count{}, report.Incomplete, report.Counts{Unverified: 1, UnverifiedFolders: 1},
			"INCOMPLETE: nothing wrong was found, 1 folder could not be searched: 0/0 "},
		{"folders", nil, folders, nil, report.Count{}, report.Incomplete, report.Counts{Unverified: 2, UnverifiedFolders: 2},
			"INCOMPLETE: nothing wrong was found, 2 folders could not be searched: 0/0 "},
		{"an entry for several", nil, several, nil, report.Count{Unverified: 1}, report.Incomplete,
			report.Counts{Unverified: 2, UnverifiedObjects: 1200, UnverifiedFolders: 1},
			"INCOMPLETE: nothing wrong was found, 1,200 objects could not be checked and 1 folder could not be searched: 0/1 "},
		{"omitted unverified", nil, unread, []report.Omitted{{Reason: finding.Network, Count: 5, Objects: 9, Folders: 1}}, report.Count{}, report.Incomplete,
			report.Counts{Unverified: 6, UnverifiedObjects: 10, UnverifiedFolders: 1},
			"INCOMPLETE: nothing wrong was found, 10 objects could not be checked and 1 folder could not be searched: "},
		{"findings", found, nil, nil, report.Count{Invalid: 1}, report.Findings, report.Counts{Findings: 1}, "FINDINGS: 1: 0/1 "},
		{"both", found, unread, nil, report.Count{Unverified: 1}, report.Findings, report.Counts{Findings: 1, Unverified: 1, UnverifiedObjects: 1},
			"FINDINGS: 1, and 1 unverified: 0/1 "},
		{"omitted findings", found, nil, []report.Omitted{{Class: finding.Gap, Count: 1000}}, report.Count{}, report.Findings,
			report.Counts{Findings: 1001, FindingsListed: 1}, "FINDINGS: 1,001: "},
		{"omitted findings alone", nil, nil, []report.Omitted{{Class: finding.Gap, Count: 2}}, report.Count{}, report.Findings,
			report.Counts{Findings: 2}, "FINDINGS: 2: "},
		{"omitted notes", nil, nil, []report.Omitted{{Kind: finding.ListedTwice, Count: 2}}, report.Count{}, report.Intact, report.Counts{}, "INTACT: "},
	} {
		stale := report.Counts{Digests: report.Count{Valid: 99}, Findings: 9, FindingsListed: 9, Unverified: 9, UnverifiedObjects: 9, UnverifiedFolders: 9}
		r := &report.Report{Findings: row.findings, Unverified: row.unverified, Omitted: row.omitted, Verdict: "stale", Counts: stale,
			Chains: []report.Chain{{Digests: row.chain}}}
		row.counts.Chains, row.counts.Digests = 1, row.chain
		for range 2 { // Conclude may be called again
			r.Conclude()
			if r.Verdict != row.want || r.Version != report.Version || !strings.HasPrefix(r.Conclusion(), row.line) {
				t.Errorf("%s: %s, %s", row.name, r.Verdict, r.Conclusion())
			}
			if d := diff(row.counts, r.Counts); d != "" {
				t.Errorf("%s: %s", row.name, d)
			}
		}
	}
}

// The sums are those of all chains, and of the digests that no chain has.
func TestConcludeAddsUp(t *testing.T) {
	r := &report.Report{
		Counts: report.Counts{UnprovenDigests: report.Count{Invalid: 4}},
		Chains: []report.Chain{
			{Digests: report.Count{Valid: 1, Invalid: 1}, Logs: report.Count{Valid: 1, Invalid: 2, Unverified: 3}},
			{Digests: report.Count{Valid: 2, Unverified: 2}, Logs: report.Count{Valid: 5, Unverified: 4}},
		},
	}
	r.Conclude()
	want := report.Counts{
		Chains: 2, Digests: report.Count{Valid: 3, Invalid: 5, Unverified: 2}, Logs: report.Count{Valid: 6, Invalid: 2, Unverified: 7},
		UnprovenDigests: report.Count{Invalid: 4}, UnverifiedObjects: 9,
	}
	if d := diff(want, r.Counts); d != "" {
		t.Error(d)
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

// diff returns the first lines in which two values differ, and "" where they are
// equal.
func diff(want, got any) string {
	if reflect.DeepEqual(want, got) {
		return ""
	}
	lines := func(v any) []string {
		if s, ok := v.(string); ok {
			return strings.Split(s, "\n")
		}
		b, err := json.MarshalIndent(v, "", " ")
		if err != nil {
			return []string{err.Error()}
		}
		return strings.Split(string(b), "\n")
	}
	w, g := lines(want), lines(got)
	i := 0
	for i < min(len(w), len(g)) && w[i] == g[i] {
		i++
	}
	part := func(l []string) string { return strings.Join(l[min(len(l), max(0, i-3)):min(len(l), i+8)], "\n") }
	return fmt.Sprintf("line %d\nwant:\n%s\ngot:\n%s", i+1, part(w), part(g))
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
