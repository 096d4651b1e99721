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

// An early request is sent at once and once, and its response is read like any other. One
// that failed before it was needed is sent again.
func TestRequest(t *testing.T) {
	const latency = time.Second
	boom := errors.New("connection reset")
	for _, tt := range []struct {
		name  string
		fault testtrail.Fault
		gone  bool          // the object is absent until it is needed
		idle  time.Duration // until it is needed
		reads int
		took  time.Duration // since it was needed
		want  error
	}{
		{"there", testtrail.Fault{}, false, 9 * time.Second, 1, 0, nil},
		{"dropped", testtrail.Fault{}, false, time.Hour, 2, latency, nil},
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
				early := f.Request(t.Context(), o)
				time.Sleep(tt.idle)
				if tt.gone {
					h.Put(o.Bucket, o.Key, stored)
				}
				began := time.Now()
				if err := readEarly(f, early, h.log); !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
				if took := time.Since(began); took != tt.took {
					t.Errorf("took %s, want %s", took, tt.took)
				}
				if n := h.Reads(o.Bucket, o.Key); n != tt.reads {
					t.Errorf("read %d times, want %d", n, tt.reads)
				}
				if err := readEarly(f, early, h.log); !errors.Is(err, tt.want) { // a response is read once
					t.Error(err)
				}
				early.Drop()
			})
		})
	}
}

// A request for another object is not used, and stays to be dropped.
func TestRequestOfAnother(t *testing.T) {
	h := newHour(t)
	c := &closing{Objects: h}
	f := fetch.New(c, 2)
	early := f.Request(t.Context(), h.digest)
	if err := readEarly(f, early, h.log); err != nil {
		t.Error(err)
	}
	if n := h.Reads(h.digest.Bucket, h.digest.Key); n > 2 {
		t.Errorf("the other object was read %d times", n)
	}
	early.Drop()
	f.Wait()
	if n := c.open.Load(); n != 0 {
		t.Errorf("%d bodies are open", n)
	}
}

// Late responses do not leave more bodies open than there are slots. One that was closed is
// sent again when it is needed.
func TestLateResponses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHour(t)
		h.Latency = fetch.Stalled * 5 / 2
		c := &closing{Objects: h}
		f := fetch.New(c, 2)
		var sent []*fetch.Request
		for range 10 {
			if r := f.Request(t.Context(), h.log.Location()); r != nil {
				sent = append(sent, r)
			}
			time.Sleep(fetch.Stalled / 2)
			if n := c.open.Load(); n > 2 {
				t.Errorf("%d bodies wait", n)
			}
		}
		if len(sent) < 5 {
			t.Errorf("%d requests were sent: those whose response is late occupy the slots", len(sent))
		}
		for _, r := range sent {
			if err := readEarly(f, r, h.log); err != nil {
				t.Error(err)
			}
		}
		f.Wait()
		if n := c.open.Load(); n != 0 {
			t.Errorf("%d bodies are open", n)
		}
	})
}

// As many requests may be sent early as reads run at once, beside these. Each slot comes
// back when its response is read or dropped.
func TestRequestsAreBounded(t *testing.T) {
	for limit, want := range map[int]int{0: 1, 1: 1, 2: 2, 160: 160} {
		synctest.Test(t, func(t *testing.T) {
			h := newHour(t)
			h.Latency = time.Second / 2
			f := fetch.New(h, limit)
			for range 3 {
				done := make(chan error)
				for range want {
					go func() { _, err := f.Log(t.Context(), h.log); done <- err }()
				}
				synctest.Wait()
				began := time.Now()
				var sent []*fetch.Request
				for r := f.Request(t.Context(), h.log.Location()); r != nil; r = f.Request(t.Context(), h.log.Location()) {
					sent = append(sent, r)
				}
				if len(sent) != want {
					t.Errorf("limit %d: %d early, want %d", limit, len(sent), want)
				}
				for range want {
					if err := <-done; err != nil {
						t.Error(err)
					}
				}
				for i, r := range sent {
					if i%2 == 0 {
						if err := readEarly(f, r, h.log); err != nil {
							t.Error(err)
						}
					}
					r.Drop()
					r.Drop()
				}
				if took := time.Since(began); took != time.Second/2 {
					t.Errorf("limit %d: took %s", limit, took)
				}
			}
			f.Wait()
		})
	}
}

// A request whose response is late gives its slot to others, and is read all the same.
func TestRequestThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHour(t)
		f := fetch.New(h, 1)
		hanging := trail.Object{Bucket: h.digest.Bucket, Key: h.digest.Key}
		h.Fail(hanging.Bucket, hanging.Key, &testtrail.Fault{Delay: 3 * time.Second, Times: 1})
		first := f.Request(t.Context(), hanging)
		if f.Request(t.Context(), h.log.Location()) != nil {
			t.Error("two requests in one slot")
		}
		time.Sleep(fetch.Stalled + time.Millisecond)
		second := f.Request(t.Context(), h.log.Location())
		if second == nil {
			t.Fatal("a request that hangs has the slot")
		}
		if err := readEarly(f, second, h.log); err != nil {
			t.Error(err)
		}
		began := time.Now()
		if _, err := f.ReadLog(t.Context(), hanging, fetch.LogRead{Early: first, MaxInflated: 1 << 20}); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != 2*time.Second-time.Millisecond {
			t.Errorf("took %s", took)
		}
		third := f.Request(t.Context(), h.log.Location())
		time.Sleep(2 * fetch.Stalled) // its response came in time, and waits
		if third == nil || f.Request(t.Context(), h.log.Location()) != nil {
			t.Error("the slot did not come back once")
		}
		third.Drop()
		f.Wait()
	})
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

// Drop and the end of a context do not wait for a server. All bodies are closed.
func TestRequestDropped(t *testing.T) {
	for name, idle := range map[string]time.Duration{"there": 5 * time.Second, "on its way": time.Second, "dropped": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHour(t)
				h.Latency = 2 * time.Second
				c := &closing{Objects: h}
				f := fetch.New(c, 4)
				ctx, cancel := context.WithCancel(t.Context())
				dropped, left := f.Request(ctx, h.log.Location()), f.Request(ctx, h.log.Location())
				time.Sleep(idle)
				began := time.Now()
				dropped.Drop()
				cancel()
				if err := readEarlyBy(ctx, f, left, h.log); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				f.Wait()
				if time.Since(began) != 0 || c.open.Load() != 0 {
					t.Errorf("%d open after %s", c.open.Load(), time.Since(began))
				}
			})
		})
	}
	(*fetch.Request)(nil).Drop()
}
