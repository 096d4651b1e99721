package ingest_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

const neighbour = "444455556666"

// stalling is a world in which the log files of accounts stall, before their headers or
// within their bodies. The answer to a stalled read comes after a while, or an error.
type stalling struct {
	*testtrail.World
	accounts string // the log files of accounts that it contains stall
	inBody   bool
	stall    time.Duration
	breaks   bool // then the read fails
}

func (s stalling) Get(ctx context.Context, o trail.Object) (io.ReadCloser, map[string]string, error) {
	body, meta, err := s.World.Get(ctx, o)
	key, parseErr := trail.ParseLogKey(o.Key)
	if err != nil || parseErr != nil || !strings.Contains(s.accounts, key.Account) {
		return body, meta, err
	}
	if !s.inBody {
		return body, meta, s.wait(ctx)
	}
	return &stallingBody{ReadCloser: body, world: s, ctx: ctx}, meta, nil
}

func (s stalling) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(s.stall):
	}
	if s.breaks {
		return fmt.Errorf("no byte for %s", s.stall)
	}
	return nil
}

// stallingBody stalls after its first byte.
type stallingBody struct {
	io.ReadCloser
	world stalling
	ctx   context.Context // of the read
	begun bool
}

func (b *stallingBody) Read(p []byte) (int, error) {
	if !b.begun {
		b.begun = true
		return b.ReadCloser.Read(p[:1])
	}
	if err := b.world.wait(b.ctx); err != nil {
		return 0, err
	}
	return b.ReadCloser.Read(p)
}

// doneAfter runs a site until all events of one account are emitted, and returns how long
// that took. The worker's other chains need not come to their ends.
func (s *site) doneAfter(t *testing.T, account string, logs int, most time.Duration) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	began, last := time.Now(), most
	var mu sync.Mutex
	s.cfg.Sink = sinkFunc(func(_ context.Context, b sink.Batch) error {
		mu.Lock()
		defer mu.Unlock()
		if strings.Contains(b.Log.Key, account) {
			if logs--; logs == 0 {
				last = time.Since(began)
				cancel()
			}
		}
		return nil
	})
	s.forever(ctx)
	return last
}

// Two hundred reads of one chain that hang leave the others at full speed, wherever they
// hang.
func TestReadsThatHang(t *testing.T) {
	for _, row := range []struct {
		name   string
		inBody bool
	}{
		{"before the headers", false},
		{"within the body", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, 0)
				s.c.Hour(s.logs(200)...)
				other := s.trail.Chain(neighbour, region, day)
				for range 10 {
					other.Hour(s.logs(40)...)
				}
				s.Latency, s.cfg.Concurrency, s.cfg.Memory = 30*time.Millisecond, 160, 512<<20
				s.cfg.Now = func() time.Time { return other.Now().Add(time.Hour) }
				for _, d := range other.Issued[3:] { // come when the first chain hangs
					s.Fail(bucket, d.Key, &testtrail.Fault{Delay: 2 * time.Second})
				}
				s.cfg.Sources[0].Objects = stalling{s.World, account, row.inBody, 30 * time.Second, true}
				if took := s.doneAfter(t, neighbour, 400, time.Hour); took > 5*time.Second {
					t.Errorf("the other chain took %s", took)
				}
			})
		})
	}
}

// Where many reads stall for a while, all go on when bytes come again.
func TestNetworkThatStalls(t *testing.T) {
	for _, row := range []struct {
		name        string
		chains      int
		inBody      bool
		concurrency int
		memory      int64
	}{
		{"before the headers", 40, false, 8, 512 << 20},
		{"within the body", 4, true, 8, ingest.MinMemory(1)},
		{"within the body, by default", 3, true, 160, 512 << 20},
	} {
		for _, breaks := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, breaks %v", row.name, breaks), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newSite(t, 0)
					accounts := account
					s.c.Hour(s.logs(row.concurrency)...)
					for i := range row.chains - 1 {
						a := fmt.Sprintf("%012d", 200000000000+i)
						accounts += " " + a
						s.trail.Chain(a, region, day).Hour(s.logs(row.concurrency)...)
					}
					s.trail.Chain(neighbour, region, day).Hour(s.logs(5)...)
					s.cfg.Concurrency, s.cfg.Memory = row.concurrency, row.memory
					s.cfg.Sources[0].Objects = stalling{s.World, accounts, row.inBody, 40 * time.Second, breaks}
					if took := s.doneAfter(t, neighbour, 5, time.Hour); took > 2*time.Minute {
						t.Errorf("the chain that does not stall took %s", took)
					}
				})
			})
		}
	}
}

// Many chains with a long backlog do not hold up a chain with one digest.
func TestBacklogsLeaveRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, 0)
		const hours = 6
		slow := ""
		for i := range 64 {
			a := fmt.Sprintf("%012d", 200000000000+i)
			slow += " " + a
			c := s.trail.Chain(a, region, day)
			for range hours {
				c.Hour(s.Log(1))
			}
		}
		s.trail.Chain(neighbour, region, day).Hour(s.Log(1))
		s.cfg.Now = func() time.Time { return day.Add((hours + 1) * time.Hour) }
		s.Latency, s.cfg.Concurrency = time.Second, 160
		s.cfg.Sources[0].Objects = stalling{s.World, slow, false, time.Minute, false}
		if took := s.doneAfter(t, neighbour, 1, time.Hour); took > 3*time.Minute {
			t.Errorf("the chain with one digest took %s", took)
		}
	})
}
