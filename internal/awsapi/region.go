package awsapi

import (
	"cmp"
	"context"
	"errors"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// bucket remembers where a bucket lies. Whoever holds its turn looks it up,
// the others wait: thousands of reads begin with one question.
type bucket struct {
	turn   chan struct{} // holds one token
	region string        // "" until known; read and written by the holder of the turn
	direct *direct       // set with the region, for good; nil: by GetObject alone
}

// in returns the client for the bucket's region.
func (s *S3) in(ctx context.Context, name string) (*s3.Client, error) {
	b := s.bucket(name)
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if b.region == "" {
		region, err := s.lookUp(ctx, name)
		if err != nil {
			return nil, err
		}
		direct := newDirect(ctx, s.regional(region), name, s.client.opts)
		if err := ctx.Err(); err != nil {
			return nil, err // and whoever comes next asks anew
		}
		b.region, b.direct = region, direct
	}
	return s.regional(b.region), nil
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

// regional returns the client of a region. All buckets of the region share it
// and its connections.
func (s *S3) regional(region string) *s3.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.regions[region]
	if c == nil {
		c = s3.NewFromConfig(s.client.cfg, func(o *s3.Options) {
			o.Region = region
			if s.client.opts.Endpoint != "" {
				o.BaseEndpoint = &s.client.opts.Endpoint
			}
			// A server under a name of its own seldom has names for buckets.
			o.UsePathStyle = o.UsePathStyle || o.BaseEndpoint != nil
		})
		s.regions[region] = c
	}
	return c
}
