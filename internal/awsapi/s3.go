package awsapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/trailseal/trailseal/pkg/trail"
)

// S3 reads and writes buckets, in whatever region each lies. It implements
// fetch.Objects.
type S3 struct {
	client *Client

	mu      sync.Mutex
	regions map[string]*s3.Client // by region
	buckets map[string]*bucket    // by name
}

// S3 returns a reader of buckets.
func (c *Client) S3() *S3 {
	return &S3{client: c, regions: map[string]*s3.Client{}, buckets: map[string]*bucket{}}
}

// Get opens an object: its stored bytes and its user metadata with lower-case
// names. A body that ends before its length does so with
// io.ErrUnexpectedEOF, one that stalls with a timeout.
func (s *S3) Get(ctx context.Context, o trail.Object) (io.ReadCloser, map[string]string, error) {
	op := "get " + o.String()
	c, err := s.in(ctx, o.Bucket)
	if err != nil {
		return nil, nil, translate(ctx, op, err)
	}
	out, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: &o.Bucket, Key: &o.Key, ExpectedBucketOwner: s.owner()})
	if err != nil {
		return nil, nil, translate(ctx, op, err)
	}
	meta := make(map[string]string, len(out.Metadata))
	for name, value := range out.Metadata {
		meta[strings.ToLower(name)] = value
	}
	return &body{out.Body, ctx, op}, meta, nil
}

// owner returns the account that buckets must belong to, nil for any.
func (s *S3) owner() *string {
	if s.client.opts.ExpectedBucketOwner == "" {
		return nil
	}
	return &s.client.opts.ExpectedBucketOwner
}

// body names the object in the errors of its reader.
type body struct {
	io.ReadCloser
	ctx context.Context // of the Get: its end is why a read failed
	op  string
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == nil || err == io.EOF:
		return n, err
	case b.ctx.Err() != nil:
		return n, fmt.Errorf("%s: %w", b.op, b.ctx.Err())
	case errors.Is(err, io.ErrUnexpectedEOF):
		return n, fmt.Errorf("%s: %w", b.op, io.ErrUnexpectedEOF)
	}
	return n, fmt.Errorf("%s: %s", b.op, innermost(err))
}
