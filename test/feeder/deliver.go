package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/trailseal/trailseal/internal/testtrail"
	"github.com/trailseal/trailseal/pkg/trail"
)

// site is an S3 server and a queue.
type site struct {
	s3     *s3.Client
	sqs    *sqs.Client
	queue  string // its URL; "": nobody is told
	region string
}

// startWait is how long servers may take that start beside the feeder.
const startWait = 2 * time.Minute

// open makes what is not there: the buckets and the queue.
func open(ctx context.Context, s settings, log *slog.Logger) (*site, error) {
	c, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, err
	}
	// A checksum of the SDK's own comes in an encoding that not every server reads.
	c.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	at := &site{s3: s3.NewFromConfig(c, func(o *s3.Options) { o.UsePathStyle = true }), sqs: sqs.NewFromConfig(c), region: c.Region}
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	for {
		err := at.make(ctx, s)
		if err == nil || errors.Is(err, errNotEmpty) {
			return at, err
		}
		log.Warn("not ready", "error", err)
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(time.Second):
		}
	}
}

var errNotEmpty = errors.New("not empty: what an earlier run signed cannot be continued. Start with empty servers")

func (at *site) make(ctx context.Context, s settings) error {
	for _, bucket := range []string{s.bucket, s.sinkBucket} {
		if bucket == "" {
			continue
		}
		if _, err := at.s3.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &bucket}); err == nil {
			continue
		}
		if _, err := at.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
			return fmt.Errorf("make bucket %s: %w", bucket, err)
		}
	}
	there, err := at.s3.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &s.bucket, MaxKeys: aws.Int32(1)})
	switch {
	case err != nil:
		return fmt.Errorf("list bucket %s: %w", s.bucket, err)
	case len(there.Contents) > 0:
		return fmt.Errorf("bucket %s: %w", s.bucket, errNotEmpty)
	case s.queue == "":
		return nil
	}
	made, err := at.sqs.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &s.queue})
	if err != nil {
		return fmt.Errorf("make queue %s: %w", s.queue, err)
	}
	at.queue = aws.ToString(made.QueueUrl)
	return nil
}

// Put implements destination. A server that is away is waited for.
func (at *site) Put(ctx context.Context, bucket, key string, o testtrail.Stored) error {
	in := &s3.PutObjectInput{Bucket: &bucket, Key: &key, Metadata: o.Meta, ContentType: aws.String("application/json")}
	if o.Encoding != "" {
		in.ContentEncoding = &o.Encoding
	}
	return patiently(ctx, func() error {
		in.Body = bytes.NewReader(o.Body)
		_, err := at.s3.PutObject(ctx, in)
		return err
	})
}

// Announce implements destination, with a message for each object as S3's own
// bucket notifications have it.
func (at *site) Announce(ctx context.Context, objects []trail.Object) error {
	if at.queue == "" {
		return nil
	}
	for _, o := range objects {
		body, err := json.Marshal(at.created(o))
		if err != nil {
			return err
		}
		err = patiently(ctx, func() error {
			_, err := at.sqs.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &at.queue, MessageBody: aws.String(string(body))})
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

type fields = map[string]any

// created is S3's event message of a new object. Keys come in the encoding of
// forms.
func (at *site) created(o trail.Object) fields {
	return fields{"Records": []fields{{
		"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
		"awsRegion": at.region, "eventTime": time.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
		"s3": fields{
			"s3SchemaVersion": "1.0", "configurationId": "trail",
			"bucket": fields{"name": o.Bucket, "arn": "arn:aws:s3:::" + o.Bucket},
			"object": fields{"key": url.QueryEscape(o.Key), "size": o.Size},
		},
	}}}
}

// patiently tries until it goes well or ctx ends.
func patiently(ctx context.Context, do func() error) error {
	for {
		err := do()
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Second):
		}
	}
}
