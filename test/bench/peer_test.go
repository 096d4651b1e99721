package bench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// peer returns the path of test/peer, a general-purpose pipeline that reads
// the same log files and verifies nothing. TRAILSEAL_PEER names one that is
// built; without it a benchmark builds it, which takes minutes and fetches
// modules, and a test goes without: then it is "".
func peer(tb testing.TB) string {
	tb.Helper()
	if path := os.Getenv("TRAILSEAL_PEER"); path != "" {
		return path
	}
	if _, benchmark := tb.(*testing.B); !benchmark {
		tb.Log("TRAILSEAL_PEER is not set: no peer to compare with")
		return ""
	}
	path, err := buildPeer()
	if err != nil {
		tb.Log("no peer to compare with: ", err)
		return ""
	}
	return path
}

var buildPeer = sync.OnceValues(func() (string, error) {
	dir, err := build()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "peer")
	cmd := exec.Command("go", "build", "-o", path, ".")
	cmd.Dir, cmd.Env = "../peer", append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build test/peer: %w\n%s", err, out)
	}
	return path, nil
})

// peer is the peer on the same objects, nil where there is none or nothing to
// compare: it reads one object after another, and so knows no chains.
func (s site) peer(m meter, srv *server) *errand {
	m.Helper()
	if s.Queue || s.Chains == 1 {
		return nil
	}
	path := peer(m)
	if path == "" {
		return nil
	}
	return &errand{Env: srv.env, Discard: true, Args: []string{path, "s3://" + bucket}}
}

// beside reports what the peer took, and ours beside it.
func (s site) beside(m meter, ours, peers total, events int) {
	peers.report(m, "peer-")
	m.ReportMetric(peers.per(s.logs(), peers.wall), "peer-logs/s")
	m.ReportMetric(peers.per(events, peers.cpu), "peer-events/cpu-s")
	m.ReportMetric(ours.per(1, ours.wall)/peers.per(1, peers.wall), "x-peer")
	m.ReportMetric(ours.per(1, ours.cpu)/peers.per(1, peers.cpu), "x-peer-cpu")
}

// What the peer is measured at is that it emits every event.
func TestPeerEmitsAll(t *testing.T) {
	path := peer(t)
	if path == "" {
		t.Skip("no peer")
	}
	s := site{Chains: 2, Hours: 2, Logs: 3, LogSize: 20 << 10}
	srv := s.start(t)
	cmd := exec.Command(path, "s3://"+bucket)
	cmd.Env = srv.env
	out, err := cmd.Output()
	if n, want := bytes.Count(out, []byte(`"eventID"`)), s.logs()*s.events(); err != nil || n != want || bytes.Count(out, []byte("\n")) != want {
		t.Errorf("%d events, want %d, each a line; %v", n, want, err)
	}
}
