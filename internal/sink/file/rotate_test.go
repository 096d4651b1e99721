package file_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/sink/file"
	"github.com/trailseal/trailseal/internal/sink/sinktest"
)

func TestRotateBySize(t *testing.T) {
	dir := t.TempDir()
	now := func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("", 3600)) }
	full := sinktest.Batch(1, 10)
	size := int64(len(sink.Trailseal.AppendLines(nil, &full)))
	open := func() *file.Sink {
		s, err := file.Open(filepath.Join(dir, "events.ndjson"), file.Options{MaxBytes: 2 * size, Now: now})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	emit(t, s, 1, 10)
	emit(t, s, 1, 10) // full to the byte
	emit(t, s, 2, 1)
	emit(t, s, 3, 100) // larger than a file may be
	closed(t, s)
	// A name that is taken is passed over.
	if err := os.WriteFile(filepath.Join(dir, "events-20260301T110000Z-000004.ndjson"), []byte("{\"mine\":1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = open()
	if err := os.WriteFile(filepath.Join(dir, "events-20260301T110000Z-000005.ndjson"), []byte("{\"mine\":2}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	emit(t, s, 4, 1)
	closed(t, s)
	want := []string{
		"events-20260301T110000Z-000001.ndjson", "events-20260301T110000Z-000002.ndjson",
		"events-20260301T110000Z-000004.ndjson", "events-20260301T110000Z-000005.ndjson", "events-20260301T110000Z-000006.ndjson",
		"events.ndjson",
	}
	if got := files(t, dir); !slices.Equal(got, want) {
		t.Fatalf("files %q", got)
	}
	for i, n := range []int{20, 1, 1, 1, 100, 1} {
		b, err := os.ReadFile(filepath.Join(dir, want[i]))
		if err != nil || bytes.Count(b, []byte("\n")) != n {
			t.Errorf("%s: %d lines, %v; want %d", want[i], bytes.Count(b, []byte("\n")), err, n)
		}
	}
}

// A file holds what was written in one hour of the clock, across restarts too.
func TestRotateByTime(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "events")
	now := time.Date(2026, 3, 1, 12, 10, 0, 0, time.UTC)
	open := func() *file.Sink {
		s, err := file.Open(path, file.Options{Every: time.Hour, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	for i, at := range []string{"12:10", "12:59", "13:00", "13:30", "15:01", "11:00"} {
		clock, err := time.Parse("15:04", at)
		if err != nil {
			t.Fatal(err)
		}
		now = time.Date(2026, 3, 1, clock.Hour(), clock.Minute(), 0, 0, time.UTC)
		emit(t, s, i, 1)
		if err := os.Chtimes(path, now, now); err != nil {
			t.Fatal(err)
		}
		if at == "13:00" || at == "13:30" {
			closed(t, s)
			s = open()
		}
	}
	closed(t, s)
	want := []string{"events", "events-20260301T110000Z-000003", "events-20260301T130000Z-000001", "events-20260301T150100Z-000002"}
	if got := files(t, dir); !slices.Equal(got, want) {
		t.Errorf("files %q", got)
	}
	for i, n := range []int{1, 1, 2, 2} {
		if b, err := os.ReadFile(filepath.Join(dir, want[i])); err != nil || bytes.Count(b, []byte("\n")) != n {
			t.Errorf("%s: %q, %v", want[i], b, err)
		}
	}
}

// Other programs move the file away, remove it and empty it. What comes after
// is in the file of that name.
func TestMovedAway(t *testing.T) {
	dir := t.TempDir()
	path, moved := filepath.Join(dir, "e"), filepath.Join(dir, "e.1")
	s, err := file.Open(path, file.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, s)
	emit(t, s, 1, 3)
	for _, tt := range []struct {
		name string
		do   func() error
		want int // lines in path after one more
	}{
		{"control", func() error { return nil }, 4},
		{"moved", func() error { return os.Rename(path, moved) }, 1},
		{"removed", func() error { return os.Remove(path) }, 1},
		{"emptied", func() error { return os.Truncate(path, 0) }, 1},
		{"torn by somebody", func() error { return os.Truncate(path, 5) }, 1},
		{"another in its place", func() error { return errors.Join(os.Remove(path), os.WriteFile(path, []byte("{}\n{}\n"), 0o600)) }, 3},
	} {
		if err := tt.do(); err != nil {
			t.Fatal(err)
		}
		emit(t, s, 2, 1)
		if b, err := os.ReadFile(path); err != nil || bytes.Count(b, []byte("\n")) != tt.want {
			t.Errorf("%s: %q, %v", tt.name, b, err)
		}
		for _, l := range lines(t, dir) {
			if !json.Valid([]byte(l)) {
				t.Errorf("%s: torn line %q", tt.name, l)
			}
		}
	}
	if b, err := os.ReadFile(moved); err != nil || bytes.Count(b, []byte("\n")) != 4 {
		t.Errorf("the moved file: %q, %v", b, err)
	}
}
