package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/redpanda-data/benthos/v4/public/service"
)

// input reads log files one after another, each as one message, as the S3
// input of Redpanda Connect does with its scanner to_the_end. Like that with
// auto_replay_nacks off it hands nothing out twice.
//
// Benthos would try a read again forever; here the first failure, of a read
// or further down the pipeline, ends the input and so the program.
type input struct {
	client *s3.Client
	bucket string
	pages  *s3.ListObjectsV2Paginator
	keys   []string // of log files, listed but not read; owned by Read

	// err is the first failure: of Read, or of an ack meanwhile.
	err atomic.Pointer[error]
}

// open takes endpoint, region and credentials from the environment. It sends
// no request to the bucket.
func open(ctx context.Context, bucket, prefix string) (*input, error) {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("load the AWS configuration: %w", err)
	}
	client := s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.UsePathStyle = o.BaseEndpoint != nil             // a test server has no names of buckets
		o.DisableLogOutputChecksumValidationSkipped = true // else a line for each object without a checksum
	})
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
	return &input{client: client, bucket: bucket, pages: pages}, nil
}

func (in *input) Connect(context.Context) error { return nil }

func (in *input) Close(context.Context) error { return nil }

// Read returns service.ErrEndOfInput after the last log file and after a
// failure.
func (in *input) Read(ctx context.Context) (*service.Message, service.AckFunc, error) {
	body, err := in.next(ctx)
	if err != nil && err != io.EOF {
		in.fail(err)
	}
	if err != nil || in.failure() != nil {
		return nil, nil, service.ErrEndOfInput
	}
	return service.NewMessage(body), in.ack, nil
}

// next returns the body of the next log file, io.EOF after the last.
func (in *input) next(ctx context.Context) ([]byte, error) {
	for len(in.keys) == 0 {
		if !in.pages.HasMorePages() {
			return nil, io.EOF
		}
		page, err := in.pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list s3://%s: %w", in.bucket, err)
		}
		for _, o := range page.Contents {
			if key := aws.ToString(o.Key); isLog(key) {
				in.keys = append(in.keys, key)
			}
		}
	}
	key := in.keys[0]
	in.keys = in.keys[1:]
	return in.get(ctx, key)
}

// isLog tells log files from digest files, Insights and whatever else a
// bucket holds.
func isLog(key string) bool {
	return strings.Contains(key, "/CloudTrail/") && !strings.Contains(key, "/CloudTrail-Digest/") && strings.HasSuffix(key, ".json.gz")
}

func (in *input) get(ctx context.Context, key string) ([]byte, error) {
	out, err := in.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &in.bucket, Key: &key})
	if err != nil {
		return nil, fmt.Errorf("get s3://%s/%s: %w", in.bucket, key, err)
	}
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	if err != nil {
		return nil, fmt.Errorf("get s3://%s/%s: %w", in.bucket, key, err)
	}
	return body, nil
}

// ack hears of a message that was written, or was not.
func (in *input) ack(_ context.Context, err error) error {
	if err != nil {
		in.fail(err)
	}
	return nil
}

func (in *input) fail(err error) { in.err.CompareAndSwap(nil, &err) }

func (in *input) failure() error {
	if err := in.err.Load(); err != nil {
		return *err
	}
	return nil
}
