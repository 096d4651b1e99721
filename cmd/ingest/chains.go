package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/operate"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/internal/when"
)

// chainsCommand is "chains" of the command line. Its flags are not settings.
type chainsCommand struct {
	Output string   `enum:"text,json" default:"text" env:"-"`
	List   struct{} `cmd:"" default:"1"`
	Skip   struct {
		Chain  string `arg:""`
		Object string `arg:""`
		Reason string `env:"-"`
	} `cmd:""`
	Reset struct {
		Chain  string `arg:""`
		Reason string `env:"-"`
	} `cmd:""`
	End struct {
		Chain  string `arg:""`
		Reason string `env:"-"`
	} `cmd:""`
}

// runChains lists the chains or carries an order out.
func runChains(ctx context.Context, a app, c *commands, verb string, args []string) int {
	err := c.Settings.checkChains()
	var order *operate.Order
	if err == nil {
		order, err = orderOf(c, verb, args, a.now())
	}
	if err != nil {
		return a.fail(exitUsage, err, hintSettings)
	}
	opened := &resources{}
	defer opened.close()
	err = withHandler(a, &c.Settings, opened, func(h operate.Handler, isRunning bool) error {
		if order == nil {
			return listChains(ctx, a.stdout, h, isRunning, c.Chains.Output)
		}
		text, err := h.Order(ctx, *order)
		if err == nil {
			_, err = fmt.Fprintln(a.stdout, report.Quote(text))
		}
		return err
	})
	switch {
	case errors.Is(err, operate.ErrUsage):
		return a.fail(exitUsage, err, "\"ingest chains\" lists the chains")
	case errors.Is(err, state.ErrLocked):
		return a.fail(exitIncomplete, err, "the worker that has the state begins, ends or has no socket: see its log")
	case errors.Is(err, state.ErrCorrupt), errors.Is(err, state.ErrForeign), errors.Is(err, state.ErrVersion):
		return a.fail(exitIncomplete, err, hint(err))
	case err != nil:
		return a.fail(exitIncomplete, err, "\"ingest chains\" shows what each chain waits for")
	}
	return exitOK
}

// orderOf returns what a command orders, and nil for a list of the chains. The arguments say
// whether a time was given: that of a settings file is for chains never seen.
func orderOf(c *commands, verb string, args []string, now time.Time) (*operate.Order, error) {
	o := operate.Order{Verb: operate.Verb(verb), By: operator()}
	k := &c.Chains
	switch o.Verb {
	case operate.Skip:
		o.Chain, o.Object, o.Reason = k.Skip.Chain, k.Skip.Object, k.Skip.Reason
	case operate.Reset:
		o.Chain, o.Reason = k.Reset.Chain, k.Reset.Reason
		isSince := func(arg string) bool { return arg == "--since" || strings.HasPrefix(arg, "--since=") }
		if !slices.ContainsFunc(args, isSince) {
			return nil, errors.New("since: must be given with --since, the time from which the chain is followed again")
		}
		var err error
		if o.Since, err = when.Time(c.Settings.Since, now); err != nil {
			return nil, fmt.Errorf("since: %w", err)
		}
	case operate.End:
		o.Chain, o.Reason = k.End.Chain, k.End.Reason
	default:
		return nil, nil
	}
	return &o, o.Check()
}

// operator returns who runs this program, as USER@HOST.
func operator() string {
	name := cmp.Or(os.Getenv("USER"), "uid "+strconv.Itoa(os.Getuid()))
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	if sudo := os.Getenv("SUDO_USER"); sudo != "" && sudo != name {
		name = sudo + " as " + name
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return name + "@" + host
}

// listChains prints the chains, for people or for programs.
func listChains(ctx context.Context, to io.Writer, h operate.Handler, isRunning bool, output string) error {
	b, err := h.Chains(ctx)
	if err != nil {
		return err
	}
	if output == "json" {
		return json.NewEncoder(to).Encode(struct {
			Running bool            `json:"running"` // a worker holds the state
			Chains  json.RawMessage `json:"chains"`
		}{isRunning, b})
	}
	var rows []ingest.ChainStatus
	if err := json.Unmarshal(b, &rows); err != nil {
		return fmt.Errorf("chains: %w", err)
	}
	return printChains(to, rows, isRunning)
}

// printChains prints a table. Without a worker nothing is pending.
func printChains(to io.Writer, rows []ingest.ChainStatus, isRunning bool) error {
	ids := make([]string, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	names := operate.Names(ids)
	table := tabwriter.NewWriter(to, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "CHAIN\tSTATE\tVERIFIED UNTIL\tLAG\tPENDING\tWHY")
	for _, r := range rows {
		until, lag := "-", "-"
		if !r.VerifiedUntil.IsZero() {
			until = r.VerifiedUntil.Format(time.RFC3339)
			lag = (time.Duration(r.LagSeconds) * time.Second).Round(time.Minute).String()
		}
		pending := strconv.Itoa(r.Pending)
		if r.More {
			pending += "+"
		}
		if !isRunning {
			pending = "-"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", report.Quote(names[r.ID]), report.Quote(r.State), until,
			strings.TrimSuffix(lag, "0s"), pending, report.Quote(whyOf(r)))
	}
	return table.Flush()
}

// whyOf returns why a chain is where it is, "" where it just goes on.
func whyOf(r ingest.ChainStatus) string {
	var parts []string
	if r.LastError != "" {
		text, _, _ := strings.Cut(r.LastError, "\n")
		if r.Reason != "" {
			text = r.Reason + ": " + text
		}
		parts = append(parts, text)
	}
	if r.EndedWhy != "" {
		parts = append(parts, "ended by "+r.EndedWhy)
	}
	for _, s := range r.Skips {
		parts = append(parts, fmt.Sprintf("skips %s by %s: %s", s.Key, s.By, s.Reason))
	}
	return strings.Join(parts, "; ")
}
