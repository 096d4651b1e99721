package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/findings"
	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/ledger"
	"github.com/trailseal/trailseal/internal/operate"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/internal/state"
	"github.com/trailseal/trailseal/internal/state/sqlite"
	"github.com/trailseal/trailseal/internal/when"
	"github.com/trailseal/trailseal/pkg/finding"
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

// checkChains returns what is wrong with the settings that "chains" goes by.
func (c *config) checkChains() error {
	var errs []error
	if path, ok := strings.CutPrefix(c.State, "file:"); !ok || path == "" {
		errs = append(errs, fmt.Errorf("state %q: must be file:PATH, the state of the worker", c.State))
	}
	if kinds := new(wiring).kinds(); !isOneOf(kinds, c.Findings, takesFindings) {
		errs = append(errs, fmt.Errorf("findings %q: not %s", redacted(c.Findings), usageOf(kinds, takesFindings)))
	}
	return errors.Join(errs...)
}

// order returns what a command orders, and nil for a list of the chains. The arguments say
// whether a time was given: that of a settings file is for chains never seen.
func (a *app) order(c *commands, verb string, args []string) (*operate.Order, error) {
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
		if o.Since, err = when.Time(c.Since, a.now()); err != nil {
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

// chains lists the chains or carries an order out: by the worker that holds the state or,
// where none does, on the state itself.
func (a *app) chains(ctx context.Context, c *commands, verb string, args []string) int {
	err := c.checkChains()
	var order *operate.Order
	if err == nil {
		order, err = a.order(c, verb, args)
	}
	if err != nil {
		return a.fail(exitUsage, err, "ingest -h lists the settings")
	}
	w := &wiring{app: a, config: &c.config}
	defer w.close()
	err = w.operate(func(h operate.Handler, isRunning bool) error {
		if order == nil {
			return a.listChains(ctx, h, isRunning, c.Chains.Output)
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

// operate calls do with the worker that holds the state or, where none answers, with the
// state.
func (w *wiring) operate(do func(h operate.Handler, isRunning bool) error) error {
	path := strings.TrimPrefix(w.State, "file:")
	socket, err := operate.SocketPath(path)
	if err == nil {
		if err = do(operate.Client{Path: socket}, true); !errors.Is(err, operate.ErrNoWorker) {
			return err
		}
	}
	if _, err := os.Stat(path); err != nil { // Open would make one
		return fmt.Errorf("state: %w", err)
	}
	s, openErr := sqlite.Open(path)
	if errors.Is(openErr, state.ErrLocked) {
		return errors.Join(openErr, err)
	}
	if openErr != nil {
		return openErr
	}
	w.closers = append(w.closers, s)
	return do(&atRest{w: w, store: s, ledger: ledger.New(s)}, false)
}

// atRest is the state of a worker that does not run. It is an operate.Handler.
type atRest struct {
	w      *wiring
	store  state.Store
	ledger *ledger.Ledger
}

// Chains implements operate.Handler.
func (r *atRest) Chains(ctx context.Context) (json.RawMessage, error) {
	names, err := r.ledger.Names(ctx)
	if err != nil {
		return nil, err
	}
	rows := make([]ingest.ChainStatus, 0, len(names))
	for _, name := range names {
		e, err := r.ledger.Open(ctx, name)
		s, parseErr := ingest.StatusOf(e, r.w.now())
		if err := errors.Join(err, parseErr); err != nil {
			s.LastError = err.Error()
		}
		rows = append(rows, s)
	}
	return json.Marshal(rows)
}

// Order implements operate.Handler.
func (r *atRest) Order(ctx context.Context, o operate.Order) (string, error) {
	names, err := r.ledger.Names(ctx)
	if err != nil {
		return "", err
	}
	name, err := operate.Resolve(names, o.Chain)
	if err != nil {
		return "", err
	}
	e, err := r.ledger.Open(ctx, name)
	if err != nil {
		return "", err
	}
	_, text, err := operate.Carry(ctx, r.ledger, r.report, e, o, r.w.now())
	return text, err
}

// report reports a finding as the worker would, and dates its class in the state.
func (r *atRest) report(ctx context.Context, f finding.Finding) error {
	c := ingest.Config{Log: slog.New(slog.DiscardHandler)}
	if err := r.w.findings(ctx, &c); err != nil {
		return err
	}
	reporter, err := findings.New(ctx, findings.Options{
		Sink: c.Findings, Store: r.store, Now: r.w.now, Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		return err
	}
	return reporter.Note(ctx, f)
}

// atWork is a running worker. It is an operate.Handler.
type atWork struct{ worker *ingest.Worker }

// Chains implements operate.Handler.
func (r atWork) Chains(context.Context) (json.RawMessage, error) {
	s := r.worker.Status()
	for _, name := range s.Unmatched {
		row, err := ingest.StatusOf(ledger.Entry{Name: name}, time.Time{})
		row.State, row.LastError = "unmatched", "belongs to none of the worker's sources"
		if err != nil {
			row.LastError = err.Error()
		}
		s.Chains = append(s.Chains, row)
	}
	return json.Marshal(s.Chains)
}

// Order implements operate.Handler.
func (r atWork) Order(ctx context.Context, o operate.Order) (string, error) {
	return r.worker.Order(ctx, o)
}

// serveOrders lets a worker with a state in a file take orders at a socket beside the file,
// until the function that it returns is called. Without the socket the worker works all the
// same.
func (w *wiring) serveOrders(ctx context.Context, worker *ingest.Worker, log *slog.Logger) (stop func()) {
	file, isFile := strings.CutPrefix(w.State, "file:")
	if !isFile {
		return func() {}
	}
	path, err := operate.SocketPath(file)
	var server *operate.Server
	if err == nil {
		server, err = operate.Listen(path)
	}
	if err != nil {
		log.Error("the commands of \"ingest chains\" are not served", "error", err)
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(ctx, atWork{worker}); err != nil {
			log.Error("the commands of \"ingest chains\" are not served any more", "error", err)
		}
	}()
	return func() { cancel(); <-done }
}

// listChains prints the chains, for people or for programs.
func (a *app) listChains(ctx context.Context, h operate.Handler, isRunning bool, output string) error {
	b, err := h.Chains(ctx)
	if err != nil {
		return err
	}
	if output == "json" {
		return json.NewEncoder(a.stdout).Encode(struct {
			Running bool            `json:"running"` // a worker holds the state
			Chains  json.RawMessage `json:"chains"`
		}{isRunning, b})
	}
	var rows []ingest.ChainStatus
	if err := json.Unmarshal(b, &rows); err != nil {
		return fmt.Errorf("chains: %w", err)
	}
	ids := make([]string, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	names := operate.Names(ids)
	table := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
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
