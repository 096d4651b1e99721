package operate_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trailseal/trailseal/internal/operate"
)

// worker is a Handler.
type worker struct {
	order func(context.Context, operate.Order) (string, error)
}

func (worker) Chains(context.Context) (json.RawMessage, error) {
	return json.RawMessage(`[{"id":"a"}]`), nil
}

func (w worker) Order(ctx context.Context, o operate.Order) (string, error) { return w.order(ctx, o) }

func says(text string, err error) worker {
	return worker{func(context.Context, operate.Order) (string, error) { return text, err }}
}

// socket returns a short path: that of t.TempDir can be too long.
func socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "state.sock")
}

// serve serves a handler until stop is called.
func serve(t *testing.T, path string, h operate.Handler) (stop func()) {
	t.Helper()
	s, err := operate.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, h) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestSocket(t *testing.T) {
	path := socket(t)
	var got operate.Order
	stop := serve(t, path, worker{func(_ context.Context, o operate.Order) (string, error) {
		got = o
		return "done", nil
	}})
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	c := operate.Client{Path: path}
	if b, err := c.Chains(t.Context()); err != nil || string(b) != `[{"id":"a"}]` {
		t.Errorf("%s, %v", b, err)
	}
	sent := order(operate.Reset, asIs)
	if text, err := c.Order(t.Context(), sent); text != "done" || err != nil || got != sent {
		t.Errorf("%q, %v, got %+v", text, err, got)
	}
	stop()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if _, err := c.Chains(t.Context()); !errors.Is(err, operate.ErrNoWorker) {
		t.Errorf("error %v", err)
	}
}

func TestSocketErrors(t *testing.T) {
	errDisk := errors.New("disk full")
	usage := order(operate.Skip, object("")).Check()
	for name, tt := range map[string]struct {
		order   operate.Order
		handler worker
		want    string
		usage   bool
	}{
		"cannot be done": {order(operate.End, asIs), says("", errDisk), "disk full", false},
		"is wrong":       {order(operate.End, asIs), says("", fmt.Errorf("chain: %w", usage)), "chain: object", true},
		"is not checked": {order(operate.Skip, object("")), says("done", nil), "object", true},
	} {
		t.Run(name, func(t *testing.T) {
			path := socket(t)
			defer serve(t, path, tt.handler)()
			text, err := operate.Client{Path: path}.Order(t.Context(), tt.order)
			if text != "" || err == nil || !strings.HasPrefix(err.Error(), tt.want) ||
				errors.Is(err, operate.ErrUsage) != tt.usage {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
}

// The end of the worker ends the order that it is at, and the client hears of it.
func TestSocketEndsWithTheWorker(t *testing.T) {
	path, began := socket(t), make(chan bool)
	stop := serve(t, path, worker{func(ctx context.Context, _ operate.Order) (string, error) {
		began <- true
		<-ctx.Done()
		return "", errors.New("the worker ends")
	}})
	failed := make(chan error)
	go func() {
		_, err := operate.Client{Path: path}.Order(t.Context(), order(operate.End, asIs))
		failed <- err
	}()
	<-began
	stop()
	if err := <-failed; err == nil || err.Error() != "the worker ends" {
		t.Errorf("error %v", err)
	}
}

func TestListen(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(t *testing.T, path string)
		want string // in the error
	}{
		{"nothing is there", func(*testing.T, string) {}, ""},
		{"a stale socket", func(t *testing.T, path string) {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
			if err != nil {
				t.Fatal(err)
			}
			l.SetUnlinkOnClose(false)
			l.Close()
		}, ""},
		{
			"another worker", func(t *testing.T, path string) { t.Cleanup(serve(t, path, says("", nil))) },
			"another process answers there",
		},
		{"a file", func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "is there, and is not a socket"},
		{"no folder", func(t *testing.T, path string) {
			if err := os.Remove(filepath.Dir(path)); err != nil {
				t.Fatal(err)
			}
		}, "no such file or directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := socket(t)
			tt.make(t, path)
			before, _ := os.Lstat(path)
			s, err := operate.Listen(path)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				s.Close()
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) ||
				!strings.HasPrefix(err.Error(), "socket "+path+": ") {
				t.Errorf("error %v, want %s", err, tt.want)
			}
			if after, _ := os.Lstat(path); before != nil && !os.SameFile(before, after) {
				t.Error("it was replaced")
			}
		})
	}
}

func TestSocketPath(t *testing.T) {
	dir := filepath.Dir(socket(t))
	long := filepath.Join(dir, strings.Repeat("x", 100))
	link := filepath.Join(dir, "link")
	if err := os.WriteFile(filepath.Join(dir, "state"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("state", link); err != nil {
		t.Fatal(err)
	}
	if got, err := operate.SocketPath(link); got != filepath.Join(dir, "state.sock") || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	want := fmt.Sprintf("socket %s.sock: the path has %d bytes: the system allows 103", long, len(long)+5)
	if _, err := operate.SocketPath(long); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err := operate.Listen(long + ".sock"); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// Whatever a client sends, it has one answer, in bounded time.
func TestReply(t *testing.T) {
	end, err := json.Marshal(order(operate.End, asIs))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, send string
		want       string // in the answer
	}{
		{"chains", `{"version":1}` + "\n", `{"version":1,"chains":[{"id":"a"}]}`},
		{"order", `{"version":1,"order":` + string(end) + "}\n", `{"version":1,"text":"done"}`},
		{"another version", `{"version":2,"new":1}` + "\n", `request of version 2: the worker knows version 1`},
		{"no version", `{}` + "\n", `request of version 0`},
		{"unknown member", `{"version":1,"chain":"x"}` + "\n", `unknown field`},
		{"two objects", `{"version":1}{"version":1}` + "\n", `"usage":true`},
		{"not JSON", "GET / HTTP/1.1\r\n", `"usage":true`},
		{"wrong order", `{"version":1,"order":{}}` + "\n", `verb \"\": must be skip, reset or end`},
		{"nothing", "", `"error":"request: `},
		{"no end of line", `{"version":1}`, `"error":"request: `},
		{"too much", strings.Repeat(" ", 20<<10) + "\n", `has more than 16384 bytes`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				here, there := net.Pipe()
				go operate.Reply(t.Context(), there, says("done", nil))
				go io.WriteString(here, tt.send)
				began := time.Now()
				got, err := bufio.NewReader(here).ReadString('\n')
				if err != nil || !strings.Contains(got, tt.want) || !strings.HasPrefix(got, `{"version":1,`) {
					t.Errorf("got %s, %v, want %s", got, err, tt.want)
				}
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("took %v", took)
				}
				here.Close()
			})
		})
	}
}

