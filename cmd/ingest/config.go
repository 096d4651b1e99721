package main

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/pkg/trail"
)

// config is everything that can be set: as a flag, as TRAILSEAL_NAME in the
// environment, and as name in the YAML file, in this order of precedence.
type config struct {
	Config string `help:"YAML file with these settings." placeholder:"FILE" yaml:"-"`

	Source            []string `help:"Where trails lie: s3://bucket[/prefix] or a folder (repeatable)." sep:"none" placeholder:"SOURCE"`
	Queue             []string `help:"SQS queue that announces what is new in the sources: its URL (repeatable)." sep:"none" placeholder:"URL"`
	Account           []string `help:"Only this account (repeatable)." placeholder:"ID"`
	Region            []string `help:"Only this region (repeatable)." placeholder:"REGION"`
	Trail             []string `help:"Only this trail (repeatable)." placeholder:"NAME"`
	Since             string   `help:"Where to begin in a chain never seen: RFC 3339, a date, or 24h, 30d before now." default:"24h" placeholder:"TIME"`
	Poll              duration `help:"Pause between two looks at a source." default:"1m"`
	Grace             duration `help:"How late a chain's newest digest may be." default:"2h"`
	OriginalBucket    []string `help:"Bucket that the digests of a replica name: NAME, or REPLICA=NAME for each of several sources (repeatable)." sep:"none" placeholder:"NAME"`
	Ended             string   `help:"File of chains whose end is acknowledged, as verifier verify --write-ended makes it." placeholder:"FILE"`
	ManagementAccount string   `help:"Management account of the organization, which owns its trails (default: ask AWS Organizations)." placeholder:"ID"`

	Keys string `help:"Public keys: auto asks CloudTrail in each region; or a saved list." default:"auto" placeholder:"auto|FILE"`

	Sink            []string `help:"Where events go (repeatable; an event counts when all have it)." sep:"none" default:"stdout" placeholder:"SINK"`
	FileMax         size     `help:"Rotate file sinks at this size." default:"256MiB"`
	FileEvery       duration `help:"Rotate file sinks when the clock, in UTC, enters another multiple of it." default:"1h"`
	SinkHeader      []string `help:"Header of requests to all HTTP sinks, before headers of their own (repeatable; better in the environment than on a command line)." sep:"none" placeholder:"NAME: VALUE"`
	SinkCompression string   `help:"Of S3 objects and HTTP requests; S3 takes gzip or zstd, HTTP gzip or none." enum:"gzip,zstd,none" default:"gzip"`
	SinkTimeout     duration `help:"How long one attempt of a sink may take. An HTTP request ends then; any other sink counts as failing while it takes longer." default:"1m"`
	SinkPatience    duration `help:"How long a sink may fail before a run with --once, or a replay, gives it up." default:"1m"`
	DeadLetters     string   `help:"File for events that an HTTP sink refuses for their content; without it they hold their log back." placeholder:"PATH"`

	Format    string `help:"trailseal splices a member in front of each event, raw leaves it out." enum:"trailseal,raw" default:"trailseal"`
	Findings  string `help:"Where findings go." default:"stderr" placeholder:"SINK"`
	OnFinding string `help:"quarantine what a finding concerns and go on, or halt." enum:"quarantine,halt" default:"quarantine"`

	State       string   `help:"Where progress is kept: file:PATH; memory, for --once, forgets it." default:"file:trailseal.state" placeholder:"STORE"`
	Memory      size     `help:"Bytes that log files in flight may hold." default:"512MiB"`
	Concurrency int      `help:"Log files in flight." default:"160"`
	Once        bool     `help:"Deal with what is there and end."`
	Drain       duration `help:"How long work in flight may take to end after SIGTERM." default:"25s"`

	Listen    string `help:"Address of /metrics, /livez, /readyz and /statusz; empty: none." default:":9090" placeholder:"ADDRESS"`
	WebConfig string `help:"The Prometheus exporter-toolkit's web config file: TLS, basic auth." placeholder:"FILE"`
	Pprof     bool   `help:"Serve /debug/pprof, too."`
	LogFormat string `help:"Of the diagnostics on stderr." enum:"text,json" default:"text"`
	LogLevel  string `help:"Of the diagnostics on stderr." enum:"debug,info,warn,error" default:"info"`

	Profile             string `help:"Of the AWS configuration." placeholder:"NAME"`
	ExpectedBucketOwner string `help:"Account that must own the buckets." placeholder:"ID"`
	RoleARN             string `help:"Role to read the sources and the keys in." placeholder:"ARN"`
	ExternalID          string `help:"That the role's trust policy asks for." placeholder:"ID"`
	QueueRoleARN        string `help:"Role to receive from the queues in." placeholder:"ARN"`
	QueueExternalID     string `help:"That the queue role's trust policy asks for." placeholder:"ID"`
}

// defaultListen is the default of Listen; a run that ends by itself does not
// take it.
const defaultListen = ":9090"

