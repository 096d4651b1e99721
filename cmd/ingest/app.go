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
)

// Exit codes.
const (
	exitOK         = 0
	exitFindings   = 1 // --once, or halted: something is wrong
	exitUsage      = 2
	exitIncomplete = 3 // --once: something could not be dealt with; or the run broke off
)

// app is what a command is given.
type app struct {
	stdout, stderr io.Writer
	now            func() time.Time
}

// commands is the command line: settings, and what to do with them.
type commands struct {
	config
	Run  struct{} `cmd:"" default:"1" help:"Follow the chains (the default)."`
	Show struct{} `cmd:"" name:"config" help:"Print the settings in effect as YAML, without secrets."`
	Ver  struct{} `cmd:"" name:"version" help:"Print the version."`
}

// run is the program: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	a := &app{stdout: stdout, stderr: stderr, now: time.Now}
	c, k, command, err := parse(args, stdout, stderr)
	if errors.Is(err, errHelp) {
		return exitOK
	}
	if err == nil && command == "run" {
		err = c.check()
	}
	if err != nil {
		return a.fail(exitUsage, err, "ingest -h lists the settings")
	}
	switch command {
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

var errHelp = errors.New("help was printed")

// parse reads the settings: flags before environment before file.
func parse(args []string, stdout, stderr io.Writer) (*commands, *kong.Kong, string, error) {
	var c commands
	helped := false
	options := []kong.Option{
		kong.Name("ingest"), kong.Description("Follows CloudTrail's digest chains and emits only proven events."),
		kong.Writers(stdout, stderr), kong.Exit(func(int) { helped = true }), kong.DefaultEnvars("TRAILSEAL"),
	}
	k, err := kong.New(&c, options...)
	if err != nil {
		return nil, nil, "", err
	}
	known := map[string]bool{}
	for _, f := range k.Model.Flags {
		known[f.Name] = f.Name != "config" && f.Name != "help"
	}
	if name := configFile(args); name != "" {
		file, err := readYAML(name, known)
		if err != nil {
			return nil, nil, "", err
		}
		if k, err = kong.New(&c, append(options, kong.Resolvers(file))...); err != nil {
			return nil, nil, "", err
		}
	}
	parsed, err := k.Parse(args)
	if helped {
		return nil, nil, "", errHelp
	}
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
		fmt.Fprintf(a.stderr, "error: %s\n", line)
	}
	if hint != "" {
		fmt.Fprintf(a.stderr, "hint: %s\n", hint)
	}
	return code
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
