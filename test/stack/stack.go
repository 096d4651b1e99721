package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/testaws"
	"github.com/trailseal/trailseal/internal/testtrail"
)

const (
	bucket = testtrail.SampleBucket
	queue  = "trail"
)

// The ports that are taken where they are free. Prometheus has the one that
// the worker would take by default.
const (
	feederPort       = 8099
	ingestPort       = 9091
	prometheusPort   = 9090
	alertmanagerPort = 9093
	grafanaPort      = 3000
)

// options say what to start.
type options struct {
	dir           string // exists
	plants        string
	pace, history time.Duration
	anyPort       bool          // for tests, which may run side by side
	every         time.Duration // scrapes and evaluations; 0: as the configuration says
}

// stack is what runs.
//
//	feeder ─put─> S3 ─┐
//	   └──send─> SQS ─┴─> ingest <─scrape─ Prometheus ─alerts─> Alertmanager
//	                        └─> events          └─query─ Grafana
type stack struct {
	options
	root   string // of the module
	aws    *testaws.Server
	feeder *part
	ingest *part
	parts  []*part  // in the order of their start
	absent []string // what is not installed

	prometheus, alertmanager *part // nil: absent
}

// start starts everything. What it returns must be stopped, after an error
// too.
func start(ctx context.Context, o options) (*stack, error) {
	s := &stack{options: o}
	steps := []func(context.Context) error{s.build, s.startAWS, s.startFeeder, s.startIngest, s.startAlertmanager, s.startPrometheus, s.startGrafana}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return s, err
		}
	}
	return s, nil
}

// stop ends everything, the last first. It may be called again.
func (s *stack) stop() {
	for _, p := range slices.Backward(s.parts) {
		p.stop()
	}
	if s.aws != nil {
		_ = s.aws.Close() // it only reports what the programs' end cut off
		s.aws = nil
	}
}

// wait returns when ctx ends, or with the error of the first program that did.
func (s *stack) wait(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for _, p := range s.parts {
		go func() {
			select {
			case <-p.exited:
				cancel(p.failure())
			case <-ctx.Done():
			}
		}()
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

func (s *stack) path(name string) string { return filepath.Join(s.dir, name) }

// add starts a program and waits until a page of it answers.
func (s *stack) add(ctx context.Context, name, url, page string, cmd *exec.Cmd) (*part, error) {
	p := &part{name: name, url: url, log: s.path(strings.ToLower(name) + ".log"), cmd: cmd}
	if err := p.run(); err != nil {
		return nil, err
	}
	s.parts = append(s.parts, p)
	return p, p.ready(ctx, page, 2*time.Minute)
}

func (s *stack) address(port int) (string, error) {
	if s.anyPort {
		port = 0
	}
	return address(port)
}

// build builds our programs.
func (s *stack) build(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("go env GOMOD: %w", err)
	}
	s.root = filepath.Dir(strings.TrimSpace(string(out)))
	if _, err := os.Stat(filepath.Join(s.root, "cmd", "ingest")); err != nil {
		return errors.New("run it in the module's folder")
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", s.dir+string(filepath.Separator), "./cmd/ingest", "./test/feeder")
	cmd.Dir, cmd.Env = s.root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

func (s *stack) startAWS(context.Context) error {
	world := testtrail.New()
	world.AddBucket(bucket)
	server, err := testaws.Start(world)
	if err != nil {
		return err
	}
	server.Queue(queue)
	s.aws = server
	return nil
}

// command is a program of ours that talks to the stack's AWS only.
func (s *stack) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(s.path(name), args...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "AWS_") || strings.HasPrefix(v, "TRAILSEAL_")
	}), s.aws.Env()...)
	return cmd
}

// credentials is what a person sets to talk to the stack's AWS.
func (s *stack) credentials() []string {
	return []string{"AWS_ENDPOINT_URL=" + s.aws.URL, "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=x", "AWS_REGION=" + testaws.Region}
}

func (s *stack) startFeeder(ctx context.Context) (err error) {
	at, err := s.address(feederPort)
	if err != nil {
		return err
	}
	s.feeder, err = s.add(ctx, "feeder", "http://"+at+"/", "http://"+at+"/healthz", s.command("feeder",
		"-listen", at, "-bucket", bucket, "-queue", queue, "-keys", s.path("keys.json"),
		"-pace", s.pace.String(), "-history", s.history.String(), "-plant", s.plants))
	return err
}

func (s *stack) startIngest(ctx context.Context) (err error) {
	at, err := s.address(ingestPort)
	if err != nil {
		return err
	}
	s.ingest, err = s.add(ctx, "ingest", "http://"+at+"/statusz", "http://"+at+"/readyz", s.command("ingest",
		"--source", "s3://"+bucket, "--queue", s.aws.Queue(queue).URL(), "--keys", s.path("keys.json"), "--since", "60d", "--poll", "10s",
		"--sink", "file:"+s.path("events.ndjson"), "--findings", "file:"+s.path("findings.ndjson"), "--state", "file:"+s.path("ingest.state"),
		"--listen", at))
	return err
}
