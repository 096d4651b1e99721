package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/ops"
	"github.com/trailseal/trailseal/internal/preflight"
	"github.com/trailseal/trailseal/internal/report"
	"github.com/trailseal/trailseal/internal/state"
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

// trials tries what the settings need, one thing after the other, and keeps
// what came of it. It changes nothing but for one object below the prefix of
// an S3 sink.
type trials struct {
	*wiring
	since   time.Time
	regions map[string]bool // for which the sources hold digests or logs
	lines   [][3]string     // outcome, of what, detail
	missing bool
}

// checkAll prints a table of everything the settings need and whether it is
// there.
func (a *app) checkAll(ctx context.Context, c *config) int {
	w := &wiring{app: a, config: c}
	defer w.close()
	since, err := when.Time(c.Since, a.now())
	if err != nil {
		return a.fail(exitUsage, fmt.Errorf("since: %w", err), "ingest -h lists the settings")
	}
	t := &trials{wiring: w, since: since, regions: map[string]bool{}}
	for _, try := range []func(context.Context){t.trySources, t.tryKeys, t.tryQueues, t.trySinks, t.tryState, t.tryListen} {
		try(ctx)
	}
	if err := t.print(); err != nil {
		return a.fail(exitIncomplete, err, "")
	}
	if t.missing {
		return exitIncomplete
	}
	return exitOK
}

func (t *trials) print() error {
	table := tabwriter.NewWriter(t.stdout, 0, 8, 2, ' ', 0)
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
func (t *trials) result(what string, err error, action, resource, done string) bool {
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
	return err == nil
}

// kmsAction is what an action on encrypted data needs of the key.
func kmsAction(action string) string {
	if action == "s3:PutObject" {
		return "kms:GenerateDataKey"
	}
	return "kms:Decrypt"
}

func (t *trials) trySources(ctx context.Context) {
	for _, name := range t.Source {
		ctx, cancel := context.WithTimeout(ctx, trialTime)
		t.trySource(ctx, name)
		cancel()
	}
}

func (t *trials) trySource(ctx context.Context, name string) {
	what := "source " + name
	s, err := t.openSource(ctx, name)
	if err != nil {
		t.result(what, err, "", "", "")
		return
	}
	keep := func(p trail.Place) bool {
		return (len(t.Account) == 0 || slices.Contains(t.Account, p.Account)) &&
			(p.Region == "" || len(t.Region) == 0 || slices.Contains(t.Region, p.Region))
	}
	results, regions := preflight.Source{Source: s.Source, Objects: s.Objects, Keep: keep, Since: t.since, Now: t.now()}.Try(ctx)
	for _, r := range results {
		switch {
		case r.Err != nil:
			t.result(what, r.Err, r.Action, bucketARN(r.Resource, t.awsRegion()), "")
		case r.Missing:
			t.add(trialMissing, what, "%s", r.Detail)
		case r.Note:
			t.add(trialNote, what, "%s", r.Detail)
		default:
			t.add(trialOK, what, "%s", r.Detail)
		}
	}
	for _, region := range regions {
		t.regions[region] = true
	}
}

func (t *trials) tryKeys(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, trialTime)
	defer cancel()
	var c ingest.Config
	if err := t.keys(ctx, &c); err != nil {
		t.result("keys "+t.Keys, err, "", "", "")
		return
	}
	if len(t.regions) == 0 {
		t.add(trialNote, "keys "+t.Keys, "not tried: no source shows a region")
	}
	for _, region := range slices.Sorted(maps.Keys(t.regions)) {
		set, err := c.Keys.PublicKeys(ctx, region, t.now().Add(-24*time.Hour), t.now())
		n := 0
		for _, k := range set.Keys {
			if k.Region == region {
				n++
			}
		}
		if err == nil && n == 0 {
			err = errors.New("no key for this region")
		}
		t.result("keys "+t.Keys+" "+region, err, "cloudtrail:ListPublicKeys", "* in "+region, fmt.Sprintf("%d of today", n))
	}
}

