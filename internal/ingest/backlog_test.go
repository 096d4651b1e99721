package ingest_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// backlog is a bucket with a digest for each hour of many chains and days. Its objects
// cannot be read.
type backlog struct {
	accounts, days int
	first          time.Time
	listed         atomic.Int64  // accounts
	midway         func()        // called when half of the accounts are listed
	done           chan struct{} // closed when all are
}

func (b *backlog) account(i int) string { return fmt.Sprintf("%012d", 100000000000+i) }

func (b *backlog) Children(_ context.Context, _, prefix string) iter.Seq2[trail.Object, error] {
	return func(yield func(trail.Object, error) bool) {
		var account string
		switch n, _ := fmt.Sscanf(prefix, "AWSLogs/%12s/CloudTrail-Digest/", &account); {
		case prefix == "":
			yield(trail.Object{Key: "AWSLogs/"}, nil)
		case prefix == "AWSLogs/":
			for i := range b.accounts {
				if !yield(trail.Object{Key: prefix + b.account(i) + "/"}, nil) {
					return
				}
			}
		case len(prefix) == len("AWSLogs/123456789012/"):
			yield(trail.Object{Key: prefix + "CloudTrail-Digest/"}, nil)
		case n == 1 && len(prefix) == len("AWSLogs/123456789012/CloudTrail-Digest/"):
			yield(trail.Object{Key: prefix + region + "/"}, nil)
		}
	}
}

func (b *backlog) List(_ context.Context, bucket, prefix, after string) iter.Seq2[trail.Object, error] {
	return func(yield func(trail.Object, error) bool) {
		var account string
		if n, _ := fmt.Sscanf(prefix, "AWSLogs/%12s/CloudTrail-Digest/", &account); n != 1 {
			return
		}
		c := trail.Chain{Place: trail.Place{Account: account, Region: region}, Trail: "main", HomeRegion: region}
		for h := range b.days * 24 {
			key := c.Digest(b.first.Add(time.Duration(h) * time.Hour)).String()
			if key <= after {
				continue
			}
			if !yield(trail.Object{Bucket: bucket, Key: key, Size: 1000}, nil) {
				return
			}
		}
		switch b.listed.Add(1) {
		case int64(b.accounts / 2):
			b.midway()
		case int64(b.accounts):
			close(b.done)
		}
	}
}

func (b *backlog) Get(context.Context, trail.Object) (io.ReadCloser, map[string]string, error) {
	return nil, nil, fmt.Errorf("get: %w", fs.ErrPermission)
}

// A backlog of a year in 850 chains takes a bounded part of the memory, and the operator's
// pages answer meanwhile.
func TestBacklogIsBounded(t *testing.T) {
	b := &backlog{accounts: 850, days: 90, first: day, done: make(chan struct{})}
	if text := os.Getenv("TRAILSEAL_BACKLOG_DAYS"); text != "" {
		var err error
		if b.days, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	s := newSite(t, 1)
	end := day.AddDate(0, 0, b.days)
	s.cfg.Sources[0].Objects = b
	s.cfg.Once, s.cfg.Poll, s.cfg.Since = false, time.Hour, day
	s.cfg.Now = func() time.Time { return end }
	registry := prometheus.NewRegistry()
	s.cfg.Metrics = registry
	runtime.GC()
	before := heap()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w, err := ingest.New(ctx, s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.midway = func() {
		if _, err := registry.Gather(); err != nil {
			t.Error(err)
		}
		if n := len(w.Status().Chains); n == 0 {
			t.Error("no chain is shown")
		}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = w.Run(ctx)
	}()
	<-b.done
	all := b.accounts * b.days * 24
	runtime.GC()
	if used := heap() - before; used > 128<<20 {
		t.Errorf("%d digests take %d MiB", all, used>>20)
	} else {
		t.Logf("%d digests take %d MiB", all, used>>20)
	}
	if n := len(w.Status().Chains); n != b.accounts {
		t.Errorf("%d chains", n)
	}
	cancel()
	<-ended
}

func heap() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
