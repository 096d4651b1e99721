package file_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/sink/file"
	"github.com/trailseal/trailseal/internal/sink/sinktest"
)

// disk opens files that fail and stand still when told to.
type disk struct {
	mu          sync.Mutex
	writes      int // so many writes are cut short
	syncs       int // so many syncs fail before they begin
	after       int // so many syncs fail when they are done
	truncations int // so many fail
	stall       chan struct{}
	synced      int
}

var errDisk = errors.New("input/output error")

type faulty struct {
	file.Handle
	d *disk
}

func (d *disk) open(path string) (file.Handle, error) {
	h, err := file.OpenAppend(path)
	return faulty{h, d}, err
}

// take uses up one fault.
func (d *disk) take(n *int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if *n == 0 {
		return false
	}
	*n--
	return true
}

func (d *disk) set(n *int, times int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	*n = times
}

func (f faulty) Write(p []byte) (int, error) {
	if f.d.take(&f.d.writes) {
		n, _ := f.Handle.Write(p[:len(p)*2/3])
		return n, errDisk
	}
	return f.Handle.Write(p)
}

func (f faulty) Sync() error {
	f.d.mu.Lock()
	stall := f.d.stall
	f.d.synced++
	f.d.mu.Unlock()
	if stall != nil {
		<-stall
	}
	if f.d.take(&f.d.syncs) {
		return errDisk
	}
	err := f.Handle.Sync()
	if f.d.take(&f.d.after) {
		return errDisk
	}
	return err
}

func (f faulty) Truncate(n int64) error {
	if f.d.take(&f.d.truncations) {
		return errDisk
	}
	return f.Handle.Truncate(n)
}

// lines returns all lines of all files of a folder, and fails where one is torn.
func lines(t *testing.T, dir string) (all []string) {
	t.Helper()
	for _, name := range files(t, dir) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 0 && b[len(b)-1] != '\n' {
			t.Fatalf("%s ends in a torn line", name)
		}
		for l := range bytes.Lines(b) {
			all = append(all, string(bytes.TrimSuffix(l, []byte("\n"))))
		}
	}
	return all
}

// files returns the names of the files of events, in the order of their names:
// the one that is written comes after the rotated ones.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".lock") {
			names = append(names, e.Name())
		}
	}
	return names
}

func closed(t *testing.T, s *file.Sink) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func emit(t *testing.T, s *file.Sink, n, lines int) {
	t.Helper()
	if err := s.Emit(t.Context(), sinktest.Batch(n, lines)); err != nil {
		t.Fatal(err)
	}
}

func TestIsASink(t *testing.T) {
	for name, fail := range map[string]func(d *disk, times int){
		"write":              func(d *disk, n int) { d.set(&d.writes, n) },
		"sync":               func(d *disk, n int) { d.set(&d.syncs, n) },
		"write and clean up": func(d *disk, n int) { d.set(&d.writes, n); d.set(&d.truncations, n) },
		"sync and clean up":  func(d *disk, n int) { d.set(&d.syncs, n); d.set(&d.truncations, n) },
	} {
		for rotation, o := range map[string]file.Options{"one file": {}, "many files": {MaxBytes: 1000, Format: sink.Raw}} {
			t.Run(name+", "+rotation, func(t *testing.T) {
				sinktest.Run(t, func(t *testing.T) sinktest.Downstream { return downstream(t, o, fail) }, sinktest.Options{Format: o.Format})
			})
		}
	}
}

func downstream(t *testing.T, o file.Options, fail func(*disk, int)) sinktest.Downstream {
	dir, d := t.TempDir(), &disk{}
	s, err := file.OpenWith(filepath.Join(dir, "events.ndjson"), o, d.open)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() }) // the suite may have closed it
	return sinktest.Downstream{
		Sink: s, Lines: func() []string { return lines(t, dir) },
		Fail:      func(n int) { fail(d, n) },
		FailAfter: func(n int) { d.set(&d.after, n) },
		Stall: func() func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			c := make(chan struct{})
			d.stall = c
			return func() {
				d.mu.Lock()
				defer d.mu.Unlock()
				d.stall = nil
				close(c)
			}
		},
	}
}

// Of a batch that could not be synced nothing stays, so that a repeat leaves
// one copy.
func TestFailedSync(t *testing.T) {
	dir, d := t.TempDir(), &disk{}
	s, err := file.OpenWith(filepath.Join(dir, "e"), file.Options{}, d.open)
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, s)
	emit(t, s, 1, 3)
	for name, fault := range map[string]*int{"before": &d.syncs, "after": &d.after, "write": &d.writes} {
		d.set(fault, 1)
		if err := s.Emit(t.Context(), sinktest.Batch(2, 3)); !errors.Is(err, errDisk) {
			t.Errorf("%s: %v", name, err)
		}
		if got := lines(t, dir); len(got) != 3 {
			t.Errorf("%s: %d lines are left", name, len(got))
		}
	}
	emit(t, s, 2, 3)
	if got := lines(t, dir); len(got) != 6 {
		t.Errorf("%d lines", len(got))
	}
}

