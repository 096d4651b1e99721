package failure_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/trailseal/trailseal/internal/failure"
	"github.com/trailseal/trailseal/internal/inflate"
	"github.com/trailseal/trailseal/pkg/digest"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// row is a row of the table in docs/ingest.md.
type row struct {
	name   string // the text of the first column, after the operation
	input  failure.Failure
	do     failure.Action
	class  finding.Class
	reason finding.Reason
}

// because returns a failure with an error, as a caller wraps it.
func because(err error) failure.Failure {
	return failure.Failure{Err: fmt.Errorf("get s3://bucket/key: %w", err)}
}

// judged returns a failure that the judge of a digest has put into a class.
func judged(class finding.Class) failure.Failure { return failure.Failure{Class: class} }

// unread are the rows of an operation that reads an object.
func unread() []row {
	return []row{
		{name: "access denied", input: because(fs.ErrPermission), do: failure.Retry, reason: finding.AccessDenied},
		{name: "KMS denied", input: because(finding.ErrKMSDenied), do: failure.Retry, reason: finding.KMSDenied},
		{name: "archived", input: because(finding.ErrArchived), do: failure.Retry, reason: finding.Archived},
		{name: "throttled", input: because(finding.ErrThrottled), do: failure.Retry, reason: finding.Throttled},
		{name: "network", input: because(errors.New("connection reset")), do: failure.Retry, reason: finding.Network},
		{name: "timeout", input: because(context.DeadlineExceeded), do: failure.Retry, reason: finding.Network},
	}
}

// table is the table of docs/ingest.md, by operation.
func table() map[failure.Operation][]row {
	trusted := func(f failure.Failure) failure.Failure { f.Trusted = true; return f }
	fresh := func(f failure.Failure) failure.Failure { f.Fresh = true; return f }
	quarantine := func(name string, f failure.Failure, class finding.Class) row {
		return row{name: name, input: f, do: failure.Quarantine, class: class}
	}
	ok := row{name: "nothing wrong", do: failure.Proceed}
	full := errors.New("disk full")
	return map[failure.Operation][]row{
		failure.Digest: append(
			unread(),
			ok,
			row{name: "no keys", input: because(digest.ErrNoKeys), do: failure.Retry, reason: finding.NoKeys},
			row{
				name:   "no signature yet",
				input:  because(digest.ErrUnsigned),
				do:     failure.Retry,
				reason: finding.NoSignature,
			},
			row{name: "ends after now", input: because(finding.ErrClock), do: failure.Retry, reason: finding.Clock},
			row{name: "missing, within the grace", input: fresh(judged(finding.DigestMissing)), do: failure.Retry},
			quarantine("missing", judged(finding.DigestMissing), finding.DigestMissing),
			quarantine("corrupt", judged(finding.DigestCorrupt), finding.DigestCorrupt),
			quarantine("corrupt, within the grace", fresh(judged(finding.DigestCorrupt)), finding.DigestCorrupt),
			quarantine("too large", because(inflate.ErrTooLarge), finding.DigestCorrupt),
			quarantine("signature wrong", judged(finding.DigestSignature), finding.DigestSignature),
			quarantine("key unknown", judged(finding.DigestKeyUnknown), finding.DigestKeyUnknown),
			quarantine("moved", judged(finding.DigestMoved), finding.DigestMoved),
			quarantine("not the one that its successor names", judged(finding.ChainMismatch), finding.ChainMismatch),
			row{
				name: "signature lost, content proven", input: trusted(judged(finding.DigestSignature)),
				do: failure.Proceed, class: finding.DigestSignature,
			},
		),
		failure.Log: append(unread(),
			ok,
			row{name: "missing, within the grace", input: fresh(because(fs.ErrNotExist)), do: failure.Retry},
			quarantine("missing", because(fs.ErrNotExist), finding.LogMissing),
			quarantine("modified", because(digest.ErrModified), finding.LogModified),
			quarantine("modified, within the grace", fresh(because(digest.ErrModified)), finding.LogModified),
			quarantine("corrupt", because(inflate.ErrTrailing), finding.LogCorrupt),
			quarantine("too large", because(inflate.ErrTooLarge), finding.LogCorrupt),
			quarantine("misplaced", because(digest.ErrMisplaced), finding.LogMisplaced),
		),
		failure.Record: {
			ok,
			{
				name: "cannot be taken as an event", input: because(trail.ErrRecords),
				do: failure.SetAside, reason: finding.OddRecord,
			},
		},
		failure.Batch:   {ok, {name: "a sink refuses it", input: because(errors.New("503")), do: failure.Retry}},
		failure.Flush:   {ok, {name: "a sink fails", input: because(full), do: failure.Retry}},
		failure.Head:    {ok, {name: "the state fails", input: because(full), do: failure.Retry}},
		failure.Finding: {ok, {name: "its sink fails", input: because(full), do: failure.Retry}},
		failure.Listing: {
			ok,
			{name: "access denied", input: because(fs.ErrPermission), do: failure.Retry, reason: finding.AccessDenied},
			{name: "throttled", input: because(finding.ErrThrottled), do: failure.Retry, reason: finding.Throttled},
			{
				name:   "network",
				input:  because(errors.New("connection reset")),
				do:     failure.Retry,
				reason: finding.Network,
			},
		},
		failure.Queue: {ok, {name: "receiving fails", input: because(errors.New("503")), do: failure.Retry}},
	}
}

