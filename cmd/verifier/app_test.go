package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
)

func TestEnd(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		text string
	}{
		{nil, 0, ""},
		{errors.New("open x: no such file"), 3, "error: open x: no such file\n"},
		{&exitError{code: 1}, 1, ""},
		{fmt.Errorf("verify: %w", &exitError{code: 1}), 1, ""},
		{&exitError{code: 2, err: errors.New("bad"), hint: "good"}, 2, "error: bad\nhint: good\n"},
		{&exitError{code: 255, err: errors.New("In their words"), reference: true}, 255, "\nIn their words\n"},
		{fmt.Errorf("list: %w", awsapi.ErrCredentials), 3, "error: list: no valid AWS credentials\nhint: set AWS_PROFILE or --profile, or sign in with aws sso login\n"},
		{errors.New("get s3://b/a\n\x1b[2Jb: \"x\" denied"), 3, `error: get s3://b/a\n\x1b[2Jb: "x" denied` + "\n"},
	} {
		var b bytes.Buffer
		a := &app{stderr: &b}
		if code := a.end(c.err); code != c.code || b.String() != c.text {
			t.Errorf("%v: exit %d, %q", c.err, code, b.String())
		}
	}
}

// Every command has a usage text that names all its flags.
func TestUsage(t *testing.T) {
	for _, command := range []string{"validate-logs"} {
		for _, args := range [][]string{{command, "-h"}, {command, "--region", "x", "--help"}, {"help", command}} {
			if text, ok := help(args); !ok || text != usage[command] {
				t.Errorf("%q: %v", args, ok)
			}
		}
		if !strings.Contains(usage[""], "  "+command) {
			t.Errorf("the program's usage does not list %s", command)
		}
	}
	for _, flag := range []string{
		"trail-arn", "start-time", "end-time", "s3-bucket", "s3-prefix", "account-id", "verbose", "region", "profile", "endpoint-url", "concurrency",
	} {
		if !strings.Contains(usage["validate-logs"], "  --"+flag+" ") {
			t.Errorf("no --%s", flag)
		}
	}
	if _, ok := help([]string{"validate-logs", "--", "-h"}); ok {
		t.Error("-h after -- is no flag")
	}
}

// A signal cancels the context: the run ends at once and says so, and what was
// under way is not called unverified.
func TestInterrupted(t *testing.T) {
	w := testtrail.New()
	tr := w.Trail(testtrail.Options{})
	tr.Chain(owner, "us-east-1", begin).Hours(3)
	srv := testaws.New(t, w)
	srv.Fail(testaws.Fault{Op: "GetObject", Delay: time.Minute})
	for _, e := range srv.Env() {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var out, diag bytes.Buffer
	code := run(ctx, []string{"validate-logs", "--trail-arn", tr.ARN(owner).String(), "--start-time", "2026-03-01", "--end-time", "2026-03-02", "--s3-bucket", tr.Bucket}, &out, &diag)
	if code != 255 || diag.String() != "error: interrupted\n" || strings.Contains(out.String(), "Results") {
		t.Errorf("exit %d\n%s%s", code, out.String(), diag.String())
	}
}
