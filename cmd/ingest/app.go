package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/ops"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/internal/sink/file"
	"github.com/trailseal/trailseal/internal/state"
)

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

// app is what a command is given.
type app struct {
	stdout, stderr io.Writer
	now            func() time.Time
}

// commands is the command line: settings, and what to do with them.
type commands struct {
	config
	Run    struct{}      `cmd:"" default:"1"`
	Check  struct{}      `cmd:"" name:"check"`
	Chains chainsCommand `cmd:""`
	Replay replayCommand `cmd:""`
	Health struct{}      `cmd:"" name:"health"`
	Show   struct{}      `cmd:"" name:"config"`
	Ver    struct{}      `cmd:"" name:"version"`
}

// run is the program: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	a := &app{stdout: stdout, stderr: stderr, now: time.Now}
	if asksHelp(args) {
		fmt.Fprint(stdout, usage())
		return exitOK
	}
	if len(args) == 1 && args[0] == "--version" {
		args = []string{"version"}
	}
	c, k, command, err := parse(args)
	if err == nil && command == "replay" {
		c.config = c.forReplay()
	}
	if err == nil && (command == "run" || command == "check" || command == "replay") {
		err = c.check()
	}
	if err != nil {
		return a.fail(exitUsage, err, hint(err))
	}
	if verbs, isChains := strings.CutPrefix(command, "chains "); isChains {
		verb, _, _ := strings.Cut(verbs, " ")
		return a.chains(ctx, c, verb, args)
	}
	switch command {
	case "replay":
		return a.replay(ctx, &c.config, c.Replay)
	case "check":
		return a.checkAll(ctx, &c.config)
	case "health":
		return a.health(ctx, &c.config)
	case "config":
		err = writeYAML(stdout, k.Model.Flags)
	case "version":
		_, err = fmt.Fprintln(stdout, "ingest", programVersion())
	default:
		return a.ingest(ctx, &c.config)
	}
	if err != nil {
		return a.fail(exitIncomplete, err, "")
	}
	return exitOK
}

// healthTime is how long health waits for an answer: less than whoever asks for
// its exit code waits for that.
const healthTime = 4 * time.Second

// health asks the worker that listens where the settings say whether it lives.
func (a *app) health(ctx context.Context, c *config) int {
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	err := errors.New("listen: none is set, so there is nobody to ask")
	if c.Listen != "" {
		err = ops.Live(ctx, ops.Config{Addr: c.Listen, WebConfig: c.WebConfig})
	}
	if err != nil {
		return a.fail(
			exitNoAnswer,
			err,
			"set TRAILSEAL_LISTEN and TRAILSEAL_WEB_CONFIG, or --config, as for the worker",
		)
	}
	return exitOK
}

// parse reads the settings: flags before environment before file.
func parse(args []string) (*commands, *kong.Kong, string, error) {
	var c commands
	options := []kong.Option{
		kong.Name(
			"ingest",
		), kong.NoDefaultHelp(), kong.Writers(io.Discard, io.Discard), kong.Exit(func(int) {}), kong.DefaultEnvars("TRAILSEAL"),
	}
	k, err := kong.New(&c, options...)
	if err != nil {
		return nil, nil, "", err
	}
	known := map[string]bool{}
	for _, f := range k.Model.Flags {
		known[f.Name] = f.Name != "config"
	}
	if name := configFile(args); name != "" {
		file, err := readYAML(name, known)
		if err != nil {
			return nil, nil, "", fmt.Errorf("settings: %w", err)
		}
		if k, err = kong.New(&c, append(options, kong.Resolvers(file))...); err != nil {
			return nil, nil, "", err
		}
	}
	parsed, err := k.Parse(args)
	if err != nil {
		return nil, nil, "", err
	}
	return &c, k, parsed.Command(), nil
}

// configFile finds --config before the rest is parsed.
func configFile(args []string) string {
	for i, a := range args {
		if v, ok := strings.CutPrefix(a, "--config="); ok {
			return v
		}
		if a == "--config" && i+1 < len(args) {
			return args[i+1]
		}
	}
	return os.Getenv("TRAILSEAL_CONFIG")
}

func (a *app) fail(code int, err error, hint string) int {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(a.stderr, "error: %s\n", report.Quote(line))
	}
	if hint != "" {
		fmt.Fprintf(a.stderr, "hint: %s\n", hint)
	}
	return code
}

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
	return "ingest -h lists the settings"
}

func (a *app) logger(c *config) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // one of four words
	o := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(a.stderr, o))
	}
	return slog.New(slog.NewTextHandler(a.stderr, o))
}