// Batches that come together share one sync.
func TestSharedSync(t *testing.T) {
	dir, d := t.TempDir(), &disk{}
	s, err := file.OpenWith(filepath.Join(dir, "e"), file.Options{}, d.open)
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, s)
	stall := make(chan struct{})
	d.mu.Lock()
	d.stall, d.synced = stall, 0
	d.mu.Unlock()
	var wg sync.WaitGroup
	for n := range 50 {
		wg.Go(func() {
			if err := s.Emit(t.Context(), sinktest.Batch(n, 2)); err != nil {
				t.Error(err)
			}
		})
	}
	time.Sleep(50 * time.Millisecond) // most of them wait by now; how many does not matter
	close(stall)
	wg.Wait()
	if d.synced >= 50 || len(lines(t, dir)) != 100 {
		t.Errorf("%d syncs for 50 batches, %d lines", d.synced, len(lines(t, dir)))
	}
}

// What a crash left is cut back to whole lines; what is no sink's is left alone.
func TestTornLine(t *testing.T) {
	long := strings.Repeat(`{"x":1}`+"\n", 20_000)
	for _, tt := range []struct{ name, holds, keeps string }{
		{"control", "{\"a\":1}\n{\"b\":2}\n", "{\"a\":1}\n{\"b\":2}\n"},
		{"empty", "", ""},
		{"torn", "{\"a\":1}\n{\"b\":", "{\"a\":1}\n"},
		{"all but the line feed", "{\"a\":1}\n{\"b\":2}", "{\"a\":1}\n"},
		{"one torn line", "{\"a\"", ""},
		{"long torn line", long + `{"y":"` + strings.Repeat("y", 200_000), long},
		{"zeros of a power cut", "{\"a\":1}\n" + strings.Repeat("\x00", 5000), "{\"a\":1}\n"},
		{"not ours", "root:x:0", "root:x:0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "e")
			if err := os.WriteFile(path, []byte(tt.holds), 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := file.Open(path, file.Options{})
			want := tt.keeps
			if tt.name == "not ours" {
				if err == nil || !strings.Contains(err.Error(), path) {
					t.Errorf("opened %v, %v", s, err)
				}
			} else {
				if err != nil {
					t.Fatal(err)
				}
				if b, _ := os.ReadFile(path); string(b) != tt.keeps {
					t.Errorf("opened: %.60q", b)
				}
				emit(t, s, 1, 1)
				closed(t, s)
				b := sinktest.Batch(1, 1)
				want += string(sink.Trailseal.AppendLines(nil, &b))
			}
			if b, _ := os.ReadFile(path); string(b) != want {
				t.Errorf("left %.60q, want %.60q", b, want)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "e")
	s, err := file.Open(path, file.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Open(path, file.Options{}); !errors.Is(err, file.ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Errorf("second: %v", err)
	}
	closed(t, s)
	if s, err = file.Open(path, file.Options{}); err != nil {
		t.Fatalf("after close: %v", err)
	}
	closed(t, s)
	if err := s.Emit(t.Context(), sinktest.Batch(1, 1)); !errors.Is(err, sink.ErrClosed) {
		t.Errorf("emit after close: %v", err)
	}
	device := filepath.Join(dir, "device")
	if err := os.Symlink(os.DevNull, device); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{"folder": dir, "absent folder": filepath.Join(dir, "x", "e"), "device": device} {
		if _, err := file.Open(bad, file.Options{}); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

// missing returns the acknowledged ids that are on no whole line.
func missing(t *testing.T, all []string, acknowledged []string) (lost []string) {
	t.Helper()
	there := map[string]bool{}
	for _, l := range all {
		var e struct{ ID string }
		if err := json.Unmarshal([]byte(l), &e); err != nil {
			t.Fatalf("%q: %v", l, err)
		}
		there[e.ID] = true
	}
	for _, id := range acknowledged {
		if !there[id] {
			lost = append(lost, id)
		}
	}
	return lost
}

// batch returns events whose number and length depend on n.
func batch(worker, n int) sink.Batch {
	b := sink.Batch{}
	for i := range 1 + n%5 {
		id := fmt.Sprintf("%d-%d-%d", worker, n, i)
		record := fmt.Appendf(nil, `{"id":%q,"pad":%q}`, id, strings.Repeat("p", n*37%9000))
		b.Events = append(b.Events, sink.Event{Record: record, ID: id, Index: i})
	}
	return b
}
