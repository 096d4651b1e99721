package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/ops"
	"github.com/trailseal/trailseal/internal/preflight"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/internal/sink"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/internal/state/sqlite"
	"github.com/trailseal/trailseal/internal/when"
	"github.com/trailseal/trailseal/pkg/finding"
	"github.com/trailseal/trailseal/pkg/trail"
)

// How a trial ended.
const (
	trialOK      = "ok"
	trialMissing = "missing"
	trialNote    = "note" // could not be tried, or worth knowing
)

// trialTime is the most that one trial takes.
const trialTime = time.Minute

// trials tries what the settings need and keeps the results. It changes nothing but for one
// object below the prefix of an S3 sink.
type trials struct {
	config *config
	aws    *clients
	sinks  *sinkOpener
	opened *resources
	since  time.Time
	now    func() time.Time

	lines   [][3]string // outcome, of what, detail
	missing bool        // a line says so
}

// runCheck prints a table of everything the settings need and whether it is
// there.
func runCheck(ctx context.Context, a app, c *config) int {
	since, err := when.Time(c.Since, a.now())
	if err != nil {
		return a.fail(exitUsage, fmt.Errorf("since: %w", err), hintSettings)
	}
	opened := &resources{}
	defer opened.close()
	aws := newClients(c, countNothing)
	sinks := &sinkOpener{app: a, config: c, aws: aws, opened: opened}
	t := &trials{config: c, aws: aws, sinks: sinks, opened: opened, since: since, now: a.now}
	sources, regions := t.trySources(ctx)
	inside := t.tryApart(sources)
	t.tryKeys(ctx, regions)
	t.tryQueues(ctx)
	t.trySinks(ctx, inside)
	t.tryState()
	t.tryListen(ctx)
	if err := t.print(a.stdout); err != nil {
		return a.fail(exitIncomplete, err, "")
	}
	if t.missing {
		return exitIncomplete
	}
	return exitOK
}

func (t *trials) print(to io.Writer) error {
	table := tabwriter.NewWriter(to, 0, 8, 2, ' ', 0)
	for _, l := range t.lines {
		fmt.Fprintf(table, "%s\t%s\t%s\n", l[0], report.Quote(l[1]), report.Quote(l[2]))
	}
	return table.Flush()
}

func (t *trials) add(outcome, what, format string, args ...any) {
	t.missing = t.missing || outcome == trialMissing
	t.lines = append(t.lines, [3]string{outcome, what, fmt.Sprintf(format, args...)})
}

// result adds the line of a trial that needs an action on a resource.
func (t *trials) result(what string, err error, action, resource, done string) {
	switch {
	case err == nil:
		t.add(trialOK, what, "%s", done)
	case errors.Is(err, awsapi.ErrCredentials):
		t.add(trialMissing, what, "%s; set AWS_PROFILE or --profile, or give the instance, task or pod a role", err)
	case errors.Is(err, awsapi.ErrRegion):
		t.add(trialMissing, what, "%s; set AWS_REGION", err)
	case errors.Is(err, finding.ErrKMSDenied):
		t.add(trialMissing, what, "%s on the KMS key of %s: %s", kmsAction(action), resource, err)
	case errors.Is(err, fs.ErrPermission) && action != "":
		t.add(trialMissing, what, "%s on %s: %s", action, resource, err)
	default:
		t.add(trialMissing, what, "%s", err)
	}
}

// kmsAction is what an action on encrypted data needs of the key.
func kmsAction(action string) string {
	if action == "s3:PutObject" {
		return "kms:GenerateDataKey"
	}
	return "kms:Decrypt"
}

// trySources returns the sources that could be opened, and the regions for which they hold
// digests or log files.
func (t *trials) trySources(ctx context.Context) (sources []source.Source, regions map[string]bool) {
	regions = map[string]bool{}
	for _, name := range t.config.Source {
		ctx, cancel := context.WithTimeout(ctx, trialTime)
		s, found, ok := t.trySource(ctx, name)
		cancel()
		if ok {
			sources = append(sources, s)
		}
		for _, region := range found {
			regions[region] = true
		}
	}
	return sources, regions
}

func (t *trials) trySource(ctx context.Context, name string) (opened source.Source, regions []string, ok bool) {
	what := "source " + name
	s, err := openSource(ctx, name, t.aws, t.opened)
	if err != nil {
		t.result(what, err, "", "", "")
		return opened, nil, false
	}
	keep := func(p trail.Place) bool {
		return (len(t.config.Account) == 0 || slices.Contains(t.config.Account, p.Account)) &&
			(p.Region == "" || len(t.config.Region) == 0 || slices.Contains(t.config.Region, p.Region))
	}
	try := preflight.Source{Source: s.Source, Objects: s.Objects, Keep: keep, Since: t.since, Now: t.now()}
	results, regions := try.Try(ctx)
	for _, r := range results {
		switch {
		case r.Err != nil:
			t.result(what, r.Err, r.Action, bucketARN(r.Resource, t.aws.region()), "")
		case r.Missing:
			t.add(trialMissing, what, "%s", r.Detail)
		case r.Note:
			t.add(trialNote, what, "%s", r.Detail)
		default:
			t.add(trialOK, what, "%s", r.Detail)
		}
	}
	return s.Source, regions, true
}

