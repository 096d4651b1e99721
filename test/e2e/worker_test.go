package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

const (
	opsPort  = "9090/tcp"
	home     = "/var/lib/ingest"
	keysPath = home + "/keys.json" // the only place that can be written
)

// settings are what differs between workers. The zero value polls each second
// and speaks to the site's server.
type settings struct {
	name     string // beside another one
	s3, sqs  string // endpoints in the network
	args     []string
	hostConf func(*container.HostConfig)
}

// worker is a container of the image that runs ingest.
type worker struct {
	*box
	site *site
}

// hardened is how the image is meant to be run.
func hardened(h *container.HostConfig) {
	h.ReadonlyRootfs, h.CapDrop, h.SecurityOpt = true, []string{"ALL"}, []string{"no-new-privileges"}
}

// work starts a worker for a site: to a file and to the site's bucket of proven
// events.
func (s *site) work(o settings) *worker {
	s.t.Helper()
	if o.s3 == "" {
		o.s3 = s.server.inside
	}
	args := append([]string{
		"--source", "s3://" + s.bucket, "--keys", keysPath, "--since", "2026-02-27", "--poll", "1s", "--grace", "1h",
		"--sink", "s3://" + s.sink, "--sink", "file:events.ndjson", "--file-every", "0", "--findings", "file:findings.ndjson",
	}, o.args...)
	b := run(s.t, image(s.t, ours), "ingest-"+o.name+plainName(s.t), []string{opsPort},
		testcontainers.WithEnv(environment(s.t, o.s3, o.sqs)), testcontainers.WithCmd(args...),
		withFile(s.t, keysPath, s.keysFile()),
		hosted(hardened), hosted(func(h *container.HostConfig) {
			if o.hostConf != nil {
				o.hostConf(h)
			}
		}),
		oftenChecked, testcontainers.WithWaitStrategyAndDeadline(patience, wait.ForHealthCheck()))
	return &worker{b, s}
}

// environment is how the programs find servers, and nothing but them.
func environment(t *testing.T, s3, sqs string) map[string]string {
	e := map[string]string{
		"AWS_ENDPOINT_URL_S3": s3, "AWS_ACCESS_KEY_ID": accessKey(t), "AWS_SECRET_ACCESS_KEY": secretKey,
		"AWS_REGION": region, "AWS_EC2_METADATA_DISABLED": "true",
	}
	if sqs != "" {
		e["AWS_ENDPOINT_URL_SQS"] = sqs
	}
	return e
}

// oftenChecked asks for the image's own health check each second.
var oftenChecked = testcontainers.WithConfigModifier(func(c *container.Config) {
	c.Healthcheck = &container.HealthConfig{Interval: time.Second}
})

// status is what /statusz says.
type status struct {
	Ready  bool
	Status struct {
		Events, Findings int
		Chains           []struct {
			Account       string
			VerifiedUntil time.Time `json:"verified_until"`
			LastError     string    `json:"last_error"`
		}
	}
}

func (w *worker) status() (s status, err error) {
	code, b, err := get(w.url(opsPort) + "/statusz?format=json")
	if err != nil {
		return s, err
	}
	if code != http.StatusOK {
		return s, fmt.Errorf("HTTP %d", code)
	}
	return s, json.Unmarshal(b, &s)
}

// at returns how many chains are proven to the end of what was delivered.
func (w *worker) at() (ends int, s status, err error) {
	s, err = w.status()
	until := map[string]time.Time{}
	for _, c := range s.Status.Chains {
		until[c.Account] = c.VerifiedUntil
	}
	for _, c := range w.site.chains {
		if until[c.Place().Account].Equal(c.Now()) {
			ends++
		}
	}
	return ends, s, err
}

// reached waits until every chain is proven to its end.
func (w *worker) reached() {
	w.t.Helper()
	eventually(w.t, w.host+" is at the end", func() error {
		ends, s, err := w.at()
		if err == nil && ends < len(w.site.chains) {
			err = fmt.Errorf("%d of %d chains are at their end: %+v", ends, len(w.site.chains), s.Status)
		}
		return err
	})
}

