package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/trailseal/trailseal/internal/awsapi"
	"github.com/trailseal/trailseal/internal/queue"
)

// clients are the AWS clients, one for each role. Each is loaded when it is first asked for.
// One goroutine may use clients.
type clients struct {
	config *config
	count  func(service, operation, code string) // of each attempt of a request
	byRole map[awsapi.Role]*awsapi.Client
	first  *awsapi.Client // nil before any is loaded
}

func newClients(c *config, count func(service, operation, code string)) *clients {
	return &clients{config: c, count: count, byRole: map[awsapi.Role]*awsapi.Client{}}
}

// countNothing is for commands without metrics.
func countNothing(_, _, _ string) {}

// forSources returns the client that reads the sources and asks for keys.
func (c *clients) forSources(ctx context.Context) (*awsapi.Client, error) {
	return c.as(ctx, awsapi.Role{ARN: c.config.RoleARN, ExternalID: c.config.ExternalID})
}

// forSinks returns the client that writes to S3, in the program's own role.
func (c *clients) forSinks(ctx context.Context) (*awsapi.Client, error) {
	return c.as(ctx, awsapi.Role{})
}

// forQueues returns the client that receives from the queues.
func (c *clients) forQueues(ctx context.Context) (*awsapi.Client, error) {
	return c.as(ctx, awsapi.Role{ARN: c.config.QueueRoleARN, ExternalID: c.config.QueueExternalID})
}

func (c *clients) as(ctx context.Context, role awsapi.Role) (*awsapi.Client, error) {
	if client := c.byRole[role]; client != nil {
		return client, nil
	}
	client, err := awsapi.Load(ctx, awsapi.Options{
		Profile: c.config.Profile, ExpectedBucketOwner: c.config.ExpectedBucketOwner, OnRequest: c.count, Role: role,
		Concurrency: 2 * c.config.Concurrency, // as many again are requested ahead
	})
	if err != nil {
		return nil, err
	}
	c.byRole[role], c.first = client, cmp.Or(c.first, client)
	return client, nil
}

// region returns the configured region, "" before any client is loaded.
func (c *clients) region() string {
	if c.first == nil {
		return ""
	}
	return c.first.Region()
}

// bucketARN returns the ARN of a bucket, or of what is named after it, in the partition of a
// region.
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
	return queueErrors(s.q.Delete(ctx, receipts))
}

// Extend implements queue.Client.
func (s sqs) Extend(ctx context.Context, receipts []string, visibility time.Duration) []error {
	return queueErrors(s.q.ChangeVisibility(ctx, receipts, visibility))
}

// Depth is queue.Options.Depth.
func (s sqs) Depth(ctx context.Context) (queue.Depth, error) {
	a, err := s.q.Attributes(ctx)
	return queue.Depth{Visible: a.Visible, InFlight: a.InFlight, Delayed: a.Delayed}, err
}

// queueErrors wraps each awsapi.ErrReceipt in queue.ErrReceipt.
func queueErrors(errs []error) []error {
	for i, err := range errs {
		if errors.Is(err, awsapi.ErrReceipt) {
			errs[i] = fmt.Errorf("%w: %w", queue.ErrReceipt, err)
		}
	}
	return errs
}
