package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
)

// site is what a server serves: a trail with chains of one account and as many
// regions, each some hours long.
type site struct {
	Chains  int
	Hours   int
	Logs    int // in an hour
	LogSize int // inflated bytes
	Latency time.Duration

	// Of the memory test: the logs and digests that are out of the ordinary.
	HugeLog     int // inflated bytes of one more log, if any
	Bomb        int // inflated zeros, in the place of a log and of a digest
	HugeDigests int // hours more, in which a digest has so many entries:
	Entries     int
}

const (
	bucket = "trail-bucket"
	owner  = "111122223333"
)

var begin = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// end is the end of the asked range: that of the newest digest.
func (s site) end() time.Time {
	return begin.Add(time.Duration(s.Hours+s.HugeDigests)*time.Hour + offset)
}

const offset = 8*time.Minute + 11*time.Second

// logs returns how many log files the site has.
func (s site) logs() int { return s.Chains * s.Hours * s.Logs }

var regions = []string{"us-east-1", "eu-west-1", "ap-south-1", "us-west-2", "eu-central-1", "sa-east-1", "ca-central-1", "eu-north-1"}

// world builds the site.
func (s site) world() (*testtrail.World, testaws.Trail) {
	w := testtrail.New()
	tr := w.Trail(testtrail.Options{})
	for _, region := range regions[:s.Chains] {
		c := tr.Chain(owner, region, begin)
		for hour := range s.Hours {
			bodies := make([][]byte, s.Logs, s.Logs+1)
			for i := range bodies {
				bodies[i] = w.SizedLog(s.LogSize)
			}
			if hour == 0 && s.HugeLog > 0 {
				bodies = append(bodies, w.SizedLog(s.HugeLog))
			}
			c.Hour(bodies...)
		}
		s.excess(w, c)
	}
	return w, testaws.Describe(tr, owner)
}

// excess puts what is out of the ordinary into a chain.
func (s site) excess(w *testtrail.World, c *testtrail.Chain) {
	if s.Bomb > 0 {
		bomb := testtrail.Gzip(make([]byte, s.Bomb))
		log, digest := c.Issued[2].Logs[0], c.Issued[3]
		w.Edit(log.Bucket, log.Key, func(o *testtrail.Stored) { o.Body = bomb })
		w.Edit(digest.Bucket, digest.Key, func(o *testtrail.Stored) { o.Body = bomb })
	}
	for range s.HugeDigests {
		crowd(w, c, s.Entries)
	}
}

// crowd adds an hour with very many log files, all of one content.
func crowd(w *testtrail.World, c *testtrail.Chain, n int) {
	o, entry := c.Deliver(c.Now().Add(30*time.Minute), w.Log(1))
	stored, _ := w.Stored(o.Bucket, o.Key)
	logs := make([]testtrail.DocLog, n)
	for i := range logs {
		logs[i] = entry
		if i > 0 {
			logs[i].Object = fmt.Sprintf("%s%08d.json.gz", o.Key[:len(o.Key)-len("00000000.json.gz")], i)
			w.Put(o.Bucket, logs[i].Object, stored)
		}
	}
	c.Hour()
	c.ReissueFrom(len(c.Issued)-1, func(d *testtrail.Doc) { d.Logs = logs })
}

// serve is the server's process: it reads a site, answers with the environment
// of its clients and ends when its input does.
func serve(in io.Reader, out io.Writer) error {
	var s site
	dec := json.NewDecoder(in)
	if err := dec.Decode(&s); err != nil {
		return err
	}
	w, described := s.world()
	srv, err := testaws.Start(w)
	if err != nil {
		return err
	}
	srv.Latency, srv.Trails = s.Latency, []testaws.Trail{described}
	if err := json.NewEncoder(out).Encode(srv.Env()); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, in)
	return srv.Close()
}

// start starts a server for the site and returns its clients' environment.
func (s site) start(tb testing.TB) []string {
	tb.Helper()
	cmd := again("server")
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			tb.Error("server: ", err)
		}
	})
	var env []string
	if err := json.NewEncoder(in).Encode(s); err != nil {
		tb.Fatal(err)
	}
	if err := json.NewDecoder(out).Decode(&env); err != nil {
		tb.Fatal("server: ", err)
	}
	return append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + tb.TempDir()}, env...)
}

// again is a command that runs this test binary in a role.
func again(as string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), role+"="+as)
	cmd.Stderr = os.Stderr
	return cmd
}

// measured is how a program ran.
type measured struct {
	Wall   time.Duration
	CPU    time.Duration
	Peak   int64 // bytes of resident memory
	Exit   int
	Output string // of both streams, the first kilobytes
}

// errand is a program to run.
type errand struct{ Args, Env []string }

// stopwatch is a small process between this one and a program under
// measurement: Linux counts the memory of the process that started a program
// as the program's own peak, and this one can be large.
func stopwatch(in io.Reader, out io.Writer) error {
	var e errand
	if err := json.NewDecoder(in).Decode(&e); err != nil {
		return err
	}
	var text head
	cmd := exec.Command(e.Args[0], e.Args[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = e.Env, &text, &text
	began := time.Now()
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		return err
	}
	return json.NewEncoder(out).Encode(measured{
		Wall: time.Since(began), CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), Peak: peak(cmd.ProcessState), Exit: cmd.ProcessState.ExitCode(), Output: string(text),
	})
}

// head keeps the beginning of what is written to it.
type head []byte

func (h *head) Write(b []byte) (int, error) {
	*h = append(*h, b[:min(len(b), 8<<10-len(*h))]...)
	return len(b), nil
}

// measure runs a program and demands an exit code.
func measure(tb testing.TB, env []string, exit int, args ...string) measured {
	tb.Helper()
	cmd := again("stopwatch")
	in, err := json.Marshal(errand{Args: args, Env: env})
	if err != nil {
		tb.Fatal(err)
	}
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		tb.Fatal(err)
	}
	var m measured
	if err := json.Unmarshal(out, &m); err != nil {
		tb.Fatal(err)
	}
	if m.Exit != exit {
		tb.Fatalf("%v: exit %d, want %d\n%s", args, m.Exit, exit, m.Output)
	}
	return m
}