func (t *trials) tryQueues(ctx context.Context) {
	for _, address := range t.Queue {
		ctx, cancel := context.WithTimeout(ctx, trialTime)
		q, err := t.openQueue(ctx, address)
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
	t.result(what, err, "sqs:GetQueueAttributes", arn, fmt.Sprintf("about %d waiting, %d in flight", a.Visible, a.InFlight))
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

func (t *trials) trySinks(ctx context.Context) {
	for _, name := range t.Sink {
		t.trySink(ctx, "sink "+redacted(name), name)
	}
	t.trySink(ctx, "findings "+redacted(t.Findings), t.Findings)
	if t.DeadLetters != "" {
		t.trySink(ctx, "dead-letters "+t.DeadLetters, "file:"+t.DeadLetters)
	}
}

func (t *trials) trySink(ctx context.Context, what, name string) {
	ctx, cancel := context.WithTimeout(ctx, trialTime)
	defer cancel()
	scheme, rest, _ := strings.Cut(name, ":")
	switch {
	case name == "stdout", name == "stderr":
		t.add(trialOK, what, "")
	case scheme == "file":
		t.result(what, tryFile(rest), "", "", "writable")
	case scheme == "s3":
		t.tryPut(ctx, what, strings.TrimPrefix(rest, "//"))
	default:
		t.tryHTTP(ctx, what, strings.TrimPrefix(name, "opensearch+"))
	}
}

// tryFile finds out whether a file can be written beside others, and is there
// only if it was.
func tryFile(path string) error {
	if path == "" {
		return errors.New("no path")
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".trailseal-check-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := f.Close(); err != nil {
		return err
	}
	if f, err = os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0); err == nil {
		err = f.Close()
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// checkName is the name of the object that is put below the prefix of an S3
// sink. It stays, and the next check writes over it.
const checkName = "trailseal-check.txt"

func (t *trials) tryPut(ctx context.Context, what, at string) {
	bucket, prefix, _ := strings.Cut(at, "/")
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	client, err := t.aws(ctx)
	if err == nil {
		err = client.S3().Put(ctx, bucket, prefix+checkName, []byte("ingest check could write here; this object can be removed\n"), "text/plain", "")
	}
	t.result(what, err, "s3:PutObject", bucketARN(bucket, t.awsRegion())+"/"+prefix+"*", "wrote s3://"+bucket+"/"+prefix+checkName)
}

// tryHTTP asks for the head of the URL: whatever is answered, somebody is
// there, unless it is a refusal.
func (t *trials) tryHTTP(ctx context.Context, what, address string) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		t.add(trialMissing, what, "not a URL")
		return
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodHead, address, nil)
	if err != nil {
		t.add(trialMissing, what, "not a URL")
		return
	}
	for _, h := range t.SinkHeader {
		name, value, _ := strings.Cut(h, ":")
		r.Header.Set(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableCompression: true, DisableKeepAlives: true}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(r)
	var failed *url.Error
	switch {
	case errors.As(err, &failed):
		t.add(trialMissing, what, "%s", failed.Err) // without the URL, which can hold a token
		return
	case err != nil:
		t.add(trialMissing, what, "no answer")
		return
	}
	answer.Body.Close()
	switch {
	case answer.StatusCode == http.StatusUnauthorized, answer.StatusCode == http.StatusForbidden:
		t.add(trialMissing, what, "refused: HTTP %d; set --sink-header or a user and password in the URL", answer.StatusCode)
	case answer.StatusCode >= 500 && answer.StatusCode != http.StatusNotImplemented:
		t.add(trialMissing, what, "out of order: HTTP %d", answer.StatusCode)
	default:
		t.add(trialOK, what, "answers; whether it takes events shows when the first are sent")
	}
}

func (t *trials) tryState(context.Context) {
	what := "state " + t.State
	path, ok := strings.CutPrefix(t.State, "file:")
	if !ok {
		t.add(trialOK, what, "")
		return
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		t.result(what, tryFile(path), "", "", "writable; a run makes it")
		return
	}
	f, err := state.OpenFile(path)
	if err == nil {
		err = f.Close()
	}
	t.result(what, err, "", "", "opens")
}

func (t *trials) tryListen(ctx context.Context) {
	what := "listen " + t.Listen
	if t.Listen == "" || t.Once && t.Listen == defaultListen {
		return
	}
	s, err := ops.Listen(ctx, ops.Config{Addr: t.Listen, WebConfig: t.WebConfig, Registry: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		ended, cancel := context.WithCancel(ctx)
		cancel()
		err = s.Serve(ended)
	}
	t.result(what, err, "", "", "free")
}

// awsRegion is the configured region, for the partition of ARNs.
func (t *trials) awsRegion() string {
	if t.client == nil {
		return ""
	}
	return t.client.Region()
}

func bucketARN(bucket, region string) string {
	partition := "aws"
	switch {
	case strings.HasPrefix(region, "cn-"):
		partition = "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		partition = "aws-us-gov"
	}
	return "arn:" + partition + ":s3:::" + bucket
}
