package fetch_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// What is asked for early is asked for once, at once, and is as good as any
// other answer. One that failed before its turn says nothing.
func TestEarly(t *testing.T) {
	const latency = time.Second
	boom := errors.New("connection reset")
	for _, tt := range []struct {
		name  string
		fault testtrail.Fault
		gone  bool // the object, until its turn has come
		idle  time.Duration
		reads int
		took  time.Duration // since its turn came
		want  error
	}{
		{"there", testtrail.Fault{}, false, 9 * time.Second, 1, 0, nil},
		{"given up", testtrail.Fault{}, false, time.Hour, 2, latency, nil},
		{"on its way", testtrail.Fault{}, false, latency / 4, 1, latency * 3 / 4, nil},
		{"fails on its way", testtrail.Fault{Err: boom}, false, latency / 4, 1, latency * 3 / 4, boom},
		{"failed", testtrail.Fault{Err: boom, Times: 1}, false, 2 * latency, 2, latency, nil},
		{"broke off", testtrail.Fault{Err: boom, Cut: 40, Times: 1}, false, 2 * latency, 2, latency, nil},
		{"was not there", testtrail.Fault{}, true, 2 * latency, 2, latency, nil},
		{"refused", testtrail.Fault{Err: fs.ErrPermission}, false, 2 * latency, 2, latency, fs.ErrPermission},
		{"refused on the way", testtrail.Fault{Err: fs.ErrPermission, Cut: 40}, false, 2 * latency, 1, 0, fs.ErrPermission},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHour(t)
				h.Latency = latency
				o := h.log.Location()
				if tt.fault.Err != nil {
					h.Fail(o.Bucket, o.Key, &tt.fault)
				}
				stored, _ := h.Stored(o.Bucket, o.Key)
				if tt.gone {
					h.Delete(o.Bucket, o.Key)
				}
				f := fetch.New(h, 2)
				defer f.Wait()
				f.Early = f.Ask(t.Context(), o)
				time.Sleep(tt.idle)
				if tt.gone {
					h.Put(o.Bucket, o.Key, stored)
				}
				began := time.Now()
				got, err := f.Log(t.Context(), h.log)
				if !errors.Is(err, tt.want) || err == nil && got.Sum != h.log.Hash {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				if took := time.Since(began); took != tt.took {
					t.Errorf("took %s, want %s", took, tt.took)
				}
				if n := h.Reads(o.Bucket, o.Key); n != tt.reads {
					t.Errorf("read %d times, want %d", n, tt.reads)
				}
				if _, err := f.Log(t.Context(), h.log); !errors.Is(err, tt.want) { // an answer is read once
					t.Error(err)
				}
			})
		})
	}
}

// An answer to another question is none.
func TestEarlyOfAnother(t *testing.T) {
	h := newHour(t)
	f := fetch.New(h, 2)
	defer f.Wait()
	f.Early = f.Ask(t.Context(), h.digest)
	defer f.Early.Drop()
	if got, err := f.Log(t.Context(), h.log); err != nil || got.Sum != h.log.Hash {
		t.Error(err)
	}
}

// As many may be asked for as are read at once, beside those: whose turn it is
// waits for none of them. Each place comes back when its answer is read or
// dropped.
func TestEarlyPlaces(t *testing.T) {
	for limit, want := range map[int]int{0: 1, 1: 1, 2: 2, 160: 160} {
		synctest.Test(t, func(t *testing.T) {
			h := newHour(t)
			h.Latency = time.Second
			f := fetch.New(h, limit)
			for range 3 {
				done := make(chan error)
				for range want {
					go func() { _, err := f.Log(t.Context(), h.log); done <- err }()
				}
				synctest.Wait()
				began := time.Now()
				var asked []*fetch.Answer
				for a := f.Ask(t.Context(), h.log.Location()); a != nil; a = f.Ask(t.Context(), h.log.Location()) {
					asked = append(asked, a)
				}
				if len(asked) != want {
					t.Errorf("limit %d: %d early, want %d", limit, len(asked), want)
				}
				for range want {
					if err := <-done; err != nil {
						t.Error(err)
					}
				}
				for i, a := range asked {
					if i%2 == 0 {
						early := *f
						early.Early = a
						if _, err := early.Log(t.Context(), h.log); err != nil {
							t.Error(err)
						}
					}
					a.Drop()
					a.Drop()
				}
				if took := time.Since(began); took != time.Second {
					t.Errorf("limit %d: took %s", limit, took)
				}
			}
			f.Wait()
		})
	}
}

// closing counts the bodies that are open. It can spoil the metadata of all
// objects.
type closing struct {
	fetch.Objects
	open    atomic.Int64
	metaErr error
}

type body struct {
	io.ReadCloser
	c *closing
}

func (c *closing) Get(ctx context.Context, o trail.Object) (io.ReadCloser, map[string]string, error) {
	r, meta, err := c.Objects.Get(ctx, o)
	if err == nil {
		c.open.Add(1)
		r = body{r, c}
		if c.metaErr != nil {
			meta, err = nil, c.metaErr
		}
	}
	return r, meta, err
}

func (b body) Close() error {
	b.c.open.Add(-1)
	return b.ReadCloser.Close()
}

// Whoever drops an answer or ends waits for no server, and nothing stays open.
func TestEarlyDropped(t *testing.T) {
	for name, idle := range map[string]time.Duration{"there": 5 * time.Second, "on its way": time.Second, "given up": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHour(t)
				h.Latency = 2 * time.Second
				c := &closing{Objects: h}
				f := fetch.New(c, 4)
				ctx, cancel := context.WithCancel(t.Context())
				dropped, left := f.Ask(ctx, h.log.Location()), f.Ask(ctx, h.log.Location())
				time.Sleep(idle)
				began := time.Now()
				dropped.Drop()
				cancel()
				f.Early = left
				if _, err := f.Log(ctx, h.log); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				f.Wait()
				if time.Since(began) != 0 || c.open.Load() != 0 {
					t.Errorf("%d open after %s", c.open.Load(), time.Since(began))
				}
			})
		})
	}
	(*fetch.Answer)(nil).Drop()
}
