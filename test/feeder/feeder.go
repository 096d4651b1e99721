package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/trail"
)

// destination takes what is delivered.
type destination interface {
	// Put stores an object and returns when it is there.
	Put(ctx context.Context, bucket, key string, o testtrail.Stored) error
	// Announce tells the queue of objects that are there.
	Announce(ctx context.Context, objects []trail.Object) error
}

// rhythm says when what is delivered.
//
// A digest covers an hour by the clock, and a worker rightly calls one late
// that ends hours ago. So a chain cannot run faster than the clock without
// stamps that lie. The feeder goes wide instead: it has many chains, and the
// hours of each end at another minute (as those of real trails do), so that one
// signed hour is delivered every pace.
type rhythm struct {
	history, pace, delay time.Duration
}

func (r rhythm) check() error {
	switch {
	case r.pace < 10*time.Second || r.pace > 30*time.Minute:
		return fmt.Errorf("-pace %s: not from 10s to 30m", r.pace)
	case r.history < 3*time.Hour || r.history > 30*24*time.Hour:
		return fmt.Errorf("-history %s: not from 3h to 720h", r.history)
	case r.delay < 0 || r.delay > time.Hour:
		return fmt.Errorf("-delay %s: not from 0s to 1h", r.delay)
	}
	return nil
}

// chains is how many chains there are.
func (r rhythm) chains() int { return int(time.Hour / r.pace) }

// regions are those of each account.
func regions() []string {
	return []string{"us-east-1", "eu-west-1", "ap-southeast-2", "us-west-2", "eu-central-1", "sa-east-1"}
}

// account is the n-th made-up account: 100010001000, 100110011001, ...
func account(n int) string { return strings.Repeat(fmt.Sprint(1000+n), 3) }

// feeder delivers chains of a world. What was delivered leaves the world, so
// that memory stays flat.
type feeder struct {
	rhythm
	to    destination // set before begin
	now   func() time.Time
	log   *slog.Logger
	ready atomic.Bool   // the history is delivered
	woken chan struct{} // a chain was added

	mu      sync.Mutex // guards what follows: one hour is made and delivered at a time
	world   *testtrail.World
	bucket  string
	chains  []*testtrail.Chain
	hours   int // made so far; chooses what happens in the next
	planted int
}

func newFeeder(bucket string, r rhythm, now func() time.Time, log *slog.Logger) *feeder {
	return &feeder{rhythm: r, now: now, log: log, woken: make(chan struct{}, 1), world: testtrail.New(), bucket: bucket}
}

// chain starts a chain whose first digest ends about a time back, at an offset
// into the hour.
func (f *feeder) chain(account, region string, back, offset time.Duration) *testtrail.Chain {
	t := f.world.Trail(testtrail.Options{Bucket: f.bucket, Offset: offset})
	return t.Chain(account, region, f.now().UTC().Add(-back))
}

// hour makes the next hour of a chain.
func (f *feeder) hour(c *testtrail.Chain) {
	c.EverydayHour(f.hours)
	f.hours++
}

// due is when a chain's next digest is to be delivered.
func (f *feeder) due(c *testtrail.Chain) time.Time { return c.Now().Add(time.Hour + f.delay) }

// begin delivers the history of all chains, side by side.
func (f *feeder) begin(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.rhythm.chains() {
		offset := time.Duration(i)*f.pace + 11*time.Second
		c := f.chain(account(i/len(regions())), regions()[i%len(regions())], f.history, offset)
		for !f.due(c).After(f.now()) {
			f.hour(c)
		}
		f.chains = append(f.chains, c)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for _, c := range f.chains {
		g.Go(func() error {
			_, err := f.deliver(ctx, c)
			return err
		})
	}
	return g.Wait()
}

// goOn delivers each chain's hours when they are due, until ctx ends.
func (f *feeder) goOn(ctx context.Context) error {
	for {
		wait, err := f.deliverDue(ctx)
		if err != nil {
			return err
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-t.C:
		case <-f.woken:
		}
		t.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// deliverDue delivers what is due and returns how long nothing else will be.
func (f *feeder) deliverDue(ctx context.Context) (time.Duration, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := f.now().Add(time.Hour)
	for _, c := range f.chains {
		for !f.due(c).After(f.now()) {
			f.hour(c)
			objects, err := f.deliver(ctx, c)
			if err != nil {
				return 0, err
			}
			if err := f.to.Announce(ctx, objects); err != nil {
				return 0, err
			}
			f.log.Info("delivered", "account", c.Place().Account, "region", c.Place().Region, "until", c.Now().Format(time.RFC3339), "logs", len(objects)-1)
		}
		if f.due(c).Before(next) {
			next = f.due(c)
		}
	}
	return next.Sub(f.now()), nil
}

// deliver moves what is in a chain's folders from the world to the
// destination: log files first, then digests, each from the oldest on.
func (f *feeder) deliver(ctx context.Context, c *testtrail.Chain) (objects []trail.Object, err error) {
	for _, kind := range []string{trail.LogFolder, trail.DigestFolder} {
		keys, _ := f.world.Keys(f.bucket, c.Place().Folder(kind))
		for _, key := range keys {
			o, _ := f.world.Stored(f.bucket, key)
			if err := f.to.Put(ctx, f.bucket, key, o); err != nil {
				return objects, err
			}
			f.world.Delete(f.bucket, key)
			objects = append(objects, trail.Object{Bucket: f.bucket, Key: key, Size: int64(len(o.Body))})
		}
	}
	c.Issued = c.Issued[len(c.Issued)-1:] // what the next one names
	return objects, nil
}

// keys are the public keys of all that is signed in the next months.
func (f *feeder) keys() digest.KeySet {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.world.KeySet(f.now().Add(-f.history-24*time.Hour), f.now().AddDate(0, 3, 0))
}
