package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trailseal/trailseal/internal/fetch"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// paced makes objects come slowly: the headers of the response, the first bytes of the
// body, and the bytes after these.
type paced struct {
	fetch.Objects
	headers, first, middle time.Duration
}

func (p paced) Get(ctx context.Context, o trail.Object) (io.ReadCloser, map[string]string, error) {
	if err := pause(ctx, p.headers); err != nil {
		return nil, nil, err
	}
	r, meta, err := p.Objects.Get(ctx, o)
	return &pacedBody{r, ctx, []time.Duration{p.first, p.middle}}, meta, err
}

type pacedBody struct {
	io.ReadCloser
	ctx    context.Context
	pauses []time.Duration
}

func (b *pacedBody) Read(p []byte) (int, error) {
	if len(b.pauses) > 0 {
		d := b.pauses[0]
		if b.pauses = b.pauses[1:]; pause(b.ctx, d) != nil {
			return 0, b.ctx.Err()
		}
		p = p[:min(len(p), 40)]
	}
	return b.ReadCloser.Read(p)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// free counts the slots that are free.
func free(s *fetch.Slots) (n int) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for {
		slot, err := s.Take(ctx)
		if err != nil {
			return n
		}
		defer slot.Release()
		n++
	}
}

// A read that stalls gives its slot to another, and takes one again when bytes come. It
// does not ask for memory before its first bytes are there. It is all the same whether
// its request was sent early.
func TestSlots(t *testing.T) {
	const ms = time.Millisecond
	type times struct{ other, open, end time.Duration } // since the read began
	for _, tt := range []struct {
		name                   string
		headers, first, middle time.Duration
		hold                   time.Duration // how long the other read keeps the slot
		cancel                 time.Duration // when the context ends; 0: never
		want                   times         // open -1: memory was not asked for
	}{
		{"control", 0, 0, 0, 0, 0, times{}},
		{"slow", 900 * ms, 900 * ms, 900 * ms, 0, 0, times{2700 * ms, 1800 * ms, 2700 * ms}},
		{"before the headers", 5000 * ms, 0, 0, 1000 * ms, 0, times{1000 * ms, 5000 * ms, 5000 * ms}},
		{"before the headers, and none is free then", 5000 * ms, 0, 0, 10_000 * ms, 0, times{1000 * ms, 11_000 * ms, 11_000 * ms}},
		{"before the body", 0, 5000 * ms, 0, 1000 * ms, 0, times{1000 * ms, 5000 * ms, 5000 * ms}},
		{"before the body, and none is free then", 0, 5000 * ms, 0, 10_000 * ms, 0, times{1000 * ms, 11_000 * ms, 11_000 * ms}},
		{"within the body", 0, 0, 5000 * ms, 1000 * ms, 0, times{1000 * ms, 0, 5000 * ms}},
		{"within the body, and none is free then", 0, 0, 5000 * ms, 10_000 * ms, 0, times{1000 * ms, 0, 11_000 * ms}},
		{"again and again", 2000 * ms, 2000 * ms, 2000 * ms, 500 * ms, 0, times{1000 * ms, 4000 * ms, 6000 * ms}},
		{"cancelled before it stalls", 900 * ms, 0, 0, 0, 500 * ms, times{500 * ms, -1, 500 * ms}},
		{"cancelled before the headers", time.Hour, 0, 0, 500 * ms, 2000 * ms, times{1000 * ms, -1, 2000 * ms}},
		{"cancelled before the body", 0, time.Hour, 0, 500 * ms, 2000 * ms, times{1000 * ms, -1, 2000 * ms}},
		{"cancelled within the body", 0, 0, time.Hour, 500 * ms, 2000 * ms, times{1000 * ms, 0, 2000 * ms}},
		{"cancelled while none is free", 3000 * ms, 0, 0, time.Hour, 5000 * ms, times{1000 * ms, -1, 5000 * ms}},
		{"cancelled while none is free for the body", 0, 3000 * ms, 0, time.Hour, 5000 * ms, times{1000 * ms, -1, 5000 * ms}},
	} {
		for _, isEarly := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := newHour(t)
					c := &closing{Objects: paced{h, tt.headers, tt.first, tt.middle}}
					f, slots := fetch.New(c, 1), fetch.NewSlots(1)
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					if tt.cancel > 0 {
						time.AfterFunc(tt.cancel, cancel)
					}
					began := time.Now()
					got := times{open: -1}
					slot, err := slots.Take(ctx)
					if err != nil {
						t.Fatal(err)
					}
					other := make(chan struct{})
					go func() {
						defer close(other)
						slot, err := slots.Take(t.Context())
						if err != nil {
							t.Error(err)
							return
						}
						got.other = time.Since(began)
						time.Sleep(tt.hold)
						slot.Release()
					}()
					read := fetch.LogRead{Slot: slot, MaxInflated: f.MaxLog}
					if isEarly {
						read.Early = f.Request(ctx, h.log.Location())
					}
					var content bytes.Buffer
					read.Open = func(context.Context) (io.Writer, error) {
						content.Reset()
						got.open = time.Since(began)
						return &content, nil
					}
					sum, err := f.ReadLog(ctx, h.log.Location(), read)
					got.end = time.Since(began)
					slot.Release()
					<-other
					switch {
					case tt.cancel == 0 && (err != nil || sum.Sum != h.log.Hash || int64(content.Len()) != sum.Inflated):
						t.Errorf("early %t: %v, %d bytes", isEarly, err, content.Len())
					case tt.cancel > 0 && !errors.Is(err, context.Canceled):
						t.Errorf("early %t: %v", isEarly, err)
					}
					if got != tt.want {
						t.Errorf("early %t: got %+v, want %+v", isEarly, got, tt.want)
					}
					f.Wait()
					if n, open := free(slots), c.open.Load(); n != 1 || open != 0 {
						t.Errorf("early %t: %d slots are free, %d bodies are open", isEarly, n, open)
					}
				})
			})
		}
	}
}

