package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/testaws"
)

// An interrupted run says nothing of the evidence, leaves no file behind and
// an older report as it was.
func TestVerifyInterrupted(t *testing.T) {
	signIn(t)
	for name, fault := range map[string]testaws.Fault{
		"in a log":     {Op: "GetObject", Stall: time.Minute},
		"in a listing": {Op: "ListObjectsV2", Delay: time.Minute},
		"in the keys":  {Op: "ListPublicKeys", Delay: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.aws.Fail(fault)
			folder := t.TempDir()
			file := filepath.Join(folder, "r.json")
			if err := os.WriteFile(file, []byte("older"), 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			var out, diag bytes.Buffer
			a := &app{stdout: &out, stderr: &diag, now: time.Now, aws: awsapi.Options{Endpoint: s.aws.URL}}
			code := a.run(ctx, []string{"verify", "--start-time=2026-03-01", "--end-time=2026-03-02", "--report", file, "s3://trail-bucket"})
			if code != exitIncomplete || out.Len() > 0 {
				t.Errorf("exit %d\n%s", code, &out)
			}
			checkError(t, diag.String(), "interrupted: nothing can be said", "")
			left, err := os.ReadDir(folder)
			if err != nil || len(left) != 1 {
				t.Errorf("%v, %v", left, err)
			}
			if b, err := os.ReadFile(file); err != nil || string(b) != "older" {
				t.Errorf("%q, %v", b, err)
			}
		})
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// What cannot be printed is no success, and findings stay findings; the report
// file is written all the same.
func TestVerifyStdoutIsFull(t *testing.T) {
	signIn(t)
	for _, tampered := range []bool{false, true} {
		s, want := newSite(t), exitIncomplete
		if tampered {
			s.Delete("trail-bucket", s.chain.Issued[3].Logs[0].Key)
			want = exitFindings
		}
		file := filepath.Join(t.TempDir(), "r.json")
		var diag bytes.Buffer
		a := &app{stdout: full{}, stderr: &diag, now: func() time.Time { return s.now }, aws: awsapi.Options{Endpoint: s.aws.URL}}
		code := a.run(t.Context(), []string{"verify", "--start-time=2026-03-01T00:08:11Z", "--end-time=2026-03-01T06:08:11Z", "--report", file, "s3://trail-bucket"})
		if code != want {
			t.Errorf("exit %d, want %d", code, want)
		}
		checkError(t, diag.String(), "no space left on device", "")
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if r := readReport(t, b); (len(r.Findings) > 0) != tampered {
			t.Errorf("%d findings", len(r.Findings))
		}
	}
}
