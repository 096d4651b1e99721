package bench

import (
	"bytes"
	"encoding/json"
	"io"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// measured is how a program ran.
type measured struct {
	Wall   time.Duration
	CPU    time.Duration
	Peak   int64 // bytes of resident memory
	Exit   int
	Output string // of both streams or of stderr, the last kilobytes
}

// errand is a program to run.
type errand struct {
	Args, Env []string
	Discard   bool // standard output
	Endless   bool // ends only when it is told to
}

// stopwatch is a small process between this one and a program under
// measurement: Linux counts the memory of the process that started a program
// as the program's own peak, and this one can be large.
func stopwatch(in io.Reader, out io.Writer) error {
	var e errand
	if err := json.NewDecoder(in).Decode(&e); err != nil {
		return err
	}
	var text tail
	cmd := exec.Command(e.Args[0], e.Args[1:]...)
	cmd.Env, cmd.Stderr = e.Env, &text
	if !e.Discard {
		cmd.Stdout = &text
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	if e.Endless {
		go func() {
			_, _ = io.Copy(io.Discard, in)
			_ = cmd.Process.Signal(syscall.SIGTERM) // it has ended by itself, which its exit code tells
		}()
	}
	if err := cmd.Wait(); err != nil && cmd.ProcessState == nil {
		return err
	}
	return json.NewEncoder(out).Encode(measured{
		Wall: time.Since(began), CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), Peak: peak(cmd.ProcessState), Exit: cmd.ProcessState.ExitCode(), Output: string(text),
	})
}

// tail keeps the end of what is written to it.
type tail []byte

func (t *tail) Write(b []byte) (int, error) {
	*t = append(*t, b...)
	*t = (*t)[max(0, len(*t)-8<<10):]
	return len(b), nil
}

// measure runs a program and demands an exit code.
func (e errand) measure(tb testing.TB, exit int) measured {
	tb.Helper()
	return e.start(tb).end(tb, exit)
}

// running is a program that was started.
type running struct {
	errand
	in   io.Closer
	out  bytes.Buffer
	cmd  *exec.Cmd
	over chan error // what waiting for it came to; one value
}

func (e errand) start(tb testing.TB) *running {
	tb.Helper()
	r := &running{errand: e, cmd: again("stopwatch")}
	in, err := r.cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	r.in, r.cmd.Stdout = in, &r.out
	if err := r.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	if err := json.NewEncoder(in).Encode(e); err != nil {
		tb.Fatal(err)
	}
	r.over = make(chan error, 1)
	go func() { r.over <- r.cmd.Wait() }()
	return r
}

// end tells an endless program to end, waits and demands an exit code.
func (r *running) end(tb testing.TB, exit int) (m measured) {
	tb.Helper()
	r.in.Close()
	if err := <-r.over; err != nil {
		tb.Fatal(err)
	}
	if err := json.Unmarshal(r.out.Bytes(), &m); err != nil {
		tb.Fatal(err)
	}
	if m.Exit != exit {
		tb.Fatalf("%v: exit %d, want %d\n%s", r.Args, m.Exit, exit, m.Output)
	}
	return m
}

// total adds up runs. Its peak is the highest.
type total struct {
	runs      int
	wall, cpu time.Duration
	peak      int64
}

func (t *total) add(m measured) {
	t.runs++
	t.wall, t.cpu, t.peak = t.wall+m.Wall, t.cpu+m.CPU, max(t.peak, m.Peak)
}

// report gives what one run took, under a name that tells it from others.
func (t *total) report(m meter, name string) {
	n := float64(t.runs)
	m.ReportMetric(t.wall.Seconds()/n, name+"wall-s")
	m.ReportMetric(t.cpu.Seconds()/n, name+"cpu-s")
	m.ReportMetric(float64(t.peak)/(1<<20), name+"peak-MiB")
}

// per returns the rate of n in a run.
func (t *total) per(n int, d time.Duration) float64 {
	return float64(n) * float64(t.runs) / d.Seconds()
}
