package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/ingest"
	"github.com/trailseal/trailseal/internal/queue"
)

// drainWait is how long a run that ends by itself waits for a message: any wait
// makes SQS ask all its servers, none only some of them.
const drainWait = 2 * time.Second

// openQueues opens the queues that announce what is new.
func (w *wiring) openQueues(ctx context.Context, c *ingest.Config) error {
	if len(w.Queue) == 0 {
		return nil
	}
	metrics := queue.NewMetrics(prometheus.WrapRegistererWithPrefix("trailseal_", w.registry))
	w.queueMetrics = metrics
	for _, address := range w.Queue {
		q, err := w.openQueue(ctx, address)
		if err != nil {
			return err
		}
		o := queue.Options{Name: address, Drain: w.Once, Depth: sqs{q}.Depth, Log: c.Log, Metrics: metrics}
		if w.Once {
			o.Wait = drainWait
		}
		announcer := queue.New(sqs{q}, o)
		w.closers = append(w.closers, announcer)
		w.queues = append(w.queues, announcer)
		c.Announcers = append(c.Announcers, announcer)
	}
	return nil
}

func (w *wiring) openQueue(ctx context.Context, address string) (*awsapi.Queue, error) {
	client, err := w.as(ctx, awsapi.Role{ARN: w.QueueRoleARN, ExternalID: w.QueueExternalID})
	if err != nil {
		return nil, err
	}
	return client.Queue(address)
}

// queuesReady returns why the queues cannot be received from, nil if they can.
func (w *wiring) queuesReady(context.Context) error {
	var errs []error
	for _, q := range w.queues {
		errs = append(errs, q.Ready())
	}
	return errors.Join(errs...)
}

// forSources returns the client that reads the sources and asks for keys.
func (w *wiring) forSources(ctx context.Context) (*awsapi.Client, error) {
	return w.as(ctx, awsapi.Role{ARN: w.RoleARN, ExternalID: w.ExternalID})
}

// as returns the client that has a role, one for each.
func (w *wiring) as(ctx context.Context, role awsapi.Role) (*awsapi.Client, error) {
	if c := w.clients[role]; c != nil {
		return c, nil
	}
	client, err := awsapi.Load(ctx, awsapi.Options{
		Profile: w.Profile, ExpectedBucketOwner: w.ExpectedBucketOwner, OnRequest: w.counted, Role: role,
		Concurrency: 2 * w.Concurrency, // as many again are asked for before their turn
	})
	if err != nil {
		return nil, err
	}
	if w.clients == nil {
		w.clients = map[awsapi.Role]*awsapi.Client{}
	}
	w.clients[role], w.client = client, cmp.Or(w.client, client)
	return client, nil
}

// checkQueues tells what is wrong with the settings of queues and roles.
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

// sqs is a queue of awsapi as package queue wants it.
type sqs struct{ q *awsapi.Queue }

// Receive implements queue.Client.
func (s sqs) Receive(ctx context.Context, limit int, wait, visibility time.Duration) ([]queue.Message, error) {
	list, err := s.q.Receive(ctx, limit, wait, visibility)
	messages := make([]queue.Message, len(list))
	for i, m := range list {
		messages[i] = queue.Message(m)
	}
	return messages, err
}

// Delete implements queue.Client.
func (s sqs) Delete(ctx context.Context, receipts []string) []error {
	return own(s.q.Delete(ctx, receipts))
}

// Extend implements queue.Client.
func (s sqs) Extend(ctx context.Context, receipts []string, visibility time.Duration) []error {
	return own(s.q.ChangeVisibility(ctx, receipts, visibility))
}

// Depth is queue.Options.Depth.
func (s sqs) Depth(ctx context.Context) (queue.Depth, error) {
	a, err := s.q.Attributes(ctx)
	return queue.Depth{Visible: a.Visible, InFlight: a.InFlight, Delayed: a.Delayed}, err
}

// own gives a receipt's error the name by which package queue knows it.
func own(errs []error) []error {
	for i, err := range errs {
		if errors.Is(err, awsapi.ErrReceipt) {
			errs[i] = fmt.Errorf("%w: %w", queue.ErrReceipt, err)
		}
	}
	return errs
}
