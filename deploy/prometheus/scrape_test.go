package prometheus

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
)

const patience = 30 * time.Second

// scrape returns the metrics of the real program, once it has emitted what a
// bucket and a queue of a fake AWS hold.
func scrape(t *testing.T) metrics {
	t.Helper()
	program := filepath.Join(t.TempDir(), "ingest")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../cmd/ingest").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	w := testtrail.New()
	c := w.Trail(testtrail.Options{}).Chain("111122223333", "us-east-1", time.Now().UTC().Add(-5*time.Hour))
	c.Hours(3)
	aws := testaws.New(t, w)
	cmd := exec.CommandContext(t.Context(), program,
		"--source", "s3://trail-bucket", "--queue", aws.Queue("trail").URL(), "--sink", "file:events", "--state", "file:state", "--listen", "127.0.0.1:0")
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), aws.Env()...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // it was told to end with the test's context
	url := listening(t, stderr)
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		text := get(t, url+"/metrics")
		if strings.Contains(text, `trailseal_digests_total{result="valid"} 4`) && strings.Contains(text, "trailseal_queue_messages{") {
			return parseMetrics(text)
		}
		if time.Now().After(end) {
			t.Fatalf("the worker does not get on:\n%s", text)
		}
	}
}

var address = regexp.MustCompile(`msg="Listening on" address=(\S+)`)

// listening returns the URL that a program says it listens on, and reads on.
func listening(t *testing.T, stderr io.Reader) string {
	t.Helper()
	lines := bufio.NewScanner(stderr)
	var said strings.Builder
	for lines.Scan() {
		if m := address.FindStringSubmatch(lines.Text()); m != nil {
			go func() { _, _ = io.Copy(io.Discard, stderr) }() // until the program ends
			return "http://" + m[1]
		}
		said.WriteString(lines.Text() + "\n")
	}
	t.Fatalf("the program ended:\n%s", said.String())
	return ""
}

func get(t *testing.T, url string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
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
		t.Fatalf("%s: %s, %v\n%s", url, answer.Status, err, b)
	}
	return string(b)
}
