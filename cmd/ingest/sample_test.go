package main

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// With --format raw every line is a record of a log file, byte for byte, and
// each proven log file comes whole.
func TestRaw(t *testing.T) {
	const sample = "../../test/sample"
	logOf, size := map[string]string{}, map[string]int{}
	err := filepath.WalkDir(filepath.Join(sample, "AWSLogs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(path, "/CloudTrail/") {
			return err
		}
		records := recordsOf(t, path)
		for _, r := range records {
			logOf[string(r)] = path
		}
		size[path] = len(records)
		return nil
	})
	if err != nil || len(size) != 29 {
		t.Fatalf("%d log files, %v", len(size), err)
	}
	var stdout, stderr shared
	args := []string{"--once", "--source", sample, "--keys", sample + "/keys.json", "--since", "2026-03-01", "--state", "memory", "--format", "raw"}
	if code := run(t.Context(), args, &stdout, &stderr); code != exitFindings {
		t.Fatalf("exit %d\n%s", code, stderr.String())
	}
	got := map[string]int{}
	for line := range strings.Lines(stdout.String()) {
		from := logOf[strings.TrimSuffix(line, "\n")]
		if from == "" {
			t.Fatalf("no log file has %s", line)
		}
		got[from]++
	}
	if len(got) != 27 {
		t.Errorf("events of %d log files", len(got))
	}
	for path, n := range got {
		if n != size[path] {
			t.Errorf("%s: %d of %d events", path, n, size[path])
		}
	}
}

func recordsOf(t *testing.T, path string) []json.RawMessage {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	var log struct{ Records []json.RawMessage }
	if err := json.Unmarshal(b, &log); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return log.Records
}

// The README's first command runs as it stands there.
func TestREADME(t *testing.T) {
	t.Chdir("../..")
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "\n```\ngo run ./cmd/")
	line, _, _ := strings.Cut(rest, "\n")
	words := strings.Fields(line)
	if len(words) < 2 || words[0] != "ingest" {
		t.Fatalf("the first command is %q", line)
	}
	var stdout, stderr shared
	if code := run(t.Context(), words[1:], &stdout, &stderr); code != exitFindings {
		t.Fatalf("exit %d\n%s", code, stderr.String())
	}
	if n := strings.Count(stdout.String(), "\n{\"trailseal\""); n != 99 {
		t.Errorf("%d events after the first", n)
	}
	if n := strings.Count(stderr.String(), `{"class":`); n != 3 {
		t.Errorf("%d findings", n)
	}
}

// The usage names every setting, with its default.
func TestUsageNamesAll(t *testing.T) {
	_, k, _, err := parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(k.Model.Flags) < 30 {
		t.Fatalf("%d flags", len(k.Model.Flags))
	}
	for _, f := range k.Model.Flags {
		_, about, ok := strings.Cut(usage(), "--"+f.Name+" ")
		if !ok {
			t.Errorf("--%s is missing", f.Name)
			continue
		}
		if about, _, _ = strings.Cut(about, "\n  --"); f.HasDefault && !strings.Contains(about, f.Default) {
			t.Errorf("--%s: the default %s is missing in %q", f.Name, f.Default, about)
		}
	}
	for line := range strings.Lines(usage()) {
		if len(line) > 81 {
			t.Errorf("longer than 80: %s", line)
		}
	}
}