func TestDecide(t *testing.T) {
	for operation, rows := range table() {
		stopping := row{name: "the worker ends", input: because(context.Canceled), do: failure.Release}
		for _, r := range append(rows, stopping) {
			t.Run(string(operation)+": "+r.name, func(t *testing.T) {
				r.input.Operation = operation
				want := failure.Decision{Do: r.do, Class: r.class, Reason: r.reason}
				if got := failure.Decide(r.input); got != want {
					t.Errorf("got %+v, want %+v", got, want)
				}
			})
		}
	}
}

// The page and the code say the same, row by row.
func TestPage(t *testing.T) {
	want := map[string]string{"anything: the worker ends": string(failure.Release)}
	for operation, rows := range table() {
		for _, r := range rows {
			if r.do == failure.Proceed && r.class == "" {
				continue
			}
			cell := string(r.do)
			for _, text := range []string{string(r.class), string(r.reason)} {
				if text != "" {
					cell += ", `" + text + "`"
				}
			}
			want[string(operation)+": "+r.name] = cell
		}
	}
	page, err := os.ReadFile("../../docs/ingest.md")
	if err != nil {
		t.Fatal(err)
	}
	_, part, isThere := strings.Cut(string(page), "\n## Failures\n")
	if !isThere {
		t.Fatal("docs/ingest.md has no part \"Failures\"")
	}
	part, _, _ = strings.Cut(part, "\n## ")
	for line := range strings.Lines(part) {
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		name := cells[0]
		if !strings.HasPrefix(line, "|") || !strings.Contains(name, ": ") {
			continue
		}
		switch {
		case want[name] == "":
			t.Errorf("docs/ingest.md has the row %q, or has it twice: the code does not", name)
		case len(cells) < 2 || cells[1] != want[name]:
			t.Errorf("docs/ingest.md says of %q: %q, the code: %q", name, cells[1:], want[name])
		}
		delete(want, name)
	}
	for name, cell := range want {
		t.Errorf("docs/ingest.md does not have the row %q: %s", name, cell)
	}
}

// The pauses grow from a fifth of a second to half a minute.
func TestPause(t *testing.T) {
	for try, most := range map[int]time.Duration{
		0: 200 * time.Millisecond, 1: 400 * time.Millisecond, 5: 6400 * time.Millisecond, 7: 25600 * time.Millisecond,
		8: 30 * time.Second, 9: 30 * time.Second, 100: 30 * time.Second, 1 << 40: 30 * time.Second,
	} {
		seen := map[time.Duration]bool{}
		for range 1000 {
			p := failure.Pause(try)
			if p < most/8 || p >= most {
				t.Fatalf("try %d: %s, want from %s to %s", try, p, most/8, most)
			}
			seen[p] = true
		}
		if len(seen) < 100 {
			t.Errorf("try %d: %d different pauses", try, len(seen))
		}
	}
}

func TestSleep(t *testing.T) {
	for _, tt := range []struct {
		name          string
		sleep, cancel time.Duration // cancel: 0 is never, -1 is before
		took          time.Duration
		want          error
	}{
		{"control", time.Minute, 0, time.Minute, nil},
		{"cancelled later", time.Minute, time.Hour, time.Minute, nil},
		{"cancelled meanwhile", time.Minute, time.Second, time.Second, context.Canceled},
		{"cancelled before", time.Minute, -1, 0, context.Canceled},
		{"cancelled before, without a pause", 0, -1, 0, context.Canceled},
		{"without a pause", 0, 0, 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				switch {
				case tt.cancel > 0:
					time.AfterFunc(tt.cancel, cancel)
				case tt.cancel < 0:
					cancel()
				}
				began := time.Now()
				err := failure.Sleep(ctx, tt.sleep)
				if took := time.Since(began); !errors.Is(err, tt.want) || took != tt.took {
					t.Errorf("%v after %s, want %v after %s", err, took, tt.want, tt.took)
				}
			})
		})
	}
}
