package deploy

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// worker is the program as the task definition starts it.
type worker struct {
	t            *testing.T
	env          []string
	listen, told string
	stop         func()
}

// start starts the program. Its keys come from a file, since moto has none; its
// state lies here; and it looks into the bucket once.
func (d *deployed) start() *worker {
	d.t.Helper()
	dir := d.t.TempDir()
	keys, err := filepath.Abs(sampleFolder + "/keys.json")
	if err != nil {
		d.t.Fatal(err)
	}
	w := &worker{t: d.t, listen: freePort(d.t), told: filepath.Join(dir, "findings.ndjson")}
	w.env = append(slices.Clone(d.task),
		"AWS_ACCESS_KEY_ID=AKIATEST", "AWS_SECRET_ACCESS_KEY=test", "AWS_ENDPOINT_URL="+d.url, "TRAILSEAL_KEYS="+keys,
		"TRAILSEAL_STATE=file:"+filepath.Join(dir, "state"), "TRAILSEAL_POLL=1h", "TRAILSEAL_LISTEN="+w.listen, "TRAILSEAL_FINDINGS=file:"+w.told)
	cmd, output := ingest(d.t, w.env)
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	w.stop = func() {
		d.t.Helper()
		if cmd.Process.Signal(syscall.SIGTERM) != nil {
			return // it has ended
		}
		if err := <-ended; err != nil {
			d.t.Errorf("ingest: %v\n%s", err, output)
		}
	}
	d.t.Cleanup(func() {
		w.stop()
		if d.t.Failed() {
			d.t.Logf("ingest said:\n%s", output)
		}
	})
	return w
}

func (w *worker) get(path string) (int, string) {
	r, err := http.Get("http://" + w.listen + path)
	if err != nil {
		return 0, err.Error()
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, err.Error()
	}
	return r.StatusCode, string(b)
}

// ready waits until the program has looked at its source and its queue.
func (w *worker) ready() {
	w.t.Helper()
	await(w.t, time.Minute, "ready", func() error {
		if status, text := w.get("/readyz"); status != http.StatusOK {
			return errors.New(text)
		}
		return nil
	})
}

// metric returns a series' value, 0 where there is none.
func (w *worker) metric(series string) int {
	_, text := w.get("/metrics")
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (\d+)$`).FindStringSubmatch(text)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

func (w *worker) findings() string {
	b, err := os.ReadFile(w.told)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// check runs ingest check with the same settings beside the program, as the
// README says: all that it tries is there.
func (w *worker) check() {
	w.t.Helper()
	cmd, output := ingest(w.t, w.env, "check", "--once", "--state", "memory", "--listen=")
	if err := cmd.Run(); err != nil {
		w.t.Errorf("ingest check: %v\n%s", err, output)
	}
}
