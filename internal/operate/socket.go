package operate

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Handler shows chains and carries out orders.
type Handler interface {
	// Chains returns the chains as a JSON value.
	Chains(ctx context.Context) (json.RawMessage, error)
	// Order carries out an order and returns what was done, for people. Errors that wrap
	// ErrUsage say that the order is wrong.
	Order(ctx context.Context, o Order) (string, error)
}

// protocol is the version of requests and answers. Each is one line of JSON.
const protocol = 1

// Request asks a worker for one thing. Without an order it asks for the chains.
type Request struct {
	Version int    `json:"version"`
	Order   *Order `json:"order,omitempty"`
}

// Answer is the answer to a Request.
type Answer struct {
	Version int             `json:"version"`
	Text    string          `json:"text,omitempty"`
	Chains  json.RawMessage `json:"chains,omitempty"`
	Error   string          `json:"error,omitempty"`
	Usage   bool            `json:"usage,omitempty"` // the error wraps ErrUsage
}

// Bounds of what a socket takes.
const (
	maxRequest  = 16 << 10 // bytes
	maxAnswer   = 64 << 20
	maxClients  = 8 // at once
	requestTime = 10 * time.Second
	orderTime   = 30 * time.Second
	answerTime  = 30 * time.Second
	dialTime    = 2 * time.Second
)

// maxPath is the longest path of a socket in bytes, on the system with the shortest.
const maxPath = 103

// ErrNoWorker says that nothing answers at a socket.
var ErrNoWorker = errors.New("no worker answers")

// SocketPath returns the path of the socket beside the file of a state. It follows links
// as the state does. The error says that the path is too long for a socket.
func SocketPath(file string) (string, error) {
	if target, err := filepath.EvalSymlinks(file); err == nil {
		file = target
	}
	path := file + ".sock"
	if len(path) > maxPath {
		return path, fmt.Errorf("socket %s: the path has %d bytes: the system allows %d", path, len(path), maxPath)
	}
	return path, nil
}

// ParseRequest parses one line. The error says what is wrong with it.
func ParseRequest(line []byte) (Request, error) {
	var r Request
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	var version struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(line, &version); err == nil && version.Version != protocol {
		return r, usage("request of version %d: the worker knows version %d", version.Version, protocol)
	}
	if err := d.Decode(&r); err != nil {
		return r, usage("request: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return r, usage("request: is not one JSON object")
	}
	if r.Order != nil {
		return r, r.Order.Check()
	}
	return r, nil
}

// Server answers requests at a socket.
type Server struct{ listener *net.UnixListener }

// Listen makes the socket, which only the user of this process and root can use. A socket
// that is there is replaced if nothing answers at it. The caller has the lock of the state,
// and calls Serve or Close.
func Listen(path string) (*Server, error) {
	s, err := listen(path)
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	return s, nil
}

func listen(path string) (*Server, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("the path has %d bytes: the system allows %d", len(path), maxPath)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	private := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		// Before the socket has a name: nobody can connect in between. Systems that do not
		// allow this have the mode of Chmod.
		return raw.Control(func(fd uintptr) { _ = restrict(fd) })
	}}
	l, err := private.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, bare(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, bare(err)
	}
	return &Server{l.(*net.UnixListener)}, nil
}

// removeStale removes a socket at which nothing answers.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return bare(err)
	case info.Mode().Type() != fs.ModeSocket:
		return errors.New("is there, and is not a socket")
	}
	conn, err := net.DialTimeout("unix", path, dialTime)
	switch {
	case err == nil:
		conn.Close()
		return errors.New("another process answers there")
	case !errors.Is(err, syscall.ECONNREFUSED):
		return bare(err)
	}
	return bare(os.Remove(path))
}

// bare returns the cause of an error without the path, which the caller names.
func bare(err error) error {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*os.SyscallError](err); ok {
		err = e.Err
	}
	return err
}

// Close removes the socket.
func (s *Server) Close() error { return bare(s.listener.Close()) }

