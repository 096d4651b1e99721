package main

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/trailseal/trailseal/internal/verify"
)

// How often progress is told.
const (
	barEvery = 200 * time.Millisecond
	logEvery = 30 * time.Second
)

// showProgress tells on stderr how far the work is until the returned function
// is called: a line with rate and remaining time on a terminal, else a log
// line now and then.
func (a *app) showProgress(p *verify.Progress) (stop func()) {
	every, tell, end := logEvery, a.logProgress(p), func() {}
	if a.terminal {
		every = barEvery
		tell, end = a.drawProgress(p)
	}
	done := make(chan struct{})
	var g sync.WaitGroup
	g.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				tell()
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		g.Wait()
		end()
	}
}

func (a *app) logProgress(p *verify.Progress) func() {
	log := slog.New(slog.NewTextHandler(a.stderr, nil))
	return func() {
		log.Info("verifying", "digests", p.Digests.Load(), "of_digests", p.DigestsListed.Load(),
			"logs", p.Logs.Load(), "inflated_bytes", p.InflatedBytes.Load(), "findings", p.Findings.Load())
	}
}

func (a *app) drawProgress(p *verify.Progress) (draw, end func()) {
	bar := progressbar.NewOptions64(-1, progressbar.OptionSetWriter(a.stderr), progressbar.OptionClearOnFinish(),
		progressbar.OptionShowIts(), progressbar.OptionSetItsString("logs"), progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(true), progressbar.OptionSetWidth(20), progressbar.OptionThrottle(0))
	draw = func() {
		bar.Describe(fmt.Sprintf("%d digests, %d findings, logs", p.Digests.Load(), p.Findings.Load()))
		if total := expectedLogs(p); total > 0 {
			bar.ChangeMax64(max(total, p.Logs.Load()+1))
		}
		_ = bar.Set64(p.Logs.Load())
	}
	return draw, func() { _ = bar.Clear() }
}

// expectedLogs guesses how many log files there will be from those that the
// digests so far have listed.
func expectedLogs(p *verify.Progress) int64 {
	done, all, logs := p.Digests.Load(), p.DigestsListed.Load(), p.LogsListed.Load()
	if done == 0 {
		return 0
	}
	return int64(float64(logs) * max(1, float64(all)/float64(done)))
}