// behind demands that there is still something to do, so that trouble meets a
// worker that works.
func (w *worker) behind() {
	w.t.Helper()
	if ends, _, err := w.at(); err == nil && ends == len(w.site.chains) {
		w.t.Fatalf("%s is at the end already: this tests nothing", w.host)
	}
}

// emitted waits until a worker has emitted so many events since it was started.
// It reports whether there is still something to do.
func (w *worker) emitted(n int) (more bool) {
	w.t.Helper()
	eventually(w.t, w.host+" emits", func() error {
		ends, s, err := w.at()
		if more = ends < len(w.site.chains); err == nil && more && s.Status.Events < n {
			err = fmt.Errorf("%d events, want %d", s.Status.Events, n)
		}
		return err
	})
	return more
}

// metrics returns what /metrics shows.
func (w *worker) metrics() map[string]float64 {
	w.t.Helper()
	code, b, err := get(w.url(opsPort) + "/metrics")
	if err != nil || code != http.StatusOK {
		w.t.Fatalf("/metrics: HTTP %d, %v", code, err)
	}
	all := map[string]float64{}
	for line := range strings.Lines(string(b)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		if !ok {
			name, value, ok = strings.Cut(strings.TrimSpace(line), " ")
		} else {
			name += "}"
		}
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil && !strings.HasPrefix(line, "#") {
			all[name] = v
		}
	}
	return all
}

// accounted demands that the worker knows where everything is.
func (w *worker) accounted() {
	w.t.Helper()
	kinds := 0
	for name, v := range w.metrics() {
		if !strings.HasPrefix(name, "trailseal_unaccounted{") {
			continue
		}
		kinds++
		if v != 0 {
			w.t.Errorf("%s: %s is %v", w.host, name, v)
		}
	}
	if kinds < 2 {
		w.t.Errorf("%s accounts for %d kinds of things", w.host, kinds)
	}
}

// notReady waits until /readyz says that something named so is out of order,
// while the container is healthy: a restart would not help.
func (w *worker) notReady(what string) {
	w.t.Helper()
	eventually(w.t, w.host+" is not ready", func() error {
		code, b, err := get(w.url(opsPort) + "/readyz")
		if err == nil && (code != http.StatusServiceUnavailable || !strings.Contains(string(b), "fail "+what)) {
			err = fmt.Errorf("HTTP %d: %s", code, b)
		}
		return err
	})
	s, err := w.State(w.t.Context())
	if err != nil || s.Health == nil || s.Health.Status != container.Healthy {
		w.t.Errorf("%s: %+v, %v; want healthy", w.host, s, err)
	}
}

// end stops the worker in good order and returns what its file holds. Nothing
// may have been found but that the trail has no digests after its end, which
// is long ago.
func (w *worker) end() tally {
	w.t.Helper()
	w.accounted()
	w.stop()
	w.ended(0)
	return w.left()
}

// left reads what the worker has left behind.
func (w *worker) left() tally {
	w.t.Helper()
	files := w.files(home)
	for _, line := range lines(w.t, "findings", files["findings.ndjson"]) {
		var f struct{ Class, Detail string }
		if err := json.Unmarshal([]byte(line), &f); err != nil || f.Class != "coverage" || !strings.HasPrefix(f.Detail, "no digest after") {
			w.t.Errorf("%s finds: %s (%v)", w.host, line, err)
		}
	}
	if len(files["events.ndjson"]) == 0 {
		w.t.Error(errors.New("no events in " + w.host))
	}
	return count(w.t, lines(w.t, "events", files["events.ndjson"]))
}

// accountFor ends a worker and demands every event: at least once in its file,
// once in the bucket.
func (s *site) accountFor(w *worker) {
	s.t.Helper()
	w.reached()
	n := w.end()
	s.complete("file of "+w.host, n)
	s.exactlyOnce()
	s.t.Logf("%d events of %d log files, %d repeats in the file", len(s.expected), s.logs(), n.repeats())
}
