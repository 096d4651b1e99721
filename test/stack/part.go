package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// part is a program of the stack. It ends with the stack.
type part struct {
	name string
	url  string // what a person opens
	log  string // a file with what it says

	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has been waited for
}

// stopWait is how long a program may take to end after SIGTERM.
const stopWait = 15 * time.Second

// run starts the program and leaves a goroutine that waits for it. That
// goroutine keeps the thread that started it: where the process is made to end
// with its parent, it ends with that thread.
func (p *part) run() error {
	out, err := os.Create(p.log)
	if err != nil {
		return err
	}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.exited = make(chan struct{})
	apart(p.cmd)
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.exited)
		defer out.Close()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // failure reads its state
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	return nil
}

// ready waits until a page of the program answers.
func (p *part) ready(ctx context.Context, page string, limit time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errors.New("it does not answer"))
	defer cancel()
	for {
		if answers(ctx, page) {
			return nil
		}
		select {
		case <-p.exited:
			return p.failure()
		case <-ctx.Done():
			return fmt.Errorf("%s: %w\n%s", p.name, context.Cause(ctx), p.tail())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func answers(ctx context.Context, page string) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return false
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// failure is the error of a program that has ended.
func (p *part) failure() error {
	return fmt.Errorf("%s ended: %s\n%s", p.name, p.cmd.ProcessState, p.tail())
}

// tail returns the last of what the program said.
func (p *part) tail() string {
	const most = 4 << 10
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return strings.ToValidUTF8(string(b[max(0, len(b)-most):]), "")
}

// stop ends the program: politely first.
func (p *part) stop() {
	if p.cmd.Process == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.exited:
	case <-time.After(stopWait):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// address returns one to listen on: at the port, or at any that is free where
// another program has it.
func address(port int) (string, error) {
	for _, port := range []int{port, 0} {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return l.Addr().String(), l.Close()
		}
	}
	return "", errors.New("no port is free")
}

// installed returns the path of a program that goes by one of the names, ""
// where there is none.
func installed(names ...string) string {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}
