// Package s3server runs an S3 server that is not ours, versitygw, as a child
// process on 127.0.0.1 for tests and benchmarks. It checks signatures
// strictly, keeps versions and answers conditional writes, which the fake in
// internal/testaws does not. No program links this package.
package s3server

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"
)

// Region is where every bucket of a server lies.
const Region = "us-east-1"

const (
	startTries = 3 // another process may take the free port first
	startWait  = 10 * time.Second
)

// Server is a running server. It holds no bucket at first.
type Server struct {
	URL       string
	AccessKey string
	SecretKey string
	Dir       string // buckets are the folders below it

	cmd    *exec.Cmd
	output *output
	exited chan struct{} // closed when the process has been waited for
}

// Start starts a server that ends with the test. Where it cannot be built the
// test is skipped, on CI (CI=true) it fails.
func Start(tb testing.TB) *Server {
	tb.Helper()
	binary := build(tb)
	for try := 1; ; try++ {
		s, err := start(tb, binary)
		if err == nil {
			tb.Cleanup(func() { s.stop(tb) })
			return s
		}
		if try == startTries {
			tb.Fatal(err)
		}
	}
}

// Env returns the environment in which the SDKs and the aws command talk to
// this server only.
func (s *Server) Env() []string {
	return []string{
		"AWS_ENDPOINT_URL=" + s.URL,
		"AWS_ACCESS_KEY_ID=" + s.AccessKey,
		"AWS_SECRET_ACCESS_KEY=" + s.SecretKey,
		"AWS_SESSION_TOKEN=",
		"AWS_PROFILE=",
		"AWS_REGION=" + Region,
		"AWS_DEFAULT_REGION=" + Region,
		"AWS_CONFIG_FILE=" + os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
		"AWS_EC2_METADATA_DISABLED=true",
		"NO_PROXY=127.0.0.1",
		"no_proxy=127.0.0.1",
	}
}

func start(tb testing.TB, binary string) (*Server, error) {
	root := tb.TempDir()
	s := &Server{
		AccessKey: "AKIAS3SERVERTEST", SecretKey: "only-for-tests", Dir: filepath.Join(root, "data"),
		output: &output{}, exited: make(chan struct{}),
	}
	// Metadata lies in files: not every temporary directory has extended
	// attributes.
	side, versions := filepath.Join(root, "sidecar"), filepath.Join(root, "versions")
	for _, d := range []string{s.Dir, side, versions} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return nil, err
		}
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s.URL = "http://" + address
	s.cmd = exec.Command(binary, "--port", address, "--region", Region, "--health", "/health", "--quiet", "--keep-alive",
		"posix", "--sidecar", side, "--versioning-dir", versions, s.Dir)
	s.cmd.Env = []string{"ROOT_ACCESS_KEY_ID=" + s.AccessKey, "ROOT_SECRET_ACCESS_KEY=" + s.SecretKey, "TMPDIR=" + root}
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = root, s.output, s.output
	endWithParent(s.cmd)
	if err := s.run(); err != nil {
		return nil, fmt.Errorf("start versitygw: %w", err)
	}
	if err := s.ready(tb.Context()); err != nil {
		s.kill()
		return nil, fmt.Errorf("start versitygw: %w\n%s", err, s.output)
	}
	return s, nil
}

// run starts the process and leaves a goroutine that waits for it. That
// goroutine keeps the thread that started it: where the process is made to end
// with its parent, it ends with that thread.
func (s *Server) run() error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(s.exited)
		err := s.cmd.Start()
		started <- err
		if err == nil {
			_ = s.cmd.Wait() // it is killed in the end; what it wrote says why it ended before
		}
	}()
	return <-started
}

// ready waits until the server answers.
func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/health", nil)
		if err != nil {
			return err
		}
		if answer, err := http.DefaultClient.Do(r); err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-s.exited:
			return fmt.Errorf("it ended")
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *Server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.exited
}

func (s *Server) stop(tb testing.TB) {
	select {
	case <-s.exited:
		tb.Errorf("versitygw ended during the test:\n%s", s.output)
	default:
		s.kill()
	}
	if tb.Failed() {
		tb.Logf("versitygw:\n%s", s.output)
	}
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// output keeps what the process wrote. It is written while it is read.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
