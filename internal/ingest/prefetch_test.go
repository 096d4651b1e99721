package ingest_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// logs returns the bytes of log files with one event each.
func (s *site) logs(n int) (bodies [][]byte) {
	for range n {
		bodies = append(bodies, s.Log(1))
	}
	return bodies
}

// emittedAfter runs a worker that goes on until n more events of an account are emitted, and
// returns how long that takes, at most a limit. Other chains need not come to their ends.
func (s *site) emittedAfter(account string, n int, most time.Duration) time.Duration {
	done := make(chan struct{})
	var emitted atomic.Int64
	s.sink.after = func(b sink.Batch) {
		if strings.Contains(b.Log.Key, account) && emitted.Add(int64(len(b.Events))) == int64(n) {
			close(done)
		}
	}
	s.cfg.Poll = time.Hour
	_, _, stop := s.begin()
	defer stop()
	began := time.Now()
	select {
	case <-done:
	case <-time.After(most):
	}
	return time.Since(began)
}

// Digests of a chain are processed one after the other. The latency of their log files is waited
// for side by side, by as many reads as may be in flight.
func TestLatencyOfAChain(t *testing.T) {
	for _, tt := range []struct {
		options     testtrail.Options
		concurrency int
		most        int64
		took        time.Duration
	}{
		{testtrail.Options{}, 1, 2, 60 * time.Second},
		{testtrail.Options{}, 8, 16, 20 * time.Second},
		{testtrail.Options{}, 160, 45, 15 * time.Second},
		{testtrail.Options{Prefix: "a/prefix", Organization: "o-abcdefghij"}, 160, 45, 20 * time.Second},
	} {
		withSite(t, fmt.Sprintf("%d at once, %+v", tt.concurrency, tt.options), 0, func(s *site) {
			s.c = s.Trail(tt.options).Chain(account, region, day)
			for range 48 {
				s.c.Hour(s.Log(1))
			}
			s.Latency, s.cfg.Concurrency = time.Second, tt.concurrency
			s.hooks.reads = &counter{}
			began := time.Now()
			s.run()
			if took := time.Since(began); took > tt.took || s.hooks.reads.most.Load() > tt.most {
				s.t.Errorf("%s, %d at once", took, s.hooks.reads.most.Load())
			}
			s.expect()
		})
	}
}

// A forged digest does not make the worker read what it lists, wherever that is.
func TestForgedDigestAsksForNothing(t *testing.T) {
	for _, folder := range []string{"AWSLogs", "secret"} {
		withSite(t, folder, 6, func(s *site) {
			s.EditLog(s.digest(3), func(b []byte) []byte {
				return bytes.ReplaceAll(b, []byte(`"s3Object":"AWSLogs`), []byte(`"s3Object": "`+folder))
			})
			s.lose(3)
			s.run()
			for _, l := range s.c.Issued[3].Logs {
				if key := strings.Replace(l.Key, "AWSLogs", folder, 1); s.Reads(bucket, key) != 0 {
					s.t.Errorf("%s was read", key)
				}
			}
			s.expect("digest-signature")
		})
	}
}

// A chain that waits does not ask again and again for what comes after.
func TestChainThatWaitsAsksForLittle(t *testing.T) {
	withSite(t, "", 0, func(s *site) {
		for range 17 {
			s.c.Hour(s.logs(10)...)
		}
		denied := s.c.Issued[1].Logs[0]
		s.deny(denied, finding.ErrKMSDenied)
		s.Latency, s.cfg.Concurrency, s.cfg.Poll = 30*time.Millisecond, 160, time.Hour
		s.hooks.reads = &counter{}
		s.during(time.Hour)
		tries := int64(s.Reads(denied.Bucket, denied.Key))
		if n := s.hooks.reads.all.Load(); tries < 10 || n > tries+170 {
			s.t.Errorf("%d reads of log files in an hour, %d of them of the one that is denied", n, tries)
		}
	})
}

// A chain whose sink is slow asks for little that it would have to ask for anew.
func TestSlowSinkAsksForLittle(t *testing.T) {
	withSite(t, "", 0, func(s *site) {
		const digests, logs, maxPrefetch = 60, 4, 16
		for range digests {
			s.c.Hour(s.logs(logs)...)
		}
		s.Latency, s.cfg.Concurrency = 30*time.Millisecond, 160
		s.sink.before = func(context.Context, sink.Batch) error { time.Sleep(12 * time.Second); return nil }
		s.hooks.reads = &counter{}
		s.run()
		if n := s.hooks.reads.all.Load(); n > (digests+maxPrefetch)*logs {
			s.t.Errorf("%d reads of %d log files", n, digests*logs)
		}
		s.expect()
	})
}

// The log files of a digest that is too large to be read ahead have all slots when it is
// processed.
func TestLargeDigestAmongSmall(t *testing.T) {
	withSite(t, "", 0, func(s *site) {
		for i := range 12 {
			s.c.Hour(s.logs(map[bool]int{true: 1500, false: 30}[i == 4])...)
		}
		s.Latency, s.cfg.Memory = 100*time.Millisecond, 1<<30
		began := time.Now()
		s.run()
		if took := time.Since(began); took > 27*time.Second { // 1,830 log files, 8 at once: 23 s
			s.t.Errorf("took %s", took)
		}
		s.expect()
	})
}

// Digests that are slow to come hold up none of those before them, nor another chain.
func TestSlowDigests(t *testing.T) {
	slow := func(s *site, from, to int) {
		s.Latency = 30 * time.Millisecond
		for _, d := range s.c.Issued[from:to] {
			s.Fail(bucket, d.Key, &testtrail.Fault{Delay: 10 * time.Minute})
		}
	}
	withSite(t, "of the same chain", 20, func(s *site) {
		slow(s, 12, 13)
		if took := s.emittedAfter(account, 10*5, time.Hour); took > time.Minute {
			s.t.Errorf("what comes before it took %s", took)
		}
	})
	withSite(t, "of another chain", 20, func(s *site) {
		slow(s, 0, 21)
		s.trail.Chain(other, region, day).Hours(20)
		if took := s.emittedAfter(other, 20*5, time.Hour); took > time.Minute {
			s.t.Errorf("the other chain took %s", took)
		}
	})
}

// Many chains whose reads stall, or that have a long backlog, leave another chain its slots.
func TestManyStallingChains(t *testing.T) {
	for _, tt := range []struct {
		name                             string
		chains, hours, logs, concurrency int
		err                              error // of a read that stalled
	}{
		{"reads stall", 40, 1, 8, 8, nil},
		{"reads stall and fail", 40, 1, 8, 8, errReset},
		{"backlog", 64, 6, 1, 160, nil},
	} {
		withSite(t, tt.name, 0, func(s *site) {
			for i := range tt.chains {
				c := s.trail.Chain(fmt.Sprintf("%012d", 200000000000+i), region, day)
				for range tt.hours {
					c.Hour(s.logs(tt.logs)...)
				}
			}
			s.trail.Chain(other, region, day).Hour(s.logs(5)...)
			s.at(day.Add(time.Duration(tt.hours+1) * time.Hour))
			s.Latency, s.cfg.Concurrency, s.cfg.Memory = time.Second, tt.concurrency, 512<<20
			s.hooks.get = func(ctx context.Context, o trail.Object) error {
				if strings.Contains(o.Key, "-Digest/") || strings.Contains(o.Key, other) {
					return nil
				}
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(time.Minute):
					return tt.err
				}
			}
			if took := s.emittedAfter(other, 5, time.Hour); took > 3*time.Minute {
				s.t.Errorf("the chain that does not stall took %s", took)
			}
		})
	}
}
