package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// A worker at rest: the control for what follows.
func TestUntroubled(t *testing.T) {
	t.Parallel()
	s := newSite(t, newS3(t))
	s.hours(3)
	s.deliver()
	w := s.work(settings{})
	w.reached()
	s.hours(2)
	s.deliver()
	s.accountFor(w)
}

// slowed puts a proxy before the site's server, which delays each answer, so
// that trouble finds the worker at work.
func (s *site) slowed() (p *proxy, endpoint string) {
	s.t.Helper()
	p = newProxy(s.t)
	endpoint = p.to("s3", s.server.host+":7070", 7070)
	p.poison("s3", toxic{Name: "slow", Type: "latency", Stream: "downstream", Toxicity: 1, Attributes: map[string]int{"latency": 25, "jitter": 10}})
	return p, endpoint
}

// narrow lets a worker do little at once.
var narrow = []string{"--concurrency", "4"}

// Killed again and again under load, the worker goes on where it was.
func TestKilled(t *testing.T) {
	t.Parallel()
	s := newSite(t, newS3(t))
	s.hours(80)
	s.deliver()
	_, endpoint := s.slowed()
	w := s.work(settings{s3: endpoint, args: narrow})
	kills := 0
	for kills < 6 && w.emitted(len(s.expected)/10) {
		w.kill()
		w.start()
		kills++
	}
	if kills < 3 {
		t.Errorf("%d kills: it was at the end too soon", kills)
	}
	s.accountFor(w)
}

// The S3 server goes, with the sources and the sink, and comes back.
func TestServerStopped(t *testing.T) {
	t.Parallel()
	s := newSite(t, newS3(t))
	s.hours(80)
	s.deliver()
	_, endpoint := s.slowed()
	w := s.work(settings{s3: endpoint, args: narrow})
	if !w.emitted(len(s.expected) / 10) {
		t.Fatal("at the end too soon")
	}
	s.server.stop()
	w.notReady("s")
	time.Sleep(20 * time.Second)
	w.notReady("s")
	w.behind()
	s.server.start()
	s.server.ready()
	s.accountFor(w)
}

// The network is slow, cuts answers and requests off, and resets connections.
func TestNetwork(t *testing.T) {
	t.Parallel()
	s := newSite(t, newS3(t))
	s.hours(2)
	s.deliver()
	p := newProxy(t)
	w := s.work(settings{s3: p.to("s3", s.server.host+":7070", 7070), args: narrow})
	w.reached()
	for _, bad := range []toxic{
		{Type: "latency", Toxicity: 1, Attributes: map[string]int{"latency": 400, "jitter": 300}},
		{Type: "limit_data", Toxicity: 1, Attributes: map[string]int{"bytes": 1500}}, // in the middle of every log
		{Type: "limit_data", Stream: "upstream", Toxicity: 0.5, Attributes: map[string]int{"bytes": 3000}},
		{Type: "reset_peer", Toxicity: 0.5, Attributes: map[string]int{"timeout": 50}},
		{Type: "timeout", Toxicity: 1, Attributes: map[string]int{"timeout": 500}}, // nothing comes, then the end
		{Type: "slicer", Toxicity: 1, Attributes: map[string]int{"average_size": 50, "size_variation": 40, "delay": 500}},
	} {
		bad.Name = "bad"
		if bad.Stream == "" {
			bad.Stream = "downstream"
		}
		p.poison("s3", bad)
		s.hours(4)
		s.deliver()
		time.Sleep(6 * time.Second)
		p.heal("s3", "bad")
	}
	retried := 0.0
	for name, n := range w.metrics() {
		if strings.HasPrefix(name, "trailseal_aws_requests_total{") && strings.Contains(name, `code="none"`) {
			retried += n
		}
	}
	if retried < 5 {
		t.Errorf("%v requests without an answer: the network was too good", retried)
	}
	s.accountFor(w)
}

// Without room for the state nothing is passed by; once there is room again
// the worker goes on by itself.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	const size = 16 << 20 // SQLite's log alone takes up to four of these
	s := newSite(t, newS3(t))
	s.hours(2)
	s.deliver()
	disk := smallDisk(t, size)
	// Its own files are elsewhere: what is full is the state's disk alone.
	w := s.work(settings{args: []string{"--state", "file:/state/trailseal.state"}, hostConf: func(h *container.HostConfig) {
		h.Binds = append(h.Binds, disk+":/state")
	}})
	w.reached()
	if err := w.put("/state/filler", make([]byte, 2*size)); err == nil {
		t.Fatal("the disk is not full")
	}
	for n := range 200 { // each with a place of its own in the state, which has to grow
		s.chain(fmt.Sprintf("%012d", 500000000000+n), "eu-west-1")
	}
	s.hours(1)
	s.deliver()
	eventually(t, "the disk is full", func() error {
		_, st, err := w.at()
		for _, c := range st.Status.Chains {
			if strings.Contains(c.LastError, "disk is full") {
				return nil
			}
		}
		return errors.Join(err, fmt.Errorf("%d chains, none of which says that the disk is full", len(st.Status.Chains)))
	})
	time.Sleep(5 * time.Second)
	w.behind()
	if err := w.put("/state/filler", nil); err != nil {
		t.Fatal(err)
	}
	s.accountFor(w)
}

// smallDisk makes a volume of a few bytes and returns its name.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	c := engine(t)
	made, err := c.VolumeCreate(t.Context(), client.VolumeCreateOptions{
		Labels: map[string]string{label: ""}, Driver: "local",
		DriverOpts: map[string]string{"type": "tmpfs", "device": "tmpfs", "o": fmt.Sprintf("size=%d,uid=65532,gid=65532,mode=0700", size)},
	})
	if err != nil {
		t.Fatal(err)
	}
	name := made.Volume.Name
	t.Cleanup(func() {
		if _, err := c.VolumeRemove(context.Background(), name, client.VolumeRemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	})
	return name
}