// check returns what is wrong with the settings. It opens nothing.
func (c *config) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Source) == 0 {
		bad("source: none is set")
	}
	for _, s := range c.Source {
		if _, err := source.Parse(s); err != nil {
			bad("%w", err)
		}
	}
	if c.ManagementAccount != "" && !trail.ValidAccount(c.ManagementAccount) {
		bad("management-account %q: must be 12 digits", c.ManagementAccount)
	}
	kinds := new(sinkOpener).kinds()
	for _, s := range c.Sink {
		if !isOneOf(kinds, s, takesEvents) {
			bad("sink %q: not %s", redacted(s), usageOf(kinds, takesEvents))
		}
	}
	if !isOneOf(kinds, c.Findings, takesFindings) {
		bad("findings %q: not %s", redacted(c.Findings), usageOf(kinds, takesFindings))
	}
	if c.State != "memory" && !named(c.State)("file:") {
		bad("state %q: not file:PATH or memory", c.State)
	}
	for _, a := range c.Account {
		if !trail.ValidAccount(a) {
			bad("account %q: not 12 digits", a)
		}
	}
	for _, r := range c.Region {
		if !trail.ValidRegion(r) {
			bad("region %q: not a region's name", r)
		}
	}
	for _, t := range c.Trail {
		if !trail.ValidName(t) {
			bad("trail %q: not a trail's name", t)
		}
	}
	if least := size(ingest.MinMemory(len(c.Sink))); c.Memory < least {
		bad("memory %s: must be at least %s with %s: one large log file needs as much",
			c.Memory, least, plural(len(c.Sink), "sink"))
	}
	if c.Concurrency < 1 || c.Concurrency > 1024 {
		bad("concurrency %d: not from 1 to 1024", c.Concurrency)
	}
	if c.Poll < duration(time.Second) {
		bad("poll %s: less than a second", c.Poll)
	}
	if c.SinkTimeout < duration(time.Second) {
		bad("sink-timeout %s: must be at least 1s", c.SinkTimeout)
	}
	if c.SinkPatience < duration(time.Second) {
		bad("sink-patience %s: must be at least 1s", c.SinkPatience)
	}
	if c.State == "memory" && !c.Once {
		bad("state memory: only with once, since it forgets where it was")
	}
	if slices.Contains(c.Sink, c.Findings) {
		bad("findings %s: events go there already", redacted(c.Findings))
	}
	for i, s := range c.Sink {
		if slices.Contains(c.Sink[:i], s) {
			bad("sink %s: is set twice", redacted(s))
		}
	}
	return errors.Join(append(errs, c.checkQueues())...)
}

// checkQueues returns what is wrong with the settings of queues and roles.
func (c *config) checkQueues() error {
	var errs []error
	for _, q := range c.Queue {
		if !strings.HasPrefix(q, "https://") && !strings.HasPrefix(q, "http://") {
			errs = append(errs, fmt.Errorf("queue %q: not the URL of a queue", q))
		}
	}
	if c.ExternalID != "" && c.RoleARN == "" {
		errs = append(errs, errors.New("external-id: of no use without role-arn"))
	}
	if c.QueueExternalID != "" && c.QueueRoleARN == "" {
		errs = append(errs, errors.New("queue-external-id: of no use without queue-role-arn"))
	}
	return errors.Join(errs...)
}

// checkChains returns what is wrong with the settings that "chains" goes by.
func (c *config) checkChains() error {
	var errs []error
	if _, isFile := stateFile(c.State); !isFile {
		errs = append(errs, fmt.Errorf("state %q: must be file:PATH, the state of the worker", c.State))
	}
	if kinds := new(sinkOpener).kinds(); !isOneOf(kinds, c.Findings, takesFindings) {
		errs = append(errs, fmt.Errorf("findings %q: not %s", redacted(c.Findings), usageOf(kinds, takesFindings)))
	}
	return errors.Join(errs...)
}

// plural returns a number of things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

// named returns whether a setting is a name or, where that ends in a colon or
// slashes, begins with it and goes on.
func named(s string) func(name string) bool {
	return func(name string) bool {
		rest, ok := strings.CutPrefix(s, name)
		return ok && (rest != "") == strings.Contains(name, ":")
	}
}

// size is a number of bytes, written as 512MiB.
type size int64

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *size) UnmarshalText(b []byte) error {
	text, unit := string(b), int64(1)
	for suffix, n := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if rest, ok := strings.CutSuffix(text, suffix); ok {
			text, unit = rest, n
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || n < 0 || n > 1<<50/unit {
		return fmt.Errorf("%q: must be a size such as 512MiB", b)
	}
	*s = size(n * unit)
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (s size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s size) String() string {
	for _, u := range []struct {
		name string
		n    size
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if s >= u.n && s%u.n == 0 {
			return strconv.FormatInt(int64(s/u.n), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// duration is a time.Duration that reads and writes its text form.
type duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil || v < 0 {
		return fmt.Errorf("%q: must be a duration such as 90s or 2h", b)
	}
	*d = duration(v)
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (d duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func (d duration) String() string { return time.Duration(d).String() }

// tokenLike is the least length of a path's part that is taken for a token:
// some services have theirs there.
const tokenLike = 16

// redacted returns a setting without what is secret in it: of a URL the
// password, what its query holds, and what looks like a token in its path.
func redacted(s string) string {
	scheme, _, _ := strings.Cut(s, "://")
	u, err := url.Parse(s)
	if !strings.Contains(scheme, "http") {
		return s
	}
	if err != nil {
		return scheme + "://(not a URL)" // whatever it holds
	}
	const hidden = "xxxxx"
	query := u.Query()
	for name := range query {
		query.Set(name, hidden)
	}
	u.RawQuery = query.Encode()
	if parts := strings.Split(u.Path, "/"); scheme == "http" || scheme == "https" {
		for i, p := range parts {
			if len(p) >= tokenLike {
				parts[i] = hidden
			}
		}
		u.Path, u.RawPath = strings.Join(parts, "/"), ""
	}
	return u.Redacted()
}