// However many reads of one chain hang, the others have all slots.
func TestHangingReadsLeaveTheSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHour(t)
		slots := fetch.NewSlots(4)
		f, hanging := fetch.New(h, 1), fetch.New(paced{Objects: h, headers: time.Hour}, 1)
		read := func(ctx context.Context, f *fetch.Fetcher) error {
			slot, err := slots.Take(ctx)
			if err != nil {
				return err
			}
			defer slot.Release()
			_, err = f.ReadLog(ctx, h.log.Location(), fetch.LogRead{Slot: slot, MaxInflated: f.MaxLog})
			return err
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		for range 200 {
			go func() { done <- read(ctx, hanging) }()
		}
		time.Sleep(time.Minute) // each of the 200 has had a slot
		began := time.Now()
		for range 100 {
			if err := read(t.Context(), f); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("others took %s", took)
		}
		cancel()
		for range 200 {
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		if n := free(slots); n != 4 {
			t.Errorf("%d slots are free", n)
		}
	})
}

func TestTake(t *testing.T) {
	for n, want := range map[int]int{-1: 1, 0: 1, 1: 1, 7: 7} {
		synctest.Test(t, func(t *testing.T) {
			if got := free(fetch.NewSlots(n)); got != want {
				t.Errorf("%d: %d slots", n, got)
			}
		})
	}
	(*fetch.Slot)(nil).Release()
}

// An error of Open is that of ReadLog, and the object is not read again.
func TestOpenFails(t *testing.T) {
	full := errors.New("no memory")
	for _, isEarly := range []bool{false, true} {
		h := newHour(t)
		f := fetch.New(h, 1)
		read := fetch.LogRead{
			MaxInflated: f.MaxLog,
			Open:        func(context.Context) (io.Writer, error) { return nil, full },
		}
		if isEarly {
			read.Early = f.Request(t.Context(), h.log.Location())
		}
		if _, err := f.ReadLog(t.Context(), h.log.Location(), read); err != full {
			t.Errorf("early %t: %v", isEarly, err)
		}
		f.Wait()
		if n := h.Reads(h.log.Bucket, h.log.Object); n != 1 {
			t.Errorf("early %t: read %d times", isEarly, n)
		}
	}
}

// A body that ends or breaks off with its first bytes is the same with and without memory.
func TestFirstBytes(t *testing.T) {
	boom := errors.New("connection reset")
	for _, tt := range []struct {
		name  string
		body  []byte // "" for what is stored
		fault testtrail.Fault
	}{
		{"control", nil, testtrail.Fault{}},
		{"empty", []byte{}, testtrail.Fault{}},
		{"one byte", []byte{0x1f}, testtrail.Fault{}},
		{"breaks off", nil, testtrail.Fault{Err: boom, Cut: 1}},
		{"breaks off once", nil, testtrail.Fault{Err: boom, Cut: 1, Times: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHour(t)
				o := h.log.Location()
				if tt.body != nil {
					h.Edit(o.Bucket, o.Key, func(s *testtrail.Stored) { s.Body = tt.body })
				}
				var results [2]string
				for i, open := range []func(context.Context) (io.Writer, error){
					nil, func(context.Context) (io.Writer, error) { return io.Discard, nil },
				} {
					if fault := tt.fault; fault.Err != nil {
						h.Fail(o.Bucket, o.Key, &fault)
					}
					f := fetch.New(h, 1)
					got, err := f.ReadLog(t.Context(), o, fetch.LogRead{MaxInflated: f.MaxLog, Open: open})
					if results[i] = got.Sum.String(); err != nil {
						results[i] = err.Error()
					}
				}
				if results[0] != results[1] {
					t.Errorf("without memory %s\nwith memory    %s", results[0], results[1])
				}
			})
		})
	}
}
