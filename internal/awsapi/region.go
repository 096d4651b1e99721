package awsapi

import (
	"cmp"
	"context"
	"errors"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// bucket says how to reach a bucket. One caller at a time looks it up and the
// others wait, because thousands of reads begin with the same question.
type bucket struct {
	turn chan struct{} // holds one token; its holder may write the other fields, once

	client *s3.Client // of the bucket's region; nil until that is known
	sent   string     // the bucket's name in requests of client
	direct *direct    // nil: objects are read by GetObject alone
}

// in returns how to reach the bucket of a name, an alias or an ARN. Its fields
// do not change any more.
func (s *S3) in(ctx context.Context, name string) (*bucket, error) {
	b := s.bucket(name)
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if b.client != nil {
		return b, nil
	}
	client, sent, err := s.reach(ctx, name)
	if err != nil {
		return nil, err
	}
	direct := newDirect(ctx, client, sent, s.client.opts)
	if err := ctx.Err(); err != nil {
		return nil, err // the next caller asks anew
	}
	b.client, b.sent, b.direct = client, sent, direct
	return b, nil
}

// reach returns the client that reads a bucket and the name that it needs.
func (s *S3) reach(ctx context.Context, name string) (*s3.Client, string, error) {
	if p, ok := parseAccessPoint(name); ok {
		client, sent := s.throughAccessPoint(p, name)
		return client, sent, nil
	}
	region, err := s.lookUp(ctx, name)
	if err != nil {
		return nil, "", err
	}
	return s.regional(region), name, nil
}

// lookUp asks S3 where a bucket lies. S3 names the region in a header even of
// a refusal or a redirection; where it names none, what is configured has to
// do, and the request that follows will tell what is wrong. An answer that may
// be another one next time is an error.
func (s *S3) lookUp(ctx context.Context, name string) (string, error) {
	here := cmp.Or(s.client.cfg.Region, globalRegion)
	out, err := s.regional(here).HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &name, ExpectedBucketOwner: s.owner()})
	if err == nil {
		if out.BucketRegion != nil && *out.BucketRegion != "" {
			return *out.BucketRegion, nil
		}
		return here, nil
	}
	status := statusOf(err)
	if status == 0 || status == http.StatusTooManyRequests || status >= 500 {
		return "", err
	}
	var answer *smithyhttp.ResponseError
	if errors.As(err, &answer) {
		here = cmp.Or(answer.Response.Header.Get("X-Amz-Bucket-Region"), here)
	}
	return here, nil
}

func (s *S3) bucket(name string) *bucket {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.buckets[name]
	if b == nil {
		b = &bucket{turn: make(chan struct{}, 1)}
		s.buckets[name] = b
	}
	return b
}

// regional returns the client of a region. All buckets of the region share it.
func (s *S3) regional(region string) *s3.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.regions[region]
	if c == nil {
		// A server under a name of its own seldom has names for buckets.
		c = s.newClient(region, func(o *s3.Options) { o.UsePathStyle = o.UsePathStyle || o.BaseEndpoint != nil })
		s.regions[region] = c
	}
	return c
}

// newClient returns a client of a region. All clients share their connections.
func (s *S3) newClient(region string, change func(*s3.Options)) *s3.Client {
	return s3.NewFromConfig(s.client.cfg, func(o *s3.Options) {
		o.Region = region
		if s.client.opts.Endpoint != "" {
			o.BaseEndpoint = &s.client.opts.Endpoint
		}
		change(o)
	})
}
