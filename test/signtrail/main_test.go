package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// command runs signtrail and returns the folder that it wrote.
func command(t *testing.T, args ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	var stdout, stderr bytes.Buffer
	if code := run(append([]string{"-out", out}, args...), &stdout, &stderr); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr.String())
	}
	if !strings.HasSuffix(stdout.String(), out+"\n") {
		t.Errorf("stdout: %s", stdout.String())
	}
	return out
}

// events writes a file of each shape, twelve events in all.
func events(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	w := testtrail.New()
	logFile, array, lines := w.Log(4), w.Log(4), w.Log(4)
	array = bytes.TrimSuffix(bytes.TrimPrefix(array, []byte(`{"Records":`)), []byte(`}`))
	lines = bytes.ReplaceAll(lines[len(`{"Records":[`):len(lines)-len(`]}`)], []byte(`},{"awsRegion"`), []byte("}\n{\"awsRegion\""))
	for name, b := range map[string][]byte{
		"1.json": logFile, "sub/2.json.gz": testtrail.Gzip(array), "sub/3.ndjson": lines, "LICENSE": []byte("no events"),
	} {
		name = filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func TestSign(t *testing.T) {
	for name, row := range map[string]struct {
		args     []string
		logs     int
		verified int // of the 4 digests; the newest one's signature is lost
	}{
		"control":            {nil, 3, 3},
		"so many events":     {[]string{"-per-log", "5"}, 3, 3},
		"one event each":     {[]string{"-per-log", "1"}, 12, 3},
		"sidecar of newest":  {[]string{"-metadata", "newest"}, 3, 4},
		"sidecar of all":     {[]string{"-metadata", "all"}, 3, 4},
		"elsewhere":          {[]string{"-region", "eu-central-1", "-account", "999999999999", "-trail", "a_us-east-1_b", "-organization", "o-0123456789", "-start", "2025-12-31T22:10:00+02:00"}, 3, 3},
		"every hour is used": {[]string{"-per-log", "4", "-hours", "3"}, 3, 3},
	} {
		t.Run(name, func(t *testing.T) {
			w := walk(t, command(t, slices.Concat([]string{"-hours", "3"}, row.args, []string{events(t)})...))
			if w.logs != row.logs || len(w.verified) != row.verified || len(w.unsigned) != 4-row.verified || w.starting != 1 || len(w.records) != 12 || len(w.badLogs) > 0 {
				t.Errorf("%d logs, %d digests verified, %d unsigned, %d starting, %d records, bad: %v",
					w.logs, len(w.verified), len(w.unsigned), w.starting, len(w.records), w.badLogs)
			}
		})
	}
}

func TestTamper(t *testing.T) {
	rows := []struct {
		tamper                    string
		badLog                    error
		missing, starting, events int
	}{
		{"", nil, 0, 1, 12},
		{"edit-log=2", digest.ErrModified, 0, 1, 8},
		{"delete-log=2", fs.ErrNotExist, 0, 1, 8},
		{"delete-digest=3", nil, 1, 1, 8}, // with the log that it lists
		{"stop=2,2", nil, 0, 2, 13},       // and the record of it
	}
	for _, row := range rows {
		t.Run(row.tamper, func(t *testing.T) {
			args := []string{"-hours", "3", "-metadata", "newest"}
			if row.tamper != "" {
				args = append(args, "-tamper", row.tamper)
			}
			w := walk(t, command(t, append(args, events(t))...))
			if len(w.missing) != row.missing || w.starting != row.starting || len(w.records) != row.events {
				t.Errorf("%d missing, %d starting, %d records", len(w.missing), w.starting, len(w.records))
			}
			if row.badLog == nil && len(w.badLogs) > 0 || row.badLog != nil && len(w.badLogs) != 1 {
				t.Errorf("bad: %v", w.badLogs)
			}
			for _, err := range w.badLogs {
				if !errors.Is(err, row.badLog) {
					t.Error(err)
				}
			}
		})
	}
}

func TestStopIsRecorded(t *testing.T) {
	w := walk(t, command(t, "-metadata", "newest", "-tamper", "stop=1,3", events(t)))
	i := slices.IndexFunc(w.records, func(r json.RawMessage) bool {
		e, err := trail.ParseEvent(r)
		return err == nil && e.Name() == "StopLogging" && strings.Contains(string(e.RequestParameters()), ":trail/main")
	})
	if i < 0 {
		t.Error("no verified log says who stopped the logging")
	}
}

// Errors name the file or the flag, and nothing is written.
func TestErrors(t *testing.T) {
	folder := events(t)
	file := func(name, content string) string {
		name = filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "x"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	broken, cut, empty, numbers := file("broken.json", `{"Records":[{]}`), file("cut.json.gz", "\x1f\x8b\x08"), file("empty.json", ""), file("numbers.json", `[1,2]`)
	rows := []struct {
		name string
		args []string
		code int
		text string
	}{
		{"no files", nil, 2, "no FILE"},
		{"absent", []string{filepath.Join(folder, "absent")}, 1, "absent"},
		{"broken JSON", []string{broken}, 1, broken},
		{"broken gzip", []string{cut}, 1, cut},
		{"empty file", []string{empty}, 1, empty},
		{"no events", []string{numbers}, 1, numbers + ": event 1"},
		{"empty folder", []string{t.TempDir()}, 1, "no file of events"},
		{"full out", []string{"-out", full, folder}, 1, full},
		{"account", []string{"-account", "1", folder}, 2, "-account"},
		{"region", []string{"-region", "mars", folder}, 2, "-region"},
		{"trail", []string{"-trail", "a/b", folder}, 2, "-trail"},
		{"home region", []string{"-home-region", "", folder}, 2, "-home-region"},
		{"organization", []string{"-organization", "x", folder}, 2, "-organization"},
		{"prefix", []string{"-prefix", "/x", folder}, 2, "-prefix"},
		{"metadata", []string{"-metadata", "some", folder}, 2, "-metadata"},
		{"start", []string{"-start", "today", folder}, 2, "-start"},
		{"hours", []string{"-hours", "0", folder}, 2, "-hours"},
		{"per log", []string{"-per-log", "-1", folder}, 2, "-per-log"},
		{"tamper", []string{"-tamper", "burn=1", folder}, 2, "tamper"},
		{"tamper number", []string{"-tamper", "edit-log=0", folder}, 2, "tamper"},
		{"tamper past the end", []string{"-tamper", "edit-log=99", folder}, 1, "-tamper edit-log=99: there are 3"},
		{"tamper twice", []string{"-tamper", "delete-log=1", "-tamper", "edit-log=1", folder}, 1, "deleted already"},
		{"stop past the end", []string{"-tamper", "stop=9,1", folder}, 2, "stop=9,1"},
		{"unknown flag", []string{"-x", folder}, 2, "-x"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			var stdout, stderr bytes.Buffer
			code := run(append([]string{"-out", out}, row.args...), &stdout, &stderr)
			if code != row.code || !strings.Contains(stderr.String(), row.text) || strings.Count(stderr.String(), "\n") != 1 {
				t.Errorf("exit %d: %s", code, stderr.String())
			}
			if _, err := os.Stat(out); err == nil {
				t.Error("something was written")
			}
		})
	}
}