// tryApart adds a line for each output that lies in a source. It returns their names.
func (t *trials) tryApart(opened []source.Source) (inside map[string]bool) {
	sources, err := source.ParseOriginals(t.config.OriginalBucket, opened)
	if err != nil {
		sources = opened
		if len(opened) == len(t.config.Source) {
			t.add(trialMissing, "original-bucket", "%s", err)
		}
	}
	inside = map[string]bool{}
	for _, o := range t.config.outputs() {
		for _, s := range sources {
			if err := o.apartFrom(s); err != nil {
				inside[o.name] = true
				t.add(trialMissing, o.name, "%s", err)
			}
		}
	}
	return inside
}

func (t *trials) tryKeys(ctx context.Context, regions map[string]bool) {
	ctx, cancel := context.WithTimeout(ctx, trialTime)
	defer cancel()
	keys, err := openKeys(ctx, t.config.Keys, t.aws)
	if err != nil {
		t.result("keys "+t.config.Keys, err, "", "", "")
		return
	}
	if len(regions) == 0 {
		t.add(trialNote, "keys "+t.config.Keys, "not tried: no source shows a region")
	}
	for _, region := range slices.Sorted(maps.Keys(regions)) {
		set, err := keys.PublicKeys(ctx, region, t.now().Add(-24*time.Hour), t.now())
		n := 0
		for _, k := range set.Keys {
			if k.Region == region {
				n++
			}
		}
		if err == nil && n == 0 {
			err = errors.New("no key for this region")
		}
		what := "keys " + t.config.Keys + " " + region
		t.result(what, err, "cloudtrail:ListPublicKeys", "* in "+region, fmt.Sprintf("%d of today", n))
	}
}

func (t *trials) tryQueues(ctx context.Context) {
	for _, address := range t.config.Queue {
		ctx, cancel := context.WithTimeout(ctx, trialTime)
		q, err := openQueue(ctx, address, t.aws)
		if err != nil {
			t.result("queue "+address, err, "", "", "")
		} else {
			t.tryQueue(ctx, "queue "+address, q)
		}
		cancel()
	}
}

// tryQueue tries everything with a receipt that no message has, which SQS
// refuses only after it has looked at the permission. A message that is there
// is received, and given back at once, only where the redrive policy will not
// count that against it much.
func (t *trials) tryQueue(ctx context.Context, what string, q *awsapi.Queue) {
	a, err := q.Attributes(ctx)
	arn := cmp.Or(a.ARN, "the queue")
	counts := fmt.Sprintf("about %d waiting, %d in flight", a.Visible, a.InFlight)
	t.result(what, err, "sqs:GetQueueAttributes", arn, counts)
	if err == nil && a.MaxReceives == 0 {
		t.add(trialNote, what, "no redrive policy: a message that nobody understands comes back until it expires")
	}
	none := []string{"trailseal-check"}
	if err := q.Delete(ctx, none)[0]; !errors.Is(err, awsapi.ErrReceipt) {
		t.result(what, err, "sqs:DeleteMessage", arn, "deletes")
	}
	if err := q.ChangeVisibility(ctx, none, 0)[0]; !errors.Is(err, awsapi.ErrReceipt) {
		t.result(what, err, "sqs:ChangeMessageVisibility", arn, "changes visibility")
	}
	const fewReceives = 3
	if err != nil || a.Visible > 0 && a.MaxReceives > 0 && a.MaxReceives < fewReceives {
		t.add(trialNote, what, "sqs:ReceiveMessage not tried: it would count against a message")
		return
	}
	got, err := q.Receive(ctx, 1, 0, time.Second)
	t.result(what, err, "sqs:ReceiveMessage", arn, "received")
	for _, m := range got {
		q.ChangeVisibility(ctx, []string{m.Receipt}, 0) // or it comes back in a second
	}
}

// trySinks tries what events and findings are written to, but for what lies inside a source.
func (t *trials) trySinks(ctx context.Context, inside map[string]bool) {
	try := func(what, setting string) {
		if inside[what] {
			return // a trial would write there
		}
		ctx, cancel := context.WithTimeout(ctx, trialTime)
		defer cancel()
		k, _ := sink.KindOf(t.sinks.kinds(), setting) // the settings were checked
		r := k.Check(ctx, setting)
		t.result(what, r.Err, r.Action, r.Resource, r.Detail)
	}
	for _, name := range t.config.Sink {
		try("sink "+redacted(name), name)
	}
	try("findings "+redacted(t.config.Findings), t.config.Findings)
	if t.config.DeadLetters != "" {
		try("dead-letters file:"+t.config.DeadLetters, "file:"+t.config.DeadLetters)
	}
}

func (t *trials) tryState() {
	what := "state " + t.config.State
	path, isFile := stateFile(t.config.State)
	if !isFile {
		t.add(trialOK, what, "")
		return
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		t.result(what, tryFile(path), "", "", "writable; a run makes it")
		return
	}
	s, err := sqlite.Open(path)
	if err == nil {
		err = s.Close()
	}
	t.result(what, err, "", "", "opens")
}

func (t *trials) tryListen(ctx context.Context) {
	what := "listen " + t.config.Listen
	if !serves(t.config) {
		return
	}
	s, err := ops.Listen(ctx, ops.Config{
		Addr: t.config.Listen, WebConfig: t.config.WebConfig,
		Registry: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler),
	})
	if err == nil {
		ended, cancel := context.WithCancel(ctx)
		cancel()
		err = s.Serve(ended)
	}
	t.result(what, err, "", "", "free")
}
