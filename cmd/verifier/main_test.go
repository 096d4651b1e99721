package main

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
)

// The test binary is the program too: scripts and the comparison with the AWS
// CLI find it on the PATH as verifier.
func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"verifier": main}) }

const owner = "111122223333"

var begin = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// TestScripts runs testdata/script against an AWS of its own: trail main, five
// digests from 2026-03-01T00:08:11Z on, two log files in each but the first.
// tamper changes a log file, deny forbids another, exits CODE runs a program
// that must exit so.
func TestScripts(t *testing.T) {
	sample, err := filepath.Abs("../../test/sample")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			w := testtrail.New()
			tr := w.Trail(testtrail.Options{})
			c := tr.Chain(owner, "us-east-1", begin)
			c.Hours(4)
			srv, err := testaws.Start(w)
			if err != nil {
				return err
			}
			srv.Trails = []testaws.Trail{testaws.Describe(tr, owner)}
			e.Defer(func() {
				if err := srv.Close(); err != nil {
					t.Error(err)
				}
			})
			e.Values["chain"], e.Values["world"], e.Values["server"] = c, w, srv
			e.Vars = append(e.Vars, srv.Env()...)
			e.Setenv("ARN", tr.ARN(owner).String())
			e.Setenv("SAMPLE", sample)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
			"tamper": func(ts *testscript.TestScript, _ bool, _ []string) {
				o := ts.Value("chain").(*testtrail.Chain).Issued[2].Logs[0]
				ts.Value("world").(*testtrail.World).EditLog(o, func(b []byte) []byte { return append(b, ' ') })
			},
			"deny": func(ts *testscript.TestScript, _ bool, _ []string) {
				o := ts.Value("chain").(*testtrail.Chain).Issued[3].Logs[0]
				ts.Value("server").(*testaws.Server).Fail(testaws.AccessDenied().On("GetObject", o.Bucket, o.Key))
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
