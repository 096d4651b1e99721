// Command ingest follows CloudTrail's digest chains and emits only proven
// events. This package wires, configures and chooses exit codes; it decides
// nothing about evidence.
//
// main.go leads to a file for each command: worker.go (run), replay.go, check.go, chains.go
// and, for health, serve.go. wire.go opens what the settings name, from top to bottom.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/internal/sink/file"
	"github.com/trailseal/trailseal/internal/state"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// Exit codes.
const (
	exitOK       = 0
	exitFindings = 1 // --once, or halted: something is wrong
	exitNoAnswer = 1 // health
	exitUsage    = 2
	// --once: something was not processed, or the accounts do not balance; the run broke off;
	// chains: it could not be done.
	exitIncomplete = 3
)

// app is what every command is given.
type app struct {
	stdout, stderr io.Writer
	now            func() time.Time
}

// run is the program: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	a := app{stdout: stdout, stderr: stderr, now: time.Now}
	if asksHelp(args) {
		fmt.Fprint(stdout, usage())
		return exitOK
	}
	if len(args) == 1 && args[0] == "--version" {
		args = []string{"version"}
	}
	c, k, command, err := parse(args)
	if err == nil && command == "replay" {
		c.Settings = forReplay(c.Settings)
	}
	if err == nil && (command == "run" || command == "check" || command == "replay") {
		err = c.Settings.check()
	}
	if err != nil {
		return a.fail(exitUsage, err, hint(err))
	}
	if verbs, isChains := strings.CutPrefix(command, "chains "); isChains {
		verb, _, _ := strings.Cut(verbs, " ")
		return runChains(ctx, a, c, verb, args)
	}
	switch command {
	case "replay":
		return runReplay(ctx, a, &c.Settings, c.Replay)
	case "check":
		return runCheck(ctx, a, &c.Settings)
	case "health":
		return runHealth(ctx, a, &c.Settings)
	case "config":
		err = writeYAML(stdout, k.Model.Flags)
	case "version":
		_, err = fmt.Fprintln(stdout, "ingest", programVersion())
	default:
		return runWorker(ctx, a, &c.Settings, span{})
	}
	if err != nil {
		return a.fail(exitIncomplete, err, "")
	}
	return exitOK
}

// fail prints an error, and a hint unless it is "". It returns the exit code.
func (a app) fail(code int, err error, hint string) int {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(a.stderr, "error: %s\n", report.Quote(line))
	}
	if hint != "" {
		fmt.Fprintf(a.stderr, "hint: %s\n", hint)
	}
	return code
}

// hintSettings is the hint for errors that have no better one.
const hintSettings = "ingest -h lists the settings"

// hint says what to do about an error, for people.
func hint(err error) string {
	switch {
	case errors.Is(err, state.ErrLocked), errors.Is(err, file.ErrLocked):
		return "another ingest has it: end that one, or name another file"
	case errors.Is(err, state.ErrCorrupt):
		return "put back a copy of it, or name a new file and say with --since where to begin"
	case errors.Is(err, state.ErrForeign):
		return "name another file with --state; for a new one, --since says where to begin"
	case errors.Is(err, state.ErrVersion):
		return "run the newer ingest, or put back the copy from before the upgrade"
	case errors.Is(err, awsapi.ErrCredentials):
		return "set AWS_PROFILE or --profile, or give the instance, task or pod a role"
	case errors.Is(err, awsapi.ErrProfile):
		return "aws configure list-profiles lists the profiles"
	case errors.Is(err, awsapi.ErrRegion):
		return "set AWS_REGION"
	case errors.Is(err, discover.ErrNothing):
		return "name the bucket, prefix or folder that holds AWSLogs/"
	}
	return hintSettings
}

// logger returns the log of the program, which goes to stderr.
func (a app) logger(c *config) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // one of four words
	o := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(a.stderr, o))
	}
	return slog.New(slog.NewTextHandler(a.stderr, o))
}

// release is set by the linker where the build has no repository to ask, as in an image.
var release = ""

func programVersion() string {
	if release != "" {
		return release
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
