package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/dir"
	"github.com/trailseal/trailseal/internal/discover"
	"github.com/trailseal/trailseal/internal/ended"
	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/queue"
	"github.com/trailseal/trailseal/internal/source"
	"github.com/trailseal/trailseal/pkg/chain"
	"github.com/trailseal/trailseal/pkg/digest"
)

func openSources(ctx context.Context, names []string, aws *clients, opened *resources) ([]ingest.Source, error) {
	var all []ingest.Source
	for _, name := range names {
		s, err := openSource(ctx, name, aws, opened)
		if err != nil {
			return nil, fmt.Errorf("source: %w", err)
		}
		all = append(all, s)
	}
	return all, nil
}

func openSource(ctx context.Context, name string, aws *clients, opened *resources) (ingest.Source, error) {
	src, err := source.Parse(name)
	if err != nil {
		return ingest.Source{}, err
	}
	if src.IsCopy() {
		root, prefix, err := source.Folder(name)
		if err != nil {
			return ingest.Source{}, err
		}
		d, err := dir.Open(root)
		if err != nil {
			return ingest.Source{}, err
		}
		opened.add(d)
		src.Prefix = prefix
		return ingest.Source{Source: src, Objects: d}, nil
	}
	client, err := aws.forSources(ctx)
	if err != nil {
		return ingest.Source{}, err
	}
	return ingest.Source{Source: src, Objects: client.S3()}, nil
}

// openKeys returns what is asked for public keys: CloudTrail, or a saved list.
func openKeys(ctx context.Context, setting string, aws *clients) (chain.KeySource, error) {
	if setting == "auto" {
		client, err := aws.forSources(ctx)
		if err != nil {
			return nil, err
		}
		return client.CloudTrail(), nil
	}
	b, err := os.ReadFile(setting)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	set, err := digest.ParseKeySet(b)
	if err != nil {
		return nil, fmt.Errorf("keys %s: %w", setting, err)
	}
	return chain.Saved(set), nil
}

// withOriginals returns the sources with the buckets that signed locations name, where these
// are not the sources' own. The settings name them; for access points, the digests do.
func withOriginals(
	ctx context.Context, settings []string, opened []ingest.Source, keys chain.KeySource,
) ([]ingest.Source, error) {
	sources := make([]source.Source, len(opened))
	for i, s := range opened {
		sources[i] = s.Source
	}
	sources, err := source.ParseOriginals(settings, sources)
	if err != nil {
		return nil, err
	}
	all := slices.Clone(opened)
	for i, s := range sources {
		if s.IsAccessPoint() && s.Original == "" {
			now := time.Now()
			bucket, err := discover.LearnBucket(ctx, s, opened[i].Objects, chain.NewKeyring(keys, now, now, time.Now), now)
			if err != nil {
				return nil, fmt.Errorf("source: %w", err)
			}
			s.Learn(bucket)
		}
		all[i].Source = s
	}
	return all, nil
}

// managementOf returns what tells the management account of an organization: the setting or,
// where a source is read through AWS, AWS Organizations. It returns nil for copies alone.
func managementOf(
	ctx context.Context, setting string, sources []ingest.Source, aws *clients,
) (func(ctx context.Context, organization string) string, error) {
	if setting != "" {
		return func(context.Context, string) string { return setting }, nil
	}
	if !slices.ContainsFunc(sources, func(s ingest.Source) bool { return !s.IsCopy() }) {
		return nil, nil
	}
	client, err := aws.forSources(ctx)
	if err != nil {
		return nil, err
	}
	return client.CloudTrail().ManagementAccounts(), nil
}

// readEnded reads the acknowledged ends of chains from a file, none for "".
func readEnded(path string) (list ended.List, err error) {
	if path == "" {
		return list, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return list, fmt.Errorf("ended: %w", err)
	}
	defer f.Close()
	if list, err = ended.Parse(f); err != nil {
		return list, fmt.Errorf("ended %s: %w", path, err)
	}
	return list, nil
}

// drainWait is how long a run that ends by itself waits for a message. With any wait SQS
// asks all its servers, without one only some of them.
const drainWait = 2 * time.Second

// queues are the queues that announce what is new in the sources.
type queues struct {
	list    []*queue.Queue
	metrics *queue.Metrics // nil without queues
}

func openQueues(
	ctx context.Context, c *config, aws *clients, opened *resources, names prometheus.Registerer, log *slog.Logger,
) (queues, error) {
	if len(c.Queue) == 0 {
		return queues{}, nil
	}
	all := queues{metrics: queue.NewMetrics(names)}
	for _, address := range c.Queue {
		q, err := openQueue(ctx, address, aws)
		if err != nil {
			return all, err
		}
		o := queue.Options{Name: address, Drain: c.Once, Depth: sqs{q}.Depth, Log: log, Metrics: all.metrics}
		if c.Once {
			o.Wait = drainWait
		}
		announcer := queue.New(sqs{q}, o)
		opened.add(announcer)
		all.list = append(all.list, announcer)
	}
	return all, nil
}

func openQueue(ctx context.Context, address string, aws *clients) (*awsapi.Queue, error) {
	client, err := aws.forQueues(ctx)
	if err != nil {
		return nil, err
	}
	return client.Queue(address)
}

// announcers returns the queues as the worker takes them.
func (q queues) announcers() []ingest.Announcer {
	var all []ingest.Announcer
	for _, one := range q.list {
		all = append(all, one)
	}
	return all
}

// ready returns why the queues cannot be received from, nil if they can.
func (q queues) ready(context.Context) error {
	var errs []error
	for _, one := range q.list {
		errs = append(errs, one.Ready())
	}
	return errors.Join(errs...)
}
