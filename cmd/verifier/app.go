package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/report"
)

// Exit codes of every command but validate-logs, which has the reference's.
const (
	exitOK         = 0
	exitFindings   = 1
	exitUsage      = 2
	exitIncomplete = 3
)

// app is what a command is given.
type app struct {
	stdout, stderr io.Writer
	now            func() time.Time
	terminal       bool           // stderr is one
	aws            awsapi.Options // what no flag sets
}

// commands is the command line. Each command is a struct with its flags and a
// method Run(context.Context, *app) error in a file of its own; its usage text
// is in usage.go.
type commands struct {
	ValidateLogs validateLogs `cmd:"" name:"validate-logs"`
	Verify       verifySource `cmd:""`
	Keys         saveKeys     `cmd:""`
	Version      version      `cmd:""`
}

// exitError ends a command with an exit code. Without an err nothing is
// printed: the command has said it all.
type exitError struct {
	code int
	err  error
	hint string
	// reference: the text is the AWS CLI's own and is printed as it does.
	reference bool
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// run is the program: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	a := &app{stdout: stdout, stderr: stderr, now: time.Now}
	if f, ok := stderr.(*os.File); ok {
		a.terminal = term.IsTerminal(int(f.Fd()))
	}
	return a.run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) int {
	if text, ok := help(args); ok {
		fmt.Fprint(a.stdout, text)
		return exitOK
	}
	if len(args) == 1 && args[0] == "--version" {
		args = []string{"version"}
	}
	var c commands
	parser, err := kong.New(&c, kong.Name("verifier"), kong.NoDefaultHelp(), kong.Writers(a.stdout, a.stderr), kong.Exit(func(int) {}))
	if err != nil {
		return a.end(err)
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return a.end(usageError(args, err))
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	return a.end(parsed.Run(a))
}

// usageError is for a command line that cannot be understood.
func usageError(args []string, err error) error {
	e := &exitError{code: exitUsage, err: err, hint: "verifier -h lists the commands"}
	if len(args) > 0 && usage[args[0]] != "" {
		e.hint = "verifier " + args[0] + " -h lists the flags"
	}
	if len(args) > 0 && args[0] == "validate-logs" {
		e.code = exitReferenceUsage
	}
	return e
}

// end prints how a command ended and returns the exit code.
func (a *app) end(err error) int {
	if err == nil {
		return exitOK
	}
	e := &exitError{code: exitIncomplete, err: err}
	errors.As(err, &e)
	switch {
	case e.err == nil:
	case e.reference:
		fmt.Fprintf(a.stderr, "\n%s\n", report.Quote(e.err.Error()))
	default:
		fmt.Fprintf(a.stderr, "error: %s\n", report.Quote(e.err.Error()))
		if hint := e.hintText(); hint != "" {
			fmt.Fprintf(a.stderr, "hint: %s\n", hint)
		}
	}
	return e.code
}

// hintText says what to do about an error, for people.
func (e *exitError) hintText() string {
	switch {
	case e.hint != "":
		return e.hint
	case errors.Is(e.err, awsapi.ErrCredentials):
		return "set AWS_PROFILE or --profile, or sign in with aws sso login"
	case errors.Is(e.err, awsapi.ErrProfile):
		return "aws configure list-profiles lists the profiles"
	case errors.Is(e.err, awsapi.ErrRegion):
		return "set --region or AWS_REGION"
	}
	return ""
}

type version struct{}

// Run prints what this program was built from.
func (version) Run(a *app) error {
	revision := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = " " + s.Value
			}
		}
		revision += " " + info.GoVersion
	}
	_, err := fmt.Fprintf(a.stdout, "verifier %s%s\n", programVersion(), revision)
	return err
}

// release is set by the linker where there is no repository to ask, as in an
// image.
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
