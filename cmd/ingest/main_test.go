package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
)

// The test binary is the program too: scripts find it on the PATH as ingest.
func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"ingest": main}) }

// patience is how long a script waits for what a running worker will do.
const patience = 30 * time.Second

// TestScripts runs testdata/script against an AWS of its own: trail main with
// digests of three hours that have just ended, two log files and five events in
// each, and the queue trail.
//
//	exits CODE PROGRAM [ARG...]  runs a program that must exit so
//	hour                         the trail delivers one more hour
//	unreadable digest|log N      AWS refuses to read the N-th digest, or its first log file: $OBJECT
//	gone N                       the first log file of the N-th digest is deleted
//	stale PATH                   a socket that its process has left behind
//	planted                      log files of another region, without digests
//	deny OP KEY                  AWS refuses an operation; KEY "" is any, kms any of KMS
//	lines N FILE                 waits until a file has so many lines
//	get URL FILE [TEXT]          waits for an answer that holds TEXT; "! get" for one that is not 200
//	heal                         what is sent to $ENDPOINT/STATUS or /hang is taken from now on
//	same A B                     two files hold the same lines, in whatever order
//	terminate                    SIGTERM for what runs in the background
//	lint FILE                    holds metrics to Prometheus's rules
//	stored PREFIX N              the sink's bucket holds N objects below PREFIX
func TestScripts(t *testing.T) {
	sample, err := filepath.Abs("../../test/sample")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			w := testtrail.New()
			// The fifth hour ends before now, at whatever minute the test runs.
			start := time.Now().UTC().Add(-5*time.Hour - time.Minute)
			offset := max(time.Second, start.Sub(start.Truncate(time.Hour)).Truncate(time.Second))
			c := w.Trail(testtrail.Options{Offset: offset}).Chain("111122223333", "us-east-1", start)
			c.Hours(3)
			w.AddBucket("sink-bucket")
			srv, err := testaws.Start(w)
			if err != nil {
				return err
			}
			e.Defer(func() {
				if err := srv.Close(); err != nil {
					t.Error(err)
				}
			})
			e.Values["endpoint"] = newEndpoint(e)
			free, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			e.Values["chain"], e.Values["world"], e.Values["server"] = c, w, srv
			e.Vars = append(e.Vars, srv.Env()...)
			e.Setenv("QUEUE", srv.Queue("trail").URL())
			e.Setenv("SAMPLE", sample)
			e.Setenv("LISTEN", free.Addr().String())
			e.Setenv("HTTP", srv.URL)
			return free.Close()
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"heal":  func(ts *testscript.TestScript, _ bool, _ []string) { ts.Value("endpoint").(*endpoint).heal() },
			"exits": exits, "lines": lines, "get": getPage, "lint": lint, "stored": stored, "deny": deny,
			"same": same, "unreadable": unreadable, "stale": stale,
			"gone": func(ts *testscript.TestScript, _ bool, args []string) {
				n, err := strconv.Atoi(args[0])
				ts.Check(err)
				l := ts.Value("chain").(*testtrail.Chain).Issued[n].Logs[0]
				ts.Value("world").(*testtrail.World).Delete(l.Bucket, l.Key)
			},
			"terminate": func(ts *testscript.TestScript, _ bool, _ []string) {
				for _, c := range ts.BackgroundCmds() {
					ts.Check(c.Process.Signal(syscall.SIGTERM))
				}
			},
			"hour": func(ts *testscript.TestScript, _ bool, _ []string) { ts.Value("chain").(*testtrail.Chain).Hours(1) },
			"planted": func(ts *testscript.TestScript, _ bool, _ []string) {
				w := ts.Value("world").(*testtrail.World)
				day := time.Now().UTC().Format("2006/01/02")
				w.Put("trail-bucket", "AWSLogs/111122223333/CloudTrail/eu-west-1/"+day+"/x.json.gz", testtrail.Stored{Body: []byte("x")})
			},
		},
	})
}

// exits CODE PROGRAM [ARG...] demands an exit code; stdout and stderr are then
// the program's.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG...]")
	}
	code := 0
	var exit *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit %d, want %s", code, args[0])
	}
}

// eventually tries until there is no error.
func eventually(ts *testscript.TestScript, try func() error) {
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%v", err)
		}
	}
}

func lines(ts *testscript.TestScript, _ bool, args []string) {
	eventually(ts, func() error {
		b, err := os.ReadFile(ts.MkAbs(args[1]))
		if n := strconv.Itoa(bytes.Count(b, []byte("\n"))); err == nil && n != args[0] {
			err = fmt.Errorf("%s has %s lines, want %s", args[1], n, args[0])
		}
		return err
	})
}

func same(ts *testscript.TestScript, _ bool, args []string) {
	a, b := strings.SplitAfter(ts.ReadFile(args[0]), "\n"), strings.SplitAfter(ts.ReadFile(args[1]), "\n")
	slices.Sort(a)
	slices.Sort(b)
	if len(a) < 2 || !slices.Equal(a, b) {
		ts.Fatalf("%s has %d lines, %s %d, and they differ or there are none", args[0], len(a), args[1], len(b))
	}
}

func getPage(ts *testscript.TestScript, neg bool, args []string) {
	eventually(ts, func() error {
		answer, err := http.Get(args[0])
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		b, err := io.ReadAll(answer.Body)
		if err == nil && ((answer.StatusCode == http.StatusOK) == neg || len(args) > 2 && !bytes.Contains(b, []byte(args[2]))) {
			err = fmt.Errorf("%s: %s\n%s", args[0], answer.Status, b)
		}
		if err == nil {
			err = os.WriteFile(ts.MkAbs(args[1]), b, 0o600)
		}
		return err
	})
}

func lint(ts *testscript.TestScript, _ bool, args []string) {
	problems, err := promlint.New(strings.NewReader(ts.ReadFile(args[0]))).Lint()
	ts.Check(err)
	for _, p := range problems {
		ts.Fatalf("%s: %s", p.Metric, p.Text)
	}
}

func stored(ts *testscript.TestScript, _ bool, args []string) {
	keys, _ := ts.Value("world").(*testtrail.World).Keys("sink-bucket", args[0])
	if strconv.Itoa(len(keys)) != args[1] {
		ts.Fatalf("%q, want %s", keys, args[1])
	}
}

func unreadable(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	d := ts.Value("chain").(*testtrail.Chain).Issued[n]
	key := d.Key
	if args[0] == "log" {
		key = d.Logs[0].Key
	}
	ts.Value("server").(*testaws.Server).Fail(testaws.AccessDenied().On("GetObject", "trail-bucket", key))
	ts.Setenv("OBJECT", "s3://trail-bucket/"+key)
	ts.Setenv("END", d.End.Format(time.RFC3339))
}

func stale(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: ts.MkAbs(args[0])})
	ts.Check(err)
	l.SetUnlinkOnClose(false)
	ts.Check(l.Close())
}

func deny(ts *testscript.TestScript, _ bool, args []string) {
	srv := ts.Value("server").(*testaws.Server)
	srv.Heal()
	switch {
	case len(args) == 2 && args[1] == "kms":
		srv.Fail(testaws.KMSDenied().On(args[0], "", ""))
	case strings.HasPrefix(args[0], "List") && args[0] != "ListObjectsV2", strings.Contains(args[0], "Message"), strings.Contains(args[0], "Queue"):
		srv.Fail(testaws.Denied().On(args[0], "", ""))
	default:
		srv.Fail(testaws.AccessDenied().On(args[0], "", ""))
	}
}