// A client that reads no answer holds no place for long, nor does an order that hangs.
func TestReplyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		began := time.Now()
		go io.WriteString(here, `{"version":1,"order":{"verb":"end","chain":"c","by":"b"}}`+"\n")
		operate.Reply(t.Context(), there, worker{func(ctx context.Context, _ operate.Order) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		}})
		if took := time.Since(began); took != time.Minute {
			t.Errorf("took %v", took)
		}
		here.Close()
	})
}

// Answers that are not of this protocol are errors.
func TestClientReadsAnything(t *testing.T) {
	for _, tt := range []struct{ name, answer, want string }{
		{"nothing", "", "ended without an answer"},
		{"not JSON", "hello\n", "answer: "},
		{"another version", `{"version":2}` + "\n", "answer of version 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := socket(t)
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			done := make(chan bool)
			go func() {
				defer close(done)
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				_, _ = bufio.NewReader(conn).ReadString('\n')
				_, _ = io.WriteString(conn, tt.answer)
			}()
			_, err = operate.Client{Path: path}.Chains(t.Context())
			<-done
			if err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, operate.ErrNoWorker) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// What parses is a request that can be sent again.
func FuzzParseRequest(f *testing.F) {
	for _, o := range []operate.Order{order(operate.Skip, asIs), order(operate.Reset, asIs), order(operate.End, asIs)} {
		b, err := json.Marshal(operate.Request{Version: 1, Order: &o})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"version":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := operate.ParseRequest(b)
		if err != nil {
			if !errors.Is(err, operate.ErrUsage) {
				t.Errorf("error %v", err)
			}
			return
		}
		first, err := json.Marshal(r)
		if err != nil {
			return // a year that RFC 3339 does not have
		}
		again, err := operate.ParseRequest(first)
		if err != nil {
			t.Fatalf("%s: %v", first, err)
		}
		if second, _ := json.Marshal(again); string(second) != string(first) {
			t.Errorf("first  %s\nsecond %s", first, second)
		}
		if r.Order != nil {
			_, _ = r.Order.Apply("chain/s3:%2F%2Fb/-/111122223333/us-east-1/us-east-1/main", at(3), now)
		}
	})
}
