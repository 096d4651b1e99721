package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// seen makes the go command look at what the test's programs are built from and
// read: it keeps a result until a file changes that the test has looked at.
func seen(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir("../..", func(path string, e fs.DirEntry, err error) error {
		if err == nil && (filepath.Ext(path) == ".go" || filepath.Ext(path) == ".yml") {
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func small(t *testing.T) options {
	t.Helper()
	seen(t)
	return options{dir: t.TempDir(), pace: 10 * time.Minute, history: 6 * time.Hour, anyPort: true, every: time.Second}
}

func started(t *testing.T, o options) *stack {
	t.Helper()
	s, err := start(t.Context(), o)
	t.Cleanup(s.stop)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// limit is for a machine that is busy with other tests.
const limit = 2 * time.Minute

// within waits until ok says that it is so; what it returns besides is told if
// it never is.
func within(t *testing.T, limit time.Duration, what string, ok func() (bool, any)) {
	t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(100 * time.Millisecond) {
		done, state := ok()
		if done {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after %s not: %s: %v", limit, what, state)
		}
	}
}

func ask(t *testing.T, method, url string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s, %v: %s", method, url, answer.Status, err, b)
	}
	return string(b)
}

// metrics returns the worker's, by name and labels as they are written.
func (s *stack) metrics(t *testing.T) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	lines := bufio.NewScanner(strings.NewReader(ask(t, http.MethodGet, "http://"+host(s.ingest.url)+"/metrics")))
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil {
			all[name] = v
		}
	}
	return all
}

// found returns how many findings there are of each class that has any.
func (s *stack) found(t *testing.T) map[string]float64 {
	t.Helper()
	found := map[string]float64{}
	for name, v := range s.metrics(t) {
		if class, ok := strings.CutPrefix(name, `trailseal_findings_total{class="`); ok && v > 0 {
			found[strings.TrimSuffix(class, `"}`)] = v
		}
	}
	return found
}

// firing returns the names of the alerts that fire in Prometheus, and those
// that reached Alertmanager.
func (s *stack) firing(t *testing.T) (prometheus, alertmanager []string) {
	t.Helper()
	var of struct {
		Data struct {
			Alerts []struct {
				State  string
				Labels map[string]string
			}
		}
	}
	if err := json.Unmarshal([]byte(ask(t, http.MethodGet, "http://"+host(s.prometheus.url)+"/api/v1/alerts")), &of); err != nil {
		t.Fatal(err)
	}
	for _, a := range of.Data.Alerts {
		if a.State == "firing" {
			prometheus = append(prometheus, a.Labels["alertname"]+" "+a.Labels["class"])
		}
	}
	var at []struct{ Labels map[string]string }
	if err := json.Unmarshal([]byte(ask(t, http.MethodGet, "http://"+host(s.alertmanager.url)+"/api/v2/alerts")), &at); err != nil {
		t.Fatal(err)
	}
	for _, a := range at {
		alertmanager = append(alertmanager, a.Labels["alertname"]+" "+a.Labels["class"])
	}
	slices.Sort(prometheus)
	slices.Sort(alertmanager)
	return prometheus, alertmanager
}

// Nothing is found and no alert fires until something is planted; then each
// plant is found as what it is, and its alert fires and arrives.
func TestStack(t *testing.T) {
	s := started(t, small(t))
	// In six hours each of the six chains has five digests or more: how many depends on the minute.
	within(t, limit, "proven events", func() (bool, any) {
		m := s.metrics(t)
		return m[`trailseal_digests_total{result="valid"}`] >= 6*5 && m["trailseal_in_flight_bytes"] == 0, m
	})
	if b, err := os.ReadFile(s.path("events.ndjson")); err != nil || strings.Count(string(b), "\n") < 50 {
		t.Errorf("%d bytes of events, %v", len(b), err)
	}
	if found := s.found(t); len(found) > 0 {
		t.Fatalf("nothing was planted, and found is %v", found)
	}

	plant := func(name string) { t.Log(ask(t, http.MethodPost, s.feeder.url+"plant/"+name)) }
	want := map[string]float64{}
	for _, p := range []struct {
		name, class string
		n           float64
	}{
		{"log-planted", "", 0}, // never read: it must not appear with those that follow
		{"log-modified", "log-modified", 1},
		{"stop", "gap", 2}, // the call, and the hours without logging
		{"digest-missing", "digest-missing", 1},
		{"late", "coverage", 1},
	} {
		plant(p.name)
		if p.class == "" {
			continue
		}
		want[p.class] = p.n
		within(t, limit, p.class+" being found", func() (bool, any) { return s.found(t)[p.class] == p.n, s.found(t) })
	}
	if found := s.found(t); fmt.Sprint(found) != fmt.Sprint(want) {
		t.Errorf("found %v, want %v", found, want)
	}
	// The account of the planted log file is followed; the file's events, which
	// are those of another account, are nowhere.
	b, err := os.ReadFile(s.path("events.ndjson"))
	if err != nil || !strings.Contains(string(b), `"recipientAccountId":"190019001900"`) || strings.Contains(string(b), `"recipientAccountId":"111122223333"`) {
		t.Errorf("%v, %d bytes of events: none of the account, or those of the planted log file", err, len(b))
	}
	for name, v := range s.metrics(t) {
		if strings.HasPrefix(name, "trailseal_unaccounted") && v != 0 {
			t.Errorf("%s %v", name, v)
		}
	}
	t.Run("alerts", func(t *testing.T) {
		if s.prometheus == nil || s.alertmanager == nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("not installed: %v", s.absent)
			}
			t.Skipf("not installed, so no alert is tried: %v", s.absent)
		}
		want := []string{
			"TrailsealGapFound gap", "TrailsealHoursUncovered coverage",
			"TrailsealTamperingFound digest-missing", "TrailsealTamperingFound log-modified",
		}
		ask(t, http.MethodGet, s.prometheus.url) // what a person is told to open is there
		within(t, limit, "alerts", func() (bool, any) {
			prometheus, alertmanager := s.firing(t)
			return slices.Equal(prometheus, want) && slices.Equal(alertmanager, want), [][]string{prometheus, alertmanager}
		})
	})
}

// What is not installed is told, the rest runs, and a program that ends takes
// the stack with it.
func TestStackOfGoAlone(t *testing.T) {
	program, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	only := t.TempDir()
	if err := os.Symlink(program, filepath.Join(only, filepath.Base(program))); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", only)
	o := small(t)
	o.plants = "log-modified"
	s := started(t, o)
	if !slices.Equal(s.absent, []string{"Alertmanager", "Prometheus", "Grafana"}) {
		t.Errorf("absent %v", s.absent)
	}
	var b strings.Builder
	s.describe(&b)
	for _, line := range []string{"Prometheus    not installed: it does not run\n", "ingest        " + s.ingest.url + "\n", "curl -X POST " + s.feeder.url + "plant/log-modified\n"} {
		if !strings.Contains(b.String(), line) {
			t.Errorf("no %q in\n%s", line, b.String())
		}
	}
	within(t, limit, "what was planted at the start", func() (bool, any) { return s.found(t)["log-modified"] == 1, s.found(t) })
	if err := s.ingest.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.wait(ctx); err == nil || !strings.HasPrefix(err.Error(), "ingest ended: signal: killed\n") {
		t.Errorf("%v", err)
	}
	s.stop()
	for _, p := range s.parts {
		select {
		case <-p.exited:
		default:
			t.Errorf("%s still runs", p.name)
		}
	}
}
