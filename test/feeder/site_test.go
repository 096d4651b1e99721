package main

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/notify"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/internal/verify"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
	"github.com/trailseal/trailseal/test/s3server"
)

// On a real S3 server the trail is what it was in memory, the queue hears of it
// in S3's words, and whoever asks for a plant is answered.
func TestServers(t *testing.T) {
	queues := testaws.New(t, testtrail.New())
	server := s3server.Start(t)
	for _, v := range append(server.Env(), "AWS_ENDPOINT_URL_SQS="+queues.URL) {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	log := slog.New(slog.DiscardHandler)
	s := settings{bucket: bucket, sinkBucket: "proven-events", queue: "trail", keys: filepath.Join(t.TempDir(), "keys.json"),
		rhythm: rhythm{history: 3 * time.Hour, pace: 30 * time.Minute, delay: 27 * time.Minute}}
	to, err := open(t.Context(), s, log)
	if err != nil {
		t.Fatal(err)
	}
	f := newFeeder(s.bucket, s.rhythm, time.Now, log)
	f.to = to
	if code, _ := ask(t, f, http.MethodGet, "/healthz"); code != http.StatusServiceUnavailable {
		t.Errorf("healthy before it began: %d", code)
	}
	if code, _ := ask(t, f, http.MethodPost, "/plant/stop"); code != http.StatusServiceUnavailable {
		t.Errorf("planted before it began: %d", code)
	}
	if err := f.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := writeKeys(s.keys, f.keys()); err != nil {
		t.Fatal(err)
	}
	f.ready.Store(true)
	r := verifiedThere(t, s.keys)
	if r.Verdict != report.Intact || len(r.Chains) != 2 {
		t.Errorf("%s, %d chains: %v %v", r.Verdict, len(r.Chains), r.Findings, r.Unverified)
	}

	for _, row := range []struct {
		method, path string
		code         int
		want         string
	}{
		{"GET", "/healthz", 200, "ok\n"},
		{"GET", "/", 200, "POST /plant/log-modified "},
		{"GET", "/x", 404, ""},
		{"GET", "/plant/stop", 405, ""},
		{"POST", "/plant/x", 404, `"x": not one of log-modified, `},
		{"POST", "/plant/stop", 200, "planted in account 190019001900: "},
	} {
		if code, body := ask(t, f, row.method, row.path); code != row.code || !strings.HasPrefix(body, row.want) {
			t.Errorf("%s %s: %d %s", row.method, row.path, code, body)
		}
	}
	bodies := queues.Queue("trail").Bodies()
	if len(bodies) != 1 {
		t.Fatalf("%d messages", len(bodies))
	}
	m, err := notify.Parse([]byte(bodies[0]))
	if err != nil || m.Format != notify.S3 || len(m.Created) != 1 {
		t.Fatalf("%v: %s", err, bodies[0])
	}
	if key, err := trail.ParseDigestKey(m.Created[0].Key); err != nil || key.Account != account(900) {
		t.Errorf("%v: %s", err, bodies[0])
	}

	if _, err := open(t.Context(), s, log); !errors.Is(err, errNotEmpty) {
		t.Errorf("a second feeder: %v", err)
	}
}

func ask(t *testing.T, h http.Handler, method, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	b, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(b)
}

// verifiedThere is what the verifier says of the server's bucket, with saved
// keys.
func verifiedThere(t *testing.T, keys string) *report.Report {
	t.Helper()
	client, err := awsapi.Load(t.Context(), awsapi.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(keys)
	if err != nil {
		t.Fatal(err)
	}
	set, err := digest.ParseKeySet(b)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	r, err := verify.Run(t.Context(), verify.Config{
		Source: source.Source{Bucket: bucket, Name: "s3://" + bucket}, Start: now.Add(-2 * time.Hour), End: now, Now: now, Grace: 2 * time.Hour,
		Concurrency: 4, Keys: chain.Saved(set), KeysFrom: keys, Fetcher: fetch.New(client.S3(), 4),
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}