// Serve answers requests until ctx ends. Then it removes the socket, and waits for the
// requests that it has taken. An error says why it ended before.
func (s *Server) Serve(ctx context.Context, h Handler) error {
	var clients sync.WaitGroup
	defer clients.Wait()
	defer s.Close()
	defer context.AfterFunc(ctx, func() { s.Close() })()
	slots := make(chan struct{}, maxClients)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		conn, err := s.listener.Accept()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("socket %s: %w", s.listener.Addr(), bare(err))
		}
		clients.Go(func() {
			defer func() { <-slots }()
			Reply(ctx, conn, h)
		})
	}
}

// Reply answers the one request of a connection and closes it. What the client sends is
// bounded in size and time.
func Reply(ctx context.Context, conn net.Conn, h Handler) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now()) })()
	_ = conn.SetReadDeadline(time.Now().Add(requestTime))
	answer := Answer{}
	r, err := readRequest(conn)
	if err == nil {
		answer, err = answered(ctx, h, r)
	}
	if err != nil {
		answer = Answer{Error: err.Error(), Usage: errors.Is(err, ErrUsage)}
	}
	answer.Version = protocol
	b, err := json.Marshal(answer)
	if err != nil {
		b, _ = json.Marshal(Answer{Version: protocol, Error: fmt.Sprintf("answer: %v", err)})
	}
	_ = conn.SetWriteDeadline(time.Now().Add(answerTime))
	_, _ = conn.Write(append(b, '\n'))
}

func readRequest(conn net.Conn) (Request, error) {
	line, err := bufio.NewReaderSize(conn, maxRequest).ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return Request{}, usage("request: has more than %d bytes", maxRequest)
	case err != nil:
		return Request{}, fmt.Errorf("request: %w", bare(err))
	}
	return ParseRequest(line)
}

func answered(ctx context.Context, h Handler, r Request) (a Answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	if r.Order == nil {
		a.Chains, err = h.Chains(ctx)
		return a, err
	}
	a.Text, err = h.Order(ctx, *r.Order)
	return a, err
}

// Client asks the worker at a socket. It is a Handler.
type Client struct{ Path string }

var _ Handler = Client{}

// Chains implements Handler. The error wraps ErrNoWorker where nothing answers.
func (c Client) Chains(ctx context.Context) (json.RawMessage, error) {
	a, err := c.ask(ctx, Request{Version: protocol})
	return a.Chains, err
}

// Order implements Handler. The error wraps ErrNoWorker where nothing answers, and then
// nothing was ordered.
func (c Client) Order(ctx context.Context, o Order) (string, error) {
	a, err := c.ask(ctx, Request{Version: protocol, Order: &o})
	return a.Text, err
}

func (c Client) ask(ctx context.Context, r Request) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, orderTime+answerTime)
	defer cancel()
	conn, err := (&net.Dialer{Timeout: dialTime}).DialContext(ctx, "unix", c.Path)
	if err != nil {
		return Answer{}, fmt.Errorf("socket %s: %w: %w", c.Path, ErrNoWorker, bare(err))
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	a, err := exchange(conn, r)
	if err != nil {
		return Answer{}, fmt.Errorf("socket %s: %w: see whether it was carried out", c.Path, bare(err))
	}
	switch {
	case a.Version != protocol:
		return Answer{}, fmt.Errorf("socket %s: answer of version %d: known is %d", c.Path, a.Version, protocol)
	case a.Error != "" && a.Usage:
		return Answer{}, usage("%s", a.Error)
	case a.Error != "":
		return Answer{}, errors.New(a.Error)
	}
	return a, nil
}

func exchange(conn net.Conn, r Request) (a Answer, err error) {
	b, err := json.Marshal(r)
	if err != nil {
		return a, err
	}
	if _, err := conn.Write(append(b, '\n')); err != nil {
		return a, err
	}
	b, err = io.ReadAll(io.LimitReader(conn, maxAnswer+1))
	switch {
	case err != nil:
		return a, err
	case len(b) > maxAnswer:
		return a, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	case len(b) == 0:
		return a, errors.New("the worker ended without an answer")
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return a, fmt.Errorf("answer: %w", err)
	}
	return a, nil
}
