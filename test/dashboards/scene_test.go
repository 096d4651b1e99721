package dashboards

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// scene is a worker on the built-in sample and on a feed, and a Prometheus that
// watches it with the rules of deploy/prometheus.
type scene struct {
	prometheus, ingest string // addresses
	feed               *feed
	begin, end         time.Time
	step, rate         time.Duration // of ranges; $__rate_interval
	findings           string        // the worker's file
}

// play runs the scene for so many ticks.
func play(t *testing.T, as scene, sample bool, ticks int, tick time.Duration) *scene {
	t.Helper()
	program := prometheusProgram(t)
	s := &as
	s.feed = newFeed(t, ticks, tick)
	dir := t.TempDir()
	s.findings = filepath.Join(dir, "findings.ndjson")
	s.startIngest(t, dir, sample)
	s.startPrometheus(t, program, dir)
	s.begin = time.Now()
	for n := range ticks {
		began := time.Now()
		s.feed.tick(n)
		time.Sleep(tick - time.Since(began))
	}
	s.settle(t)
	s.end = time.Now()
	return s
}

// settle waits until the feed is dealt with, and until Prometheus has seen it.
func (s *scene) settle(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(90 * time.Second); ; {
		behind := s.behind(t)
		if len(behind) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("behind: %q", behind)
		}
		time.Sleep(200 * time.Millisecond)
	}
	time.Sleep(3 * time.Second)
}

// behind returns the chains of the feed that the worker has not followed to
// their end.
func (s *scene) behind(t *testing.T) (names []string) {
	t.Helper()
	var status struct {
		Status struct {
			Chains []struct {
				Account, Region string
				VerifiedUntil   time.Time `json:"verified_until"`
				LastError       string    `json:"last_error"`
			}
		}
	}
	r, err := http.Get("http://" + s.ingest + "/statusz?format=json")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if err := json.NewDecoder(r.Body).Decode(&status); err != nil {
		t.Fatal(err)
	}
	for _, fed := range s.feed.chains {
		name := fed.Place().Account + " " + fed.Place().Region + ": not there"
		for _, c := range status.Status.Chains {
			if c.Account == fed.Place().Account && c.Region == fed.Place().Region {
				name = ""
				if !c.VerifiedUntil.Equal(fed.Now()) {
					name = c.Account + " " + c.Region + ": " + c.VerifiedUntil.String() + " " + c.LastError
				}
				break
			}
		}
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}

// prometheusProgram returns where Prometheus is. Where it is not the test is
// skipped, but not in CI.
func prometheusProgram(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("prometheus")
	if err == nil {
		return path
	}
	const text = "no query of the dashboards and rules was run: there is no prometheus on the PATH (Debian: apt-get install prometheus)"
	if os.Getenv("CI") == "true" {
		t.Fatal(text)
	}
	t.Skip(text)
	return ""
}

func (s *scene) startIngest(t *testing.T, dir string, sample bool) {
	t.Helper()
	program := filepath.Join(dir, "ingest")
	seeSource(t)
	if out, err := exec.Command("go", "build", "-o", program, "github.com/trailseal/trailseal/cmd/ingest").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	s.ingest = freeAddress(t)
	args := []string{
		"--source", "s3://" + bucket, "--queue", s.feed.queue.URL(), "--since", "2026-03-01", "--poll", "2s", "--grace", "96h",
		"--memory", "192MiB", "--sink", "s3://" + sinkBucket + "/events", "--sink", "file:" + filepath.Join(dir, "events.ndjson"),
		"--findings", "file:" + s.findings, "--state", "file:" + filepath.Join(dir, "state"), "--listen", s.ingest, "--log-level", "error",
	}
	if sample {
		args = append(args, "--source", filepath.Join(top, "test", "sample"))
	}
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") || strings.HasPrefix(v, "TRAILSEAL_") })
	start(t, exec.Command(program, args...), append(env, s.feed.aws.Env()...), "http://"+s.ingest+"/livez")
}

// startPrometheus starts one that scrapes once a second.
func (s *scene) startPrometheus(t *testing.T, program, dir string) {
	t.Helper()
	rules, err := filepath.Abs(filepath.Join(top, "deploy", "prometheus"))
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, name := range ruleFiles(t) {
		files = append(files, "  - "+filepath.Join(rules, filepath.Base(name)))
	}
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf(`global:
  scrape_interval: 1s
  evaluation_interval: 1s
rule_files:
%s
scrape_configs:
  - job_name: trailseal
    static_configs:
      - targets: [%q]
`, strings.Join(files, "\n"), s.ingest)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.prometheus = freeAddress(t)
	start(t, exec.Command(program, "--config.file", config, "--storage.tsdb.path", filepath.Join(dir, "tsdb"),
		"--web.listen-address", s.prometheus, "--log.level", "warn"), os.Environ(), "http://"+s.prometheus+"/-/ready")
}

// start starts a program that ends with the test, and waits until an address
// answers.
func start(t *testing.T, cmd *exec.Cmd, env []string, ready string) {
	t.Helper()
	var output bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stop := func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() && output.Len() > 0 {
			t.Logf("%s:\n%s", filepath.Base(cmd.Path), output.String())
		}
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		if answers(t.Context(), ready) {
			t.Cleanup(stop)
			return
		}
		select {
		case err := <-ended:
			t.Fatalf("%s ended: %v\n%s", cmd.Path, err, output.String())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Cleanup(stop)
			t.Fatalf("%s does not answer", ready)
		}
	}
}

func answers(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return false
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	defer a.Body.Close()
	return a.StatusCode == http.StatusOK
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// seeSource looks at what go build looks at: the go command keeps a test's
// result until a file changes that the test has looked at.
func seeSource(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(top, func(path string, _ os.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".go" {
			_, err = os.Stat(path)
		}
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
